"""Layer and RMS normalisation of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..codegen.row_normalization import RowNormalization, emit_normalization, emit_normalization_backward
from ..codegen.target import Target
from .leaf import Leaf, Split


@dataclass(frozen=True)
class Normalize(Leaf):
    """``x (, weight) (, bias) → y, means, scales``."""

    cheap = True
    spec: RowNormalization

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_normalization(module, name, self.spec, target)

    def split(self) -> Split:
        given = (True,) + (False,) * (self.spec.weight + self.spec.bias)
        return Split(self.spec.rows, given, ("slice",) * 3, lambda count: Normalize(replace(self.spec, rows=count)))

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        x, *rest = operands
        weight = rest.pop(0) if self.spec.weight else None
        return [x, weight, rest[0] if self.spec.bias else None, *results]


@dataclass(frozen=True)
class NormalizeBack(Leaf):
    """``x, means, scales, g (, weight) → dx, dweight, dbias``."""

    spec: RowNormalization

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_normalization_backward(module, name, self.spec, target)

    def split(self) -> Split:
        given = (True,) * 4 + (False,) * self.spec.weight
        results = ("slice", "sum", "sum")
        return Split(self.spec.rows, given, results, lambda count: NormalizeBack(replace(self.spec, rows=count)))

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        x, means, scales, g, *weight = operands
        return [x, weight[0] if weight else None, means, scales, g, *results]
