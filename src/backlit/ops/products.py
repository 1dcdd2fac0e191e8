"""Products of given dimensions, inner and outer products, and products added to something."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .contraction import tensordot
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import match, operand
from .linalg import Matmul, matmul
from .misuse import misuse
from .shape import reshape, result_dtype


def _of_dims(name: str, a: Any, b: Any, dims: tuple[int, int]) -> tuple[Any, Any]:
    """Two operands of one dtype with the number of dimensions that a product is defined for."""
    a, b = match(operand(a), operand(b))
    if (a.ndim, b.ndim) != dims:
        raise misuse(
            name,
            f"needs tensors with {dims[0]} and {dims[1]} dimensions, these have the shapes {tuple(a.shape)} and "
            f"{tuple(b.shape)}. matmul takes all combinations.",
        )
    return a, b


def _sampled(*shapes: tuple[int, ...], **options: float) -> Any:
    return lambda rng: [Sample(*[rng.normal(size=shape) for shape in shapes], **options)]


@operation(Matmul, samples=_sampled((3, 4), (4, 2)))
def mm(a: Any, b: Any) -> Tensor:
    """The product of two matrices."""
    return matmul(*_of_dims("mm", a, b, (2, 2)))


@operation(Matmul, samples=_sampled((2, 3, 4), (2, 4, 5)))
def bmm(a: Any, b: Any) -> Tensor:
    """The products of two batches of matrices: (batch, n, k) and (batch, k, m)."""
    a, b = _of_dims("bmm", a, b, (3, 3))
    if a.shape[0] != b.shape[0]:
        raise misuse(
            "bmm", f"{tuple(a.shape)} and {tuple(b.shape)} have unequal numbers of matrices; matmul broadcasts."
        )
    return matmul(a, b)


@operation(Matmul, samples=_sampled((3, 4), (4,)))
def mv(a: Any, x: Any) -> Tensor:
    """A matrix times a vector."""
    return matmul(*_of_dims("mv", a, x, (2, 1)))


class Dot(Op):
    """The inner product of two vectors."""

    formula = "y = Σ aᵢ bᵢ"
    gate = "swaps: da = dy b, db = dy a"
    gradients: ClassVar = {"a": "g b", "b": "g a"}

    def forward(a, b):
        return np.dot(a, b)

    def vjp_a(ctx, g, b):
        return g * b

    def vjp_b(ctx, g, a):
        return g * a


@operation(Dot, samples=lambda rng: [Sample(rng.normal(size=n), rng.normal(size=n)) for n in (4, 0)])
def dot(a: Any, b: Any) -> Tensor:
    """The inner product of two vectors of one size."""
    a, b = _of_dims("dot", a, b, (1, 1))
    if a.shape != b.shape:
        raise misuse("dot", f"the vectors have {a.shape[0]} and {b.shape[0]} elements.")
    return apply(Dot, (a, b))


vdot = dot


@operation(formula="y[i, j] = a[i] b[j]", gate="swaps: da = dY b, db = dYᵀ a", samples=_sampled((3,), (4,)))
def outer(a: Any, b: Any) -> Tensor:
    """All products of an element of one vector with one of another: shape (n, m)."""
    a, b = _of_dims("outer", a, b, (1, 1))
    return reshape(a, (-1, 1)) * b


@operation(
    formula="Y[…, …] = Σₖ A[…, k] B[…, k]",
    gate="swaps, as a matrix product",
    samples=lambda rng: [
        Sample(rng.normal(size=(2, 3)), rng.normal(size=(4, 3))),
        Sample(rng.normal(size=()), rng.normal(size=(2,))),
    ],
)
def inner(a: Any, b: Any) -> Tensor:
    """Inner products along the last dimensions; with a 0-d operand, the plain product."""
    a, b = match(operand(a), operand(b))
    return a * b if a.ndim == 0 or b.ndim == 0 else tensordot(a, b, ([-1], [-1]))


@operation(
    formula="Y = A ⊗ B",
    gate="swaps: each operand receives the upstream gradient weighted by the other and summed over its copies",
    samples=lambda rng: [
        Sample(rng.normal(size=(2, 3)), rng.normal(size=(2, 2))),
        Sample(rng.normal(size=(2,)), rng.normal(size=(2, 3))),
    ],
)
def kron(a: Any, b: Any) -> Tensor:
    """The Kronecker product: each element of ``a`` replaced by itself times ``b``."""
    a, b = match(operand(a), operand(b))
    n = max(a.ndim, b.ndim)
    first, second = ((1,) * (n - x.ndim) + tuple(x.shape) for x in (a, b))
    left = reshape(a, tuple(size for d in first for size in (d, 1)))
    right = reshape(b, tuple(size for d in second for size in (1, d)))
    return reshape(left * right, tuple(p * q for p, q in zip(first, second, strict=True)))


# -- products added to something ----------------------------------------------------------------------------------


def _scaled_sum(name: str, start: Any, a: Any, b: Any, beta: float, alpha: float, multiply: Any) -> Tensor:
    """``beta * start + alpha * a b``; with beta 0, ``start`` is not even looked at, as in PyTorch."""
    start, a, b = (operand(x) for x in (start, a, b))
    dtype = result_dtype([start, a, b])
    start, a, b = (x if x.dtype == dtype else x.astype(dtype) for x in (start, a, b))
    out = multiply(a, b)
    fits = all(n in (1, m) for n, m in zip(reversed(start.shape), reversed(out.shape), strict=False))
    if start.ndim > out.ndim or not fits:
        raise misuse(name, f"the first tensor, {tuple(start.shape)}, does not broadcast to {tuple(out.shape)}.")
    if alpha != 1:
        out = out * alpha
    if beta == 0:
        return out
    return (start if beta == 1 else start * beta) + out


_ADDED: dict[str, Any] = {"formula": "Y = β C + α A B", "gate": "adds β dY into C; swaps: dA = α dY Bᵀ, dB = α Aᵀ dY"}


@operation(
    **_ADDED,
    samples=lambda rng: [
        *_sampled((2,), (3, 4), (4, 2))(rng),
        *_sampled((3, 2), (3, 4), (4, 2), beta=0.5, alpha=2.0)(rng),
    ],
)
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)``; ``input`` is broadcast."""
    return _scaled_sum("addmm", input, mat1, mat2, beta, alpha, mm)


@operation(**_ADDED, samples=_sampled((3,), (3, 4), (4,)))
def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * (mat @ vec)``; ``input`` is broadcast."""
    return _scaled_sum("addmv", input, mat, vec, beta, alpha, mv)


@operation(**_ADDED, samples=_sampled((2, 3, 5), (2, 3, 4), (2, 4, 5), beta=2.0))
def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * (batch1 @ batch2)`` over a batch; ``input`` is broadcast."""
    return _scaled_sum("baddbmm", input, batch1, batch2, beta, alpha, bmm)
