"""Repeating and rearranging elements: repeat, tile, meshgrid, flip, roll, rot90, triangles."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..graph import mode
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import operand
from .misuse import misuse
from .shape import Expand, clone, expand, reshape, sizes, transpose, unsqueeze, wrap_dim, wrap_dims


class Repeat(Op):
    """A tensor laid out several times along each dimension."""

    formula = "y = x, repeated like tiles"
    gate = "copies forward, so gradients add up over the repetitions"
    gradients: ClassVar = {"x": "Σ_copies(g); Σ_copies: over the repetitions"}

    def forward(x, *, repeats):
        return np.tile(x, repeats)

    def vjp_x(ctx, g):
        repeats = ctx.params["repeats"]
        shape = (1,) * (len(repeats) - len(ctx.shapes[0])) + ctx.shapes[0]
        pairs = tuple(n for pair in zip(repeats, shape, strict=True) for n in pair)
        return g.reshape(pairs).sum(axis=tuple(range(0, len(pairs), 2))).reshape(ctx.shapes[0])


class Flip(Op):
    """Dimensions read backwards."""

    formula = "y[i] = x[n − 1 − i]"
    gate = "passes, flipped back"
    gradients: ClassVar = {"x": "flipped(g)"}

    def forward(x, *, dims):
        return np.flip(x, dims).copy()

    def vjp_x(ctx, g):
        return flip(g, ctx.params["dims"])


class Roll(Op):
    """Dimensions shifted, what leaves at one end coming back at the other."""

    formula = "y[i] = x[(i − shift) mod n]"
    gate = "passes, rolled back"
    gradients: ClassVar = {"x": "rolled(g); rolled: back to where the entries came from"}

    def forward(x, *, shifts, dims):
        return np.roll(x, shifts, dims)

    def vjp_x(ctx, g):
        shifts, dims = ctx.params["shifts"], ctx.params["dims"]
        return apply(Roll, (g,), {"shifts": tuple(-s for s in shifts), "dims": dims})


class Tril(Op):
    """The lower triangle of matrices, zero above the diagonal."""

    formula = "y[i, j] = x[i, j] where j ≤ i + diagonal, else 0"
    gate = "routes: the kept triangle passes, the rest receives 0"
    gradients: ClassVar = {"x": "lower(g); lower: the kept triangle, zeros elsewhere"}

    def forward(x, *, diagonal):
        return np.tril(x, diagonal)

    def vjp_x(ctx, g):
        return tril(g, **ctx.params)


class Triu(Op):
    """The upper triangle of matrices, zero below the diagonal."""

    formula = "y[i, j] = x[i, j] where j ≥ i + diagonal, else 0"
    gate = "routes: the kept triangle passes, the rest receives 0"
    gradients: ClassVar = {"x": "upper(g); upper: the kept triangle, zeros elsewhere"}

    def forward(x, *, diagonal):
        return np.triu(x, diagonal)

    def vjp_x(ctx, g):
        return triu(g, **ctx.params)


@operation(
    Repeat,
    samples=lambda rng: [
        Sample(rng.normal(size=(2, 3)), 2, 1, 3),
        Sample(rng.normal(size=(3,)), (2,)),
        Sample(rng.normal(size=()), 2),
        Sample(rng.normal(size=(2, 3)), 0, 2),
    ],
)
def repeat(x: Any, *counts: Any, repeats: Any = None) -> Tensor:
    """The tensor laid out ``counts[d]`` times along dimension d; more numbers than dimensions add leading ones."""
    x, counts = operand(x), sizes(counts, repeats)
    if len(counts) < x.ndim or min(counts, default=0) < 0:
        raise misuse(
            "repeat",
            f"a tensor with shape {tuple(x.shape)} needs a number of repetitions, 0 or more, "
            f"for each dimension; got {counts}. Use tile to give fewer.",
        )
    return apply(Repeat, (x,), {"repeats": counts})


@operation(Repeat, samples=lambda rng: [Sample(rng.normal(size=(2, 3)), 2), Sample(rng.normal(size=(3,)), (2, 2))])
def tile(x: Any, *counts: Any, dims: Any = None) -> Tensor:
    """As :func:`repeat`, with 1 for leading dimensions that are not given."""
    x, counts = operand(x), sizes(counts, dims)
    return repeat(x, (1,) * (x.ndim - len(counts)) + counts)


@operation(
    formula="y = each element of x, several times in a row",
    gate="copies forward, so gradients add up over the repetitions",
    samples=lambda rng: [
        Sample(rng.normal(size=(2, 3)), 2),
        Sample(rng.normal(size=(2, 3)), 3, -1),
        Sample(rng.normal(size=(2, 3)), np.array([1, 0, 2]), dim=1),
    ],
)
def repeat_interleave(x: Any, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Each element (or each slice along ``dim``) ``repeats`` times in a row.

    Args:
        x: any shape; flattened when ``dim`` is None.
        repeats: a number, or one number for each position of the dimension.
        dim: the dimension.
        output_size: accepted as in PyTorch; nothing depends on it here.
    """
    x = operand(x)
    if dim is None:
        x, dim = reshape(x, (-1,)), 0
    dim = wrap_dim(dim, x.ndim, "repeat_interleave")
    if mode.tracer is not None and isinstance(repeats, Tensor):
        mode.tracer.refuse("repeat_interleave with a tensor of counts")
    counts = np.asarray(getattr(repeats, "_data", repeats))
    if counts.size and counts.min() < 0:
        raise misuse("repeat_interleave", "repeats must not be negative.")
    if counts.size == 1:
        n = int(counts.reshape(()))
        shape = x.shape
        stretched = expand(unsqueeze(x, dim + 1), (*shape[: dim + 1], n, *shape[dim + 1 :]))
        out = reshape(stretched, (*shape[:dim], shape[dim] * n, *shape[dim + 1 :]))
        return clone(out) if n == 1 or shape[dim] == 1 else out  # reshape copies unless there is nothing to interleave
    if counts.shape != (x.shape[dim],):
        raise misuse("repeat_interleave", f"repeats has shape {counts.shape}, dimension {dim} has size {x.shape[dim]}.")
    from .selecting import index_select

    return index_select(x, dim, np.repeat(np.arange(x.shape[dim]), counts))


@operation(
    Flip,
    samples=lambda rng: [
        Sample(rng.normal(size=(2, 3)), 0),
        Sample(rng.normal(size=(2, 3, 2)), (0, -1)),
        Sample(rng.normal(size=()), ()),
    ],
)
def flip(x: Any, *given: Any, dims: Any = None) -> Tensor:
    """A copy with the given dimensions read backwards."""
    x = operand(x)
    return apply(Flip, (x,), {"dims": wrap_dims(sizes(given, dims), x.ndim, "flip")})


@operation(Flip, samples=lambda rng: [Sample(rng.normal(size=(2, 3)))])
def fliplr(x: Any) -> Tensor:
    """A copy with the second dimension read backwards."""
    return flip(x, 1)


@operation(Flip, samples=lambda rng: [Sample(rng.normal(size=(2, 3)))])
def flipud(x: Any) -> Tensor:
    """A copy with the first dimension read backwards."""
    return flip(x, 0)


@operation(
    Roll,
    samples=lambda rng: [
        Sample(rng.normal(size=(2, 3)), 1),
        Sample(rng.normal(size=(2, 3)), -4, 1),
        Sample(rng.normal(size=(2, 3)), (1, 2), (0, -1)),
    ],
)
def roll(x: Any, shifts: Any, dims: Any = None) -> Tensor:
    """Elements shifted along dimensions, those that leave at one end coming back at the other.

    Without ``dims`` the tensor is rolled as if it were flat, and keeps its shape.
    """
    x = operand(x)
    by = tuple(int(s) for s in (shifts if isinstance(shifts, (tuple, list)) else (shifts,)))
    if not by:
        raise misuse("roll", "needs at least one shift.")
    if dims is None:
        return reshape(apply(Roll, (reshape(x, (-1,)),), {"shifts": by, "dims": (0,) * len(by)}), x.shape)
    given = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    if len(given) != len(by):
        raise misuse("roll", f"{len(by)} shifts for {len(given)} dimensions.")
    return apply(Roll, (x,), {"shifts": by, "dims": tuple(wrap_dim(d, x.ndim, "roll") for d in given)})


@operation(
    formula="y = x turned by k quarter turns",
    gate="passes, turned back",
    samples=lambda rng: (
        [Sample(rng.normal(size=(2, 3)), k) for k in range(4)] + [Sample(rng.normal(size=(2, 3, 4)), 1, (2, 0))]
    ),
)
def rot90(x: Any, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """Turned by ``k`` quarter turns in the plane of two dimensions, from the first towards the second."""
    x = operand(x)
    first, second = wrap_dims(tuple(dims), x.ndim, "rot90")
    turns = k % 4
    if turns == 0:
        return clone(x)
    if turns == 2:
        return flip(x, (first, second))
    if turns == 1:
        return flip(transpose(x, first, second), first)
    return flip(transpose(x, first, second), second)


def _grid_samples(rng: np.random.Generator) -> list[Sample]:
    a, b = rng.normal(size=(2,)), rng.normal(size=(3,))
    return [Sample(a, b), Sample([a, b, rng.normal(size=())], indexing="xy")]


@operation(formula="yₖ[i₁, i₂, …] = xₖ[iₖ]", gate=Expand.gate, samples=_grid_samples)
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinate grids from vectors: result k has vector k along dimension k and repeats it along the others.

    With ``indexing="xy"`` the first two dimensions are exchanged. The results are views.
    """
    if indexing not in ("ij", "xy"):
        raise misuse("meshgrid", f"indexing must be 'ij' or 'xy', it is {indexing!r}.")
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    vectors = [reshape(operand(x), (-1,)) for x in tensors]
    shape = tuple(x.shape[0] for x in vectors)
    lines = (reshape(x, (1,) * k + (-1,) + (1,) * (len(shape) - k - 1)) for k, x in enumerate(vectors))
    grids = tuple(expand(line, shape) for line in lines)
    return tuple(transpose(g, 0, 1) for g in grids) if indexing == "xy" and len(shape) > 1 else grids


def _triangles(rng: np.random.Generator) -> list[Sample]:
    shapes_and_diagonals = [((3, 3), 0), ((2, 3, 4), 1), ((4, 2), -1)]
    return [Sample(rng.normal(size=shape), diagonal) for shape, diagonal in shapes_and_diagonals]


def _matrices(x: Any, name: str) -> Any:
    x = operand(x)
    if x.ndim < 2:
        raise misuse(name, f"needs at least 2 dimensions, this tensor has shape {tuple(x.shape)}.")
    return x


@operation(Tril, samples=_triangles)
def tril(x: Any, diagonal: int = 0) -> Tensor:
    """The lower triangle of (batches of) matrices up to a diagonal, zero elsewhere."""
    return apply(Tril, (_matrices(x, "tril"),), {"diagonal": diagonal})


@operation(Triu, samples=_triangles)
def triu(x: Any, diagonal: int = 0) -> Tensor:
    """The upper triangle of (batches of) matrices from a diagonal on, zero elsewhere."""
    return apply(Triu, (_matrices(x, "triu"),), {"diagonal": diagonal})
