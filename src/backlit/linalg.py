"""Vector norms and products under the names of ``torch.linalg``. Factorisations are not here."""

from __future__ import annotations

from typing import Any

from .errors import UnsupportedError
from .missing import Missing
from .ops import cross, diagonal, matmul
from .ops.norms import norm as _norm
from .ops.norms import vector_norm
from .ops.reduction import Dims
from .source import describe, mark
from .tensor import Tensor

__all__ = ["cross", "diagonal", "matmul", "norm", "vecdot", "vector_norm"]


def norm(A: Any, ord: Any = None, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The Euclidean norm of all elements, or the ``ord``-norm of vectors along one dimension.

    Args:
        A: any shape.
        ord: None, "fro", or the order of a vector norm, which needs a vector or one ``dim``.
        dim: the dimension(s) to reduce; all by default.

    Raises:
        UnsupportedError: a norm of matrices other than the Frobenius norm.
    """
    if ord is None or ord == "fro":
        return _norm(A, 2, dim, keepdim, dtype=dtype)
    if not isinstance(dim, int) and A.ndim != 1:
        raise UnsupportedError(
            f"linalg.norm at {describe(mark())}: the matrix norm of order {ord!r} is not supported; use ord='fro', or "
            "give one dim for norms of vectors."
        )
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


def vecdot(x: Any, y: Any, *, dim: int = -1) -> Tensor:
    """The dot products of vectors along a dimension."""
    return (x * y).sum(dim)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise Missing(
        f"linalg.{name} is not supported. Without gradients, numpy.linalg takes `x.detach().numpy()`; with gradients, "
        "write an autograd.Function around it."
    )
