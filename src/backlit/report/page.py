"""The report as one HTML page that needs nothing else: no network, no script, every text escaped."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from .advice import advise
from .pictures import confusion_matrix, decision_regions, mistakes_gallery, mistakes_table, predicted_against_true
from .record import LayerFlow, Report
from .style import STYLE
from .svg import Series, line_chart, short

GOOD_CHECK = 1e-4
MAX_LINES = 12
"""Charts with a line for each layer show the first and the last layers of deeper networks."""


HALF = ' class="half"'
_HALVES = frozenset({"confusion", "scatter", "regions", "wrong", "configuration", "timings"})
"""Sections that sit side by side where the window is wide enough."""


def render(report: Report) -> str:
    """The page's HTML."""
    sections = list(_sections(report))
    links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title, _, _ in sections)
    body = "".join(
        f'<section id="{key}"{HALF if key in _HALVES and (key != "wrong" or _pictured(report)) else ""}><h2>{escape(title)}</h2>'
        f"{f'<p class=note>{escape(note)}</p>' if note else ''}{content}</section>"
        for key, title, note, content in sections
    )
    cards = "".join(f'<div class="card"><b>{escape(v)}</b><span>{escape(k)}</span></div>' for k, v in report.headline.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.name)} · Backlit report</title><style>{STYLE}</style></head><body><main>"
        f"<header><h1>{escape(report.name)}</h1><p>{escape(report.source)}</p>"
        f'<div class="cards">{cards}</div><nav aria-label="Sections">{links}</nav></header>'
        f'<div class="sections">{body}</div><footer>'
        "Made by Backlit. This file is complete: it loads nothing and can be opened offline.</footer>"
        "</main></body></html>\n"
    )


def _sections(report: Report) -> Iterator[tuple[str, str, str, str]]:
    """(anchor, title, note, content) of every section there is something to say in."""
    yield "next", "What to try next", "", _advice(report)
    yield "curves", "Loss and accuracy", "Training is measured while the weights change, validation after each epoch.", _curves(report)
    if report.flow:
        yield (
            "flow", "What the backward pass does to each layer",
            "The norm of each weight's gradient, and how large an update is compared with the weights it changes: "
            "about 0.001 is healthy, 0.1 is wild, 0.000001 is asleep.",
            _flow(report),
        )  # fmt: skip
    if report.checks:
        yield (
            "check", "Gradient check",
            "The backward pass of this very network against central differences in float64, on a few rows. Entries at "
            "a kink (where ReLU bends) are left out: differences mean nothing there.",
            _checks(report),
        )  # fmt: skip
    if report.confusion is not None:
        yield "confusion", "Confusion matrix", f"All {report.test_count} test rows.", confusion_matrix(report.confusion, report.classes)
    if report.scatter is not None:
        yield "scatter", "Predicted against true", f"{report.test_count} test rows.", predicted_against_true(report.scatter)
    if report.regions is not None:
        yield "regions", "Decision regions", "Paler where the network is less sure.", decision_regions(report.regions, report.classes)
    if report.mistakes:
        note = f"{len(report.mistakes)} of {report.mistake_count}, the surest first."
        draw = mistakes_gallery if _pictured(report) else mistakes_table
        yield "wrong", "Wrong predictions", note, draw(report.mistakes)
    yield "configuration", "Configuration", "", _pairs(report.configuration)
    yield "timings", "Timings", "", _pairs({name: f"{seconds:.2f} s" for name, seconds in report.timings.items()})


def _pictured(report: Report) -> bool:
    return bool(report.mistakes) and report.mistakes[0].image is not None


def _advice(report: Report) -> str:
    found = advise(report)
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in report.notes)
    if not found:
        return notes + '<p class="note">Nothing stands out: the curves show no known fault.</p>'
    items = "".join(
        f'<li><b>{escape(a.fault)}</b><span class="evidence">{escape(a.evidence)}</span>'
        f'<span class="try">Try: {escape(a.remedy)}</span></li>'
        for a in found
    )
    return f'{notes}<ul class="advice">{items}</ul>'


def _curves(report: Report) -> str:
    loss = _both(report, "loss")
    values = [v for s in loss for v in s.y if v == v and v > 0]
    spread = max(values) / min(values) if values else 1.0
    log = spread > 30 and min(v for s in loss for v in s.y if v == v) > 0
    charts = [line_chart("Loss" + (" (log scale)" if log else ""), loss, x_label="epoch", log=log)]
    if report.curves.get("accuracy") or report.curves.get("val_accuracy"):
        charts.append(line_chart("Accuracy", _both(report, "accuracy"), x_label="epoch"))
    return f'<div class="pair">{"".join(charts)}</div>'


def _both(report: Report, name: str) -> list[Series]:
    pairs = (("training", name, 0, False), ("validation", f"val_{name}", 1, True))
    return [
        Series(label, report.epochs[: len(report.curves[key])], report.curves[key], dashed, colour)
        for label, key, colour, dashed in pairs
        if report.curves.get(key)
    ]


def _flow(report: Report) -> str:
    shown = _some(report.flow)
    norms = [Series(f.name, report.flow_epochs, f.gradient_norm) for f in shown]
    ratios = [Series(f.name, report.flow_epochs, f.update_ratio) for f in shown]
    note = "" if len(shown) == len(report.flow) else f"<p class=note>{len(shown)} of {len(report.flow)} parameters.</p>"
    return (
        f'<div class="pair">{line_chart("Gradient norm (log scale)", norms, x_label="epoch", log=True)}'
        f"{line_chart('Update-to-weight ratio (log scale)', ratios, x_label='epoch', log=True)}</div>{note}"
    )


def _some(flow: tuple[LayerFlow, ...]) -> tuple[LayerFlow, ...]:
    """Weights only where there are many parameters, and of those the outermost."""
    if len(flow) > MAX_LINES // 2:
        flow = tuple(f for f in flow if f.name.endswith("weight")) or flow
    return flow if len(flow) <= MAX_LINES else (*flow[: MAX_LINES // 2], *flow[-MAX_LINES // 2 :])


def _checks(report: Report) -> str:
    rows = []
    for check in report.checks:
        good = check.relative <= GOOD_CHECK
        verdict = f'<td class="{"good" if good else "bad"}">{"✓" if good else "✗"} {escape(short(check.relative))}</td>'
        shape = "×".join(map(str, check.shape)) or "one"
        kinks = f"{check.kinks} left out" if check.kinks else "none"
        rows.append(
            f"<tr><td><code>{escape(check.name)}</code></td><td>{shape}</td><td>{check.checked}</td><td>{kinks}</td>"
            f"<td>{check.analytic:.6g}</td><td>{check.numeric:.6g}</td>{verdict}</tr>"
        )
    head = ("parameter", "shape", "entries checked", "kinks", "backward pass", "central difference", "largest relative error")
    return (
        f'<div class="wide"><table><thead><tr>{"".join(f"<th>{h}</th>" for h in head)}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="note">The two values are those of the entry that agrees least.</p>'
    )


def _pairs(values: Any) -> str:
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in values.items())
    return f'<div class="wide"><table><tbody>{rows}</tbody></table></div>'
