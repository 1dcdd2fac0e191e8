"""Attention, head by head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..codegen.attention import Attention, Gradients, Heads, emit_attention, emit_attention_backward, workspace_size
from ..codegen.target import Target
from ..ir.layout import Strides
from .leaf import Leaf, Split


@dataclass(frozen=True)
class _Attention(Leaf):
    """Arrays ``(batch, heads, rows, columns)``, of which rows of heads may lie anywhere, each without gaps."""

    spec: Attention

    def workspace(self, target: Target) -> int:
        return workspace_size(self.spec, target)

    def _share(self, count: int) -> Leaf:
        return replace(self, spec=replace(self.spec, batch=count))

    def _heads(self, strides: Strides) -> Heads:
        return Heads(strides[0] if self.spec.batch > 1 else 0, strides[1] if self.spec.heads > 1 else 0, strides[2])


def _is_made_of_rows(shape: tuple[int, ...], strides: Strides) -> bool:
    return strides[-1] == 1 or shape[-1] == 1


@dataclass(frozen=True)
class Attend(_Attention):
    """``query, key, value (, mask) → out, probabilities``."""

    @property
    def flops(self) -> int:
        """Of the two products."""
        return self.spec.flops

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_attention(module, name, self.spec, target)

    def split(self) -> Split:
        mask = () if self.spec.mask is None else (self.spec.mask.batch > 0,)
        return Split(self.spec.batch, (True,) * 3 + mask, ("slice",) * 2, self._share)

    def reads(self, position: int, shape: tuple[int, ...], strides: Strides) -> bool:
        return position < 3 and _is_made_of_rows(shape, strides)

    def writes(self, position: int, shape: tuple[int, ...], strides: Strides) -> bool:
        return position == 0 and _is_made_of_rows(shape, strides)

    def lying(self, operands: Sequence[Strides], results: Sequence[Strides]) -> Leaf:
        query, key, value, out = map(self._heads, (*operands[:3], results[0]))
        return Attend(replace(self.spec, query=query, key=key, value=value, out=out))

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        return [*operands[:3], *results, workspace, *operands[3:]]


@dataclass(frozen=True)
class AttendBack(_Attention):
    """``query, key, value, probabilities, g → dquery, dkey, dvalue``."""

    @property
    def flops(self) -> int:
        """Of the four products."""
        return 2 * self.spec.flops

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_attention_backward(module, name, self.spec, target)

    def split(self) -> Split:
        return Split(self.spec.batch, (True,) * 5, ("slice",) * 3, self._share)

    def reads(self, position: int, shape: tuple[int, ...], strides: Strides) -> bool:
        return position != 3 and _is_made_of_rows(shape, strides)

    def writes(self, position: int, shape: tuple[int, ...], strides: Strides) -> bool:
        return _is_made_of_rows(shape, strides)

    def lying(self, operands: Sequence[Strides], results: Sequence[Strides]) -> Leaf:
        query, key, value, g = (self._heads(operands[i]) for i in (0, 1, 2, 4))
        gradients = Gradients(*map(self._heads, results))
        return AttendBack(replace(self.spec, query=query, key=key, value=value, out=g, gradients=gradients))

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        return [*operands, *results, workspace]
