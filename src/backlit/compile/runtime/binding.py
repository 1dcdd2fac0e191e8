"""A compiled program tied to the world: its inputs read from where they are, its effects carried out at each call.

A small network's step takes a few microseconds, and so must everything around it. Calls that find everything as the
last one did, as most do, go by a function of :mod:`.repeated`.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ...memory import address
from ...storage import wrote_all
from ...tensor import Tensor
from ..consumed import Consumed
from ..errors import Misfit, Unforeseen
from ..ir.layout import Strides, row_major
from ..ir.program import Value
from ..signature import Likeness
from ..trace.capture import Capture
from ..trace.memory import Extent, extent
from ..trace.sources import Argument, ByReference, Fixed, Gradient, Number, Source, Variable
from ..trace.streams import FIELDS, Drawn, Stream
from .conditions import Conditions
from .executable import Executable
from .repeated import written_out

Array = np.ndarray


def element_strides(array: Array) -> Strides:
    """An array's strides in elements; those of an empty array say nothing, and NumPy gives now these, now others."""
    return tuple(s // array.itemsize for s in array.strides) if array.size else row_major(array.shape)


class Numbers:
    """The numbers of one optimizer's update: worked out at each call, written where the program reads them."""

    def __init__(self, update: Any) -> None:
        self.update = update
        self.step = 0
        """The number of the update that the program makes."""
        self.kept: dict[Any, Any] = {}
        self.last: Any = None

    def cell(self, index: int, dtype: Any) -> Array:
        """The 0-d array that holds one of the numbers in a dtype."""
        kind = ctypes.c_float if dtype == np.float32 else ctypes.c_double
        if dtype not in self.kept:
            self.kept[dtype] = (kind * self.update.count)()
        return np.frombuffer(self.kept[dtype], dtype)[index, ...]

    def renew(self) -> None:
        """Write down the numbers of the coming step.

        Raises:
            Misfit: the update would be another one than the program makes.
        """
        update = self.update
        self.step = update.step()
        numbers = update.optimizer.constants(update.group, self.step)
        if numbers != self.last:
            self.last = numbers
            for held in self.kept.values():
                held[:] = numbers


class Position:
    """Where a generator's stream is, written where the program reads it."""

    def __init__(self, drawn: Drawn) -> None:
        self.drawn = drawn
        self.array = np.zeros(FIELDS, np.int64)
        self.rest: Any = None

    def renew(self) -> None:
        """Write down where the stream is now.

        Raises:
            Unforeseen: so far on that counting in one word does not do.
        """
        place = self.drawn.source.generator.place
        used = 4 * (place.block - 1) + place.used
        if used >= 1 << 62:
            raise Unforeseen
        self.array[0] = used
        rest = *place.others, *place.keys
        if rest != self.rest:
            self.rest = rest
            self.array[1:] = np.array(rest, np.uint64).view(np.int64)


class Binding:
    """One specialisation of a compiled function, ready to be called."""

    leaves_a_node: ClassVar[bool] = False
    """Whether a call is a node of the graph, by which gradients go on."""

    def __init__(self, capture: Capture, executable: Executable, arrays: dict[Value, Array]) -> None:
        self.capture = capture
        self.executable = executable
        self.numbers = [Numbers(update) for update in capture.updates]
        self.arguments: list[tuple[int, int]] = []
        self.variables: list[tuple[int, Any, Any]] = []
        self.gradients: list[tuple[int, Source]] = []
        self.held: list[Array | None] = [None] * len(capture.sources)
        self.shapes = [(v.shape, v.dtype, element_strides(arrays[v])) for v in capture.program.inputs]
        self.writes = _Writes(capture, [arrays[v] for v in capture.program.inputs])
        self.streams = [Position(drawn) for drawn in capture.streams]
        self.references: list[tuple[int, Tensor]] = []
        for i, source in enumerate(capture.sources):
            self._tie(i, source)
        self.conditions = Conditions(capture, [tensor for _, tensor in self.references])
        used_up = [(s, place) for s, place in capture.gradients if place == -1 and isinstance(s, ByReference)]
        self.left = [pair for pair in capture.gradients if pair not in used_up]
        self.consumed: list[tuple[Tensor, Any]] = [(source.tensor, None) for source, _ in used_up]
        self.single = capture.outcome.single
        self._sort_writes()

    def _tie(self, i: int, source: Any) -> None:
        if isinstance(source, Argument):
            self.arguments.append((i, source.index))
        elif isinstance(source, ByReference):
            self.references.append((i, source.tensor))
        elif isinstance(source, Variable):
            self.variables.append((i, source.holder, source.key))
        elif isinstance(source, Gradient):
            self.gradients.append((i, source.leaf))
        elif isinstance(source, Number):
            feed = next(n for n in self.numbers if n.update is source.feed)
            self._hold(i, feed.cell(source.index, self.capture.program.inputs[i].dtype))
        elif isinstance(source, Fixed):
            self._hold(i, source.array)
        elif isinstance(source, Stream):
            self._hold(i, next(p.array for p in self.streams if p.drawn.source is source))

    def _sort_writes(self) -> None:
        """What is written to: objects whose storages count the write, or arguments found at each call."""
        position = {value: i for i, value in enumerate(self.capture.program.inputs)}
        self.written_storages = []
        self.written_inputs = []
        for target, _ in self.capture.program.writes:
            source = self.capture.sources[position[target]]
            if not isinstance(source, ByReference):
                self.written_inputs.append(source)
            elif source.counted:
                self.written_storages.append(source.tensor.storage())

    def worked_out(self) -> dict[Value, float]:
        """The inputs that are worked out at each call, with their values at the last one."""
        inputs = zip(self.capture.program.inputs, self.capture.sources, self.held, strict=True)
        return {value: float(held) for value, source, held in inputs if isinstance(source, Number) and held is not None}

    def repeated(self, likeness: Likeness, steady: bool) -> Callable[[Any], Any]:
        """The function that makes calls like the last one; see :mod:`.repeated`."""
        return written_out(self, likeness, steady)

    # -- calling ----------------------------------------------------------------------------------------------------

    def call(self, arguments: Sequence[Tensor], unchanged: bool = False, steady: bool = False) -> Any:
        """Run the program on these arguments and give the function's result; see :meth:`run`."""
        outputs = self.run(arguments, unchanged, steady)
        if self.single:
            return Tensor(outputs[0])
        return self.capture.outcome([Tensor(a) for a in outputs[: self.capture.results]], arguments)

    def run(self, arguments: Sequence[Tensor], unchanged: bool = False, steady: bool = False) -> list[Array]:
        """Run the program on these arguments, and give its outputs.

        Args:
            arguments: the call's tensors.
            unchanged: whether conditions need not be looked at, since a function of :mod:`.repeated` did.
            steady: whether it also saw that variables hold what they held at the last call.

        Raises:
            Misfit: before anything was done, where a condition of the program does not hold.
            Unforeseen: before anything was written, where the values do not suit it.
        """
        if not unchanged:
            self.conditions.check(arguments)
            self._look_at_references()
        held = self.held
        for i, index in self.arguments:
            array = arguments[index]._data
            if array is not held[i]:
                self._hold(i, array)
        if self.variables and not steady:
            self._look_up_variables()
        if self.gradients:
            self._look_up_gradients(arguments)
        if self.writes.moved and self.writes.collide(held):
            raise Unforeseen
        for position in self.streams:
            position.renew()
        for numbers in self.numbers:
            numbers.renew()
        outputs = self.executable.outputs()
        if outputs is None:
            raise Unforeseen
        self._settle(outputs, arguments)
        return outputs

    def _look_at_references(self) -> None:
        for i, tensor in self.references:
            if tensor._data is not self.held[i]:
                self._hold(i, tensor._data)
        self.conditions.seen[:] = [tensor._data for _, tensor in self.references]

    def _look_up_variables(self) -> None:
        for i, holder, key in self.variables:
            try:
                found = holder[key]
            except (KeyError, IndexError, ValueError):
                raise Misfit from None
            if getattr(found, "_requires_grad", False) is not self.capture.requiring[i]:
                raise Misfit
            array = found._data if isinstance(found, Tensor) else found
            if array is not self.held[i] or array is None:  # nothing is held before the first call
                self._hold(i, array)

    def _look_up_gradients(self, arguments: Sequence[Tensor]) -> None:
        for i, leaf in self.gradients:
            gradient = leaf.now(arguments)._grad
            if gradient is None or gradient.__class__ is Consumed:
                raise Misfit
            if gradient._data is not self.held[i]:
                self._hold(i, gradient._data)

    def _hold(self, i: int, array: Any) -> None:
        if not isinstance(array, np.ndarray):
            raise Misfit
        shape, dtype, strides = self.shapes[i]
        if array.shape != shape or array.dtype != dtype or element_strides(array) != strides:
            raise Misfit
        self.held[i] = array
        self.writes.moved.append(i)
        self.executable.bind(i, array)

    def _settle(self, outputs: list[Array], arguments: Sequence[Tensor]) -> None:
        """Count steps and writes, and leave gradients as the function would have left them."""
        for numbers in self.numbers:
            numbers.update.done(numbers.step)
        for position in self.streams:
            position.drawn.source.generator.skip(position.drawn.words)
        for leaf, gradient in self.consumed:
            if leaf._grad is not gradient or gradient is None:
                self.use_up_gradients()
                break
        for source, place in self.left:
            leaf = source.now(arguments)
            if place is None:
                leaf._grad = None
            elif place >= 0:
                leaf._grad = Tensor(outputs[place])
            elif leaf._grad.__class__ is not Consumed:
                leaf._grad = Consumed(leaf)
        if self.written_storages:
            wrote_all(self.written_storages, None)
        for source in self.written_inputs:
            _count_write(source, arguments)

    def use_up_gradients(self) -> None:
        """Leaves whose gradients are not kept say so."""
        for leaf, _ in self.consumed:
            if leaf._grad.__class__ is not Consumed:
                leaf._grad = Consumed(leaf)
        self.consumed = [(leaf, leaf._grad) for leaf, _ in self.consumed]


def _count_write(source: Any, arguments: Sequence[Tensor]) -> None:
    if isinstance(source, Argument):
        arguments[source.index].storage().wrote()
    elif isinstance(source, Variable) and isinstance(source.holder[source.key], Tensor):
        source.holder[source.key].storage().wrote()


class _Writes:
    """Whether memory that the program writes to is that of an input it reads; the order of both was not planned."""

    def __init__(self, capture: Capture, arrays: list[Array]) -> None:
        position = {value: i for i, value in enumerate(capture.program.inputs)}
        self.written = {position[target] for target, _ in capture.program.writes}
        self.extents = [extent(array) for array in arrays]
        self.moved: list[int] = []
        """Inputs that lie elsewhere than at the last call."""
        self.starts: list[int] = []
        self.ends: list[int] = []

    def collide(self, held: list[Any]) -> bool:
        """Whether an input that moved lies where another one is written; a written one may not be read-only either."""
        moved, self.moved = self.moved, []
        if not self.written:
            return False
        if not self.written.isdisjoint(moved):
            moved = [i for i in range(len(held)) if i not in self.written]
            if not self._place(held):
                self.moved = list(range(len(held)))
                return True
        for i in moved:
            start, end = self._bounds(i, held[i])
            k = bisect_right(self.starts, start)
            if start < end and ((k and self.ends[k - 1] > start) or (k < len(self.starts) and self.starts[k] < end)):
                self.moved = list(range(len(held)))
                return True
        return False

    def _place(self, held: list[Any]) -> bool:
        """Note where inputs are written; false where they overlap or may not be written to."""
        bounds = sorted(self._bounds(i, held[i]) for i in self.written)
        bounds = [(start, end) for start, end in bounds if start < end]
        self.starts, self.ends = [start for start, _ in bounds], [end for _, end in bounds]
        apart = all(end <= start for end, start in zip(self.ends, self.starts[1:], strict=False))
        return apart and all(held[i].flags.writeable for i in self.written)

    def _bounds(self, i: int, array: Array) -> Extent:
        low, high = self.extents[i]
        start = address(array)
        return start + low, start + high
