"""What kind of matrix a Jacobian is, found out by asking it: products with random vectors, compared with what each
structure would give. An operation's name is never taken for an answer.

Random vectors leave no room for chance: a linear map that agrees with another on one Gaussian vector agrees, with
probability 1, wherever the question was about; each is asked ``PROBES`` times nevertheless, and comparisons allow for
rounding only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..words import figures
from .operator import Operator, Whole

Array = NDArray[Any]

PROBES = 3


@dataclass(frozen=True)
class Structure:
    """A kind (one word, for programs), and what it is in words with the numbers found."""

    kind: str
    words: str


class Probe:
    """An operator with random vectors at hand, the same ones every time."""

    def __init__(self, operator: Operator, others: dict[str, Array], dtype: Any) -> None:
        self.operator = operator
        self.others = others
        self.dtype = dtype
        self.random = np.random.default_rng(0)
        self.tolerance = 1e-9 if np.dtype(dtype).itemsize == 8 else 2e-4

    @property
    def out(self) -> tuple[int, ...]:
        """The output's shape."""
        return self.operator.out

    @property
    def into(self) -> tuple[int, ...]:
        """The input's shape."""
        return self.operator.into

    def draw(self, shape: tuple[int, ...]) -> Array:
        """Gaussian numbers."""
        return self.random.normal(size=shape).astype(self.dtype)

    def close(self, a: Array, b: Array) -> bool:
        """Whether two arrays are equal but for rounding, measured by the largest entry."""
        scale = max(float(np.max(np.abs(a), initial=0)), float(np.max(np.abs(b), initial=0)))
        return bool(np.all(np.abs(a - b) <= self.tolerance * scale)) if scale else True

    def pushes_as(self, guess: Callable[[Array], Array]) -> bool:
        """Whether the operator moves random inputs as ``guess`` does."""
        tangents = [self.draw(self.into) for _ in range(PROBES)]
        return all(self.close(self.operator.push(x), guess(x)) for x in tangents)

    @cached_property
    def of_ones(self) -> Array:
        """What comes out when every input moves by 1: the sums of the rows."""
        return self.operator.push(np.ones(self.into, self.dtype))


def structure(operator: Operator, others: dict[str, Array], dtype: Any) -> Structure:
    """The first structure that the operator passes the test of, from the most special to none.

    Args:
        operator: the Jacobian.
        others: other values that the output was computed from, by name: candidates for factors.
        dtype: what to compute in.
    """
    probe = Probe(operator, others, dtype)
    tests = (_zero, _diagonal, _constant, _selection, _kronecker, _toeplitz, _blocks, _triangular, _low_rank)
    return next((found for test in tests if (found := test(probe)) is not None), _dense(probe))


def _zero(p: Probe) -> Structure | None:
    if p.pushes_as(lambda x: np.zeros(p.out)):
        return Structure("zero", "zero: nothing comes through")
    return None


def _diagonal(p: Probe) -> Structure | None:
    if math.prod(p.out) != math.prod(p.into):
        return None
    slopes = p.of_ones.reshape(-1)
    if not p.pushes_as(lambda x: (slopes * x.reshape(-1)).reshape(p.out)):
        return None
    if p.close(slopes, np.ones_like(slopes)):
        return Structure("identity", "the identity: every entry passes as it is")
    if p.close(slopes, np.full_like(slopes, slopes[0])):
        return Structure("diagonal", f"{figures.digits(slopes[0])} times the identity")
    closed = float(np.mean(slopes == 0))
    zeros = f"; {figures.percent(closed)} of them are 0" if closed else ""
    low, high = figures.digits(slopes.min()), figures.digits(slopes.max())
    return Structure("diagonal", f"diagonal: {slopes.size} slopes between {low} and {high}{zeros}")


def _constant(p: Probe) -> Structure | None:
    value = p.of_ones.reshape(-1)[0] / math.prod(p.into)
    if not value or not p.pushes_as(lambda x: np.full(p.out, value * x.sum())):
        return None
    what = "ones" if p.close(value, np.ones(1)) else f"{figures.digits(value)} in every place"
    return Structure("constant", f"constant: {what}, so all entries of the input count alike")


def _selection(p: Probe) -> Structure | None:
    """Each output is one of the inputs (or none): read off where each value of a random input comes out."""
    x = p.draw(p.into).reshape(-1)
    y = p.operator.push(x.reshape(p.into)).reshape(-1)
    index, empty = _nearest(x, y), y == 0
    if not p.pushes_as(lambda tangent: np.where(empty, 0, tangent.reshape(-1)[index]).reshape(p.out)):
        return None
    used = index[~empty]
    different = np.unique(used).size
    if different == used.size == x.size == y.size:
        return Structure("permutation", f"a permutation: the {x.size} entries in another order")
    if different == used.size:
        return Structure("selection", f"a selection: {used.size} of the {x.size} entries, each passed on as it is")
    return Structure("selection", f"a selection: each output is one of {different} entries, some of them again")


def _nearest(x: Array, y: Array) -> Array:
    """For each value of y the place of the nearest value of x."""
    order = np.argsort(x)
    ranked = x[order]
    above = np.clip(np.searchsorted(ranked, y), 0, x.size - 1)
    below = np.maximum(above - 1, 0)
    return order[np.where(np.abs(ranked[above] - y) <= np.abs(ranked[below] - y), above, below)]


def _kronecker(p: Probe) -> Structure | None:
    """A product of matrices: one factor a value of the record, the other the identity."""
    if len(p.into) != 2 or len(p.out) != 2:
        return None
    for name, other in p.others.items():
        if other.ndim != 2:
            continue
        for label, matrix in ((name, other), (f"{name}ᵀ", other.T)):
            for words, guess in _products(p, label, matrix):
                if p.pushes_as(guess):
                    return Structure("kronecker", words)
    return None


def _products(p: Probe, label: str, matrix: Array) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    (rows, columns), (m, n) = p.into, p.out
    back = f"{label[:-1]}" if label.endswith("ᵀ") else f"{label}ᵀ"
    if (rows, matrix.shape) == (m, (columns, n)):
        yield f"Kronecker I ⊗ {back}: every one of the {m} rows goes through {label}", lambda x: x @ matrix
    if (columns, matrix.shape) == (n, (m, rows)):
        yield f"Kronecker {label} ⊗ I: every one of the {n} columns goes through {label}", lambda x: matrix @ x
    if (columns, matrix.shape) == (m, (n, rows)):
        yield f"Kronecker {label} ⊗ I, transposed: the output is ({label} X)ᵀ", lambda x: (matrix @ x).T
    if (rows, matrix.shape) == (n, (m, columns)):
        yield f"Kronecker {label} ⊗ I, transposed: the output is {label} Xᵀ", lambda x: matrix @ x.T


def _blocks(p: Probe) -> Structure | None:
    """Nothing from one sample reaches another; samples are counted by leading dimensions, as many of them as hold."""
    rows, columns = math.prod(p.out), math.prod(p.into)
    leading = {math.prod(shape[:k]) for shape in (p.out, p.into) for k in range(1, len(shape) + 1)}
    for n in sorted(leading, reverse=True):
        if n > 1 and rows % n == columns % n == 0 and (found := _in_blocks(p, n, rows // n, columns // n)) is not None:
            return found
    return None


def _in_blocks(p: Probe, n: int, rows: int, columns: int) -> Structure | None:
    """``n`` blocks: movements of a few samples stay where they are, and so does a gradient."""
    looked = sorted({0, n - 1, *p.random.integers(0, n, 6).tolist()})
    responses = []
    shared = p.draw((columns,))
    for i in looked:
        tangent = np.zeros((n, columns), p.dtype)
        tangent[i] = shared
        moved = p.operator.push(tangent.reshape(p.into)).reshape(n, rows)
        if np.delete(moved, i, 0).any():
            return None
        responses.append(moved[i])
    upstream = np.zeros((n, rows), p.dtype)
    upstream[looked[0]] = p.draw((rows,))
    if np.delete(p.operator.pull(upstream.reshape(p.out)).reshape(n, columns), looked[0], 0).any():
        return None
    asked = "all" if len(looked) == n else f"{len(looked)} of them"
    if all(p.close(response, responses[0]) for response in responses):
        return Structure("kronecker", f"Kronecker I ⊗ B: {n} equal blocks of {rows}×{columns} ({asked} asked)")
    return Structure("block diagonal", f"block diagonal: {n} blocks of {rows}×{columns} ({asked} asked)")


def _toeplitz(p: Probe) -> Structure | None:
    """A shifted input gives the shifted output: asked at a few places away from the border."""
    if not p.into or not p.out or p.into[-1] < 4 or p.out[-1] < 2:
        return None
    for stride in (1, 2, 3, 4):
        taps = _shifts(p, stride)
        if taps is not None:
            words = f"a shift of the input by {stride} shifts the output by 1; one entry reaches up to {taps} outputs"
            return Structure("convolution", f"Toeplitz along the last dimension, a convolution: {words}")
    return None


def _shifts(p: Probe, stride: int) -> int | None:
    """How many outputs one input in the middle reaches, if responses to shifted inputs are shifted; else None."""
    middle = tuple(n // 2 for n in p.into[:-1])
    width, start = p.into[-1], p.into[-1] // 2 - stride
    taps = 0
    for offset in range(stride):
        first, second = (_response(p, (*middle, start + offset + k * stride)) for k in (0, 1))
        if start + offset + stride >= width or not p.close(np.roll(first, 1, -1)[..., 1:], second[..., 1:]):
            return None
        if first[..., -1].any() or second[..., 0].any():
            return None
        taps = max(taps, int(np.count_nonzero(first)))
    return taps or None


def _response(p: Probe, place: tuple[int, ...]) -> Array:
    unit = np.zeros(p.into, p.dtype)
    unit[tuple(min(i, n - 1) for i, n in zip(place, p.into, strict=True))] = 1
    return p.operator.push(unit)


def _triangular(p: Probe) -> Structure | None:
    """Zero on one side of the diagonal, where the matrix is at hand."""
    matrix = _square(p)
    if matrix is None:
        return None
    if p.close(matrix, np.tril(matrix)):
        return Structure("triangular", "lower triangular: each output depends on entries up to its own place")
    if p.close(matrix, np.triu(matrix)):
        return Structure("triangular", "upper triangular: each output depends on entries from its own place on")
    return None


def _low_rank(p: Probe) -> Structure | None:
    """The rank, where the matrix is at hand."""
    if not isinstance(p.operator, Whole) or min(p.operator.matrix.shape) < 3:
        return None
    full = min(p.operator.matrix.shape)
    rank = int(np.linalg.matrix_rank(p.operator.matrix, rtol=p.tolerance))
    if rank == full:
        return None
    square = _square(p)
    symmetric = "symmetric, " if square is not None and p.close(square, square.T) else ""
    return Structure("low rank", f"{symmetric}of rank {rank}, where {full} would be full")


def _square(p: Probe) -> Array | None:
    if not isinstance(p.operator, Whole):
        return None
    matrix = p.operator.matrix
    return matrix if matrix.shape[0] == matrix.shape[1] > 1 else None


def _dense(p: Probe) -> Structure:
    """No structure was found: how many entries of a few rows are not zero."""
    rows = []
    for flat in p.random.integers(0, math.prod(p.out), min(8, math.prod(p.out))):
        unit = np.zeros(p.out, p.dtype)
        unit.reshape(-1)[flat] = 1
        rows.append(p.operator.pull(unit).reshape(-1))
    share = float(np.mean(np.array(rows) != 0))
    if share < 0.5:
        words = f"{figures.percent(share)} of the entries of {figures.counted(len(rows), 'row')} are not 0"
        return Structure("sparse", f"no structure found; {words}")
    words = f"an output depends on {figures.percent(share)} of the inputs ({figures.counted(len(rows), 'row')} asked)"
    return Structure("dense", f"dense: {words}")
