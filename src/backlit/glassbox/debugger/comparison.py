"""Where two runs first differ, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import RecordError
from ..record import Record, RecordNode
from .timeline import Step, timeline

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Difference:
    """A value or gradient that is not the same in both runs: at most ``largest`` apart, at ``index``, where it is
    ``before`` and ``after``. ``relative`` is that over the larger of the two sizes. NaN on one side is ∞ apart."""

    step: Step
    index: tuple[int, ...]
    before: float
    after: float
    largest: float
    relative: float

    @property
    def node(self) -> RecordNode:
        """The node, as it is in the first run."""
        return self.step.node

    def __str__(self) -> str:
        what = "value" if self.step.phase == "forward" else "gradient"
        where = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return (
            f"{what} of {self.node.name}{where}: {self.before:.6g} → {self.after:.6g} "
            f"(apart by {self.largest:.3g}, relatively {self.relative:.3g})"
        )


@dataclass(frozen=True)
class Comparison:
    """Two runs of the same computation, step by step; ``differences`` are in the order of the steps."""

    differences: tuple[Difference, ...]
    steps: int

    @property
    def first(self) -> Difference | None:
        """The first difference, or None where the runs are equal bit for bit (leaves before operations)."""
        return self.differences[0] if self.differences else None

    def __str__(self) -> str:
        if self.first is None:
            return f"no difference in {self.steps} steps"
        count = len(self.differences)
        most = max(self.differences, key=lambda d: d.largest)
        lines = [f"{count} of {self.steps} values and gradients differ", f"  first   {self.first}"]
        return "\n".join([*lines, *([f"  largest {most}"] if most is not self.first else [])])


def compare(a: Record, b: Record) -> Comparison:
    """Hold two runs of the same computation against each other: leaves, values, then gradients in the walk's order.

    Raises:
        RecordError: the records are of different computations; the first node that differs is named.

    >>> import backlit as bl
    >>> w = bl.tensor(3.0, requires_grad=True)
    >>> rec = bl.explain(w * w)
    >>> print(compare(rec, rec.rerun(values={"w": 5.0})).first)
    value of w: 3 → 5 (apart by 2, relatively 0.4)
    """
    _check_same(a, b)
    places = [*(Step("forward", leaf) for leaf in a.leaves), *timeline(a)]
    found = [_difference(step, b.nodes[step.node.id]) for step in places]
    return Comparison(tuple(d for d in found if d is not None), len(places))


def _check_same(a: Record, b: Record) -> None:
    for one, other in zip(a.nodes, b.nodes, strict=False):
        if (one.op, one.shape, [e.source.id for e in one.inputs]) != (
            other.op,
            other.shape,
            [e.source.id for e in other.inputs],
        ):
            raise RecordError(
                f"the records are of different computations: node {one.id} is {one!r} in one and {other!r} in the "
                "other. Compare runs of the same program."
            )
    if len(a.nodes) != len(b.nodes):
        raise RecordError(f"the records have {len(a.nodes)} and {len(b.nodes)} nodes; compare runs of one program.")


def _difference(step: Step, other: RecordNode) -> Difference | None:
    node = step.node
    x, y = (node.value, other.value) if step.phase == "forward" else (node.upstream, other.upstream)
    if x is None or y is None or not x.size:
        return None
    one, two = np.asarray(x, np.float64), np.asarray(y, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.where(one == two, 0.0, np.abs(one - two))
    apart = np.where(np.isnan(one) & np.isnan(two), 0.0, np.where(np.isnan(apart), np.inf, apart))
    if not apart.any():
        return None
    index = tuple(int(i) for i in np.unravel_index(int(apart.argmax()), apart.shape))
    before, after, largest = float(one[index]), float(two[index]), float(apart[index])
    size = max(abs(before), abs(after))
    relative = largest / size if np.isfinite(size) and size else np.inf
    return Difference(step, index, before, after, largest, float(relative))


__all__ = ["Comparison", "Difference", "compare"]
