"""Convolutions of images, channels first, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..codegen.dense_convolution import (
    DenseConvolution,
    emit_forward,
    emit_input_gradient,
    emit_weight_gradient,
    workspace_size,
)
from ..codegen.target import Target
from .leaf import Leaf, Split


@dataclass(frozen=True)
class _Convolve(Leaf):
    spec: DenseConvolution

    @property
    def flops(self) -> int:
        """Of any of the three maps."""
        s = self.spec
        return 2 * s.batch * s.sizes[1] * s.channels // s.groups * s.kernel[0] * s.kernel[1]

    def workspace(self, target: Target) -> int:
        return workspace_size(self.spec, target)

    def _split(self, operands: tuple[bool, ...], result: str) -> Split:
        def share(count: int) -> Leaf:
            return replace(self, spec=replace(self.spec, batch=count))

        return Split(self.spec.batch, operands, (result,), share)

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        return [*operands, *results, workspace]


@dataclass(frozen=True)
class Convolve(_Convolve):
    """``x, weight (, bias) → y``."""

    bias: bool

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_forward(module, name, self.spec, target, self.bias)

    def split(self) -> Split:
        return self._split((True,) + (False,) * (1 + self.bias), "slice")

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        return [*operands, *([] if self.bias else [None]), *results, workspace]


@dataclass(frozen=True)
class InputGradient(_Convolve):
    """``dy, weight → dx``."""

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_input_gradient(module, name, self.spec, target)

    def split(self) -> Split:
        return self._split((True, False), "slice")


@dataclass(frozen=True)
class WeightGradient(_Convolve):
    """``x, dy → dw``."""

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_weight_gradient(module, name, self.spec, target)

    def split(self) -> Split:
        return self._split((True, True), "sum")
