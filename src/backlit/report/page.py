"""The report as one HTML page that needs nothing else: no network, no script, every text escaped."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from .advice import advise
from .depth import flow_bars
from .pictures import confusion_matrix, decision_regions, mistakes_gallery, mistakes_table, predicted_against_true
from .record import LayerFlow, Report
from .svg import Series, line_chart, short

GOOD_CHECK = 1e-4
MAX_LINES = 12
"""Charts with a line for each layer show the first and the last layers of deeper networks."""


class Section(NamedTuple):
    """A part of the page; ``half`` ones sit side by side where the window is wide enough."""

    key: str
    title: str
    content: str
    note: str = ""
    half: bool = False

    def html(self) -> str:
        """The section as HTML."""
        kind = ' class="half"' if self.half else ""
        note = f'<p class="note">{escape(self.note)}</p>' if self.note else ""
        return f'<section id="{self.key}"{kind}><h2>{escape(self.title)}</h2>{note}{self.content}</section>'


def render(report: Report) -> str:
    """The page's HTML."""
    sections = list(_sections(report))
    links = "".join(f'<a href="#{section.key}">{escape(section.title)}</a>' for section in sections)
    cards = "".join(
        f'<div class="card"><b>{escape(v)}</b><span>{escape(k)}</span></div>' for k, v in report.headline.items()
    )
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.name)} · Backlit report</title><style>{style}</style></head><body><main>"
        f"<header><h1>{escape(report.name)}</h1><p>{escape(report.source)}</p>"
        f'<div class="cards">{cards}</div><nav aria-label="Sections">{links}</nav></header>'
        f'<div class="sections">{"".join(section.html() for section in sections)}</div>'
        "<footer>Made by Backlit. This file is complete: it loads nothing and can be opened offline.</footer>"
        "</main></body></html>\n"
    )


def _sections(report: Report) -> Iterator[Section]:
    """Every section there is something to say in."""
    yield Section("next", "What to try next", _advice(report))
    note = "Training is measured while the weights change, validation after each epoch."
    yield Section("curves", "Loss and accuracy", _curves(report), note)
    if report.flow:
        yield Section("flow", "What the backward pass does to each layer", _flow(report), _FLOW)
    if report.health is not None and report.health.layers:
        yield Section("depth", "Signals through depth", flow_bars(report.health), _DEPTH)
    if report.checks:
        yield Section("check", "Gradient check", _checks(report), _CHECK)
    if report.confusion is not None:
        matrix = confusion_matrix(report.confusion, report.classes)
        yield Section("confusion", "Confusion matrix", matrix, f"All {report.test_count} test rows.", half=True)
    if report.scatter is not None:
        picture = predicted_against_true(report.scatter)
        yield Section("scatter", "Predicted against true", picture, f"{report.test_count} test rows.", half=True)
    if report.regions is not None:
        picture = decision_regions(report.regions, report.classes)
        yield Section("regions", "Decision regions", picture, "Paler where the network is less sure.", half=True)
    if report.mistakes:
        pictures = report.mistakes[0].image is not None
        content = (mistakes_gallery if pictures else mistakes_table)(report.mistakes)
        note = f"{len(report.mistakes)} of {report.mistake_count}, the surest first."
        yield Section("wrong", "Wrong predictions", content, note, half=pictures)
    yield Section("configuration", "Configuration", _pairs(report.configuration), half=True)
    timings = {name: f"{seconds:.2f} s" for name, seconds in report.timings.items()}
    yield Section("timings", "Timings", _pairs(timings), half=True)


_FLOW = (
    "The norm of each layer's gradient, and how large an update is compared with the weights it changes: "
    "about 0.001 is healthy, 0.1 is wild, 0.000001 is asleep."
)
_DEPTH = (
    "Some training rows sent through the trained network once more, from the input at the top to the output. Healthy "
    "bars are of similar length; the last column shows where no gradient passes."
)
_CHECK = (
    "The backward pass of this very network against central differences in float64, on a few rows. Entries at a kink "
    "(where ReLU bends) are left out: differences mean nothing there."
)


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
    elif report.curves.get("mae"):
        charts.append(line_chart("Mean absolute error, in standard deviations", _both(report, "mae"), x_label="epoch"))
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
    known = [f for f in shown if len(f.output_std) == len(report.flow_epochs)]
    spreads = [Series(f.name, report.flow_epochs, f.output_std) for f in known]
    third = line_chart("Spread of the output (log scale)", spreads, x_label="epoch", log=True) if known else ""
    note = "" if len(shown) == len(report.flow) else f"<p class='note'>{len(shown)} of {len(report.flow)} layers.</p>"
    return (
        f'<div class="pair">{line_chart("Gradient norm (log scale)", norms, x_label="epoch", log=True)}'
        f"{line_chart('Update-to-weight ratio (log scale)', ratios, x_label='epoch', log=True)}{third}</div>{note}"
    )


def _some(flow: tuple[LayerFlow, ...]) -> tuple[LayerFlow, ...]:
    """The outermost layers, where there are many."""
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
    head = (
        "parameter",
        "shape",
        "entries checked",
        "kinks",
        "backward pass",
        "central difference",
        "largest relative error",
    )
    return (
        f'<div class="wide"><table><thead><tr>{"".join(f"<th>{h}</th>" for h in head)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="note">The two values are those of the entry that agrees least.</p>'
    )


def _pairs(values: Any) -> str:
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in values.items())
    return f'<div class="wide"><table><tbody>{rows}</tbody></table></div>'
