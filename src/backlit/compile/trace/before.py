"""What variables in sight held before a function ran, and which of them hold something else after it."""

from __future__ import annotations

import os
import pickle
import random
import sys
from collections.abc import Iterator
from operator import is_
from typing import Any

import numpy as np

from ...storage import _fingerprint
from ...tensor import Tensor
from ..errors import TraceError

PLAIN = (bool, int, float, str, bytes, type(None))

LONG = 256
"""Lists and dictionaries with more entries must not be changed inside, and where they are, all is compiled anew."""

LONGER = 4096
"""Those with more entries still are compared by their length only."""

MISSING = object()
"""What a variable held that was not there."""

WAY_OUT = "Return the value, and do that outside."


class Before:
    """What variables in sight held before the function ran."""

    def __init__(self) -> None:
        self._entries: list[tuple[Any, Any, Any]] = []
        self._mappings: list[tuple[Any, set[str] | None, frozenset[Any]]] = []
        self._long: list[tuple[Any, Any]] = []
        self._options: list[tuple[Any, dict[str, Any], dict[str, Any]]] = []
        self._requiring: list[tuple[Tensor, bool]] = []
        self._generators: list[tuple[Any, bytes]] = []
        self._arrays: list[tuple[np.ndarray, int]] = []
        self._read_only: list[Any] = []

    def entry(self, holder: Any, key: Any, held: Any) -> None:
        """An entry that was looked at."""
        self._entries.append((holder, key, held))

    def nothing(self, holder: Any, key: Any) -> None:
        """A variable that had no value yet."""
        self._entries.append((holder, key, MISSING))

    def mapping(self, holder: Any, names: set[str] | None, aside: frozenset[str] = frozenset()) -> None:
        """A mapping or list that may get more entries, of any name or of those that the program's code names; some
        ``aside``."""
        self._mappings.append((holder, names, aside.union(_keys(holder))))

    def long(self, holder: Any) -> None:
        """A container that is too long to be followed."""
        self._long.append((holder, snapshot(holder)))

    def optimizer(self, optimizer: Any) -> None:
        """The options of an optimizer's groups."""
        for group in optimizer.param_groups:
            self._options.append((optimizer, group, {k: v for k, v in group.items() if k != "params"}))

    def generator(self, generator: Any) -> None:
        """A generator of random numbers that is not the library's."""
        self._generators.append((generator, _state(generator)))

    def array(self, x: np.ndarray) -> None:
        """An array in sight."""
        self._arrays.append((x, _fingerprint(x)))

    def read_only(self, holder: Any) -> None:
        """A view of a mapping that cannot be written to: what it shows changes with the mapping."""
        self._read_only.append(holder)

    def leaf(self, x: Tensor) -> None:
        """A tensor in sight."""
        if x._node is None:
            self._requiring.append((x, x._requires_grad))

    def changes(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """``(holder, key, before, now)`` of every variable that holds something else now, appended entries in order.

        Raises:
            TraceError: a change that no compiled form can make.
        """
        self._refuse_changed_containers()
        self._refuse_changed_options()
        self._refuse_draws()
        self._refuse_switches()
        for holder, key, before in self._entries:
            now = _held(holder, key)
            if now is before or (isinstance(now, PLAIN) and same_plain(now, before)):
                continue
            if now is MISSING:
                raise TraceError(f"compile: the function removes {key!r}, which a compiled one cannot. {WAY_OUT}")
            yield holder, key, before, now
        for holder, names, keys in self._mappings:
            for key in _keys(holder):
                if key not in keys and (names is None or key in names):
                    yield holder, key, MISSING, _held(holder, key)

    def arrays_written(self) -> list[np.ndarray]:
        """The NumPy arrays in sight that hold other values now."""
        return [x for x, held in self._arrays if _fingerprint(x) != held]

    def shows_another(self, holder: Any) -> bool:
        """Whether a holder is a view of a mapping, and not the attributes of a class."""
        return any(holder is x for x in self._read_only)

    def _refuse_changed_containers(self) -> None:
        for held, copy in self._long:
            if not same_contents(held, copy):
                raise TraceError(
                    f"compile: the function changes a {type(held).__name__} of {len(copy)} entries, which is not "
                    f"followed (only lists and dictionaries of up to {LONG} are). {WAY_OUT}"
                )

    def _refuse_changed_options(self) -> None:
        for optimizer, group, options in self._options:
            for name, value in options.items():
                now = group.get(name)
                if now is not value and now != value:
                    raise TraceError(
                        f"compile: {type(optimizer).__name__}'s option {name!r} is changed inside the function, from "
                        f"{value!r} to {now!r}. Change it outside, as with scheduler.step() after the call: that costs "
                        "no compilation."
                    )

    def _refuse_draws(self) -> None:
        for generator, state in self._generators:
            if _state(generator) != state:
                raise TraceError(
                    f"compile: random numbers are drawn inside the function from a {type(generator).__name__} that is "
                    "not the library's, and would be the same at each call. Draw them outside and pass them as an "
                    "argument, or use backlit.Generator."
                )

    def _refuse_switches(self) -> None:
        for x, required in self._requiring:
            if x._node is None and x._requires_grad is not required:
                raise TraceError(
                    f"compile: requires_grad of a tensor of shape {x.shape} is switched inside the function. Switch it "
                    "outside."
                )


def snapshot(held: Any) -> Any:
    """What a container holds, in one of its kind that nobody else has."""
    return set(held) if isinstance(held, set) else dict(held) if hasattr(held, "keys") else list(held)


def same_contents(held: Any, copy: Any) -> bool:
    """Whether a container holds the very objects that its snapshot does, under the same keys in the same order."""
    if isinstance(held, set):
        return bool(held == copy)
    if len(held) != len(copy):
        return False
    if hasattr(held, "keys"):
        return list(held) == list(copy) and all(map(is_, held.values(), copy.values()))
    return all(map(is_, held, copy))


def same_plain(a: Any, b: Any) -> bool:
    """Whether plain values are the same; 0.0 and -0.0 are not."""
    if type(a) is not type(b):
        return False
    return a.hex() == b.hex() if isinstance(a, float) else bool(a == b)


def foreign_generator(x: Any) -> bool:
    """Whether an object is a generator of random numbers of Python's or NumPy's."""
    legacy = sys.modules.get("numpy.random")  # not imported for this: it takes 20 ms
    kinds = (random.Random, *((legacy.Generator, legacy.RandomState) if legacy is not None else ()))
    return isinstance(x, kinds)


def _state(generator: Any) -> bytes:
    if isinstance(generator, random.SystemRandom):  # the system's, which cannot be asked where it is
        return os.urandom(8)
    if isinstance(generator, random.Random):
        return pickle.dumps(generator.getstate())
    held = getattr(generator, "bit_generator", None)
    return pickle.dumps(held.state if held is not None else generator.get_state(legacy=False))


def _keys(holder: Any) -> list[Any]:
    return list(holder) if hasattr(holder, "keys") else list(range(len(holder)))


def _held(holder: Any, key: Any) -> Any:
    try:
        return holder[key]
    except (KeyError, IndexError, ValueError):
        return MISSING


__all__ = [
    "LONG",
    "LONGER",
    "MISSING",
    "PLAIN",
    "WAY_OUT",
    "Before",
    "foreign_generator",
    "same_contents",
    "same_plain",
    "snapshot",
]
