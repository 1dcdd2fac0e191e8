"""Programs run in memory that is watched: every value of the arena alone among free bytes, and free bytes around
inputs and outputs. The arena is filled with NaN before each run, so that what is read before it is written shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from backlit.compile import forms
from backlit.compile.assemble.build import Built, build
from backlit.compile.runtime.binding import Binding, element_strides
from backlit.compile.runtime.differentiable import Differentiable
from backlit.compile.runtime.executable import Executable
from backlit.compile.runtime.pool import pool_size
from backlit.compile.runtime.scratch import Scratch

ROOM = 64
"""Free bytes on either side of each value."""

FREE = 0xFF
"""What free bytes and the arena hold: NaN in every floating dtype, −1 in integers."""


class Watched:
    """Arrays with free bytes on either side."""

    def __init__(self) -> None:
        self.blocks: list[tuple[np.ndarray, np.ndarray]] = []

    def row_major(self, array: np.ndarray, shift: int = 0) -> np.ndarray:
        """A copy of an array; ``shift`` elements from an aligned address."""
        size = array.size * array.itemsize
        block = np.full(size + 2 * ROOM + 64 + shift * array.itemsize, FREE, np.uint8)
        start = ROOM + -(block.ctypes.data + ROOM) % 64 + shift * array.itemsize
        held = block[start : start + size].view(array.dtype).reshape(array.shape)
        held[...] = array
        free = np.ones(block.size, bool)
        free[start : start + size] = False
        self.blocks.append((block, free))
        return held

    def unaligned(self, array: np.ndarray) -> np.ndarray:
        """A copy that begins one element behind an aligned address."""
        return self.row_major(array, 1)

    def transposed(self, array: np.ndarray) -> np.ndarray:
        """A copy in column-major order."""
        return self.row_major(array.T).T

    def reversed(self, array: np.ndarray) -> np.ndarray:
        """A copy with negative strides."""
        turn = (slice(None, None, -1),) * array.ndim
        return self.row_major(array[turn])[turn] if array.ndim else self.row_major(array)

    def sliced(self, array: np.ndarray) -> np.ndarray:
        """A copy inside a larger array, whose other elements are watched too."""
        if not array.ndim:
            return self.row_major(array)
        inside = (slice(1, -1),) * array.ndim
        room = self.row_major(np.empty([n + 2 for n in array.shape], array.dtype))
        _, free = self.blocks[-1]
        room.view(np.uint8)[...] = FREE
        marks = np.zeros(room.shape, array.dtype)
        marks.view(np.uint8)[...] = 1
        marks[inside] = 0
        free[~free] = marks.reshape(-1).view(np.uint8) != 0
        room[inside] = array
        return room[inside]

    def check(self, what: str) -> None:
        """Nothing was written where nothing lies."""
        for block, free in self.blocks:
            assert np.all(block[free] == FREE), f"something was written next to {what}"


class Guarded(Executable):
    """A program whose arena and outputs are watched."""

    def __init__(self, built: Built, scratch: Scratch | None = None) -> None:
        self.watched = Watched()
        super().__init__(built, None)
        self.free = np.ones(self.arena.size, bool)
        for value, (slot, offset) in built.places.items():
            if slot == built.frame.arena_slot and value.dtype is not None:
                self.free[offset : offset + value.size * value.dtype.itemsize] = False

    def _place_output(self, i: int, array: np.ndarray) -> None:
        super()._place_output(i, self.watched.row_major(np.full(array.shape, 7, array.dtype)))

    def run(self) -> bool:
        self.arena[:] = FREE
        finished = super().run()
        assert np.all(self.arena[self.free] == FREE), "something was written between two values of the arena"
        self.watched.check("an output")
        return finished


def bound(seen: Any, clocked: bool = False, scratch: Scratch | None = None) -> Binding:
    """As :func:`backlit.compile.forms.bound`, with guards."""
    strides = {value: element_strides(seen.arrays[value]) for value in seen.program.inputs}
    kind = Binding if seen.pullback is None else Differentiable
    return kind(seen, Guarded(build(seen.program, strides, threads=pool_size(), apart=ROOM)), seen.arrays)


@contextmanager
def guards() -> Iterator[None]:
    """A block in which programs are built with guards."""
    with mock.patch.object(forms, "bound", bound):
        yield
