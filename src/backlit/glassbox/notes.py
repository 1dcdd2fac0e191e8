"""What is worth knowing about a record beside its numbers: slopes that are a convention, or not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BacklitError
from ..ops.elementwise import Elementwise
from .record.model import Record, RecordNode

Array = NDArray[Any]


def notes(rec: Record) -> list[str]:
    """Sentences about the places of a record where a gradient is not simply the derivative.

    Kinks (``relu`` at 0), ties (``max`` of equal numbers), and slopes that are infinite or not a number, for the
    operations that gradient went through and whose values the record holds.

    >>> import backlit as bl
    >>> x = bl.tensor(0.0, requires_grad=True)
    >>> y = bl.relu(x)
    >>> notes(bl.explain(y))
    ['y = bl.relu(x): kink at 0, where the slope 0 is used.']
    """
    return [note for node in rec.walked for note in _of_node(node)][::-1]


def _of_node(node: RecordNode) -> Iterator[str]:
    values = [edge.source.value for edge in node.inputs]
    if node.definition is None or node.value is None or any(value is None for value in values):
        return
    said = f"{node.name} = {node.expression}" if node.expression else node.name
    if node.op in ("maximum", "minimum"):
        if np.any(values[0] == values[1]):
            yield f"{said}: both inputs are equal, so the gradient is split in halves."
    elif _at_kink(node, values, node.value):
        yield f"{said}: {node.domain}."
    if _slope_not_finite(node):
        yield f"{said}: the slope is not finite here (defined for: {node.domain})."


def _at_kink(node: RecordNode, values: list[Any], out: Array) -> bool:
    test = _KINKS.get(node.op or "")
    if test is not None:
        return test(node, values, out)
    elementwise = issubclass(node.definition, Elementwise) and len(values) == 1
    return elementwise and bool(np.isin(values[0], node.definition.avoid).any())


def _ties(node: RecordNode, values: list[Any], out: Array) -> bool:
    """More elements got gradient than there are results."""
    got = node.inputs[0].downstream
    return got is not None and int(np.count_nonzero(got)) > out.size


def _limits(node: RecordNode, values: list[Any], out: Array) -> bool:
    limits = [limit for limit in (*node.params.values(), *values[1:]) if isinstance(limit, (int, float, np.ndarray))]
    return any(bool(np.any(values[0] == limit)) for limit in limits)


def _zero(node: RecordNode, values: list[Any], out: Array) -> bool:
    return bool(np.any(out == 0))


def _equal(node: RecordNode, values: list[Any], out: Array) -> bool:
    return bool(np.any(values[0] == values[1]))


_KINKS: dict[str, Callable[[RecordNode, list[Any], Array], bool]] = {
    **dict.fromkeys(("max", "min", "amax", "amin", "median"), _ties),
    "clamp": _limits,
    **dict.fromkeys(("norm", "std"), _zero),
    "l1_loss": _equal,
}
"""Where operations have kinks that are not at fixed numbers."""


def _slope_not_finite(node: RecordNode) -> bool:
    """Whether finite upstream gradient became something else on its way through."""
    upstream = node.upstream
    if upstream is None or not np.isfinite(upstream).all():
        return False
    try:
        return any(_infinite(edge) for edge in node.inputs if edge.differentiable)
    except BacklitError:
        return False


def _infinite(edge: Any) -> bool:
    down = edge.downstream
    if down is not None and not np.isfinite(down).all():
        return True
    slopes = edge.local.value if edge.local.kind in ("scalar", "diagonal") else None
    return slopes is not None and not np.isfinite(slopes).all()
