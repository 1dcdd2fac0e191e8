"""A compiled function whose results require gradients: one node of the graph, with native code both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import GradientError
from ...function import Function
from ...graph import mode
from ...tensor import Tensor
from ..ir.program import Value
from ..trace.capture import Capture
from ..trace.outside import Pullback, tensor_at
from ..trace.sources import Fixed
from .binding import Array, Binding, element_strides
from .executable import Executable


class Differentiable(Binding):
    """One specialisation of such a function, ready to be called."""

    leaves_a_node = True

    def __init__(self, capture: Capture, executable: Executable, arrays: dict[Value, Array]) -> None:
        super().__init__(capture, executable, arrays)
        assert capture.pullback is not None
        self.pullback = capture.pullback
        self.back = Backward(capture.pullback)

    def call(self, arguments: Sequence[Tensor], unchanged: bool = False, steady: bool = False) -> Any:
        """Run the forward program, and connect its results to the graph."""
        outputs = self.run(arguments, unchanged, steady)
        wanted = [tensor_at(source, arguments) for source in self.pullback.wanted]
        results = CompiledCall.apply(self, outputs, arguments, *wanted)
        return self.capture.outcome(list(results), arguments)

    def kept(self, outputs: list[Array], arguments: Sequence[Tensor]) -> list[Tensor]:
        """What the backward program reads, besides upstream gradients."""
        return [self._kept(place, outputs, arguments) for place in self.pullback.kept]

    def _kept(self, place: Any, outputs: list[Array], arguments: Sequence[Tensor]) -> Tensor:
        if isinstance(place, int):
            return Tensor(outputs[place])
        found = tensor_at(place, arguments)
        return Tensor(place.array if isinstance(place, Fixed) else place.holder[place.key]) if found is None else found


class Backward:
    """The backward program; its code is made when a gradient is first asked for."""

    def __init__(self, pullback: Pullback) -> None:
        self.pullback = pullback
        self.inputs = pullback.program.inputs
        self.strides = [element_strides(pullback.arrays[value]) for value in self.inputs]
        self._executable: Executable | None = None

    def run(self, arrays: list[Array]) -> list[Array]:
        """The gradients."""
        executable = self._executable or self._built()
        held = [self._fitting(i, array) for i, array in enumerate(arrays)]
        for i, array in enumerate(held):
            executable.bind(i, array)
        gradients = executable.outputs()
        if gradients is None:
            raise GradientError("the backward pass of a compiled function met values it was not made for.")
        return gradients

    def _built(self) -> Executable:
        from ..assemble.stored import found_or_built

        program = self.pullback.program
        strides = dict(zip(self.inputs, self.strides, strict=True))
        self._executable = Executable(found_or_built(program, strides))
        return self._executable

    def _fitting(self, i: int, array: Array) -> Array:
        """The array itself where its elements lie as the program expects, or a copy where they do."""
        wanted = self.strides[i]
        if element_strides(array) == wanted and array.dtype == self.inputs[i].dtype:
            return array
        fitting = np.empty_like(self.pullback.arrays[self.inputs[i]])
        fitting[...] = array
        return fitting


class CompiledCall(Function):
    """One call of a compiled function in the graph."""

    @staticmethod
    def forward(ctx: Any, function: Differentiable, outputs: list[Array], arguments: Any, *wanted: Tensor) -> Any:  # type: ignore[override]
        """The results as they were computed."""
        pullback = function.pullback
        results = [Tensor(array) for array in outputs[: len(pullback.open)]]
        ctx.function = function
        ctx.save_for_backward(*function.kept(outputs, arguments))
        ctx.mark_non_differentiable(*[x for x, is_open in zip(results, pullback.open, strict=True) if not is_open])
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Gradients of what the function was given, by its backward program."""
        if mode.recording:
            raise GradientError(
                "create_graph=True goes through a compiled function, whose backward pass is not recorded. Take the "
                "gradient inside the compiled function, or run it eagerly."
            )
        function = ctx.function
        arriving = [g for g, is_open in zip(upstream, function.pullback.open, strict=True) if is_open]
        gradients = function.back.run([t._data for t in (*ctx.saved_tensors, *arriving)])
        return (None, None, None, *map(Tensor, gradients))
