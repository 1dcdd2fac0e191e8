"""Which value of the program each array holds, while a function runs.

Arrays are known by the memory they show: address, shape, strides and dtype. A detached tensor or a saved output is
another object that shows the same memory, and so the same value. What is known of memory ends with the array that owns
it, since its address may be used again: a watched run needs no more memory than one that nobody watches.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

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
    """Memory that one array owns, and the keys of the views of it that were seen."""

    __slots__ = ("owner", "views")

    def __init__(self, owner: Callable[[], Any]) -> None:
        self.owner = owner
        self.views: set[Key] = set()


class _Shown(NamedTuple):
    """What a view shows: a value, or None where its memory was written to through another view."""

    value: Value | None
    block: _Block


class Memory:
    """The values of all arrays that are still there."""

    def __init__(self) -> None:
        self._shown: dict[Key, _Shown] = {}
        self._blocks: dict[int, _Block] = {}
        self._foreign = _Block(lambda: True)
        self._kept: list[Array] = []

    def get(self, array: Array) -> Value | None:
        """The value an array holds, or None for an array that is not known, or no longer."""
        shown = self._look(array)
        return None if shown is None else shown.value

    def is_stale(self, array: Array) -> bool:
        """Whether the array shows memory that was written to through another view since it was last looked at."""
        shown = self._look(array)
        return shown is not None and shown.value is None

    def put(self, array: Array, value: Value) -> None:
        """An array holds a value from now on."""
        block, key = self._block(array), memory_key(array)
        block.views.add(key)
        self._shown[key] = _Shown(value, block)

    def wrote(self, array: Array, value: Value) -> None:
        """An array was overwritten: what other views of its memory show is not known any more."""
        self.put(array, value)
        key = memory_key(array)
        for block in self._near(self._block(array)):
            for other in block.views:
                if other != key and self._shown[other].block is block and _overlap(key, other):
                    self._shown[other] = _Shown(None, block)

    def _look(self, array: Array) -> _Shown | None:
        shown = self._shown.get(memory_key(array))
        return shown if shown is not None and shown.block.owner() is not None else None

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


def _overlap(one: Key, other: Key) -> bool:
    (low, high), (start, end) = _bounds(one), _bounds(other)
    return max(low, start) < min(high, end)


__all__ = ["Extent", "Memory", "bounds", "extent", "memory_key"]
