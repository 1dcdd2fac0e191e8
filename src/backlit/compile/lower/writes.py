"""Writes into parts of tensors: in a program nothing is overwritten, so a tensor is put together anew around the part.

What a chain of views shows is replaced from the inside out: a slice by cutting the tensor before and after it, a
reordered or reshaped tensor by the same change undone. :mod:`backlit.compile.passes.parts` sees to it that a loop that
fills a tensor row by row copies each row once, and not the whole tensor each time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops.inplace import ViewWrite
from ...ops.shape import Expand, Permute, Reshape
from ...ops.slicing import Slice
from ..ir.build import Builder
from ..ir.program import Value
from .joining import joined
from .shape import Cut, along, cut_by, replaced
from .table import lowering, lowering_of

Chain = tuple[tuple[Any, dict[str, Any]], ...]


@lowering(ViewWrite, rules="traced")
def view_write(b: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """The base around new values for what a chain of views shows."""
    base, value = inputs
    return _replaced(b, base, value, params["chain"])


def _replaced(b: Builder, base: Value, value: Value, chain: Chain) -> Value | None:
    """``base`` with new values where ``chain`` looks; None where it looks in a way that has no counterpart here."""
    if not chain:
        return b.expand(value, base.shape)
    (op, params), *rest = chain
    put = _PUT.get(op)
    if put is None:
        return None
    shown = _shown(b, base, op, params)
    inner = _replaced(b, shown, value, tuple(rest))
    return None if inner is None else put(b, base, inner, params)


def _shown(b: Builder, base: Value, op: Any, params: dict[str, Any]) -> Value:
    """What a view of ``base`` shows."""
    lower = lowering_of(op)
    assert lower is not None, op
    shape = op.forward(np.broadcast_to(np.empty((), base.dtype), base.shape), **params).shape
    made: Value = lower(b, [base], params, op, Value(shape, base.dtype))
    return made


def _put_slice(b: Builder, base: Value, part: Value, params: dict[str, Any]) -> Value:
    cut = cut_by(params["key"], base.shape)
    return around(b, base, b.reshape(part, cut.counts), cut)


def _put_permuted(b: Builder, base: Value, part: Value, params: dict[str, Any]) -> Value:
    order = [d % base.ndim for d in params["dims"]]
    return b.permute(part, tuple(order.index(d) for d in range(base.ndim)))


def _put_reshaped(b: Builder, base: Value, part: Value, params: dict[str, Any]) -> Value | None:
    return b.reshape(part, base.shape) if part.size == base.size else None


_PUT: dict[Any, Any] = {Slice: _put_slice, Permute: _put_permuted, Reshape: _put_reshaped, Expand: _put_reshaped}


def around(b: Builder, base: Value, part: Value, cut: Cut) -> Value:
    """``base`` with ``part`` at the places of a cut, one dimension after the other."""
    for dim, (start, step, count) in enumerate(zip(cut.starts, cut.steps, cut.counts, strict=True)):
        if count == 0:
            return base
        if (start, step, count) != (0, 1, base.shape[dim]):
            rest = cut._replace(starts=replaced(cut.starts, dim, 0), steps=replaced(cut.steps, dim, 1))
            chosen = along(b, base, dim, start, step, count)
            return _between(b, base, around(b, chosen, part, rest), dim, start, step)
    return part


def _between(b: Builder, base: Value, part: Value, dim: int, start: int, step: int) -> Value:
    """``base`` with the positions ``start``, ``start + step`` … of a dimension replaced."""
    count = part.shape[dim]
    if step < 0:
        start, step, part = start + step * (count - 1), -step, along(b, part, dim, count - 1, -1, count)
    last = start + step * (count - 1)
    before = along(b, base, dim, 0, 1, start)
    behind = along(b, base, dim, last + 1, 1, base.shape[dim] - last - 1)
    if step == 1 or count == 1:
        return joined(b, [before, part, behind], dim)
    shape, size = base.shape, step * (count - 1)
    rows = (*shape[:dim], count - 1, step, *shape[dim + 1 :])
    kept = along(b, b.reshape(along(b, base, dim, start, 1, size), rows), dim + 1, 1, 1, step - 1)
    first = along(b, part, dim, 0, 1, count - 1)
    mixed = joined(b, [b.reshape(first, (*rows[: dim + 1], 1, *rows[dim + 2 :])), kept], dim + 1)
    mixed = b.reshape(mixed, (*shape[:dim], size, *shape[dim + 1 :]))
    return joined(b, [before, mixed, along(b, part, dim, count - 1, 1, 1), behind], dim)


__all__ = ["around"]
