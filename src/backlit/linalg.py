"""Vector norms and products under the names of ``torch.linalg``. Factorisations are not here."""

from __future__ import annotations

import math
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
    """A norm of all elements, of vectors along one dimension, or of matrices along two.

    Args:
        A: any shape.
        ord: None or "fro" for the Euclidean norm; the order of a vector norm; of matrices 1 and −1 (the largest and
            the smallest column sum of magnitudes), inf and −inf (the same of rows).
        dim: one dimension for vectors, two for matrices; all by default, one or two of them where ``ord`` is given.

    Raises:
        UnsupportedError: matrix norms that need singular values (2, −2, "nuc").
    """
    if ord is None or ord == "fro":
        return _norm(A, 2, dim, keepdim, dtype=dtype)
    dims = tuple(range(A.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) == 1:
        return vector_norm(A, ord, dims[0], keepdim, dtype=dtype)
    if ord not in (1, -1, math.inf, -math.inf) or len(dims) != 2:
        raise UnsupportedError(
            f"linalg.norm at {describe(mark())}: the norm of order {ord!r} of {len(dims)} dimensions is not supported; "
            "matrices have 'fro', 1, -1, inf and -inf here, as singular values are not computed."
        )
    rows, columns = (d % A.ndim for d in dims)
    added, left = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = (A if dtype is None else A.to(dtype)).abs().sum(added, keepdim=True)
    found = sums.amax(left, keepdim=True) if ord > 0 else sums.amin(left, keepdim=True)
    return found if keepdim else found.squeeze((rows, columns))


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
