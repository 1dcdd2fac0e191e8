"""Attention, head by head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..codegen.attention import Attention, emit_attention, emit_attention_backward, workspace_size
from ..codegen.target import Target
from .leaf import Leaf, Split


@dataclass(frozen=True)
class Attend(Leaf):
    """``query, key, value (, mask) → out, probabilities``."""

    spec: Attention

    @property
    def flops(self) -> int:
        """Of the two products."""
        return self.spec.flops

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_attention(module, name, self.spec, target)

    def workspace(self, target: Target) -> int:
        return workspace_size(self.spec, target)

    def split(self) -> Split:
        def share(count: int) -> Leaf:
            return Attend(replace(self.spec, batch=count))

        mask = () if self.spec.mask is None else (self.spec.mask.batch > 0,)
        return Split(self.spec.batch, (True,) * 3 + mask, ("slice",) * 2, share)

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        return [*operands[:3], *results, workspace, *operands[3:]]


@dataclass(frozen=True)
class AttendBack(Leaf):
    """``query, key, value, probabilities, g → dquery, dkey, dvalue``."""

    spec: Attention

    @property
    def flops(self) -> int:
        """Of the four products."""
        return 2 * self.spec.flops

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_attention_backward(module, name, self.spec, target)

    def workspace(self, target: Target) -> int:
        return workspace_size(self.spec, target)

    def split(self) -> Split:
        def share(count: int) -> Leaf:
            return AttendBack(replace(self.spec, batch=count))

        return Split(self.spec.batch, (True,) * 5, ("slice",) * 3, share)

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        return [*operands, *results, workspace]
