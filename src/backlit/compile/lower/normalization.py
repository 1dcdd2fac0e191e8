"""Layer and RMS normalisation by kernels over rows; other groups as loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops.standardize import Standardize, standardized
from ..codegen.row_normalization import RowNormalization
from ..ir.build import Builder
from ..ir.program import Value
from ..leaves.leaf import emit_leaf
from ..leaves.normalization import Normalize, NormalizeBack
from .standardization import affine, gradients, inverse_root, moments, normal
from .table import lowering, pulls

Array = np.ndarray


def _spec(inputs: list[Any], params: dict[str, Any]) -> RowNormalization | None:
    """The kernel for rows with weights of their own for each column; None for other groupings."""
    layout, x = params["layout"], inputs[0]
    if len(layout.view) != 2 or layout.axes != (1,) or layout.affine != (1, layout.view[1]) or not x.size:
        return None
    given = [*inputs[1:], None, None]
    rows, width = layout.view
    spec = RowNormalization(rows, width, params["eps"], layout.centred, given[0] is not None, given[1] is not None)
    return RowNormalization(**{**spec.__dict__, "dtype": x.dtype.name})


def _forward(b: Builder, inputs: list[Any], params: dict[str, Any], spec: RowNormalization) -> tuple[Value, ...]:
    x = inputs[0]
    operands = [v for v in inputs if isinstance(v, Value)]
    layout, eps = params["layout"], params["eps"]

    def meaning(*arrays: Array) -> tuple[Array, ...]:
        view = arrays[0].reshape(layout.view)
        y, mean, scale = standardized(view, layout, eps)
        rest = list(arrays[1:])
        y = y * rest.pop(0) if spec.weight else y
        y = y + rest.pop(0) if spec.bias else y
        mean = np.zeros(len(view), x.dtype) if mean is None else mean.reshape(-1)
        return y.reshape(arrays[0].shape), mean, scale.reshape(-1)

    shapes = [(x.shape, x.dtype), ((spec.rows,), x.dtype), ((spec.rows,), x.dtype)]
    return emit_leaf(b, Normalize(spec), operands, shapes, meaning)


@lowering(Standardize)
def normalize(b: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """The normalised rows."""
    spec = _spec(inputs, params)
    if spec is not None:
        return _forward(b, inputs, params, spec)[0]
    x, weight, bias = [*inputs, None, None][:3]
    if not x.size:
        return None
    layout, view = params["layout"], b.reshape(x, params["layout"].view)
    middle, variance = moments(b, view, layout)
    y = normal(b, view, middle, inverse_root(b, variance, params["eps"]))
    return b.reshape(affine(b, y, weight, bias, layout), x.shape)


@pulls(Standardize)
def normalize_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """All gradients in one pass; means and scales are those of the forward pass."""
    inputs, params = pull.inputs, pull.params
    spec = _spec(inputs, params)
    if not inputs[0].size:
        return None
    if spec is None:
        layout = params["layout"]
        middle, variance = moments(b, b.reshape(inputs[0], layout.view), layout)
        return gradients(b, pull, layout, middle, inverse_root(b, variance, params["eps"]), True)
    x, g = inputs[0], pull.g
    _, means, scales = _forward(b, inputs, params, spec)
    weight = [inputs[1]] if spec.weight else []

    def meaning(*arrays: Array) -> tuple[Array, ...]:
        view, means, scales, upstream, *w = arrays
        v, u = view.reshape(spec.rows, spec.width), upstream.reshape(spec.rows, spec.width)
        normal = (v - means[:, None]) * scales[:, None]
        h = u * w[0] if w else u
        rest = h - normal * (h * normal).mean(axis=1, keepdims=True)
        if spec.centred:
            rest = rest - h.mean(axis=1, keepdims=True)
        return (rest * scales[:, None]).reshape(view.shape), (u * normal).sum(axis=0), u.sum(axis=0)

    shapes = [(x.shape, x.dtype), ((spec.width,), x.dtype), ((spec.width,), x.dtype)]
    dx, dw, db = emit_leaf(b, NormalizeBack(spec), [x, means, scales, g, *weight], shapes, meaning)
    parts: list[Value | None] = [dx]
    for made, given in zip((dw, db), inputs[1:], strict=False):
        parts.append(None if given is None else b.reshape(made, given.shape))
    return [part if need else None for part, need in zip(parts, pull.needs, strict=True)]
