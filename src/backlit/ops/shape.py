"""Changing shape without changing values: reshape, permute, expand and their relatives. Most results are views."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import dtypes
from ..errors import UnsupportedError
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import operand, unbroadcast
from .misuse import misuse, out_of_range


def sizes(given: tuple[Any, ...], named: Any = None) -> tuple[int, ...]:
    """``(2, 3)`` from ``f(2, 3)``, from ``f((2, 3))`` and from ``f(name=(2, 3))``."""
    if named is not None:
        given = (*given, named)
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    return tuple(int(n) for n in given)


def wrap_dim(dim: Any, ndim: int, name: str) -> int:
    """A dimension counted from the front; 0-d tensors are taken to have one, as in PyTorch."""
    count = max(1, ndim)
    if not -count <= dim < count:
        raise out_of_range(
            name,
            f"dimension {dim} does not exist in a tensor with {ndim} dimensions; "
            f"give one from {-count} to {count - 1}.",
        )
    return int(dim) % count


def wrap_dims(dims: Any, ndim: int, name: str) -> tuple[int, ...]:
    """Several dimensions, or one, counted from the front and all different."""
    found = tuple(wrap_dim(d, ndim, name) for d in (dims if isinstance(dims, (tuple, list)) else (dims,)))
    if len(set(found)) < len(found):
        raise misuse(name, f"a dimension is named twice in {tuple(dims)}.")
    return found


class Reshape(Op):
    """The same elements in another shape."""

    formula = "y = x, read in another shape"
    gate = "passes, reshaped back"
    gradients: ClassVar = {"x": "reshaped(g)"}
    is_view = True

    def forward(x, *, shape):
        return x.reshape(shape)

    def vjp_x(ctx, g):
        return g.reshape(ctx.shapes[0])


class Permute(Op):
    """Dimensions in another order."""

    formula = "y = x with its dimensions reordered"
    gate = "passes, with the order undone"
    is_view = True

    @classmethod
    def gradient_form(cls, name, ctx):
        return "gᵀ" if ctx.params["dims"] in ((1, 0), (-1, -2)) else "reordered(g)"

    def forward(x, *, dims):
        return x.transpose(dims)

    def vjp_x(ctx, g):
        order = [d % max(1, len(ctx.shape)) for d in ctx.params["dims"]]
        return permute(g, tuple(sorted(range(len(order)), key=order.__getitem__)))


class Expand(Op):
    """Dimensions of size 1 stretched, without copying."""

    formula = "y = x, repeated along stretched dimensions"
    gate = "copies forward, so gradients add up over the copies"
    is_view = True

    @classmethod
    def gradient_form(cls, name, ctx):
        return "g" if ctx.shapes[0] == ctx.shape else "Σ_copies(g)"

    def forward(x, *, shape):
        out = np.broadcast_to(x, shape)
        return out if out.size != x.size else x.reshape(shape)  # nothing is shown twice: writing stays allowed

    def vjp_x(ctx, g):
        return unbroadcast(g, ctx.shapes[0])


class Clone(Op):
    """A copy in memory of its own."""

    formula = "y = x, in new memory"
    gate = "passes"
    gradients: ClassVar = {"x": "g"}
    keeps_shapes = False

    def forward(x, *, order):
        return x.copy(order)

    def vjp_x(ctx, g):
        return g


# -- reading in another shape -------------------------------------------------------------------------------------


@operation(
    Reshape,
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), (2, 6)),
        Sample(rng.normal(size=(3, 4)), (-1,)),
        Sample(rng.normal(size=(1,)), ()),
        Sample(rng.normal(size=(0, 3)), (3, 0)),
    ],
)
def reshape(x: Any, *new_shape: Any, shape: Any = None) -> Tensor:
    """The same elements in another shape; one size may be -1. A view where the memory layout allows it."""
    return apply(Reshape, (operand(x),), {"shape": sizes(new_shape, shape)})


@operation(
    Reshape,
    samples=lambda rng: [Sample(rng.normal(size=()), (1, 1))],
)
def view(x: Any, *shape: Any, size: Any = None) -> Tensor:
    """The same elements in another shape, always sharing memory.

    Raises:
        OperationError: the shape cannot be had without copying (use :func:`reshape`), or does not fit.
    """
    x = operand(x)
    if len(shape) == 1 and isinstance(shape[0], (type, np.dtype)):
        raise UnsupportedError(
            "view(dtype): reading memory as another dtype is not supported; convert with .to(dtype)."
        )
    out = apply(Reshape, (x,), {"shape": sizes(shape, size)})
    if 0 not in out.shape and not np.may_share_memory(getattr(out, "_data", out), getattr(x, "_data", x)):
        raise misuse(
            "view",
            f"a tensor with shape {tuple(x.shape)} and this memory layout cannot be seen as "
            f"{tuple(out.shape)} without a copy. Use .reshape(...), or .contiguous() first.",
        )
    return out


@operation(Reshape, samples=lambda rng: [Sample(rng.normal(size=(2, 3)), rng.normal(size=(2, 1, 3)) > 0)])
def view_as(x: Any, other: Any) -> Tensor:
    """``x.view(other.shape)``."""
    return view(x, tuple(other.shape))


@operation(Reshape, samples=lambda rng: [Sample(rng.normal(size=(2, 3)), rng.normal(size=(6,)) > 0)])
def reshape_as(x: Any, other: Any) -> Tensor:
    """``x.reshape(other.shape)``."""
    return reshape(x, tuple(other.shape))


@operation(
    Reshape,
    samples=lambda rng: [
        Sample(rng.normal(size=(2, 3, 4))),
        Sample(rng.normal(size=(2, 3, 4)), 1),
        Sample(rng.normal(size=())),
        Sample(rng.normal(size=(2, 0, 4)), start_dim=0, end_dim=1),
    ],
)
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim`` merged into one; a 0-d tensor becomes 1-d."""
    x = operand(x)
    first, last = wrap_dim(start_dim, x.ndim, "flatten"), wrap_dim(end_dim, x.ndim, "flatten")
    if first > last:
        raise misuse("flatten", f"start_dim {start_dim} comes after end_dim {end_dim}.")
    shape = x.shape
    merged = int(np.prod(shape[first : last + 1], dtype=np.int64))
    return apply(Reshape, (x,), {"shape": (*shape[:first], merged, *shape[last + 1 :])})


@operation(Reshape, samples=lambda rng: [Sample(rng.normal(size=(2, 3)))])
def ravel(x: Any) -> Tensor:
    """All elements in one dimension."""
    return reshape(x, (-1,))


@operation(Reshape, samples=lambda rng: [Sample(rng.normal(size=(2, 12)), 1, (3, -1))])
def unflatten(x: Any, dim: int, sizes: Any) -> Tensor:
    """One dimension split into several; one of their sizes may be -1."""
    x = operand(x)
    dim = wrap_dim(dim, x.ndim, "unflatten")
    parts = [int(n) for n in sizes]
    if parts.count(-1) == 1:
        rest = -int(np.prod(parts, dtype=np.int64))
        parts[parts.index(-1)] = x.shape[dim] // rest if rest else 0
    if int(np.prod(parts, dtype=np.int64)) != x.shape[dim] or min(parts, default=0) < 0:
        raise misuse(
            "unflatten", f"dimension {dim} has size {x.shape[dim]}, which is not the product of {tuple(sizes)}."
        )
    return apply(Reshape, (x,), {"shape": (*x.shape[:dim], *parts, *x.shape[dim + 1 :])})


@operation(
    Reshape,
    samples=lambda rng: [
        Sample(rng.normal(size=(1, 3, 1))),
        Sample(rng.normal(size=(1, 3, 1)), 0),
        Sample(rng.normal(size=(1, 3, 1)), (0, 1, -1)),
        Sample(rng.normal(size=()), 0),
    ],
)
def squeeze(x: Any, dim: Any = None) -> Tensor:
    """Without its dimensions of size 1: all of them, or those among ``dim`` that have size 1."""
    x = operand(x)
    chosen = range(x.ndim) if dim is None else wrap_dims(dim, x.ndim, "squeeze")
    return apply(Reshape, (x,), {"shape": tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in chosen)})


@operation(Reshape, samples=lambda rng: [Sample(rng.normal(size=(2, 3)), -2), Sample(rng.normal(size=()), 0)])
def unsqueeze(x: Any, dim: int) -> Tensor:
    """With a new dimension of size 1 at ``dim``."""
    x = operand(x)
    dim = wrap_dim(dim, x.ndim + 1, "unsqueeze")
    return apply(Reshape, (x,), {"shape": (*x.shape[:dim], 1, *x.shape[dim:])})


# -- reordering dimensions ----------------------------------------------------------------------------------------


@operation(
    Permute,
    samples=lambda rng: [Sample(rng.normal(size=(2, 3, 4)), (2, 0, 1)), Sample(rng.normal(size=(2, 3)), (-1, 0))],
)
def permute(x: Any, *order: Any, dims: Any = None) -> Tensor:
    """Dimensions in the given order; a view."""
    return apply(Permute, (operand(x),), {"dims": sizes(order, dims)})


@operation(Permute, samples=lambda rng: [Sample(rng.normal(size=(2, 3, 4)), 0, -1), Sample(rng.normal(size=()), 0, 0)])
def transpose(x: Any, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged; a view."""
    x = operand(x)
    order = list(range(x.ndim))
    try:
        order[dim0], order[dim1] = order[dim1], order[dim0]
    except IndexError:
        for dim in (dim0, dim1):
            wrap_dim(dim, x.ndim, "transpose")
    return apply(Permute, (x,), {"dims": tuple(order)})


def _move_samples(rng: np.random.Generator) -> list[Sample]:
    return [Sample(rng.normal(size=(2, 3, 4)), 0, -1), Sample(rng.normal(size=(2, 3, 4)), (0, 1), (2, 0))]


@operation(Permute, samples=_move_samples)
def movedim(x: Any, source: Any, destination: Any) -> Tensor:
    """Dimensions ``source`` moved to the places ``destination``; the others keep their order. A view."""
    x = operand(x)
    old, new = wrap_dims(source, x.ndim, "movedim"), wrap_dims(destination, x.ndim, "movedim")
    if len(old) != len(new):
        raise misuse("movedim", f"{source} and {destination} have different lengths.")
    order = [d for d in range(x.ndim) if d not in old]
    for place, d in sorted(zip(new, old, strict=True)):
        order.insert(place, d)
    return apply(Permute, (x,), {"dims": tuple(order[: x.ndim])})


@operation(Permute, samples=lambda rng: [Sample(rng.normal(size=(2, 3))), Sample(rng.normal(size=(3,)))])
def t(x: Any) -> Tensor:
    """The transpose of a matrix; vectors and 0-d tensors as they are."""
    x = operand(x)
    if x.ndim > 2:
        raise misuse(
            "t", f"needs at most 2 dimensions, this tensor has shape {tuple(x.shape)}. Use .mT for batches of matrices."
        )
    return T(x)


def mT(x: Any) -> Tensor:
    """The last two dimensions exchanged."""
    return transpose(x, -2, -1)


def T(x: Any) -> Tensor:
    """All dimensions reversed."""
    return permute(x, tuple(range(operand(x).ndim))[::-1])


# -- stretching ---------------------------------------------------------------------------------------------------


@operation(
    Expand,
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 1)), (2, 3, 4)),
        Sample(rng.normal(size=(1,)), (3,)),
        Sample(rng.normal(size=()), (2, 2)),
        Sample(rng.normal(size=(2, 1)), (-1, 0)),
    ],
)
def expand(x: Any, *shape: Any, size: Any = None) -> Tensor:
    """Dimensions of size 1 stretched to ``shape`` without copying; -1 keeps a size. Read-only memory: writes raise."""
    x = operand(x)
    target = sizes(shape, size)
    lead = len(target) - x.ndim
    if -1 in target:
        target = tuple(x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(target))
    try:
        return apply(Expand, (x,), {"shape": target})
    except ValueError:
        raise misuse(
            "expand",
            f"a tensor with shape {tuple(x.shape)} cannot be stretched to {target}; sizes must be "
            "equal, or 1 in the tensor, counted from the last dimension.",
        ) from None


@operation(Expand, samples=lambda rng: [Sample(rng.normal(size=(3, 1)), rng.normal(size=(3, 4)) > 0)])
def expand_as(x: Any, other: Any) -> Tensor:
    """``x.expand(other.shape)``."""
    return expand(x, tuple(other.shape))


@operation(Expand, samples=lambda rng: [Sample(rng.normal(size=(3, 1)), (2, 3, 4))])
def broadcast_to(x: Any, shape: Any) -> Tensor:
    """``x.expand(shape)``."""
    return expand(x, tuple(shape))


@operation(
    formula=Expand.formula,
    gate=Expand.gate,
    samples=lambda rng: [Sample(rng.normal(size=(3, 1)), rng.normal(size=(1, 4)), rng.normal(size=()))],
)
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Every tensor expanded to the shape that they broadcast to together."""
    operands = [operand(x) for x in tensors]
    shape = broadcast_shapes(*[tuple(x.shape) for x in operands])
    return tuple(expand(x, shape) for x in operands)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that tensors of these shapes broadcast to."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = ", ".join(str(tuple(s)) for s in shapes)
        raise misuse(
            "broadcast",
            f"the shapes {listed} do not go together; counted from the last dimension, sizes must be equal or 1.",
        ) from None


# -- memory -------------------------------------------------------------------------------------------------------


@operation(Clone, samples=lambda rng: [Sample(rng.normal(size=(2, 3))), Sample(rng.normal(size=()))])
def clone(x: Any) -> Tensor:
    """A copy with its own memory, through which gradients pass."""
    return apply(Clone, (operand(x),), {"order": "K"})


@operation(Clone, samples=lambda rng: [Sample(rng.normal(size=(3, 2)).T)])
def contiguous(x: Any) -> Tensor:
    """The tensor itself when its memory is in row-major order, else a copy that is."""
    x = operand(x)
    array = getattr(x, "_data", x)
    return x if array.flags.c_contiguous else apply(Clone, (x,), {"order": "C"})


def result_dtype(operands: list[Any]) -> np.dtype[Any]:
    """The dtype that several operands are brought to by PyTorch's rules."""
    dtype, ndim = operands[0].dtype, operands[0].ndim
    for x in operands[1:]:
        if x.dtype != dtype:
            dtype = dtypes.promote(dtype, ndim, x.dtype, x.ndim)
        ndim = max(ndim, x.ndim)
    return dtype


swapaxes = swapdims = transpose
moveaxis = movedim
