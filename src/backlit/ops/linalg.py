"""Products of matrices and vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import match, operand, together, unbroadcast
from .misuse import misuse


def _product(a: Any, b: Any) -> Any:
    """``a @ b`` for arrays or tensors, on arrays by the quickest way.

    ``dot`` starts half a microsecond faster than ``matmul`` and does not slow down for strided operands; a batch times
    one matrix or vector is one large product rather than many small ones.
    """
    if a.__class__ is not np.ndarray or b.__class__ is not np.ndarray or b.ndim > 2:
        return a @ b
    if a.ndim == 2:
        return a.dot(b)
    if a.ndim < 2 or not a.flags.c_contiguous:
        return a @ b
    rows = math.prod(a.shape[:-1])
    return a.reshape((rows, a.shape[-1])).dot(b).reshape((*a.shape[:-1], *b.shape[1:]))


class Matmul(Op):
    """Matrix product, batched over leading dimensions; vectors are rows on the left and columns on the right."""

    formula = "Y = A B"
    gate = "swaps: dA = dY Bᵀ, dB = Aᵀ dY"

    def forward(a, b):
        inner = -2 if b.ndim > 1 else -1
        if a.shape[-1] != b.shape[inner]:
            which = "second last" if b.ndim > 1 else "only"
            raise misuse(
                "matmul",
                f"the shapes {a.shape} and {b.shape} do not fit: the last size of the first ({a.shape[-1]}) must "
                f"be the {which} of the second ({b.shape[inner]}). Transpose one of them (.mT)?",
            )
        return _product(a, b)

    @classmethod
    def gradient_form(cls, name, ctx):
        a, b = map(len, ctx.shapes)
        if min(a, b) == 1:
            return _VECTOR_FORMS.get((a, b), {}).get(name, "")
        if name == "b" and b == 2 and a > 2:
            return "rows(a)ᵀ rows(g); rows: all leading dimensions read as rows"
        form, own = ("g bᵀ", ctx.shapes[0]) if name == "a" else ("aᵀ g", ctx.shapes[1])
        return form if own[:-2] == ctx.shape[:-2] else f"Σ_batch({form})"

    def vjp_a(ctx, g, b):
        shape = ctx.shapes[0]
        if b.ndim == 1:
            return g.reshape((*g.shape, 1)) * b
        if len(shape) > 1:
            return unbroadcast(_product(g, b.mT), shape)
        return unbroadcast((b @ g.reshape((*g.shape, 1))).reshape(b.shape[:-1]), shape)

    def vjp_b(ctx, g, a):
        shape = ctx.shapes[1]
        if a.ndim == 1:
            return g * a if len(shape) == 1 else a.reshape((-1, 1)) * g.reshape((*g.shape[:-1], 1, g.shape[-1]))
        if len(shape) > 2 or (len(shape) == 2 and a.ndim == 2):
            return unbroadcast(_product(a.mT, g), shape)
        rows = math.prod(a.shape[:-1])
        return _product(a.reshape((rows, shape[0])).mT, g.reshape((rows, *shape[1:])))


_VECTOR_FORMS = {
    (1, 1): {"a": "g b", "b": "g a"},
    (2, 1): {"a": "outer(g, b)", "b": "aᵀ g"},
    (1, 2): {"a": "b g", "b": "outer(a, g)"},
}
"""What the operands of a product with a vector receive, by their numbers of dimensions."""


class Linear(Op):
    """Affine map of the last dimension: ``x Wᵀ + b``."""

    formula = "Y = X Wᵀ + b"
    gate = "swaps: dX = dY W, dW = dYᵀ X; adds the rows of dY into db"

    def forward(x, weight, bias=None):
        y = x.dot(weight.T) if x.ndim == 2 else _product(x, weight.T)  # the usual case saves a call
        if bias is None:
            return y
        y += bias
        return y

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
        ((4,), (2, 4, 3)),
        ((0,), (0,)),
        ((2, 0), (0,)),
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
    return apply(Matmul, (a, b))


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
        same = array.dtype is matrix.dtype and (bias is None or getattr(bias, "dtype", None) is array.dtype)
        if same and matrix.ndim == 2 and array.ndim and array.shape[-1] == matrix.shape[1]:
            return apply(Linear, (x, weight) if bias is None else (x, weight, bias))
    x = operand(x)
    shape = weight.shape
    if x.shape[-1:] != shape[1:] or len(shape) != 2:
        raise misuse(
            "linear",
            f"the input has shape {tuple(x.shape)} and the weight {tuple(shape)}; the input's last size must be the "
            f"weight's second ({shape[-1] if shape else '?'}). Reshape the input or change the layer's in_features.",
        )
    return apply(Linear, tuple(together(x, weight, bias)))
