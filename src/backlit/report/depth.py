"""Bars through depth: what one pass did in each layer, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from ..check.health.flow import FlowReport
from ..check.health.probe import LayerFlow
from .svg import Axis, frame, short, text

WIDTH, ROW, TOP, BOTTOM = 1060.0, 22.0, 30.0, 24.0
MAX_LAYERS = 40
GAP = 26.0


def flow_bars(report: FlowReport) -> str:
    """A row for each layer, the input at the top, with bars for the spread of its output and for the gradient there
    (logarithmic), and for the share of it that no gradient passes."""
    layers = report.layers if len(report.layers) <= MAX_LAYERS else _ends(report.layers)
    left = 16 + 6.8 * max(len(_name(layer)) for layer in layers)
    height = TOP + ROW * len(layers) + BOTTOM
    width = (WIDTH - left - 2 * GAP - 24) / 3
    body = [text(left - 8, TOP + (i + 0.68) * ROW, _name(x), "tick", "end") for i, x in enumerate(layers)]
    for k, (title, value, colour, log) in enumerate(_COLUMNS):
        start = left + k * (width + GAP)
        body.append(_column(title, [value(layer) for layer in layers], layers, start, width, colour, log))
    factor = f"the gradient changes by a factor of {short(report.gradient_factor)} a layer"
    drawing = frame("Signals through depth", WIDTH, height, "".join(body), f"{len(layers)} layers; {factor}", "chart")
    some = "" if len(layers) == len(report.layers) else f"{len(layers)} of {len(report.layers)} layers. "
    return f'<figure>{drawing}<p class="note">{some}On its way back {factor}.</p></figure>'


def _column(
    title: str, values: list[float], layers: Sequence[LayerFlow], start: float, width: float, colour: str, log: bool
) -> str:
    bottom = TOP + ROW * len(layers)
    drawn = [math.isfinite(v) and (v > 0 or not log) for v in values]
    axis = Axis(*_range([v for v, ok in zip(values, drawn, strict=True) if ok], log), start, start + width, log)
    parts = [text(start + width / 2, 16, title, "label")]
    for tick in axis.ticks(4):
        x = axis.at(tick)
        label = short(tick) if log else f"{tick:.0%}"
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom:.1f}"/>' + text(x, bottom + 16, label, "tick"))
    for i, (value, layer) in enumerate(zip(values, layers, strict=True)):
        if drawn[i]:
            parts.append(
                f'<g class="{colour}"><rect class="bar" x="{start:.1f}" y="{TOP + i * ROW + 4:.1f}" '
                f'width="{axis.at(value) - start:.1f}" height="{ROW - 8:.1f}" rx="2">'
                f"<title>{escape(f'{_name(layer)}: {short(value)}')}</title></rect></g>"
            )
    parts.append(f'<path class="axis" d="M{start:.1f} {TOP}V{bottom:.1f}"/>')
    return "".join(parts)


def _range(values: list[float], log: bool) -> tuple[float, float]:
    """Powers of ten around the values, so that the smallest still has a bar; shares from 0 to 1."""
    if not log:
        return 0.0, 1.0
    if not values:
        return 0.1, 1.0
    low, high = math.floor(math.log10(min(values)) - 0.1), math.ceil(math.log10(max(values)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _blocked(layer: LayerFlow) -> float:
    if layer.saturated is not None:
        return layer.saturated
    return len(layer.dead) / layer.units if layer.units else math.nan


_COLUMNS: tuple[tuple[str, Callable[[LayerFlow], float], str, bool], ...] = (
    ("standard deviation of the output", lambda layer: layer.std, "c0", True),
    ("gradient norm at the output", lambda layer: layer.gradient_norm, "c2", True),
    ("saturated entries or dead units", _blocked, "c3", False),
)


def _name(layer: LayerFlow) -> str:
    return layer.name or "model"


def _ends(layers: list[LayerFlow]) -> list[LayerFlow]:
    return [*layers[: MAX_LAYERS // 2], *layers[-MAX_LAYERS // 2 :]]
