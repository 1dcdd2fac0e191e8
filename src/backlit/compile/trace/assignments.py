"""Variables that a function gives another value while it runs: attributes, globals, entries of lists and dictionaries.

They are compared before and after the run that is watched. Each change is carried out again at every call of the
compiled form: with tensors that the program makes, with tensors that were there before, or with plain values. Those may
depend on nothing but what the form was made for, so they are the same each time. What cannot be done again is refused.
"""

from __future__ import annotations

import os
import pickle
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ...containers import flatten
from ...storage import _fingerprint
from ...tensor import Tensor
from ..errors import TraceError
from .sources import Argument, ByReference, Source, Variable

PLAIN = (bool, int, float, str, bytes, type(None))

LONG = 256
"""Lists and dictionaries with more entries must not be changed inside, and where they are, all is compiled anew."""

LONGER = 4096
"""Those with more entries still are compared by their length only."""

_LASTING = (*PLAIN, complex, np.generic, np.dtype, type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)

_MISSING = object()


@dataclass
class Assigned:
    """A variable with another value.

    Attributes:
        holder, key: the mapping or list, and the entry in it.
        before: what it held, for :meth:`undo`.
        rebuild: makes the value from the tensors in it.
        parts: where each of these is found: among the tensors that a call made, or before the call.
    """

    holder: Any
    key: Any
    before: Any
    rebuild: Any
    parts: list[int | Source]

    def value(self, made: Sequence[Tensor], arguments: Sequence[Tensor]) -> Any:
        """What the variable is given by a call."""
        return self.rebuild([made[p] if isinstance(p, int) else p.now(arguments) for p in self.parts])

    def put(self, value: Any) -> None:
        """Give it that."""
        if isinstance(self.key, int) and hasattr(self.holder, "append") and self.key == len(self.holder):
            self.holder.append(value)
        else:
            self.holder[self.key] = value

    def undo(self) -> None:
        """Put back what was there before the function ran."""
        if self.before is _MISSING:
            del self.holder[self.key]
        else:
            self.holder[self.key] = self.before


class Before:
    """What variables in sight held before the function ran."""

    def __init__(self) -> None:
        self._entries: list[tuple[Any, Any, Any]] = []
        self._mappings: list[tuple[Any, set[str] | None, set[Any]]] = []
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
        self._entries.append((holder, key, _MISSING))

    def mapping(self, holder: Any, names: set[str] | None) -> None:
        """A mapping or list that may get more entries, of any name or of those that the program's code names."""
        self._mappings.append((holder, names, set(_keys(holder))))

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
            if now is _MISSING:
                raise TraceError(f"compile: the function removes {key!r}, which a compiled one cannot. {_WAY_OUT}")
            yield holder, key, before, now
        for holder, names, keys in self._mappings:
            for key in _keys(holder):
                if key not in keys and (names is None or key in names):
                    yield holder, key, _MISSING, _held(holder, key)

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
                    f"followed (only lists and dictionaries of up to {LONG} are). {_WAY_OUT}"
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


_WAY_OUT = "Return the value, and do that outside."


def _keys(holder: Any) -> list[Any]:
    return list(holder) if hasattr(holder, "keys") else list(range(len(holder)))


def _held(holder: Any, key: Any) -> Any:
    try:
        return holder[key]
    except (KeyError, IndexError, ValueError):
        return _MISSING


def assigned(tracer: Any, made: list[Tensor]) -> list[Assigned]:
    """The changes that a run made, the tensors that it made for them appended to ``made``.

    Raises:
        TraceError: one of them cannot be made again.
    """
    found = []
    _refuse_written_arrays(tracer)
    changes = list(tracer.surroundings.before.changes())
    for holder, key, before, now in changes:
        if not hasattr(holder, "__setitem__"):
            if _follows(tracer, holder, key, now, changes):
                continue
            raise TraceError(f"compile: the function sets {key!r} of a class, which a compiled one cannot. {_WAY_OUT}")
        if tracer.surroundings.knew(now):
            found.append(Assigned(holder, key, before, partial(_first, now), []))
            continue
        _check(now, key, tracer.surroundings)
        tensors, rebuild = flatten(now)
        found.append(Assigned(holder, key, before, rebuild, [_part(tracer, x, key, made) for x in tensors]))
    return found


def _refuse_written_arrays(tracer: Any) -> None:
    """Refuse NumPy arrays that were written to; those that share a tensor's memory change with it."""
    written = tracer.surroundings.before.arrays_written()
    inputs = [(value, tracer.targets[value]) for value in tracer.inputs] if written else []
    for array in written:
        if not any(tracer.memory.get(x) is not value and np.may_share_memory(array, x) for value, x in inputs):
            raise TraceError(
                f"compile: the function writes to a NumPy array of shape {array.shape}, which a compiled one cannot. "
                "Use a tensor in its place, or return the value and write it outside."
            )


def _follows(tracer: Any, holder: Any, key: Any, now: Any, changes: list[Any]) -> bool:
    """Whether a view of a mapping shows another value because the mapping does, which is in sight too.

    Raises:
        TraceError: a view of a mapping that is out of sight.
    """
    if not tracer.surroundings.before.shows_another(holder):
        return False
    if any(k == key and x is now and hasattr(other, "__setitem__") for other, k, _, x in changes):
        return True
    raise TraceError(
        f"compile: {key!r} of a read-only view of a mapping changes inside the function, by something that cannot be "
        f"seen. {_WAY_OUT}"
    )


def _first(held: Any, tensors: Any) -> Any:
    """An object that was there before, by reference."""
    return held


def _part(tracer: Any, x: Tensor, key: Any, made: list[Tensor]) -> int | Source:
    source = tracer.surroundings.find(x)
    if isinstance(source, (Argument, ByReference, Variable)) and x._node not in tracer.applications:
        return source  # type: ignore[no-any-return]
    if type(x) is not Tensor:
        raise TraceError(f"compile: the function sets {key!r} to a new {type(x).__name__}. Make it outside.")
    if x._requires_grad and (x._node is None or x._node.saved is not None):
        raise TraceError(
            f"compile: the function sets {key!r} to a tensor of shape {x.shape} that requires gradients. Set it to "
            "x.detach(), or return it."
        )
    known = next((i for i, other in enumerate(made) if other is x), None)
    if known is not None:
        return known
    made.append(x)
    return len(made) - 1


def _check(value: Any, key: Any, surroundings: Any) -> None:
    """Refuse objects that were made inside."""
    if isinstance(value, (Tensor, *_LASTING)) or surroundings.knew(value):
        return
    if type(value) is dict:
        parts = list(value.values())
    elif type(value) in (list, tuple) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        parts = list(value)
    else:
        raise TraceError(
            f"compile: the function sets {key!r} to an object that it made ({type(value).__name__}), which a compiled "
            f"one cannot. {_WAY_OUT}"
        )
    for part in parts:
        _check(part, key, surroundings)


__all__ = ["LONG", "LONGER", "PLAIN", "Assigned", "Before", "assigned", "foreign_generator"]
