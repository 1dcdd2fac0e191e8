"""Memory that inputs share: a program that was traced with shared memory holds only where it is shared again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...memory import address
from ...source import describe, mark
from ...tensor import Tensor
from ..errors import TraceError
from ..ir.program import Value
from .memory import bounds, memory_key
from .sources import Source

Array = np.ndarray


def array_of(x: Any) -> Array:
    """The array of a tensor, or the array that it is itself."""
    found: Array = x._data if isinstance(x, Tensor) else x
    return found


class Shared(NamedTuple):
    """What two sources hold shares memory: ``second`` lies ``distance`` bytes behind ``first``, in this form."""

    first: Source
    second: Source
    distance: int
    form: Any

    def holds(self, arguments: Sequence[Tensor]) -> bool:
        """Whether it is so in a call with these arguments."""
        try:
            first, second = self.first.now(arguments), self.second.now(arguments)
            if first is second and not self.distance:
                return True
            a, b = array_of(first), array_of(second)
            return memory_key(b)[1:] == self.form and address(b) - address(a) == self.distance
        except (KeyError, IndexError, ValueError, AttributeError):
            return False


class Identity(NamedTuple):
    """Whether two sources hold one and the same tensor."""

    first: Source
    second: Source
    same: bool

    def holds(self, arguments: Sequence[Tensor]) -> bool:
        """Whether it is as it was in a call with these arguments."""
        return (self.first.now(arguments) is self.second.now(arguments)) is self.same


def shared_memory(tracer: Any, written: list[Value]) -> list[Shared]:
    """The pairs of sources that the program takes for one, or for parts of one.

    Raises:
        TraceError: an input is written to that shares memory with another one.
    """
    inputs = [(value, source, tracer.targets[value]) for value, source in tracer.inputs.items()]
    extents = [bounds(array) for _, _, array in inputs]
    low, high = (np.array([e[i] for e in extents], np.int64) for i in (0, 1))
    _refuse_shared_writes(inputs, written, low, high)
    sources = {id(source) for _, source, _ in inputs}
    found = []
    for x, source in tracer.surroundings.places():
        if id(source) in sources:
            continue
        array = array_of(x)
        start, end = bounds(array)
        for i in np.flatnonzero((low < end) & (start < high)):
            distance = address(array) - address(inputs[i][2])
            found.append(Shared(inputs[i][1], source, distance, memory_key(array)[1:]))
    return found


def _refuse_shared_writes(inputs: list[Any], written: list[Value], low: Array, high: Array) -> None:
    for i, (value, _, array) in enumerate(inputs):
        if value in written and np.count_nonzero((low < high[i]) & (low[i] < high) & (low < high)) > 1:
            raise TraceError(
                f"compile: a tensor of shape {array.shape} is written to at {describe(mark())} and shares memory with "
                "another one that the function uses. Work on a clone() of one of them, or run the function eagerly."
            )
