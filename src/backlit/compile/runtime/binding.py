"""A compiled program tied to the world: its inputs read from where they are, its effects carried out at each call.

Most calls find everything as it was at the call before; each check is one comparison of identities then. Addresses are
asked for only where an array is another one than last time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...storage import wrote_all
from ...tensor import Tensor
from ..ir.layout import Strides
from ..ir.program import Value
from ..trace.capture import Capture
from ..trace.sources import Argument, ByReference, Fixed, Gradient, Number, Variable
from .executable import Executable
from .stale import Consumed

Array = np.ndarray


class Misfit(Exception):
    """The world is not as it was when the program was made; another program is needed."""


class Unforeseen(Exception):
    """The values are none that the program was made for; nothing was written, and the function must run eagerly."""


def element_strides(array: Array) -> Strides:
    """An array's strides in elements."""
    return tuple(s // array.itemsize for s in array.strides)


class Numbers:
    """The numbers of one optimizer's update: worked out at each call, written where the program reads them."""

    def __init__(self, update: Any) -> None:
        self.update = update
        self.places: list[tuple[int, Array]] = []
        self.last: Any = None

    def renew(self) -> int:
        """Write down the numbers of the coming step, and return how many steps that makes."""
        update = self.update
        step = update.step()
        if step is None or not update.holds():
            raise Misfit
        numbers = update.constants(step)
        if numbers != self.last:
            self.last = numbers
            for i, cell in self.places:
                cell[()] = numbers[i]
        return int(step)


class Binding:
    """One specialisation of a compiled function, ready to be called."""

    def __init__(self, capture: Capture, executable: Executable, arrays: dict[Value, Array]) -> None:
        self.capture = capture
        self.executable = executable
        self.numbers = [Numbers(update) for update in capture.updates]
        self.arguments: list[tuple[int, int]] = []
        self.references: list[tuple[int, Tensor]] = []
        self.variables: list[tuple[int, Any, Any]] = []
        self.gradients: list[tuple[int, Tensor]] = []
        self.held: list[Array | None] = [None] * len(capture.sources)
        self.shapes = [(v.shape, v.dtype, element_strides(arrays[v])) for v in capture.program.inputs]
        for i, source in enumerate(capture.sources):
            self._tie(i, source)
        self._sort_writes()

    def _tie(self, i: int, source: Any) -> None:
        if isinstance(source, Argument):
            self.arguments.append((i, source.index))
        elif isinstance(source, ByReference):
            self.references.append((i, source.tensor))
        elif isinstance(source, Variable):
            self.variables.append((i, source.holder, source.key))
        elif isinstance(source, Gradient):
            self.gradients.append((i, source.tensor))
        elif isinstance(source, Number):
            cell = np.zeros((), self.capture.program.inputs[i].dtype)
            feed = next(n for n in self.numbers if n.update is source.feed)
            feed.places.append((source.index, cell))
            self._hold(i, cell)
        elif isinstance(source, Fixed):
            self._hold(i, source.array)

    def _sort_writes(self) -> None:
        """What is written to: objects whose storages count the write, or arguments found at each call."""
        position = {value: i for i, value in enumerate(self.capture.program.inputs)}
        fixed = dict(self.references)
        self.written_storages = []
        self.written_inputs = []
        for target, _ in self.capture.program.writes:
            i = position[target]
            if i in fixed:
                self.written_storages.append(fixed[i].storage())
            else:
                self.written_inputs.append(i)

    # -- calling ----------------------------------------------------------------------------------------------------

    def call(self, arguments: list[Tensor]) -> Any:
        """Run the program on these arguments.

        Raises:
            Misfit: before anything was done, where a condition of the program does not hold.
            Unforeseen: before anything was written, where the values do not suit it.
        """
        for guard in self.capture.guards:
            if guard.holder[guard.key] is not guard.expected and not guard.holds():
                raise Misfit
        for leaf in self.capture.gradient_free:
            if leaf._grad is not None:
                raise Misfit
        held = self.held
        for i, index in self.arguments:
            array = arguments[index]._data
            if array is not held[i]:
                self._hold(i, array)
        for i, tensor in self.references:
            if tensor._data is not held[i]:
                self._hold(i, tensor._data)
        if self.variables or self.gradients:
            self._look_up()
        steps = [numbers.renew() for numbers in self.numbers]
        executable = self.executable
        outputs = executable.new_outputs()
        if not executable.run():
            raise Unforeseen
        self._settle(outputs, steps, arguments)
        return self.capture.rebuild([Tensor(a) for a in outputs[: self.capture.results]])

    def _look_up(self) -> None:
        for i, holder, key in self.variables:
            found = holder[key]
            array = found._data if isinstance(found, Tensor) else found
            if array is not self.held[i]:
                self._hold(i, array)
        for i, tensor in self.gradients:
            gradient = tensor._grad
            if gradient is None:
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
        self.executable.bind(i, array)

    def _settle(self, outputs: list[Array], steps: list[int], arguments: list[Tensor]) -> None:
        """Count steps and writes, and leave gradients as the function would have left them."""
        for numbers, step in zip(self.numbers, steps, strict=True):
            numbers.update.done(step)
        for leaf, place in self.capture.gradients:
            if place is None:
                leaf._grad = None
            elif place >= 0:
                leaf._grad = Tensor(outputs[place])
            elif leaf._grad.__class__ is not Consumed:
                leaf._grad = Consumed(leaf)
        if self.written_storages:
            wrote_all(self.written_storages, None)
        for i in self.written_inputs:
            self._count_write(i, arguments)

    def _count_write(self, i: int, arguments: list[Tensor]) -> None:
        source = self.capture.sources[i]
        if isinstance(source, Argument):
            arguments[source.index].storage().wrote()
        elif isinstance(source, Variable) and isinstance(source.holder[source.key], Tensor):
            source.holder[source.key].storage().wrote()
