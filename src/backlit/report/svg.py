"""Charts as SVG text, without script or network; colours come from the style sheet, so dark mode and print follow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import count

import numpy as np

WIDTH, HEIGHT = 560, 270
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 42
MAX_LINE_POINTS, MAX_HOVER_POINTS = 400, 60
COLOURS = 8
"""The style sheet defines colours c0 to c7; dashes tell further series apart."""

_identifiers = count(1)


@dataclass(frozen=True)
class Series:
    """A line: its name in the legend and its points; values that are not finite make gaps."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    colour: int | None = None


@dataclass(frozen=True)
class Axis:
    """Maps data to pixels along one direction, and knows where its ticks are."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values inside the range: multiples of 1, 2 or 5 times a power of ten; powers of ten on a log axis."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, math.ceil((last - first + 1) / most))
            return [10.0**e for e in range(first, last + 1, every)]
        step = _nice((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def line_chart(title: str, series: Sequence[Series], *, x_label: str, y_label: str = "", log: bool = False) -> str:
    """Lines over a common x axis, with legend and the values of points as tooltips.

    Args:
        title: the caption, also read out by screen readers.
        series: the lines; those without a finite point are left out.
        x_label, y_label: what the axes show.
        log: a logarithmic y axis; values that are not positive make gaps.
    """
    drawn = [s for s in series if any(_drawable(y, log) for y in s.y)]
    if not drawn:
        return f'<p class="empty">{escape(title)}: there is nothing to draw.</p>'
    x_axis, y_axis = _axes(drawn, log)
    body = [_grid(x_axis, y_axis, x_label, y_label)]
    for i, one in enumerate(drawn):
        body.append(_line(one, i, x_axis, y_axis, x_label))
    summary = "; ".join(f"{s.name} ends at {short(_last(s))}" for s in drawn[:12])
    drawing = frame(title, WIDTH, HEIGHT, "".join(body), summary, "chart")
    return f"<figure><figcaption>{escape(title)}</figcaption>{_legend(drawn)}{drawing}</figure>"


def frame(title: str, width: float, height: float, body: str, description: str = "", kind: str = "") -> str:
    """An ``svg`` element with a title and a description for screen readers, as wide as the page allows."""
    identifier = f"t{next(_identifiers)}"
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{identifier}" '
        f'style="max-width:{width:g}px"><title id="{identifier}">{escape(title)}</title>'
        f"<desc>{escape(description)}</desc>{body}</svg>"
    )


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "middle", extra: str = "") -> str:
    """An escaped ``text`` element."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(content)}</text>'


def short(value: float) -> str:
    """Three significant digits; powers of ten far from 1."""
    value = value + 0.0  # no negative zero
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "not a number")
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}" if mantissa == "1.0" else f"{mantissa}·10{power}"


def _drawable(value: float, log: bool) -> bool:
    return math.isfinite(value) and (not log or value > 0)


def _axes(series: Sequence[Series], log: bool) -> tuple[Axis, Axis]:
    points = [(x, y) for s in series for x, y in zip(s.x, s.y, strict=True) if _drawable(y, log)]
    xs, ys = np.array(points, dtype=float).T
    x_low, x_high = float(xs.min()), float(xs.max())
    if x_low == x_high:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    low, high = _y_range(float(ys.min()), float(ys.max()), log)
    return Axis(x_low, x_high, LEFT, WIDTH - RIGHT), Axis(low, high, HEIGHT - BOTTOM, TOP, log)


def _y_range(low: float, high: float, log: bool) -> tuple[float, float]:
    """A range that ends at ticks, so that the first and the last line are labelled."""
    if log:
        low_power, high_power = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
        return 10.0**low_power, 10.0 ** max(high_power, low_power + 1)
    if 0 < low < 0.5 * high:
        low = 0.0
    if low == high:
        low, high = low - 0.5, high + 0.5
    step = _nice((high - low) / 6)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def _grid(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> str:
    parts = []
    for value in y_axis.ticks():
        y = y_axis.at(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text(LEFT - 6, y + 4, short(value), "tick", "end"))
    whole = [v for v in x_axis.ticks(8) if v == round(v)] or x_axis.ticks(8)
    parts.extend(text(x_axis.at(value), HEIGHT - BOTTOM + 17, short(value), "tick") for value in whole)
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "label"))
    if y_label:
        middle = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(text(14, middle, y_label, "label", extra=f' transform="rotate(-90 14 {middle:.1f})"'))
    return "".join(parts)


def _line(series: Series, position: int, x_axis: Axis, y_axis: Axis, x_label: str) -> str:
    colour = f"c{(position if series.colour is None else series.colour) % COLOURS}"
    dash = " dashed" if series.dashed or position >= COLOURS else ""
    path, pen = [], "M"
    for i in _thin(len(series.x), MAX_LINE_POINTS):
        if not _drawable(series.y[i], y_axis.log):
            pen = "M"
            continue
        path.append(f"{pen}{x_axis.at(series.x[i]):.1f} {y_axis.at(series.y[i]):.1f}")
        pen = "L"
    dots = [
        f'<circle cx="{x_axis.at(series.x[i]):.1f}" cy="{y_axis.at(series.y[i]):.1f}" r="5"><title>'
        f"{escape(f'{series.name}: {short(series.y[i])} ({x_label} {short(series.x[i])})')}</title></circle>"
        for i in _thin(len(series.x), MAX_HOVER_POINTS)
        if _drawable(series.y[i], y_axis.log)
    ]
    alone = " alone" if len(path) == 1 else ""
    return f'<g class="{colour}{dash}{alone}"><path class="line" d="{"".join(path)}"/>{"".join(dots)}</g>'


def _thin(length: int, most: int) -> list[int]:
    """Evenly spread indices, first and last included."""
    return sorted({round(i) for i in np.linspace(0, length - 1, min(length, most))}) if length else []


def _legend(series: Sequence[Series]) -> str:
    keys = []
    for i, one in enumerate(series):
        colour = f"c{(i if one.colour is None else one.colour) % COLOURS}"
        dash = " dashed" if one.dashed or i >= COLOURS else ""
        sample = f'<g class="{colour}{dash}"><path class="line" d="M1 5H21"/></g>'
        keys.append(f'<li><svg width="22" height="10" aria-hidden="true">{sample}</svg>{escape(one.name)}</li>')
    return f'<ul class="legend">{"".join(keys)}</ul>'


def _last(series: Series) -> float:
    return next((float(y) for y in reversed(series.y) if math.isfinite(y)), math.nan)
