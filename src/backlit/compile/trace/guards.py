"""Variables as entries of mappings, whatever kind they are, and the conditions on what they hold."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ...tensor import Tensor
from ..consumed import Consumed
from .before import PLAIN, same_contents, same_plain, snapshot


class Cell:
    """A closure cell as a mapping with one entry."""

    __slots__ = ("cell",)

    def __init__(self, cell: Any) -> None:
        self.cell = cell

    def __getitem__(self, key: Any) -> Any:
        return self.cell.cell_contents

    def __setitem__(self, key: Any, value: Any) -> None:
        self.cell.cell_contents = value


class Context:
    """A context variable as a mapping with one entry."""

    __slots__ = ("variable",)

    def __init__(self, variable: ContextVar[Any]) -> None:
        self.variable = variable

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.variable.get()
        except LookupError:
            raise KeyError(key) from None

    def __setitem__(self, key: Any, value: Any) -> None:
        self.variable.set(value)


class Size:
    """How many entries a container has, as a mapping with one entry."""

    __slots__ = ("container",)

    def __init__(self, container: Any) -> None:
        self.container = container

    def __getitem__(self, key: Any) -> Any:
        return len(self.container)


class Names:
    """The names of a module's members in order, as a mapping with one entry; ``changes.count`` is another one whenever
    any module's have changed."""

    __slots__ = ("changes", "container")

    def __init__(self, container: Any, changes: Any) -> None:
        self.container = container
        self.changes = changes

    def __getitem__(self, key: Any) -> Any:
        return names_in(self.container)


class Slots:
    """The attributes that an object keeps in ``__slots__``, as a mapping."""

    __slots__ = ("owner",)

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __getitem__(self, key: Any) -> Any:
        try:
            return object.__getattribute__(self.owner, key)
        except AttributeError:
            raise KeyError(key) from None

    def __setitem__(self, key: Any, value: Any) -> None:
        object.__setattr__(self.owner, key, value)


class Within:
    """The tuple, list, dictionary or object that a variable holds, whichever that is, as a mapping."""

    __slots__ = ("holder", "key")

    def __init__(self, holder: Any, key: Any) -> None:
        self.holder = holder
        self.key = key

    def __getitem__(self, key: Any) -> Any:
        held = self.holder[self.key]
        try:
            return held[key] if isinstance(held, (tuple, list, dict)) else held.__dict__[key]
        except (TypeError, AttributeError):
            raise KeyError(key) from None


class Aspect:
    """Something about what a variable holds, worked out by a function, as a mapping with one entry."""

    __slots__ = ("holder", "key", "of")

    def __init__(self, holder: Any, key: Any, of: Callable[[Any], Any]) -> None:
        self.holder = holder
        self.key = key
        self.of = of

    def __getitem__(self, key: Any) -> Any:
        return self.of(self.holder[self.key])


def kind_of(x: Any) -> Any:
    """Shape, dtype, and whether gradients are required, the same object for the same; None for what is no tensor."""
    if isinstance(x, Tensor):
        return None if isinstance(x, Consumed) else _same(x.shape, x._data.dtype, x._requires_grad)
    return _same(x.shape, x.dtype, None) if isinstance(x, np.ndarray) else None


@cache
def _same(*parts: Any) -> Any:
    """A tuple, the same object for the same parts."""
    return parts


def has_gradient(x: Any) -> bool:
    """Whether what a variable holds is a tensor with a gradient."""
    return getattr(x, "_grad", None) is not None


def names_in(container: Any) -> tuple[str, ...]:
    """A dictionary's keys, the same object for the same."""
    return _same(*container)


def form_of(held: Any) -> Any:
    """The type of a container or an object, and its length or the names in it; the same object for the same."""
    kind: Any = type(held)
    if isinstance(held, (tuple, list)):
        return _form(kind, len(held))
    return _form(kind, tuple(held if isinstance(held, dict) else getattr(held, "__dict__", ())))


@lru_cache(maxsize=4096)
def _form(kind: Any, names: Any) -> Any:
    return kind, names


class Guard:
    """An entry of a mapping that must hold a certain object (or an equal number or string)."""

    __slots__ = ("expected", "holder", "key")

    def __init__(self, holder: Any, key: Any, expected: Any) -> None:
        self.holder = holder
        self.key = key
        self.expected = expected

    def holds(self) -> bool:
        """Whether the program may be used, as far as this entry is concerned."""
        try:
            found = self.holder[self.key]
        except (KeyError, IndexError, ValueError):
            return False
        return found is self.expected or (isinstance(found, PLAIN) and same_plain(found, self.expected))


class Lacks:
    """Whether a mapping has none of certain entries, as a mapping with one entry."""

    __slots__ = ("mapping", "names")

    def __init__(self, mapping: Any, names: frozenset[str]) -> None:
        self.mapping = mapping
        self.names = names

    def __getitem__(self, key: Any) -> Any:
        return self.names.isdisjoint(self.mapping.keys())


class Order:
    """Whether a mapping has certain keys in this order, as a mapping with one entry."""

    __slots__ = ("keys", "mapping")

    def __init__(self, mapping: Any) -> None:
        self.mapping = mapping
        self.keys = list(mapping)

    def __getitem__(self, key: Any) -> Any:
        return list(self.mapping) == self.keys


class Others:
    """Whether a mapping has the same keys, some aside, as a mapping with one entry."""

    __slots__ = ("aside", "keys", "mapping")

    def __init__(self, mapping: Any, aside: frozenset[str]) -> None:
        self.mapping = mapping
        self.aside = aside
        self.keys = mapping.keys() - aside

    def __getitem__(self, key: Any) -> Any:
        return self.mapping.keys() - self.aside == self.keys


class Apart:
    """Whether several variables hold objects of their own, as a mapping with one entry."""

    __slots__ = ("places",)

    def __init__(self, places: list[tuple[Any, Any]]) -> None:
        self.places = places

    def __getitem__(self, key: Any) -> Any:
        return len({id(holder[key]) for holder, key in self.places}) == len(self.places)


class Contents:
    """Whether a container holds the very objects that it held, as a mapping with one entry."""

    __slots__ = ("container", "held")

    def __init__(self, container: Any) -> None:
        self.container = container
        self.held = snapshot(container)

    def __getitem__(self, key: Any) -> Any:
        return same_contents(self.container, self.held)


FEW_BYTES = 4096
"""Larger arrays that only NumPy reads are not compared with what was in them."""


class Bytes:
    """Whether the array that a variable holds has the values that it had, as a mapping with one entry."""

    __slots__ = ("held", "holder", "key")

    def __init__(self, holder: Any, key: Any) -> None:
        self.holder = holder
        self.key = key
        self.held = holder[key].tobytes()

    def __getitem__(self, key: Any) -> Any:
        found = self.holder[self.key]
        return isinstance(found, np.ndarray) and found.tobytes() == self.held


class Missing:
    """Whether a mapping has no entry of a name, as a mapping with that entry."""

    __slots__ = ("holder",)

    def __init__(self, holder: Any) -> None:
        self.holder = holder

    def __getitem__(self, key: Any) -> Any:
        try:
            self.holder[key]
        except (KeyError, ValueError):
            return True
        return False


def place_of(holder: Any, key: Any) -> tuple[Any, Any]:
    """What tells a variable from others: mappings of one cell, object or tuple are made anew each time."""
    if isinstance(holder, Within):
        return place_of(holder.holder, holder.key), key
    if isinstance(holder, Cell):
        return id(holder.cell), key
    if isinstance(holder, Context):
        return id(holder.variable), key
    return id(holder.owner if isinstance(holder, Slots) else holder), key


__all__ = [
    "FEW_BYTES",
    "Apart",
    "Aspect",
    "Bytes",
    "Cell",
    "Contents",
    "Context",
    "Guard",
    "Lacks",
    "Missing",
    "Names",
    "Order",
    "Others",
    "Size",
    "Slots",
    "Within",
    "form_of",
    "has_gradient",
    "kind_of",
    "names_in",
    "place_of",
]
