"""Running sums and products along the middle one of three dimensions, in the order in which NumPy folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .logarithm import logaddexp
from .target import Target
from .values import Pointer, Value
from .vector import VectorBuilder, function

_COMBINE: dict[str, Callable[[VectorBuilder, Value, Value], Value]] = {
    "sum": lambda b, x, y: x + y,
    "prod": lambda b, x, y: x * y,
    "logaddexp": logaddexp,
}

TOGETHER = 4
"""Lines of single elements that run side by side: each waits for its own last addition."""


@dataclass(frozen=True)
class Scan:
    """``outer × length × inner`` elements folded along the length, from its end on where ``reverse``."""

    kind: str
    outer: int
    length: int
    inner: int
    reverse: bool
    dtype: str


def emit_scan(module: ir.Module, name: str, spec: Scan, target: Target | None = None) -> ir.Function:
    """Define ``void name(x, out)``."""
    each = spec.length * spec.inner
    with function(module, name, [spec.dtype] * 2, target, spec.dtype) as (b, x, out):
        if spec.inner == 1:
            whole = spec.outer - spec.outer % TOGETHER
            b.loop(0, whole, TOGETHER, lambda i: _lines(b, spec, x + i * each, out + i * each, TOGETHER))
            b.loop(whole, spec.outer, 1, lambda i: _lines(b, spec, x + i * each, out + i * each, 1))
        else:
            b.loop(0, spec.outer, 1, lambda i: _slices(b, spec, x + i * each, out + i * each))
    return module.globals[name]


def _lines(b: VectorBuilder, spec: Scan, x: Pointer, out: Pointer, count: int) -> None:
    """``count`` lines of neighbouring elements."""

    def place(line: int, i: Any) -> Any:
        return spec.length * line + _position(b, spec, i)

    def step(i: Any, *totals: Value) -> list[Value]:
        after = [_COMBINE[spec.kind](b, total, x.load(place(k, i), 0)) for k, total in enumerate(totals)]
        for k, total in enumerate(after):
            out.store(total, place(k, i))
        return after

    first = [x.load(place(k, 0), 0) for k in range(count)]
    for k, total in enumerate(first):
        out.store(total, place(k, 0))
    b.loop(1, spec.length, 1, step, first)


def _slices(b: VectorBuilder, spec: Scan, x: Pointer, out: Pointer) -> None:
    """Slices of ``inner`` elements, each added to the last result."""
    back = spec.inner if spec.reverse else -spec.inner

    def step(i: Any) -> None:
        begin = _position(b, spec, i) * spec.inner
        given, into = x + begin, out + begin
        before = into + back

        def fold(j: Any, mask: Value | None) -> None:
            into.store(_COMBINE[spec.kind](b, before.load(j, mask=mask), given.load(j, mask=mask)), j, mask)

        b.sweep(spec.inner, fold)

    begin = _position(b, spec, 0) * spec.inner
    b.sweep(spec.inner, lambda j, mask: (out + begin).store((x + begin).load(j, mask=mask), j, mask), unroll=4)
    b.loop(1, spec.length, 1, step)


def _position(b: VectorBuilder, spec: Scan, i: Any) -> Any:
    """The place along the length that is folded in the given round."""
    if not spec.reverse:
        return i
    return spec.length - 1 - i if isinstance(i, int) else b.index(spec.length - 1) - i


__all__ = ["Scan", "emit_scan"]
