"""Local gradients, asked from the operation's own rules: nothing is derived a second time here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Node, no_grad
from ..numerics import quiet
from ..ops.elementwise import Elementwise
from .explanation import Local

MAX_JACOBIAN = 256
"""Jacobians with more elements are described by their shape."""


def local_gradients(node: Node) -> list[Local | None]:
    """∂output/∂input for each input of a node, None for constants.

    The rules are run on unit upstream gradients: once with ones where the output is a scalar or the operation works
    element by element, else once for each element of the output, which gives the Jacobian row by row.
    """
    shapes = node.shapes or (node.shape,) * len(node.edges)
    with no_grad(), quiet():
        ones = [_array(part) for part in node.op.pull(node, np.ones(node.shape, node.dtype), False)]
        return [
            None if edge is None or part is None else _local(node, i, shapes[i], part)
            for i, (edge, part) in enumerate(zip(node.edges, ones, strict=True))
        ]


def _local(node: Node, index: int, shape: tuple[int, ...], from_ones: Any) -> Local:
    if node.shape == ():
        return Local("number" if shape == () else "gradient", shape, from_ones.tolist())
    if shape == node.shape and issubclass(node.op, Elementwise):
        return Local("elementwise", shape, from_ones.tolist())
    whole = (*node.shape, *shape)
    if math.prod(whole) > MAX_JACOBIAN:
        return Local("large", whole, None)
    return Local("jacobian", whole, _jacobian(node, index, whole).tolist())


def _jacobian(node: Node, index: int, shape: tuple[int, ...]) -> np.ndarray:
    rows = [_array(node.op.pull(node, basis, False)[index]) for basis in _basis(node.shape, node.dtype)]
    return np.array(rows).reshape(shape)


def _basis(shape: tuple[int, ...], dtype: Any) -> list[np.ndarray]:
    size = math.prod(shape)
    return [row.reshape(shape) for row in np.eye(size, dtype=dtype)]


def _array(part: Any) -> Any:
    return None if part is None else np.array(getattr(part, "_data", part))
