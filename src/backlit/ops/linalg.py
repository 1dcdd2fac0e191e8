"""Products of matrices and vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import match, operand, unbroadcast
from .misuse import misuse


def _product(a: Any, b: Any) -> Any:
    """``a @ b`` for arrays or tensors with at least 2 dimensions, on arrays by the quickest way.

    ``dot`` starts half a microsecond faster than ``matmul`` and does not slow down for strided operands; a batch times
    one matrix is one large product rather than many small ones.
    """
    if a.__class__ is not np.ndarray or b.__class__ is not np.ndarray or b.ndim > 2:
        return a @ b
    if a.ndim == 2:
        return a.dot(b)
    if a.ndim < 2 or not a.flags.c_contiguous:
        return a @ b
    rows = math.prod(a.shape[:-1])
    return a.reshape((rows, a.shape[-1])).dot(b).reshape((*a.shape[:-1], b.shape[1]))


class Matmul(Op):
    """Matrix product, batched over leading dimensions."""

    formula = "Y = A B"
    gate = "swaps: dA = dY Bᵀ, dB = Aᵀ dY"

    def forward(a, b):
        if a.shape[-1] != b.shape[-2]:
            raise misuse(
                "matmul",
                f"the shapes {a.shape} and {b.shape} do not fit: the last size of the first ({a.shape[-1]}) must "
                f"be the second last of the second ({b.shape[-2]}). Transpose one of them (.mT)?",
            )
        return _product(a, b)

    def vjp_a(ctx, g, b):
        return unbroadcast(_product(g, b.mT), ctx.shapes[0])

    @classmethod
    def gradient_form(cls, name, ctx):
        a, b = ctx.shapes
        if name == "b" and len(b) == 2 and len(a) > 2:
            return "rows(a)ᵀ rows(g); rows: all leading dimensions read as rows"
        form, own = ("g bᵀ", a) if name == "a" else ("aᵀ g", b)
        return form if own[:-2] == ctx.shape[:-2] else f"Σ_batch({form})"

    def vjp_b(ctx, g, a):
        shape = ctx.shapes[1]
        if len(shape) == 2 and a.ndim > 2:
            rows = math.prod(a.shape[:-1])
            return _product(a.reshape((rows, shape[0])).mT, g.reshape((rows, shape[1])))
        return unbroadcast(_product(a.mT, g), shape)


class Linear(Op):
    """Affine map of the last dimension: ``x Wᵀ + b``."""

    formula = "Y = X Wᵀ + b"
    gate = "swaps: dX = dY W, dW = dYᵀ X; adds the rows of dY into db"

    def forward(x, weight, bias=None):
        if x.ndim == 2:
            y = x.dot(weight.T)  # half a microsecond less than matmul; the product is BLAS either way
            if bias is not None:
                y += bias
            return y
        y = _product(x, weight.T)
        return y if bias is None else y + bias

    @classmethod
    def gradient_form(cls, name, ctx):
        flat = len(ctx.shape) <= 2
        if name == "weight" and not flat:
            return "rows(g)ᵀ rows(x); rows: all leading dimensions read as rows"
        if len(ctx.shape) == 1:
            return {"x": "g weight", "weight": "outer(g, x)", "bias": "g"}[name]
        return {"x": "g weight", "weight": "gᵀ x", "bias": "Σ_rows(g)"}[name]

    def vjp_x(ctx, g, weight):
        return _product(g, weight)

    def vjp_weight(ctx, g, x):
        if x.ndim == 2:
            return _product(g.T, x)
        rows = math.prod(x.shape[:-1])
        return g.reshape((rows, g.shape[-1])).T @ x.reshape((rows, x.shape[-1]))

    def vjp_bias(ctx, g):
        if g.ndim == 2 and g.__class__ is np.ndarray:
            return np.add.reduce(g, axis=0)
        return g if g.ndim == 1 else g.sum(axis=tuple(range(g.ndim - 1)))

    def jvp(ctx, tangents, x, weight):
        dx, dw, *rest = tangents
        total = None if dx is None else dx @ weight.mT
        if dw is not None:
            part = x @ dw.mT
            total = part if total is None else total + part
        if rest and rest[0] is not None:
            part = rest[0].expand(ctx.shape)
            total = part if total is None else total + part
        return total

    def samples(rng):
        yield Sample(rng.normal(size=(3, 4)), rng.normal(size=(2, 4)), rng.normal(size=(2,)))
        yield Sample(rng.normal(size=(3, 4)), rng.normal(size=(2, 4)))
        yield Sample(rng.normal(size=(2, 3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(5,)))
        yield Sample(rng.normal(size=(4,)), rng.normal(size=(2, 4)), rng.normal(size=(2,)))


def _matmul_samples(rng: np.random.Generator) -> Any:
    for a, b in [
        ((3, 4), (4, 2)),
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 2)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((0, 3), (3, 2)),
        ((2, 3, 4), (4,)),
    ]:
        yield Sample(rng.normal(size=a), rng.normal(size=b))


@operation(Matmul, samples=_matmul_samples)
def matmul(a: Any, b: Any, /) -> Tensor:
    """Matrix product ``a @ b``: vectors as rows or columns, leading dimensions broadcast, as in PyTorch and NumPy.

    Raises:
        OperationError: the inner sizes differ, or an operand is 0-d.
    """
    if getattr(a, "dtype", None) is not getattr(b, "dtype", 0):
        a, b = match(a, b)
    na, nb = len(getattr(a, "shape", ())), len(getattr(b, "shape", ()))
    if na == 0 or nb == 0:
        raise misuse("matmul", "operands need at least one dimension; multiply with * instead.")
    if na > 1 and nb > 1:
        return apply(Matmul, (a, b))
    rows = a.reshape((1, -1)) if na == 1 else a
    columns = b.reshape((-1, 1)) if nb == 1 else b
    out = apply(Matmul, (rows, columns))
    batch = out.shape[:-2]
    return out.reshape((*batch, *(out.shape[-2:-1] if na > 1 else ()), *(out.shape[-1:] if nb > 1 else ())))


@operation(Linear)
def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """Affine map ``x @ weight.T + bias``.

    Args:
        x: shape (..., in_features).
        weight: shape (out_features, in_features).
        bias: shape (out_features,), or None.
    """
    if x.__class__ is Tensor:
        array, matrix = x._data, weight._data if isinstance(weight, Tensor) else weight
        if array.dtype is matrix.dtype and matrix.ndim == 2 and array.ndim and array.shape[-1] == matrix.shape[1]:
            return apply(Linear, (x, weight) if bias is None else (x, weight, bias))
    x = operand(x)
    shape = weight.shape
    if x.shape[-1:] != shape[1:] or len(shape) != 2:
        raise misuse(
            "linear",
            f"the input has shape {tuple(x.shape)} and the weight {tuple(shape)}; the input's last size must be the "
            f"weight's second ({shape[-1] if shape else '?'}). Reshape the input or change the layer's in_features.",
        )
    if x.dtype is not weight.dtype and x.dtype != weight.dtype:
        x, weight = match(x, weight)
    return apply(Linear, (x, weight) if bias is None else (x, weight, bias))
