"""Variables as entries of mappings, whatever kind they are, and the conditions on what they hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ...tensor import Tensor
from ..consumed import Consumed
from .assignments import PLAIN, same_plain


class Cell:
    """A closure cell as a mapping with one entry."""

    __slots__ = ("cell",)

    def __init__(self, cell: Any) -> None:
        self.cell = cell

    def __getitem__(self, key: Any) -> Any:
        return self.cell.cell_contents

    def __setitem__(self, key: Any, value: Any) -> None:
        self.cell.cell_contents = value


class Size:
    """How many entries a container has, as a mapping with one entry."""

    __slots__ = ("container",)

    def __init__(self, container: Any) -> None:
        self.container = container

    def __getitem__(self, key: Any) -> Any:
        return len(self.container)


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
    """The tuple that a variable holds, whichever that is, as a mapping."""

    __slots__ = ("holder", "key")

    def __init__(self, holder: Any, key: Any) -> None:
        self.holder = holder
        self.key = key

    def __getitem__(self, key: Any) -> Any:
        held = self.holder[self.key]
        if not isinstance(held, tuple):
            raise KeyError(key)
        return held[key]


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
        return None if isinstance(x, Consumed) else _kind(x.shape, x._data.dtype, x._requires_grad)
    return _kind(x.shape, x.dtype, None) if isinstance(x, np.ndarray) else None


@cache
def _kind(*kind: Any) -> Any:
    return kind


def form_of(held: Any) -> str:
    """The type and length of a tuple, the same object for the same; nothing of anything else."""
    return _form(type(held), len(held)) if isinstance(held, tuple) else ""


@cache
def _form(kind: type, length: int) -> str:
    return f"{kind.__qualname__} {length}"


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


class Absent:
    """A mapping that holds None for what another one lacks, and the other's entries."""

    __slots__ = ("mapping",)

    def __init__(self, mapping: Any) -> None:
        self.mapping = mapping

    def __getitem__(self, key: Any) -> Any:
        return self.mapping.get(key)


def place_of(holder: Any, key: Any) -> tuple[Any, Any]:
    """What tells a variable from others: mappings of one cell, object or tuple are made anew each time."""
    if isinstance(holder, Within):
        return place_of(holder.holder, holder.key), key
    if isinstance(holder, Cell):
        return id(holder.cell), key
    return id(holder.owner if isinstance(holder, Slots) else holder), key


__all__ = ["Absent", "Aspect", "Cell", "Guard", "Size", "Slots", "Within", "form_of", "kind_of", "place_of"]
