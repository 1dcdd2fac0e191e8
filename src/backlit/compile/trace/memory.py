"""Which value of the program each array holds, while a function runs.

Arrays are known by the memory they show: address, shape, strides and dtype. A detached tensor or a saved output is
another object that shows the same memory, and so the same value. Every array is kept alive until the trace is over, so
that no address is used twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.program import Value

Array = np.ndarray
Key = tuple[Any, ...]


def memory_key(array: Array) -> Key:
    """What tells one view of one block of memory from all others."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype


class Memory:
    """The values of all arrays seen so far."""

    def __init__(self) -> None:
        self._values: dict[Key, Value] = {}
        self._arrays: dict[Key, Array] = {}
        self._kept: list[Any] = []
        self.stale: set[Key] = set()

    def get(self, array: Array) -> Value | None:
        """The value an array holds, or None for an array that is not known, or no longer."""
        return self._values.get(memory_key(array))

    def is_stale(self, array: Array) -> bool:
        """Whether the array shows memory that was written to through another view since it was last looked at."""
        return memory_key(array) in self.stale

    def put(self, array: Array, value: Value) -> None:
        """An array holds a value from now on."""
        key = memory_key(array)
        self._values[key] = value
        self._arrays[key] = array
        self._kept.append(array)
        self.stale.discard(key)

    def wrote(self, array: Array, value: Value) -> None:
        """An array was overwritten: what other views of its memory show is not known any more."""
        key = memory_key(array)
        for other, shown in list(self._arrays.items()):
            if other != key and other in self._values and np.may_share_memory(shown, array):
                del self._values[other]
                self.stale.add(other)
        self.put(array, value)
