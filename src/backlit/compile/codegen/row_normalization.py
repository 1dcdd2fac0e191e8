"""Layer and RMS normalisation of the rows of a matrix, forwards and backwards, each row in the first-level cache.

With x̂ = (x − μ) r and r = 1/√(σ² + ε): y = x̂ w + b, and with h = g w

    dx = r (h − mean(h) − x̂ mean(h x̂)),   dw = Σ_rows g x̂,   db = Σ_rows g.

RMS normalisation does not centre: μ = 0, and the first mean is left out. The mean and r of each row are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .target import Target
from .values import Pointer, Value
from .vector import VectorBuilder, function

_APART = 4  # sums that go on side by side, so that additions do not wait for each other


@dataclass(frozen=True)
class RowNormalization:
    """``rows × width`` values, contiguous. ``centred`` is layer normalisation, otherwise RMS; weight and bias may lack.

    ``accumulate`` adds dx to what is there, as a residual connection wants it.
    """

    rows: int
    width: int
    eps: float
    centred: bool = True
    weight: bool = True
    bias: bool = True
    accumulate: bool = False
    dtype: str = "float32"


def emit_normalization(
    module: ir.Module, name: str, spec: RowNormalization, target: Target | None = None
) -> ir.Function:
    """Define ``void name(x, weight, bias, y, means, scales)``; means are written only when centred."""
    with function(module, name, [spec.dtype] * 6, target, spec.dtype) as (b, x, weight, bias, y, means, scales):

        def row(i: Any) -> None:
            source, out = x + i * spec.width, y + i * spec.width
            mean = _mean(b, spec, source) if spec.centred else b.number(0.0)
            scale = _scale(b, spec, source, mean)
            if spec.centred:
                means.store(b.lane(mean, 0), i)
            scales.store(b.lane(scale, 0), i)

            def finish(j: Any, mask: Value | None) -> None:
                value = (source.load(j, mask=mask) - mean) * scale
                if spec.weight:
                    value = value * weight.load(j, mask=mask)
                out.store(value + bias.load(j, mask=mask) if spec.bias else value, j, mask)

            b.sweep(spec.width, finish, unroll=_APART)

        b.loop(0, spec.rows, 1, row)
    return module.globals[name]


def _mean(b: VectorBuilder, spec: RowNormalization, row: Pointer) -> Value:
    [total] = sums(b, spec.width, 1, lambda j, mask: [row.load(j, mask=mask)])
    return b.splat(total * (1 / spec.width))


def _scale(b: VectorBuilder, spec: RowNormalization, row: Pointer, mean: Value) -> Value:
    """1/√(σ² + ε), from squares of what is already centred."""

    def square(j: Any, mask: Value | None) -> list[Value]:
        apart = row.load(j, mask=mask) - mean
        if mask is not None:
            apart = b.where(mask, apart, 0.0)
        return [apart * apart]

    [total] = sums(b, spec.width, 1, square)
    return b.splat(1.0 / b.intrinsic("sqrt", total * (1 / spec.width) + spec.eps))


def emit_normalization_backward(
    module: ir.Module, name: str, spec: RowNormalization, target: Target | None = None
) -> ir.Function:
    """Define ``void name(x, weight, means, scales, g, dx, dweight, dbias)``.

    dweight and dbias are overwritten, each only where the specification has what it is the gradient of.
    """
    with function(module, name, [spec.dtype] * 8, target, spec.dtype) as (b, *pointers):
        _Backward(b, spec, *pointers).emit()
    return module.globals[name]


class _Backward:
    def __init__(
        self,
        b: VectorBuilder,
        spec: RowNormalization,
        x: Pointer,
        weight: Pointer,
        means: Pointer,
        scales: Pointer,
        g: Pointer,
        dx: Pointer,
        dweight: Pointer,
        dbias: Pointer,
    ) -> None:
        self.b, self.spec, self.x, self.weight, self.means, self.scales = b, spec, x, weight, means, scales
        self.g, self.dx = g, dx
        self.totals = [into for into, wanted in ((dweight, spec.weight), (dbias, spec.bias)) if wanted]

    def emit(self) -> None:
        b, spec = self.b, self.spec
        zero = b.number(0.0)
        for total in self.totals:

            def clear(j: Any, mask: Value | None, total: Pointer = total) -> None:
                total.store(zero, j, mask)

            b.sweep(spec.width, clear)
        b.loop(0, spec.rows, 1, self._row)

    def _row(self, i: Any) -> None:
        b, spec = self.b, self.spec
        x, g, dx = (p + i * spec.width for p in (self.x, self.g, self.dx))
        mean = self.means.splat(i) if spec.centred else b.number(0.0)
        scale = self.scales.splat(i)

        def parts(j: Any, mask: Value | None) -> tuple[Value, Value]:
            """h and x̂."""
            normal = (x.load(j, mask=mask) - mean) * scale
            upstream = g.load(j, mask=mask)
            return (upstream * self.weight.load(j, mask=mask) if spec.weight else upstream), normal

        def products(j: Any, mask: Value | None) -> list[Value]:
            h, normal = parts(j, mask)
            self._add_totals(j, mask, g, normal)
            return [h, h * normal]

        total, along = (b.splat(s * (1 / spec.width)) for s in sums(b, spec.width, 2, products))

        def finish(j: Any, mask: Value | None) -> None:
            h, normal = parts(j, mask)
            value = h - normal * along
            value = (value - total if spec.centred else value) * scale
            dx.store(value + dx.load(j, mask=mask) if spec.accumulate else value, j, mask)

        b.sweep(spec.width, finish, unroll=_APART)

    def _add_totals(self, j: Any, mask: Value | None, g: Pointer, normal: Value) -> None:
        """A row's share of dw and db; lanes outside the mask hold zeros in g."""
        upstream = g.load(j, mask=mask)
        shares = [upstream * normal] * self.spec.weight + [upstream] * self.spec.bias
        for into, share in zip(self.totals, shares, strict=True):
            into.store(into.load(j, mask=mask) + share, j, mask)


def sums(b: VectorBuilder, width: int, count: int, terms: Callable[[Any, Value | None], list[Value]]) -> list[Value]:
    """``count`` sums over ``range(width)`` as scalars of vectors ``terms(j, mask)``, zero in lanes outside the mask."""
    step, rounds = _APART * b.lanes, width // b.lanes
    whole = rounds - rounds % _APART

    def several(j: Any, *carried: Value) -> list[Value]:
        parts = [terms(j + u * b.lanes, None) for u in range(_APART)]
        return [total + parts[i // count][i % count] for i, total in enumerate(carried)]

    carried = b.loop(0, whole * b.lanes, step, several, [b.number(0.0)] * (_APART * count))
    totals = [carried[i] for i in range(count)]
    for i in range(count, len(carried)):
        totals[i % count] = totals[i % count] + carried[i]
    for r in range(whole, rounds):
        totals = [t + term for t, term in zip(totals, terms(r * b.lanes, None), strict=True)]
    if width % b.lanes:
        tail = terms(rounds * b.lanes, b.first(width % b.lanes))
        totals = [t + term for t, term in zip(totals, tail, strict=True)]
    return [b.sum(t) for t in totals]


__all__ = ["RowNormalization", "emit_normalization", "emit_normalization_backward", "sums"]
