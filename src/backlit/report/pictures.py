"""Pictures of what a network says: confusion matrix, wrong predictions, regions, predicted against true."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from .png import data_uri
from .record import Mistake, Regions
from .svg import Axis, frame, short, text

MAX_CLASSES = 24
# The style sheet's c0 to c7 in light mode; pictures are pixels and cannot follow the mode.
PALETTE = (
    (37, 99, 235),
    (217, 93, 14),
    (5, 150, 105),
    (190, 24, 93),
    (124, 58, 237),
    (161, 98, 7),
    (8, 145, 178),
    (87, 96, 111),
)


def confusion_matrix(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Counts of true classes (rows) by predicted classes (columns), shaded by share of the row."""
    shown = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:MAX_CLASSES])
    part, names = counts[np.ix_(shown, shown)], [_clip(classes[i], 14) for i in shown]
    cell = min(88, max(26, 440 // len(names)))
    left, top = 32 + 7.2 * max(map(len, names)), 46.0
    long_names = max(map(len, names)) * 7 > cell
    if long_names:
        top += 5.2 * max(map(len, names))
    body = []
    for i, row in enumerate(part):
        total = max(int(counts[shown[i]].sum()), 1)
        y = top + i * cell
        body.append(text(left - 8, y + cell / 2 + 4, names[i], "tick", "end"))
        for j, count in enumerate(row):
            body.append(_cell(int(count), count / total, i == j, left + j * cell, y, cell, names[i], names[j]))
    for j, name in enumerate(names):
        x = left + (j + 0.5) * cell
        turn = f' transform="rotate(-45 {x:.1f} {top - 8:.1f})"' if long_names else ""
        body.append(text(x, top - 8, name, "tick", "start" if long_names else "middle", turn))
    size = cell * len(names)
    body.append(text(left + size / 2, 12, "predicted class", "label"))
    middle = top + size / 2
    body.append(text(12, middle, "true class", "label", extra=f' transform="rotate(-90 12 {middle:.1f})"'))
    drawing = frame(
        "Confusion matrix", left + size + (60 if long_names else 8), top + size + 6, "".join(body),
        f"{int(np.trace(counts))} of {int(counts.sum())} on the diagonal", "matrix",
    )  # fmt: skip
    note = f"<p>The {MAX_CLASSES} most frequent of {len(classes)} classes.</p>" if len(classes) > MAX_CLASSES else ""
    return f"<figure>{drawing}{note}</figure>"


def _cell(count: int, share: float, right: bool, x: float, y: float, size: float, truth: str, said: str) -> str:
    kind = "right" if right else "wrong"
    opacity = 0.0 if not count else (0.12 + 0.88 * share if right else 0.25 + 0.75 * share)
    number = (
        text(x + size / 2, y + size / 2 + 4, str(count), "count strong" if opacity > 0.55 else "count") if count else ""
    )
    return (
        f"<g><title>{escape(truth)}, called {escape(said)}: {count} ({share:.1%} of the true class)</title>"
        f'<rect class="cell" x="{x + 1:.1f}" y="{y + 1:.1f}" width="{size - 2}" height="{size - 2}" rx="3"/>'
        f'<rect class="{kind}" x="{x + 1:.1f}" y="{y + 1:.1f}" width="{size - 2}" height="{size - 2}" rx="3" '
        f'fill-opacity="{opacity:.2f}"/>{number}</g>'
    )


def mistakes_gallery(mistakes: Sequence[Mistake]) -> str:
    """Wrongly read pictures, each with its true class, the answer, and how sure the network was."""
    figures = [
        f'<figure class="mistake"><img src="{data_uri(m.image)}" alt="picture of {escape(m.truth)}">'
        f'<figcaption><b>{escape(m.truth)}</b>, called <b class="bad">{escape(m.said)}</b><br>{m.confidence:.0%} sure'
        "</figcaption></figure>"
        for m in mistakes
        if m.image is not None
    ]
    return f'<div class="gallery">{"".join(figures)}</div>'


def mistakes_table(mistakes: Sequence[Mistake]) -> str:
    """Wrongly classified rows of a table with their features."""
    names = [name for name, _ in mistakes[0].features]
    head = "".join(f"<th>{escape(_clip(h, 40))}</th>" for h in ("true", "called", "sure", *names))
    rows = "".join(
        f'<tr><td>{escape(m.truth)}</td><td class="bad">{escape(m.said)}</td><td>{m.confidence:.0%}</td>'
        + "".join(f"<td>{escape(short(value))}</td>" for _, value in m.features)
        + "</tr>"
        for m in mistakes
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def decision_regions(regions: Regions, classes: Sequence[str]) -> str:
    """The plane coloured by predicted class, the paler the less sure; points are rows, test rows ringed."""
    width, left, top, bottom = 560.0, 44.0, 8.0, 40.0
    x0, x1, y0, y1 = regions.extent
    height = min(560.0, max(300.0, (width - left - 8) * (y1 - y0) / (x1 - x0))) + top + bottom
    x_axis, y_axis = Axis(x0, x1, left, width - 8), Axis(y0, y1, height - bottom, top)
    picture = data_uri(_painted(regions))
    body = [
        f'<image class="regions" href="{picture}" x="{left}" y="{top}" width="{width - 8 - left}" '
        f'height="{height - bottom - top}" preserveAspectRatio="none"/>'
    ]
    for (x, y), label, test in zip(regions.points, regions.labels, regions.test, strict=True):
        kind = f"point c{label % len(PALETTE)}" + (" test" if test else "")
        body.append(
            f'<circle class="{kind}" cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="{4 if test else 2.6}"/>'
        )
    body += [text(x_axis.at(v), height - bottom + 16, short(v), "tick") for v in x_axis.ticks(8) if x0 <= v <= x1]
    body += [text(left - 6, y_axis.at(v) + 4, short(v), "tick", "end") for v in y_axis.ticks() if y0 <= v <= y1]
    body.append(text((left + width) / 2, height - 6, regions.axes[0], "label"))
    body.append(text(12, height / 2, regions.axes[1], "label", extra=f' transform="rotate(-90 12 {height / 2:.1f})"'))
    keys = "".join(
        f'<li><svg width="12" height="12" aria-hidden="true"><circle class="point c{i % len(PALETTE)}" cx="6" cy="6" '
        f'r="5"/></svg>{escape(name)}</li>'
        for i, name in enumerate(classes[:12])
    )
    drawing = frame("Decision regions", width, height, "".join(body), "", "chart")
    return f'<figure><ul class="legend">{keys}<li>ringed: test rows</li></ul>{drawing}</figure>'


def _painted(regions: Regions) -> NDArray[np.uint8]:
    """Class colours whose opacity grows with the network's confidence above chance; row 0 is the top of the picture."""
    colours = np.array(PALETTE, np.uint8)[regions.classes % len(PALETTE)]
    opacity = (40 + 150 * np.clip(regions.confidence, 0, 1)).astype(np.uint8)
    return np.concatenate([colours, opacity[..., None]], axis=2)[::-1]


def predicted_against_true(pairs: NDArray[np.float64]) -> str:
    """Each test row as a point; on the diagonal the prediction is exact."""
    width, height, left, top, bottom = 420.0, 400.0, 58.0, 8.0, 42.0
    finite = pairs[np.isfinite(pairs).all(axis=1)][:800]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    pad = 0.04 * (high - low) or 0.5
    x_axis = Axis(low - pad, high + pad, left, width - 8)
    y_axis = Axis(low - pad, high + pad, height - bottom, top)
    ticks = [v for v in x_axis.ticks(5) if low - pad <= v <= high + pad]
    body = [
        f'<path class="axis" d="M{left} {top}V{height - bottom}H{width - 8}"/>'
        f'<path class="grid" d="M{left} {height - bottom}L{width - 8} {top}"/>'
    ]
    body += [text(x_axis.at(v), height - bottom + 17, short(v), "tick") for v in ticks]
    body += [text(left - 6, y_axis.at(v) + 4, short(v), "tick", "end") for v in ticks]
    body += [
        f'<circle class="point c0" cx="{x_axis.at(t):.1f}" cy="{y_axis.at(p):.1f}" r="3"><title>true {short(t)}, '
        f"predicted {short(p)}</title></circle>"
        for t, p in finite
    ]
    body.append(text((left + width) / 2, height - 6, "true value", "label"))
    body.append(text(14, height / 2, "predicted value", "label", extra=f' transform="rotate(-90 14 {height / 2:.1f})"'))
    return f"<figure>{frame('Predicted against true', width, height, ''.join(body), '', 'chart')}</figure>"


def _clip(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
