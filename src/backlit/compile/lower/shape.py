"""Operations that change shapes and not values."""

from __future__ import annotations

from typing import Any

from ...ops.shape import Clone, Expand, Permute, Reshape
from ..ir.build import Builder
from ..ir.program import Value
from .table import lowering


@lowering(Reshape, rules="traced")
def reshape(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """The same elements in another shape."""
    return builder.reshape(inputs[0], like.shape)


@lowering(Permute, rules="traced")
def permute(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """Dimensions reordered."""
    return builder.permute(inputs[0], params["dims"])


@lowering(Expand, rules="traced")
def expand(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """Dimensions stretched."""
    return builder.expand(inputs[0], like.shape)


@lowering(Clone, rules="traced")
def clone(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """The value itself: in a program nothing is overwritten."""
    return inputs[0]
