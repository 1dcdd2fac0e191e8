"""Sums of products over named dimensions: einsum and tensordot.

An expression is brought down to contractions of two operands in which no dimension is repeated, broadcast or in one
operand only: diagonals are taken, lonely dimensions summed, stretched ones dropped before. The gradient of such a
contraction is a contraction of the upstream gradient with the other operand, and nearly all are matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import match, operand
from .misuse import misuse
from .shape import permute, reshape, result_dtype, wrap_dims
from .slicing import Diagonal

Labels = tuple[int, ...]
"""One number for each dimension of an operand; dimensions with the same number are the same index. Those that an
ellipsis stands for are negative, counted from the right."""


class Contract(Op):
    """The sum of the products of two operands over the dimensions that the result has not."""

    formula = "Y = Σ A B over the shared dimensions that Y has not"
    gate = "swaps: each operand receives the upstream gradient contracted with the other"

    def forward(a, b, *, labels):
        return _contract(a, b, route(*labels))

    def vjp_a(ctx, g, b):
        of_a, of_b, of_out = ctx.params["labels"]
        return apply(Contract, (g, b), {"labels": (of_out, of_b, of_a)})

    def vjp_b(ctx, g, a):
        of_a, of_b, of_out = ctx.params["labels"]
        return apply(Contract, (g, a), {"labels": (of_out, of_a, of_b)})


class Route(NamedTuple):
    """How a contraction is computed: as a matrix product after permutations, or (``left`` is None) by ``np.einsum``."""

    equation: str
    left: tuple[int, ...] | None
    right: tuple[int, ...]
    counts: tuple[int, int, int, int]
    """How many dimensions are shared by all, the left one's own, summed, the right one's own."""
    order: tuple[int, ...]


@lru_cache(maxsize=4096)
def route(of_a: Labels, of_b: Labels, of_out: Labels) -> Route:
    """How the contraction of operands with these dimensions to a result with these is computed."""
    batch = [n for n in of_out if n in of_a and n in of_b]
    summed = [n for n in of_a if n not in of_out]
    own_a = [n for n in of_out if n not in of_b]
    own_b = [n for n in of_out if n not in of_a]
    letters = {n: chr(ord("A") + i + (6 if i > 25 else 0)) for i, n in enumerate({*of_a, *of_b})}
    spelled = ["".join(letters[n] for n in labels) for labels in (of_a, of_b, of_out)]
    equation = f"{spelled[0]},{spelled[1]}->{spelled[2]}"
    if not summed or not (own_a or own_b):
        return Route(equation, None, (), (0, 0, 0, 0), ())
    left = tuple(of_a.index(n) for n in (*batch, *own_a, *summed))
    right = tuple(of_b.index(n) for n in (*batch, *summed, *own_b))
    made = [*batch, *own_a, *own_b]
    counts = (len(batch), len(own_a), len(summed), len(own_b))
    return Route(equation, left, right, counts, tuple(made.index(n) for n in of_out))


def _contract(a: np.ndarray, b: np.ndarray, way: Route) -> np.ndarray:
    if way.left is None:
        return np.asarray(np.einsum(way.equation, a, b))
    batch, own_a, summed, _ = way.counts
    a, b = a.transpose(way.left), b.transpose(way.right)
    front, rows, depth = a.shape[:batch], a.shape[batch : batch + own_a], math.prod(b.shape[batch : batch + summed])
    columns = b.shape[batch + summed :]
    left = a.reshape((*front, math.prod(rows), depth))
    right = b.reshape((*front, depth, math.prod(columns)))
    out = np.matmul(left, right) if batch else np.dot(left, right)
    return out.reshape((*front, *rows, *columns)).transpose(way.order)


# -- reading an expression ----------------------------------------------------------------------------------------


def _symbols(text: str) -> list[Any]:
    """Letters, and ``...`` as an Ellipsis."""
    found: list[Any] = []
    for i, part in enumerate(text.split("...")):
        found += [...] if i else []
        found += [ord(c) for c in part]
    return found


def _from_equation(equation: str) -> tuple[list[list[Any]], list[Any] | None]:
    terms, arrow, result = equation.replace(" ", "").partition("->")
    strange = set(terms + result) - set(",.") - {c for c in terms + result if c.isascii() and c.isalpha()}
    if strange or "." in (terms + result).replace("...", "") or "," in result:
        raise misuse("einsum", f"cannot read {equation!r}; write letters, commas, ... and one ->.")
    return [_symbols(term) for term in terms.split(",")], _symbols(result) if arrow else None


def _from_lists(arguments: Sequence[Any]) -> tuple[list[Any], list[list[Any]], list[Any] | None]:
    """The form ``einsum(x, [0, 1], y, [1, 2], [0, 2])``."""
    result = list(arguments[-1]) if len(arguments) % 2 else None
    pairs = arguments[: len(arguments) - len(arguments) % 2]
    return list(pairs[::2]), [list(labels) for labels in pairs[1::2]], result


def _labels(symbols: list[Any], ndim: int, name: str) -> Labels:
    """One label a dimension, an ellipsis spread over as many as are left."""
    spread = ndim - len(symbols) + 1 if ... in symbols else 0
    if symbols.count(...) > 1 or spread < 0 or (... not in symbols and len(symbols) != ndim):
        raise misuse("einsum", f"{name} has {ndim} dimensions, but the expression names {len(symbols)}.")
    return tuple(n for s in symbols for n in (range(-spread, 0) if s is ... else (s,)))


def _result(symbols: list[Any] | None, operands: list[Labels]) -> Labels:
    """The labels of the result; where it is not given, the ellipsis and then every letter that occurs once, sorted."""
    everything = [n for labels in operands for n in labels]
    widest = -min([0, *everything])
    if symbols is None:
        symbols = [..., *sorted(n for n in set(everything) if n >= 0 and everything.count(n) == 1)]
    found = tuple(n for s in symbols for n in (range(-widest, 0) if s is ... else (s,)))
    if len(set(found)) < len(found) or not set(found) <= set(everything):
        raise misuse("einsum", "each index of the result must occur once there, and in some operand.")
    return found


def _sizes(operands: list[Any], labels: list[Labels]) -> dict[int, int]:
    """The size of each index; 1 broadcasts."""
    sizes: dict[int, int] = {}
    for x, own in zip(operands, labels, strict=True):
        for n, size in zip(own, x.shape, strict=True):
            if sizes.setdefault(n, size) not in (1, size) and size != 1:
                shapes = " and ".join(str(tuple(y.shape)) for y in operands)
                index = f"'{chr(n)}'" if n >= 65 else "an index"
                raise misuse("einsum", f"{index} is both {sizes[n]} and {size} long in operands with shapes {shapes}.")
            sizes[n] = size if sizes[n] == 1 else sizes[n]
    return sizes


# -- computing it -------------------------------------------------------------------------------------------------


def _diagonals(x: Any, labels: Labels) -> tuple[Any, Labels]:
    """An operand in which no index is repeated."""
    while len(set(labels)) < len(labels):
        n = next(n for n in labels if labels.count(n) > 1)
        i = labels.index(n)
        j = labels.index(n, i + 1)
        if x.shape[i] != x.shape[j]:
            raise misuse("einsum", f"an index is repeated in an operand with shape {tuple(x.shape)} for unequal sizes.")
        x = apply(Diagonal, (x,), {"offset": 0, "dim1": i, "dim2": j})
        labels = (*[m for k, m in enumerate(labels) if k not in (i, j)], n)
    return x, labels


def _trimmed(x: Any, labels: Labels, sizes: dict[int, int], needed: set[int]) -> tuple[Any, Labels]:
    """An operand without stretched dimensions, and summed over those that nothing else needs."""
    kept = [k for k, n in enumerate(labels) if x.shape[k] == sizes[n]]
    if len(kept) < len(labels):
        x, labels = reshape(x, tuple(x.shape[k] for k in kept)), tuple(labels[k] for k in kept)
    lonely = tuple(k for k, n in enumerate(labels) if n not in needed)
    if lonely:
        x, labels = x.sum(axis=lonely), tuple(n for n in labels if n in needed)
    return x, labels


@lru_cache(maxsize=1024)
def _path(labels: tuple[Labels, ...], result: Labels, sizes: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """In which order to contract: places of pairs in a list that they leave, and to which their result is added."""
    if len(labels) == 2:
        return [(0, 1)]
    size, small = dict(sizes), {n: i for i, (n, _) in enumerate(sizes)}
    arguments: list[Any] = []
    for own in labels:
        arguments += [np.broadcast_to(np.zeros(()), [size[n] for n in own]), [small[n] for n in own]]
    search = "optimal" if len(labels) <= 5 else "greedy"  # the best order of n operands takes about n! trials
    steps = np.einsum_path(*arguments, [small[n] for n in result], optimize=search)[0][1:]
    count, pairs = len(labels), []
    for step in steps:
        last, *others = sorted(step, reverse=True)
        for other in others:  # a step may join more than two: each result is the last in the list
            pairs.append((other, last))
            count -= 1
            last = count - 1
    return pairs


def _evaluate(operands: list[Any], labels: list[Labels], result: Labels) -> Any:
    sizes = _sizes(operands, labels)
    prepared = [_diagonals(x, own) for x, own in zip(operands, labels, strict=True)]
    counted = [n for _, own in prepared for n in own]
    pending = [_trimmed(x, own, sizes, {n for n in own if n in result or counted.count(n) > 1}) for x, own in prepared]
    if len(pending) > 1:
        pending = [_trimmed(x, own, sizes, _elsewhere(pending, k, result)) for k, (x, own) in enumerate(pending)]
        for i, j in _path(tuple(own for _, own in pending), result, tuple(sorted(sizes.items()))):
            (b, of_b), (a, of_a) = pending.pop(j), pending.pop(i)
            needed = {n for _, own in pending for n in own} | set(result)
            merged = tuple(dict.fromkeys(n for n in (*of_a, *of_b) if n in needed)) if pending else result
            pending.append((apply(Contract, (a, b), {"labels": (of_a, of_b, merged)}), merged))
    ((out, own),) = pending
    return out if own == result else permute(out, tuple(own.index(n) for n in result))


def _elsewhere(pending: list[tuple[Any, Labels]], k: int, result: Labels) -> set[int]:
    """The indices that the result or another operand has."""
    return {n for i, (_, own) in enumerate(pending) if i != k for n in own} | set(result)


def _samples(rng: np.random.Generator) -> Any:
    for equation, *shapes in (
        ("ij,jk->ik", (2, 3), (3, 4)),
        ("ij,jk", (2, 3), (3, 4)),
        ("ij->ji", (2, 3)),
        ("ij->j", (2, 3)),
        ("ii", (3, 3)),
        ("iji->ji", (3, 2, 3)),
        ("i,i->", (3,), (3,)),
        ("bi,bi->b", (2, 3), (2, 3)),
        ("i,j->ji", (2,), (3,)),
        ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
        ("bhqd,bkhd->bqhk", (2, 3, 2, 4), (2, 2, 3, 4)),
        ("...ij,...jk->...ik", (2, 1, 3, 2), (4, 2, 3)),
        ("...i,i", (2, 3), (3,)),
        ("ij,j->i", (2, 1), (3,)),
        ("ij,kl->", (2, 3), (2, 2)),
        ("ab,bc,cd->ad", (2, 3), (3, 4), (4, 2)),
        ("ab,ab,ab->ab", (2, 3), (2, 3), (2, 3)),
        ("i,ij,j", (2,), (2, 3), (3,)),
        ("ij,jk->ik", (2, 0), (0, 4)),
    ):
        yield Sample(equation, *[rng.normal(size=shape) for shape in shapes])
    yield Sample(rng.normal(size=(2, 3)), [0, 1], rng.normal(size=(3, 2)), [1, 2], [2, 0])


@operation(
    formula="Y = Σ of products of elements over every index that Y has not",
    gate="swaps: each operand receives the upstream gradient times the others, summed over the indices it has not",
    samples=_samples,
)
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products over named dimensions, as in ``einsum("bij,bjk->bik", x, y)``.

    Args:
        equation: one letter for each dimension of each operand, ``...`` for any number of leading ones, and after
            ``->`` the dimensions of the result; without ``->``, those that occur once, in alphabetical order. A letter
            repeated in one operand takes the diagonal. The form ``einsum(x, [0, 1], y, [1, 2], [0, 2])`` works too.
        operands: any number. Dimensions of size 1 broadcast. More than two are contracted in a good order.

    Raises:
        OperationError: the expression does not fit the shapes; both sizes are named.

    >>> import backlit as bl
    >>> bl.einsum("ij,j->i", bl.tensor([[1.0, 2.0], [3.0, 4.0]]), bl.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    if isinstance(equation, str):
        terms, result = _from_equation(equation)
        given = list(operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands)
    else:
        given, terms, result = _from_lists((equation, *operands))
    if len(terms) != len(given):
        raise misuse("einsum", f"the expression has {len(terms)} operands, {len(given)} were given.")
    given = [operand(x) for x in given]
    dtype = result_dtype(given)
    given = [x if x.dtype == dtype else x.astype(dtype) for x in given]
    labels = [_labels(term, x.ndim, f"operand {k}") for k, (term, x) in enumerate(zip(terms, given, strict=True))]
    return _evaluate(given, labels, _result(result, labels))


@operation(
    Contract,
    samples=lambda rng: [
        Sample(rng.normal(size=(2, 3, 4)), rng.normal(size=(3, 4, 2))),
        Sample(rng.normal(size=(2, 3)), rng.normal(size=(3,)), 1),
        Sample(rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 2)), dims=([0, -1], [1, 0])),
        Sample(rng.normal(size=(2,)), rng.normal(size=(3,)), dims=0),
    ],
)
def tensordot(a: Any, b: Any, dims: Any = 2) -> Tensor:
    """Products summed over several dimensions of two operands.

    Args:
        a, b: the operands.
        dims: a number n, for the last n of ``a`` with the first n of ``b``; or two lists of dimensions to pair.

    Returns:
        The dimensions of ``a`` that are left, then those of ``b``.
    """
    a, b = match(operand(a), operand(b))
    if isinstance(dims, int):
        dims = (list(range(a.ndim - dims, a.ndim)), list(range(dims)))
    of_a, of_b = (d.tolist() if hasattr(d, "tolist") else d for d in dims)
    first, second = wrap_dims(of_a, a.ndim, "tensordot"), wrap_dims(of_b, b.ndim, "tensordot")
    paired = [(a.shape[d], b.shape[e]) for d, e in zip(first, second, strict=False)]
    if len(first) != len(second) or any(n != m and 1 not in (n, m) for n, m in paired):
        raise misuse(
            "tensordot",
            f"dimensions {first} of a tensor with shape {tuple(a.shape)} and {second} of one with shape "
            f"{tuple(b.shape)} must have the same sizes.",
        )
    left = tuple(range(a.ndim))
    right = tuple(first[second.index(d)] if d in second else a.ndim + d for d in range(b.ndim))
    kept = (*[n for n in left if n not in first], *[n for n in right if n >= a.ndim])
    if any(n != m for n, m in paired):  # a size of 1 is stretched
        return _evaluate([a, b], [left, right], kept)
    return apply(Contract, (a, b), {"labels": (left, right, kept)})
