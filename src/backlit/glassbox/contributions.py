"""The gradient of a value split by path: what came down each way from the result.

The gradient is a sum over all paths of products of local gradients. There can be astronomically many; they are counted
exactly, walked through one by one where they are few, and searched for the largest where they are not.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import GradientError, RecordError
from .record.model import Edge, Record, RecordNode
from .words import figures

Array = NDArray[Any]

EVERY = 512
"""Up to so many paths are all walked through."""

_LONG = 12
"""Of longer paths the middle is left out when they are printed."""


@dataclass(frozen=True)
class Contribution:
    """One path: its ``edges`` from the result down, and the gradient that this path alone brings to each node on it."""

    root: RecordNode
    edges: tuple[Edge, ...]
    gradients: tuple[Array, ...]

    @property
    def value(self) -> Array:
        """What the path brings to its end: an array of the end's shape."""
        return self.gradients[-1]

    @property
    def norm(self) -> float:
        """Its L2 norm."""
        return _norm(self.value)

    @property
    def nodes(self) -> tuple[RecordNode, ...]:
        """The nodes on the path, the result first."""
        return (self.root, *(edge.source for edge in self.edges))

    def __str__(self) -> str:
        """``loss 1 → s −2 → w −2``: names, each with the gradient along this path (of arrays the norm)."""
        steps = [f"{n.name} {_size(g)}" for n, g in zip(self.nodes, self.gradients, strict=True)]
        if len(steps) > _LONG:
            steps = [*steps[: _LONG // 2], f"… {len(steps) - _LONG} more …", *steps[-_LONG // 2 :]]
        return " → ".join(steps)


@dataclass(frozen=True)
class Contributions:
    """The largest contributions to the gradient of ``node``, of ``count`` in all; ``rest`` is the sum of the others.

    ``complete`` says that these are surely the largest: every path was looked at, or all values are single numbers.
    """

    node: RecordNode
    paths: tuple[Contribution, ...]
    count: int
    rest: Array
    complete: bool

    def __getitem__(self, index: int) -> Contribution:
        return self.paths[index]

    def __iter__(self) -> Iterator[Contribution]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def total(self) -> Array:
        """The sum over all paths, which is the gradient."""
        return np.sum([path.value for path in self.paths], axis=0) + self.rest

    def __str__(self) -> str:
        several = "s" * (self.count != 1)
        lines = [f"gradient of {self.node.name}: {_size(self.total)}, from {self.count:,} path{several}"]
        lines += [f"  {_size(path.value):>10}  along {path}" for path in self.paths]
        hidden = self.count - len(self.paths)
        if hidden:
            lines.append(f"  {_size(self.rest):>10}  … and {hidden:,} more path{'s' * (hidden != 1)} together")
        if not self.complete:
            lines.append("  (too many to look at each; found by going on with the largest at each node)")
        cancelled = self._cancelled()
        return "\n".join([*lines, *([cancelled] if cancelled else [])])

    def _cancelled(self) -> str:
        apart = sum(path.norm for path in self.paths) + _norm(self.rest)
        together = _norm(self.total)
        if apart <= 2 * together or not apart:
            return ""
        return f"  The paths work against each other: apart {figures.digits(apart, 3)}, together {_size(self.total)}."


def contributions(rec: Record, x: Any, top: int = 10) -> Contributions:
    """The gradient of ``x`` split by path from the result, the ``top`` largest paths one by one.

    Args:
        rec: the record; it must hold values (``keep="all"``).
        x: a node, its name, or the tensor.
        top: how many paths to show, at least 1.

    Raises:
        GradientError: no gradient came to ``x``.
        RecordError: ``top`` is less than 1, values are missing, or an operation of the user's own is on a path.

    >>> import backlit as bl
    >>> x = bl.tensor(3.0, requires_grad=True)
    >>> print(contributions(bl.explain(x * x + 2 * x), x))
    gradient of x: 8, from 3 paths
               3  along add 1 → mul 1 → x 3
               3  along add 1 → mul 1 → x 3
               2  along add 1 → mul#2 1 → x 2
    """
    if top < 1:
        raise RecordError(f"contributions: top={top}; ask for at least one path.")
    node = rec.node(x)
    if node.upstream_kept is None:
        raise GradientError(
            f"contributions: no gradient came to {node.name} in this backward pass. bl.why(it) tells the reason."
        )
    counts = _counts(node)
    roots = [root for root in rec.roots if root.id in counts]
    if any(root.seed is None for root in roots):
        raise RecordError("contributions: only statistics of gradients were kept; record with keep='all'.")
    number = sum(counts[root.id] for root in roots)
    if number <= EVERY:
        return _of_all(node, roots, counts, top)
    return _of_largest(node, roots, counts, top, number)


def _counts(node: RecordNode) -> dict[int, int]:
    """The nodes that gradient comes through to ``node``, each with its number of paths down to it."""
    above = {node.id: node}
    stack = [node]
    while stack:
        fresh = {e.target.id: e.target for e in stack.pop().terms if e.target.id not in above}
        above |= fresh
        stack += fresh.values()
    counts = dict.fromkeys(sorted(above), 0)
    counts[node.id] = 1
    for number in counts:
        for edge in above[number].terms:
            counts[edge.target.id] += counts[number]
    return counts


def _downward(node: RecordNode, counts: dict[int, int]) -> Iterator[Edge]:
    return (e for e in node.inputs if e.source.id in counts and e.downstream_kept is not None)


def _starts(roots: list[RecordNode]) -> list[Contribution]:
    return [Contribution(root, (), (np.asarray(root.seed),)) for root in roots]


def _longer(path: Contribution, edge: Edge) -> Contribution:
    pulled = edge.local.pull(path.value)
    return Contribution(path.root, (*path.edges, edge), (*path.gradients, pulled))


def _of_all(node: RecordNode, roots: list[RecordNode], counts: dict[int, int], top: int) -> Contributions:
    """Every path; beyond the largest only their sum is held."""
    best: list[tuple[float, int, Contribution]] = []
    rest = np.zeros(node.shape, node.dtype)
    order = itertools.count()
    stack = _starts(roots)[::-1]
    total = 0
    while stack:
        path = stack.pop()
        last = path.nodes[-1]
        if last.id == node.id:
            total += 1
            heapq.heappush(best, (path.norm, -next(order), path))
            if len(best) > top:
                rest = rest + heapq.heappop(best)[2].value
        else:
            stack += [_longer(path, edge) for edge in _downward(last, counts)][::-1]
    return Contributions(node, _sorted(best), total, rest, True)


def _of_largest(
    node: RecordNode, roots: list[RecordNode], counts: dict[int, int], top: int, number: int
) -> Contributions:
    """The largest paths, found by going on at each node with the ``top`` largest that came there.

    Between single numbers the size of a path is the product of the sizes of its factors, so these are the largest.
    """
    arrived: dict[int, list[Contribution]] = {path.root.id: [path] for path in _starts(roots)}
    for above in sorted(counts, reverse=True):
        largest = sorted(arrived.pop(above, ()), key=lambda path: -path.norm)[:top]
        if above == node.id:
            break
        for path in largest:
            for edge in _downward(path.nodes[-1], counts):
                arrived.setdefault(edge.source.id, []).append(_longer(path, edge))
    known = np.sum([path.value for path in largest], axis=0)
    sure = all(node._record.nodes[n].shape == () for n in counts)
    return Contributions(node, tuple(largest), number, np.asarray(node.upstream) - known, sure)


def _sorted(found: list[tuple[float, int, Contribution]]) -> tuple[Contribution, ...]:
    return tuple(path for _, _, path in sorted(found, key=lambda item: item[:2], reverse=True))


def _norm(array: Array) -> float:
    return float(np.linalg.norm(np.asarray(array, np.float64)))


def _size(array: Array) -> str:
    """A number, or the norm of an array."""
    return figures.digits(array, 4) if np.ndim(array) == 0 else f"‖{figures.digits(_norm(array), 3)}‖"
