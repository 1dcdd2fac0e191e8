"""``x[key]`` and what replaces it: views for basic keys, copies for index arrays and masks.

Keys mean what they mean in PyTorch: integers, slices (also with negative steps), None and ``...`` are applied first
and give a view; then index arrays, lists and boolean masks are applied to the dimensions they stand at. Their common
broadcast shape takes the place of the indexed dimensions when those are neighbours, else it comes first. (NumPy counts
an integer beside an index array as an index array too; PyTorch and Backlit do not.)
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..creation import as_tensor
from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import operand, unbroadcast
from .misuse import misuse, out_of_range
from .scatter_sum import as_integers, flat_positions, index_key, last_writers, result_place, scatter_sum
from .shape import expand
from .slicing import Assemble, Slice

LOOKED_UP: dict[str, Any] = {
    "formula": "y = x[key]",
    "gate": "routes: each element receives the sum of the gradients of its copies",
}
_ENDS = (int, type(None))
_BASIC = (int, slice, type(None), type(...))


class Index(Op):
    """Elements or slices looked up by index arrays or masks."""

    name = "index"
    formula = "y[k] = x[index[k]]"
    gate = "routes: each element receives the sum of the gradients of its copies"
    gradients: ClassVar = {"x": "placed(g); placed: added up at the indexed places, zeros elsewhere"}

    def forward(x, *indices, dims):
        if dims == (0,) and indices[0].dtype.kind != "b" and x.flags.c_contiguous:
            return x.take(indices[0], axis=0)  # twice as fast, but it would copy the whole of a strided array first
        return x[index_key(indices, dims)]

    def vjp_x(ctx, g, *indices):
        return apply(IndexSum, (g, *indices), {"shape": ctx.shapes[0], **ctx.params})


class IndexSum(Op):
    """Zeros with values added at index arrays or masks; where an index occurs twice, values add up."""

    name = "index_sum"
    formula = "y[i] = Σ x[k] over all k with index[k] = i"
    gate = "copies: each value receives the upstream gradient of the element it was added to"

    def forward(x, *indices, shape, dims):
        return scatter_sum(x, indices, shape, dims)

    def vjp_x(ctx, g, *indices):
        return apply(Index, (g, *indices), {"dims": ctx.params["dims"]})


class IndexPut(Op):
    """A copy with values put at a basic key and index arrays; where an index occurs twice, the last value stays."""

    name = "index_put"
    formula = "y = x, except y[index[k]] = v[k]"
    gate = "routes: replaced elements pass their gradient to the values, the others to x; overwritten values receive 0"

    def forward(x, values, *indices, key, dims):
        out = np.array(x)  # not x.copy(), which leaves NumPy's 0-d scalars scalars
        region = out[key]
        if indices:
            region[index_key(*_in_order(indices, dims))] = values
        else:
            region[...] = values
        return out

    def vjp(ctx, g, *indices):
        key, dims = ctx.params["key"], ctx.params["dims"]
        to_x = to_values = None
        if ctx.edges[0] is not None:
            to_x = apply(IndexPut, (g, 0.0, *indices), ctx.params)
        if ctx.edges[1] is not None:
            region = apply(Slice, (g,), {"key": key})
            part = apply(Index, (region, *indices), {"dims": dims}) if indices else region
            stays = _stays(region.shape, tuple(getattr(i, "_data", i) for i in indices), dims, part.ndim)
            if stays is not None:
                part = part * stays.astype(part.dtype)
            to_values = _unbroadcast_values(part, ctx.shapes[1])
        return [to_x, to_values, *[None] * len(indices)]

    def jvp(ctx, tangents, *indices):
        to_x, to_values = tangents[:2]
        if to_x is None:
            to_x = constant(np.zeros(ctx.shapes[0], ctx.dtype))
        return apply(IndexPut, (to_x, 0.0 if to_values is None else to_values, *indices), ctx.params)


def _in_order(indices: tuple[Any, ...], dims: tuple[int, ...]) -> tuple[Any, Any]:
    """The indices in row-major memory: NumPy assigns in memory order, which decides about duplicates."""
    if len(indices) == 1 and (indices[0].dtype.kind == "b" or indices[0].flags.c_contiguous):
        return indices, dims
    integers, places = as_integers(indices, dims)
    return tuple(np.ascontiguousarray(i) for i in np.broadcast_arrays(*integers)), tuple(places)


def _stays(shape: tuple[int, ...], indices: tuple[Any, ...], dims: tuple[int, ...], ndim: int) -> np.ndarray | None:
    """For values put at indices: which are not overwritten, in a shape that broadcasts against the values."""
    if not indices or (len(indices) == 1 and indices[0].dtype.kind == "b"):
        return None
    integers, places = as_integers(indices, dims)
    size = int(np.prod([shape[d] for d in places]))
    positions = flat_positions(shape, integers, places)
    kept = last_writers(positions, size)
    behind = ndim - result_place(places) - positions.ndim
    return None if kept is None else kept.reshape(*kept.shape, *(1,) * behind)


def _unbroadcast_values(part: Any, shape: tuple[int, ...]) -> Any:
    """Sum over what was broadcast; values may have leading dimensions of size 1 that the region has not."""
    extra = max(0, len(shape) - part.ndim)
    return unbroadcast(part, shape[extra:]).reshape(shape)


# -- reading a key ------------------------------------------------------------------------------------------------


def _read(key: Any, x: Any, check: bool = False) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[int, ...]]:
    """Split a key into a basic key, ending in an ellipsis, and index arrays with their dimensions in what that leaves.

    With ``check``, indices that are out of range raise here, in terms of the whole tensor.
    """
    parts = [_part(item, x) for item in (key if isinstance(key, tuple) else (key,))]
    used = sum(_consumes(part) for part in parts)
    if used > x.ndim:
        raise out_of_range("indexing", f"{used} indices for a tensor with {x.ndim} dimensions, shape {tuple(x.shape)}.")
    if sum(part is ... for part in parts) > 1:
        raise misuse("indexing", "only one ... is allowed.")
    basic: list[Any] = []
    indices: list[Any] = []
    dims: list[int] = []
    source = place = 0  # the dimension of x that comes next, and of what the basic key leaves
    for part in parts:
        if part is ...:
            basic.append(...)
            source, place = source + x.ndim - used, place + x.ndim - used
        elif part.__class__ in _BASIC:
            basic.append(part)
            if check and part.__class__ is int:
                check_range(np.asarray(part), x.shape[source], source, "indexing", -x.shape[source])
            source += part is not None
            place += part.__class__ is not int
        else:
            span = _consumes(part)
            if span == 0:  # x[True]: a new dimension of size 1, or 0
                part = wrap_index(np.zeros(int(bool(part)), np.intp), x)
            if check and span:
                _check(part, x.shape, source)
            basic += [slice(None)] * span or [None]
            indices.append(part)
            dims.append(place)
            source, place = source + span, place + max(span, 1)
    return (*basic, *(() if ... in basic else (...,))), tuple(indices), tuple(dims)


def _plain(part: Any) -> bool:
    """Whether an entry is an integer or a slice of integers."""
    if part.__class__ is slice:
        return part.start.__class__ in _ENDS and part.stop.__class__ in _ENDS and part.step.__class__ in _ENDS
    return part.__class__ is int


def _part(item: Any, x: Any) -> Any:
    """One entry of a key in one of the forms: int, slice, None, ..., index array (or tensor)."""
    kind = item.__class__
    if kind is slice:
        return slice(*[None if end is None else int(end) for end in (item.start, item.stop, item.step)])
    if kind in _BASIC:
        return item
    if kind is bool or isinstance(item, (list, tuple, range)):
        item = wrap_index(_listed(item), x)
    elif not hasattr(item, "dtype"):
        raise _not_an_index(f"a {kind.__name__}")
    if item.dtype.kind not in "iub":
        raise _not_an_index(f"{item.dtype.name} values")
    if item.dtype == np.uint8:
        raise _not_an_index("uint8 values (a mask, or positions?): convert with .bool() or .long()")
    return int(item) if item.ndim == 0 and item.dtype.kind != "b" else item


def _listed(item: Any) -> np.ndarray:
    """A bool, or a sequence of numbers, arrays and tensors."""
    found = np.asarray(as_tensor(item)._data)
    return found if found.size else found.astype(np.intp)


def _not_an_index(what: str) -> Exception:
    return misuse(
        "indexing",
        f"{what} cannot be used as an index; use integers, slices, None, ..., integer arrays or boolean masks.",
    )


def _consumes(part: Any) -> int:
    """How many dimensions an entry uses up."""
    if part is None or part is ...:
        return 0
    return part.ndim if getattr(getattr(part, "dtype", None), "kind", "") == "b" else 1


def _check(index: Any, shape: tuple[int, ...], dim: int) -> None:
    """That an index array fits the dimensions it stands at."""
    if index.dtype.kind == "b":
        if tuple(index.shape) != shape[dim : dim + index.ndim]:
            raise out_of_range(
                "indexing",
                f"a mask with shape {tuple(index.shape)} does not fit dimension {dim} on of a "
                f"tensor with shape {tuple(shape)}.",
            )
    else:
        check_range(index, shape[dim], dim, "indexing", -shape[dim])


def check_range(index: Any, size: int, dim: int, name: str, lowest: int = 0) -> None:
    """Raise, naming the culprit, unless every index is between ``lowest`` and ``size - 1``."""
    array = getattr(index, "_data", index)
    if array.size == 0 or (lowest == 0 and array.view(f"u{array.itemsize}").max() < size):  # negatives become huge
        return
    low, high = array.min(), array.max()
    if low < lowest or high >= size:
        raise out_of_range(
            name,
            f"index {low if low < lowest else high} is out of range for dimension {dim} of size "
            f"{size}" + (f"; the allowed indices are {lowest} to {size - 1}." if size else ", which is empty."),
        )


def integer_index(index: Any, x: Any, name: str) -> Any:
    """An index of an integer dtype, an array only beside arrays."""
    if not hasattr(index, "dtype"):
        index = wrap_index(np.asarray(index), x)
    if index.dtype.kind not in "iu" and 0 not in index.shape:
        raise misuse(name, f"indices must be integers, these are {index.dtype.name}; convert with .long().")
    return index if index.dtype.kind in "iu" else index.astype(np.int64)


def wrap_index(array: np.ndarray, x: Any) -> Any:
    """An index that the library made, as a tensor beside tensors (nobody outside can write to it)."""
    return constant(array) if isinstance(x, Tensor) else array


def _whole(basic: tuple[Any, ...]) -> bool:
    return all(part is ... or (part.__class__ is slice and part == slice(None)) for part in basic)


# -- public -------------------------------------------------------------------------------------------------------


def _index_samples(rng: np.random.Generator) -> Any:
    def x() -> np.ndarray:
        return rng.normal(size=(3, 4, 2))

    mask = rng.random((3, 4)) < 0.5
    rows, columns = np.array([0, -1, 0]), np.array([[1], [3]])
    for key in (
        1,
        (..., -1),
        (slice(None, None, -2), None, slice(1, 3)),
        rows,
        ([0, 0, 2], slice(1, None)),
        (slice(None), rows),
        (rows, slice(None), np.array([1, 0, 1])),
        (rows, columns),
        (0, slice(None), np.array([1, 0, 1])),
        mask,
        (mask, 1),
        (slice(None), mask[0], None),
        (np.array([], np.int64), ..., 0),
    ):
        yield Sample(x(), key)
    yield Sample(rng.normal(size=(5,)), np.array([[0, 0], [4, 1]]))
    yield Sample(rng.normal(size=()), ...)


@operation(**LOOKED_UP, samples=_index_samples)
def getitem(x: Any, key: Any) -> Tensor:
    """``x[key]``: a view for integers, slices, None and ``...``; a copy for index arrays, lists and masks.

    Raises:
        OutOfRangeError: an index does not exist (it is also an ``IndexError``).
    """
    parts = key if key.__class__ is tuple else (key,)
    try:
        if all(map(_plain, parts)):  # the common case, without reading it thoroughly
            return apply(Slice, (x,), {"key": (*parts, ...)})
        basic, indices, dims = _read(key, x)
        part = x if indices and _whole(basic) else apply(Slice, (x,), {"key": basic})
        return apply(Index, (part, *indices), {"dims": dims}) if indices else part
    except IndexError:
        _read(key, x, check=True)
        raise


def copied_ndim(x: Any, key: Any) -> int | None:
    """How many dimensions ``x[key]`` has where it is a copy; None where it is a view."""
    if all(map(_plain, key if key.__class__ is tuple else (key,))):
        return None
    basic, indices, _ = _read(key, x)
    if not indices:
        return None
    spans = sum(_consumes(index) or 1 for index in indices)
    left = x.ndim + sum(part is None for part in basic) - sum(part.__class__ is int for part in basic)
    return left - spans + max(1 if index.dtype.kind == "b" else index.ndim for index in indices)


def _put_samples(rng: np.random.Generator) -> Any:
    x, mask = (lambda: rng.normal(size=(3, 4))), rng.random((3, 4)) < 0.5
    yield Sample(x(), 1, rng.normal(size=(4,)))
    yield Sample(x(), (slice(None), slice(0, 2)), rng.normal(size=(1, 2)))
    yield Sample(x(), np.array([0, 2, 0]), rng.normal(size=(3, 4)))
    yield Sample(x(), (np.array([0, 2, 0]), np.array([1, 1, 1])), rng.normal(size=(3,)))
    yield Sample(x(), (slice(1, None), np.array([0, 2, 0])), rng.normal(size=(1, 3)))
    yield Sample(x(), mask, rng.normal(size=()))
    yield Sample(x(), (np.array([0, 2, 0]),), rng.normal(size=(4,)), accumulate=True)
    yield Sample(x(), (slice(1, None), np.array([0, 2, 0])), rng.normal(size=(2, 1)), accumulate=True)


@operation(IndexPut, samples=_put_samples)
def index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Tensor:
    """A copy of ``x`` with ``copy[indices] = values``.

    Args:
        x: any shape.
        indices: anything that ``x[indices]`` takes, for example a tuple of index tensors.
        values: broadcast to the shape of ``x[indices]``. Where an index occurs twice, the last value stays, and the
            gradient of the others is 0.
        accumulate: add the values instead; where an index occurs twice, all of them.
    """
    x, values = operand(x), operand(values)
    if values.dtype != x.dtype:
        values = values.astype(x.dtype)
    key, index, dims = _read(indices, x)
    if not accumulate:
        try:
            return apply(IndexPut, (x, values, *index), {"key": key, "dims": dims})
        except IndexError:
            _read(indices, x, check=True)
            raise
    region = apply(Slice, (x,), {"key": key})
    shape = region.shape
    if index:
        arrays = tuple(getattr(i, "_data", i) for i in index)
        values = expand(values, np.broadcast_to(np.zeros(()), shape)[index_key(arrays, dims)].shape)
        values = apply(IndexSum, (values, *index), {"shape": shape, "dims": dims})
    return x + apply(Assemble, (expand(values, shape),), {"shape": x.shape, "keys": (key,)})
