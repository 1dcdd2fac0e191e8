"""Convolution, ReLU and max pooling in one, and all its gradients from what the max gate routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..codegen.dense_pooled_convolution import PooledConvolution, emit_backward, emit_forward, workspace_size
from ..codegen.target import Target
from .leaf import Leaf, Split


@dataclass(frozen=True)
class _Pooled(Leaf):
    spec: PooledConvolution

    @property
    def flops(self) -> int:
        """Of the convolution, as if nothing were skipped."""
        s = self.spec.convolution
        return 2 * s.batch * s.sizes[1] * s.channels * s.kernel[0] * s.kernel[1]

    def workspace(self, target: Target) -> int:
        return workspace_size(self.spec, target)

    def _split(self, operands: tuple[bool, ...], results: tuple[str, ...]) -> Split:
        convolution = self.spec.convolution

        def share(count: int) -> Leaf:
            return replace(self, spec=replace(self.spec, convolution=replace(convolution, batch=count)))

        return Split(convolution.batch, operands, results, share)


@dataclass(frozen=True)
class ConvolveAndPool(_Pooled):
    """``x, weight, bias → y, winners``."""

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_forward(module, name, self.spec, target)

    def split(self) -> Split:
        return self._split((True, False, False), ("slice", "slice"))

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        return [*operands, *results, workspace]


@dataclass(frozen=True)
class ConvolveAndPoolBack(_Pooled):
    """``x, weight, bias, g, winners → dx, dw, dbias``; dx is left alone where nobody wants it."""

    wants_dx: bool

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_backward(module, name, self.spec, target, self.wants_dx)

    def split(self) -> Split:
        results = ("slice",) * self.wants_dx + ("sum", "sum")
        return self._split((True, False, False, True, True), results)

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        x, weight, _, g, winners = operands
        dx = results[0] if self.wants_dx else None
        return [x, weight, g, winners, dx, *results[-2:], workspace]
