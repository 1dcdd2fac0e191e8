"""Which value of the program each array holds, while a function runs.

Arrays are known by the memory they show: address, shape, strides and dtype. A detached tensor or a saved output is
another object that shows the same memory, and so the same value. What is known of memory ends with the array that owns
it, since its address may be used again: a watched run needs no more memory than one that nobody watches.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ...memory import address
from ..ir.program import Value

Array = np.ndarray
Key = tuple[Any, ...]
Extent = tuple[int, int]


def memory_key(array: Array) -> Key:
    """What tells one view of one block of memory from all others."""
    return address(array), array.shape, array.strides, array.dtype


def extent(array: Array) -> Extent:
    """The bytes from the lowest to past the highest that an array's elements take, counted from its first element."""
    return _bounds((0, array.shape, array.strides, array.dtype))


def bounds(array: Array) -> Extent:
    """The same as addresses."""
    return _bounds(memory_key(array))


def _bounds(key: Key) -> Extent:
    start, shape, strides, dtype = key
    if 0 in shape:
        return start, start
    moved = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    return start + sum(m for m in moved if m < 0), start + sum(m for m in moved if m > 0) + dtype.itemsize


class _Block:
    """Memory that one array owns, and the views of it that were seen."""

    __slots__ = ("owner", "views")

    def __init__(self, owner: Callable[[], Any]) -> None:
        self.owner = owner
        self.views: list[_View] = []


class _View:
    """A view of a block, and the value that it shows: None where its memory was written to through another view."""

    __slots__ = ("_bounds", "block", "key", "value")

    def __init__(self, block: _Block, key: Key) -> None:
        self.block = block
        self.key = key
        self.value: Value | None = None
        self._bounds: Extent | None = None

    @property
    def bounds(self) -> Extent:
        """Where its bytes lie; most views are never asked."""
        if self._bounds is None:
            self._bounds = _bounds(self.key)
        return self._bounds


class Memory:
    """The values of all arrays that are still there."""

    def __init__(self) -> None:
        self._views: dict[Key, _View] = {}
        self._met: dict[int, tuple[Callable[[], Any], _View]] = {}
        """The views of arrays that were met, by their ids: asking an array for its address takes some microseconds."""
        self._blocks: dict[int, _Block] = {}
        self._foreign = _Block(lambda: True)
        self._kept: list[Array] = []

    def get(self, array: Array) -> Value | None:
        """The value an array holds, or None for an array that is not known, or no longer."""
        view = self._look(array)
        return None if view is None else view.value

    def is_stale(self, array: Array) -> bool:
        """Whether the array shows memory that was written to through another view since it was last looked at."""
        view = self._look(array)
        return view is not None and view.value is None

    def put(self, array: Array, value: Value) -> None:
        """An array holds a value from now on."""
        self._view(array).value = value

    def wrote(self, array: Array, value: Value) -> None:
        """An array was overwritten: what other views of its memory show is not known any more."""
        view = self._view(array)
        low, high = view.bounds
        for block in self._near(view.block):
            for other in block.views:
                start, end = other.bounds
                if max(low, start) < min(high, end):
                    other.value = None
        view.value = value

    def _look(self, array: Array) -> _View | None:
        return self._met_as(array) or self._known(array, memory_key(array))

    def _met_as(self, array: Array) -> _View | None:
        """The view that an array was met as; another array's id may have been the same."""
        met = self._met.get(id(array))
        return met[1] if met is not None and met[0]() is array else None

    def _known(self, array: Array, key: Key) -> _View | None:
        """The view under a key, if its memory is still there."""
        view = self._views.get(key)
        if view is None or view.block.owner() is None:
            return None
        self._met[id(array)] = weakref.ref(array), view
        return view

    def _view(self, array: Array) -> _View:
        """The view that an array is; a new one where it is not known."""
        view = self._met_as(array)
        if view is None:
            key = memory_key(array)
            view = self._known(array, key)
        if view is None:
            block = self._block(array)
            view = self._views[key] = _View(block, key)
            block.views.append(view)
            self._met[id(array)] = weakref.ref(array), view
        return view

    def _block(self, array: Array) -> _Block:
        """The block that an array is in. Memory that no array owns is kept alive, and all one block."""
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        if owner.base is not None or not owner.flags.owndata:
            self._kept.append(array)
            return self._foreign
        block = self._blocks.get(id(owner))
        if block is None or block.owner() is not owner:
            block = self._blocks[id(owner)] = _Block(weakref.ref(owner))
        return block

    def _near(self, block: _Block) -> Iterable[_Block]:
        """The blocks that memory in this one may be shared with: what others own is theirs alone."""
        if block is not self._foreign:
            return (block, self._foreign)
        return (self._foreign, *(other for other in self._blocks.values() if other.owner() is not None))


__all__ = ["Extent", "Memory", "bounds", "extent", "memory_key"]
