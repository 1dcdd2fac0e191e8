"""Parts of a tensor as views: slices, narrow, select, split, chunk, unbind, diagonals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..graph import Deferred
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import operand
from .misuse import misuse
from .shape import wrap_dim

Key = tuple[Any, ...]


class Slice(Op):
    """The part of a tensor that integers, slices, None and an ellipsis select."""

    formula = "y = x[key]"
    gate = "routes: the selected elements receive the upstream gradient, all others 0"
    gradients: ClassVar = {"x": "placed(g); placed: at the selected places, zeros elsewhere"}
    is_view = True

    def forward(x, *, key):
        return x[key]

    def vjp_x(ctx, g):
        return Deferred(_assembled, _Piece(ctx.shapes[0], ctx.params["key"], g))


class _Piece(NamedTuple):
    """A gradient that is zero except where ``key`` selects."""

    shape: tuple[int, ...]
    key: Key
    value: Any


def _assembled(parts: list[Any]) -> Any:
    """The sum of pieces and of whole gradients (those go first, so that the rest is added into them)."""
    whole = [part for part in parts if not isinstance(part, _Piece)]
    pieces = [part for part in parts if isinstance(part, _Piece)]
    shape = pieces[0].shape
    keys = (*[(...,)] * len(whole), *[piece.key for piece in pieces])
    return apply(Assemble, (*whole, *[piece.value for piece in pieces]), {"shape": shape, "keys": keys})


class Assemble(Op):
    """Zeros of a given shape with parts added in at given places."""

    formula = "y = Σₖ xₖ, each placed at its key"
    gate = "routes: every part receives the upstream gradient at its key"

    def forward(*parts, shape, keys):
        out = np.zeros(shape, parts[0].dtype)
        out[keys[0]] = parts[0]
        for key, part in zip(keys[1:], parts[1:], strict=True):
            out[key] += part
        return out

    def vjp(ctx, g):
        keys = ctx.params["keys"]
        return [None if e is None else apply(Slice, (g,), {"key": k}) for k, e in zip(keys, ctx.edges, strict=True)]

    def jvp(ctx, tangents):
        given = [(key, t) for key, t in zip(ctx.params["keys"], tangents, strict=True) if t is not None]
        return apply(Assemble, tuple(t for _, t in given), {**ctx.params, "keys": tuple(key for key, _ in given)})


def along(dim: int, item: Any) -> Key:
    """The key that applies ``item`` to one dimension."""
    return (*[slice(None)] * dim, item, ...)


@operation(Slice, samples=lambda rng: [Sample(rng.normal(size=(3, 4)), 1, 2), Sample(rng.normal(size=(3, 4)), -2, -1)])
def select(x: Any, dim: int, index: int) -> Tensor:
    """The part at one position of a dimension, which is dropped; a view."""
    x = operand(x)
    return apply(Slice, (x,), {"key": along(wrap_dim(dim, x.ndim, "select"), int(index))})


@operation(
    Slice, samples=lambda rng: [Sample(rng.normal(size=(3, 4)), 1, 1, 2), Sample(rng.normal(size=(3, 4)), 0, -2, 0)]
)
def narrow(x: Any, dim: int, start: Any, length: int) -> Tensor:
    """``length`` positions of a dimension from ``start`` on (counted from the end if negative); a view."""
    x = operand(x)
    dim = wrap_dim(dim, x.ndim, "narrow")
    size, first = x.shape[dim], int(start)
    first += size if first < 0 else 0
    if not 0 <= first <= first + length <= size:
        raise misuse("narrow", f"start {start} and length {length} leave dimension {dim} of size {size}.")
    return apply(Slice, (x,), {"key": along(dim, slice(first, first + length))})


# -- cutting up ---------------------------------------------------------------------------------------------------

_PIECES: dict[str, Any] = {
    "formula": "yₖ = the k-th part of x",
    "gate": "routes: the parts' upstream gradients are put side by side",
}


def _cut(x: Any, dim: int, edges: Sequence[int]) -> tuple[Tensor, ...]:
    """The parts between neighbouring edges of a dimension."""
    return tuple(apply(Slice, (x,), {"key": along(dim, slice(a, b))}) for a, b in pairwise(edges))


@operation(
    **_PIECES,
    samples=lambda rng: [
        Sample(rng.normal(size=(5, 2)), 2),
        Sample(rng.normal(size=(2, 5)), [1, 0, 4], -1),
        Sample(rng.normal(size=(0, 2)), 3),
    ],
)
def split(x: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts along a dimension: of one size (the last may be smaller), or of the listed sizes. Views."""
    x = operand(x)
    dim = wrap_dim(dim, x.ndim, "split")
    length = x.shape[dim]
    if isinstance(split_size_or_sections, (list, tuple)):
        sections = [int(n) for n in split_size_or_sections]
        if sum(sections) != length or min(sections, default=0) < 0:
            raise misuse("split", f"the sizes {sections} do not add up to dimension {dim}, which has size {length}.")
        return _cut(x, dim, [0, *np.cumsum(sections).tolist()])
    step = int(split_size_or_sections)
    if step < 0 or (step == 0 and length):
        raise misuse("split", f"the size of the parts must be positive, got {step}.")
    return _cut(x, dim, [*range(0, max(length, 1), max(step, 1)), length])


@operation(**_PIECES, samples=lambda rng: [Sample(rng.normal(size=(7, 2)), 3), Sample(rng.normal(size=(2, 5)), 3, -1)])
def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` parts of one size (the last may be smaller). Views."""
    x = operand(x)
    if chunks <= 0:
        raise misuse("chunk", f"the number of parts must be positive, got {chunks}.")
    dim = wrap_dim(dim, x.ndim, "chunk")
    length = x.shape[dim] if x.ndim else 1
    if length == 0:
        return _cut(x, dim, [0] * (chunks + 1))
    return split(x, -(-length // chunks), dim)


@operation(
    **_PIECES,
    samples=lambda rng: [Sample(rng.normal(size=(7, 2)), 3), Sample(rng.normal(size=(2, 5)), (1, 4), dim=1)],
)
def tensor_split(x: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """A number of parts as equal as possible, or the parts between the given positions. Views."""
    x = operand(x)
    dim = wrap_dim(dim, x.ndim, "tensor_split")
    length = x.shape[dim]
    given = getattr(indices_or_sections, "tolist", lambda: indices_or_sections)()
    if isinstance(given, (list, tuple)):
        return _cut(x, dim, [0, *[int(i) for i in given], length])
    small, larger = divmod(length, int(given))
    return _cut(x, dim, [i * small + min(i, larger) for i in range(int(given) + 1)])


@operation(**_PIECES, samples=lambda rng: [Sample(rng.normal(size=(3, 2))), Sample(rng.normal(size=(3, 2)), -1)])
def unbind(x: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """All the parts at single positions of a dimension, which is dropped. Views."""
    x = operand(x)
    dim = wrap_dim(dim, x.ndim, "unbind")
    if x.ndim == 0:
        raise misuse("unbind", "a 0-d tensor has no dimension to take apart.")
    return tuple(apply(Slice, (x,), {"key": along(dim, i)}) for i in range(x.shape[dim]))


def iterate(x: Tensor) -> Iterator[Tensor]:
    """The parts along the first dimension, one after the other."""
    if x.ndim == 0:
        raise TypeError("iteration over a 0-d tensor; use .item() to get its value")
    return iter(unbind(x))


# -- diagonals ----------------------------------------------------------------------------------------------------


def _diagonal(x: np.ndarray, offset: int, dim1: int, dim2: int) -> np.ndarray:
    """A diagonal as a writable view (NumPy's own is read-only)."""
    matrices = np.moveaxis(x, (dim1, dim2), (-2, -1))
    matrices = matrices[..., max(-offset, 0) :, max(offset, 0) :]
    size = min(matrices.shape[-2:])
    return np.einsum("...ii->...i", matrices[..., :size, :size])


class Diagonal(Op):
    """The diagonal of matrices, as a new last dimension."""

    formula = "y[i] = x[i, i + offset]"
    gate = "routes: the diagonal receives the upstream gradient, all else 0"
    gradients: ClassVar = {"x": "placed(g); placed: on the diagonal, zeros elsewhere"}
    is_view = True

    def forward(x, *, offset, dim1, dim2):
        return _diagonal(x, offset, dim1, dim2)

    def vjp_x(ctx, g):
        return apply(DiagonalMatrix, (g,), {"shape": ctx.shapes[0], **ctx.params})


class DiagonalMatrix(Op):
    """Matrices that are zero but for a diagonal, which is the input's last dimension."""

    name = "diag_embed"
    formula = "y[i, i + offset] = x[i], zero elsewhere"
    gate = "routes: reads the upstream gradient's diagonal"
    gradients: ClassVar = {"x": "diagonal(g)"}

    def forward(x, *, shape, offset, dim1, dim2):
        out = np.zeros(shape, x.dtype)
        _diagonal(out, offset, dim1, dim2)[...] = x
        return out

    def vjp_x(ctx, g):
        place = {name: ctx.params[name] for name in ("offset", "dim1", "dim2")}
        return apply(Diagonal, (g,), place)


@operation(
    Diagonal,
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4))),
        Sample(rng.normal(size=(3, 4)), 1),
        Sample(rng.normal(size=(3, 4)), -2),
        Sample(rng.normal(size=(3, 2, 4)), offset=1, dim1=-1, dim2=0),
        Sample(rng.normal(size=(3, 2)), 5),
    ],
)
def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of the matrices spanned by two dimensions, as the last dimension of a view."""
    x = operand(x)
    first, second = wrap_dim(dim1, x.ndim, "diagonal"), wrap_dim(dim2, x.ndim, "diagonal")
    if first == second:
        raise misuse("diagonal", f"dimensions {dim1} and {dim2} are the same.")
    return apply(Diagonal, (x,), {"offset": offset, "dim1": first, "dim2": second})


@operation(
    DiagonalMatrix,
    samples=lambda rng: [
        Sample(rng.normal(size=(3,))),
        Sample(rng.normal(size=(2, 3)), 1),
        Sample(rng.normal(size=(2, 3)), offset=-1, dim1=0, dim2=-1),
    ],
)
def diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices that are zero but for the diagonal ``x[..., i]``, in dimensions ``dim1`` and ``dim2``."""
    x = operand(x)
    first, second = wrap_dim(dim1, x.ndim + 1, "diag_embed"), wrap_dim(dim2, x.ndim + 1, "diag_embed")
    if first == second:
        raise misuse("diag_embed", f"dimensions {dim1} and {dim2} are the same.")
    if first > second:  # the matrix is read the other way round
        first, second, offset = second, first, -offset
    side = x.shape[-1] + abs(offset)
    shape = [*x.shape[:-1]]
    shape[first:first] = [side]
    shape[second:second] = [side]
    return apply(DiagonalMatrix, (x,), {"shape": tuple(shape), "offset": offset, "dim1": first, "dim2": second})


@operation(
    formula="y = the diagonal of x, or the matrix with the diagonal x",
    gate="routes along the diagonal",
    samples=lambda rng: [Sample(rng.normal(size=(3,)), 1), Sample(rng.normal(size=(3, 4)), -1)],
)
def diag(x: Any, diagonal: int = 0) -> Tensor:
    """A matrix with the diagonal ``x`` from a vector, a copy of the diagonal from a matrix."""
    x = operand(x)
    if x.ndim == 1:
        return diag_embed(x, diagonal)
    if x.ndim != 2:
        raise misuse(
            "diag",
            f"needs a vector or a matrix, this tensor has shape {tuple(x.shape)}. "
            "Use diagonal or diag_embed for batches.",
        )
    return _diagonal_of(x, diagonal)


def _diagonal_of(x: Any, offset: int) -> Tensor:
    return apply(Diagonal, (x,), {"offset": offset, "dim1": 0, "dim2": 1})


@operation(
    formula="y = Σᵢ x[i, i]",
    gate="copies the upstream gradient along the diagonal",
    samples=lambda rng: [Sample(rng.normal(size=(3, 3))), Sample(rng.normal(size=(2, 4)))],
)
def trace(x: Any) -> Tensor:
    """The sum of a matrix's diagonal."""
    x = operand(x)
    if x.ndim != 2:
        raise misuse("trace", f"needs a matrix, this tensor has shape {tuple(x.shape)}.")
    return _diagonal_of(x, 0).sum()
