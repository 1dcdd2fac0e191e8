"""The report's page: well-formed, self-contained, proof against hostile names; its charts; its advice."""

import math
import re
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from backlit import check, nn
from backlit.check.health.flow_verdicts import judge
from backlit.report import CheckedParameter, LayerFlow, Mistake, Regions, Report, advise, render
from backlit.report.png import encode
from backlit.report.svg import Axis, Series, line_chart, short

VOID = {"meta", "img", "br"}
EVIL = "</title><script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(2)>&lt;"


class Page(HTMLParser):
    """Checks that tags close in order, and collects tags, attributes and text."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.extend((tag, name, value) for name, value in attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.extend((tag, name, value) for name, value in attributes)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> does not close {self.open[-3:]}"

    def handle_data(self, data):
        self.texts.append(data)


def report(name="digits", classes=("0", "1", "2"), epochs=10, **changes):
    numbers = [float(i + 1) for i in range(epochs)]
    falling = [2.0 * 0.7**i for i in range(epochs)]
    rng = np.random.default_rng(0)
    made = Report(
        name=name,
        source=f"from {name}",
        task="classification",
        headline={"test accuracy": "97 %"},
        epochs=numbers,
        curves={
            "loss": falling,
            "val_loss": [v + 0.02 for v in falling],
            "accuracy": [1 - v / 3 for v in falling],
            "val_accuracy": [1 - v / 3 for v in falling],
            "lr": [0.001] * epochs,
        },
        flow_epochs=numbers,
        flow=(LayerFlow(f"hidden {name}", falling, [1e-3] * epochs), LayerFlow("output", falling, [2e-3] * epochs)),
        classes=classes,
        class_counts=(10,) * len(classes),
        configuration={name: name},
        timings={"training": 1.0},
        checks=(CheckedParameter(f"{name}.weight", (3, 4), 12, 1, 1e-8, 0.1, 0.1),),
        validation_count=1000,
        test_count=30,
        confusion=np.diag([9] * len(classes)) + 1,
        mistakes=(Mistake("4", "9", 0.9, image=rng.integers(0, 255, (8, 8), dtype=np.uint8)),),
        mistake_count=1,
        regions=Regions(
            rng.integers(0, 3, (9, 9)), rng.random((9, 9)), (0, 1, 0, 1), rng.random((5, 2)),
            np.array([0, 1, 2, 0, 1]), np.array([True, False, True, False, False]), ("x", name),
        ),
    )  # fmt: skip
    return replace(made, **changes)


def test_page_is_well_formed_and_complete():
    page = Page(render(report()))
    text = " ".join(page.texts)
    for title in ("What to try next", "Loss and accuracy", "Gradient check", "Confusion matrix", "Decision regions"):
        assert title in text
    assert page.tags.count("svg") > 5
    assert sum(tag == "img" for tag in page.tags) == 1


def test_page_loads_nothing():
    page = Page(render(report()))
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href", "action"):
            assert value.startswith(("data:image/png;base64,", "#")), (tag, name, value)
    css = render(report()).split("<style>")[1].split("</style>")[0]
    assert "url(" not in css and "@import" not in css and "prefers-color-scheme: dark" in css and "@media print" in css
    assert "http:" not in render(report()) and "https:" not in render(report())


@pytest.mark.parametrize("evil", [EVIL, "</style><b>", "]]>", "\x00\x1b[31m", "x" * 3000, "‮evil", "{{7*7}}", ""])
def test_hostile_names_stay_text(evil):
    def with_name(name):
        rows = (Mistake(name, name, 0.5, features=((name, 1.0), ("b", math.nan))),)
        named = report(name, (name, name, name), notes=(name,))
        return [named, replace(named, mistakes=rows), replace(named, failure=name or "fit: x")]

    for plain, hostile in zip(with_name("name"), with_name(evil), strict=True):
        expected, found = Page(render(plain)), Page(render(hostile))
        assert found.tags == expected.tags
        assert names(found) == names(expected)


def names(page):
    """Tags with their attributes; long labels are turned, short ones are not."""
    return [(tag, name) for tag, name, _ in page.attributes if name != "transform"]


def test_unusual_reports_render():
    empty = report(
        epochs=0,
        curves={},
        flow=(),
        checks=(),
        confusion=None,
        mistakes=(),
        regions=None,
        failure="fit: the loss is nan.",
    )
    assert "The training diverged" in " ".join(Page(render(empty)).texts)
    odd = [1.0, math.nan, math.inf, 0.0, -1.0, 1e300, 1e-300, 2.0, 2.0, 2.0]
    Page(render(report(curves={"loss": odd, "val_loss": odd, "accuracy": [0.5] * 10})))
    Page(render(report(epochs=1)))
    Page(render(report(classes=tuple(str(i) for i in range(40)), regions=None)))
    regression = report(classes=(), class_counts=(), confusion=None, mistakes=(), regions=None)
    Page(render(replace(regression, scatter=np.array([[1.0, 1.1], [2.0, np.nan], [3.0, 3.0]]))))
    Page(render(replace(regression, scatter=np.array([[1.0, 1.0]]))))


def test_chart_shows_every_finite_point():
    chart = line_chart(
        "t", [Series("a", [1, 2, 3], [1.0, math.nan, 4.0]), Series("none", [1], [math.nan])], x_label="epoch"
    )
    assert chart.count("<circle") == 2 and "none" not in chart
    assert re.search(r'd="M[\d.]+ [\d.]+M[\d.]+ [\d.]+"', chart)  # the gap is not bridged
    assert "a: 4 (epoch 3)" in chart
    assert "nothing to draw" in line_chart("t", [], x_label="x")


def test_long_curves_stay_small():
    x = list(range(20000))
    assert len(line_chart("t", [Series("a", x, [math.sin(i / 500) for i in x])], x_label="x")) < 20_000


def test_axis_ticks():
    assert Axis(0, 10, 0, 100).ticks() == [0, 2, 4, 6, 8, 10]
    assert Axis(1e-4, 1, 0, 100, log=True).ticks() == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert Axis(1, 100, 0, 100, log=True).at(10) == pytest.approx(50)


def test_short_numbers():
    assert [short(v) for v in (0, 0.5, 1234.5, 1e-7, 2.5e9, math.inf, math.nan, -0.0)] == [
        "0", "0.5", "1,234", "10⁻⁷", "2.5·10⁹", "∞", "not a number", "0",
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 4)])
def test_png_decodes_to_its_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = encode(pixels)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + length
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (height, width, depth, colour) == (*shape[:2], 8, 0 if len(shape) == 2 else 6)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert (rows[:, 0] == 0).all() and (rows[:, 1:].reshape(shape) == pixels).all()


# -- advice ---------------------------------------------------------------------------------------------------------


def health(layers):
    return check.FlowReport(layers, 0.5, findings=check.Findings(judge(layers)))


def faults(made):
    return [advice.fault for advice in advise(made)]


def curves(**columns):
    return {"curves": columns}


def test_no_fault_no_advice():
    flat = [2.0, 0.5, *[0.05] * 8]
    good = [0.5, 0.9, *[0.99] * 8]
    assert faults(report(**curves(loss=flat, val_loss=flat, accuracy=good, val_accuracy=good))) == []


def test_overfitting():
    loss = [0.8**i for i in range(20)]
    held_out = [0.5 + abs(i - 6) * 0.05 for i in range(20)]
    found = advise(
        report(epochs=20, **curves(loss=loss, val_loss=held_out, accuracy=[1.0] * 20, val_accuracy=[0.8] * 20))
    )
    assert [a.fault for a in found] == ["It overfits"] and "0.5" in found[0].evidence


def test_a_gap_that_chance_explains_is_no_overfitting():
    flat = [0.3] * 10
    made = report(validation_count=20, **curves(loss=flat, val_loss=flat, accuracy=[1.0] * 10, val_accuracy=[0.9] * 10))
    assert "It overfits" not in faults(made)
    assert "It overfits" in faults(replace(made, validation_count=2000))


def test_underfitting():
    loss = [1.1, 1.05, *[1.0] * 8]
    assert faults(report(**curves(loss=loss, val_loss=loss, accuracy=[0.5] * 10, val_accuracy=[0.5] * 10))) == [
        "It underfits"
    ]


def test_rate_too_high_or_diverged():
    loss = [1.0, 2.0, 3.0, 5.0]
    assert faults(report(epochs=4, **curves(loss=loss))) == ["The learning rate is too high"]
    found = advise(report(failure="fit: the loss is nan in epoch 2, batch 3 (…); lower the learning rate."))
    assert [a.fault for a in found] == ["The training diverged"] and "epoch 2, batch 3" in found[0].evidence
    jumping = [1.0, 0.5, 0.9, 0.4, 0.8, 0.5, 0.9, 0.4, 0.9, 0.5]
    wild = (LayerFlow("hidden1", [1.0] * 10, [0.05] * 10),)
    assert "The learning rate may be too high" in faults(report(flow=wild, **curves(loss=jumping, accuracy=[0.8] * 10)))
    huge = (LayerFlow("hidden1", [1.0] * 10, [50.0] * 10),)
    stuck = curves(loss=[3.0] * 10, accuracy=[0.1] * 10)
    assert faults(report(flow=huge, **stuck)) == ["The learning rate is too high"]


def test_rate_too_low():
    slow = (LayerFlow("hidden1", [1.0] * 10, [1e-6] * 10),)
    loss = [2.3 - 0.001 * i for i in range(10)]
    assert faults(report(flow=slow, **curves(loss=loss, val_loss=loss, accuracy=[0.1] * 10))) == [
        "The learning rate is too low"
    ]


def test_not_converged():
    loss = [2.0 * 0.8**i for i in range(10)]
    half = [0.5 + i / 100 for i in range(10)]
    assert "It has not converged yet" in faults(
        report(**curves(loss=loss, val_loss=loss, accuracy=half, val_accuracy=half))
    )


def test_dead_units_and_vanishing_gradients():
    dead = check.LayerFlow("relu1", "relu", False, units=10, dead=tuple(range(7)), rows=512)
    sound = check.LayerFlow("relu2", "relu", False, units=10, dead=(3,), rows=512)
    assert "Many units are dead" in faults(report(health=health([dead, sound])))
    assert "Many units are dead" not in faults(report(health=health([sound])))
    vanishing = tuple(LayerFlow(f"hidden{i}", [10.0 ** (2 * i - 6)] * 10, [1e-3] * 10) for i in range(4))
    assert "The gradient vanishes on its way back" in faults(report(flow=vanishing))


def test_neglected_class_and_failed_check():
    confusion = np.array([[100, 0, 0], [8, 2, 0], [0, 0, 9]])
    found = advise(report(class_counts=(400, 40, 40), confusion=confusion))
    assert "A rare class is neglected" in [a.fault for a in found]
    assert any("'1' has 40" in a.evidence and "20%" in a.evidence for a in found)
    wrong = (CheckedParameter("hidden1.weight", (3, 4), 12, 0, 0.5, 0.1, 0.2),)
    assert faults(report(checks=wrong))[0] == "The gradient check failed"


def test_signals_through_depth():
    model = nn.Sequential(*[m for _ in range(25) for m in (nn.Linear(8, 8), nn.Tanh())], nn.Linear(8, 2))
    rng = np.random.default_rng(0)
    flow = check.flow(model, (rng.normal(size=(40, 8)).astype(np.float32), rng.integers(0, 2, 40)))
    page = render(report(health=flow))
    Page(page)
    assert page.count('class="bar"') == 100 and "40 of 51 layers" in page
    assert "The gradient vanishes on its way back" in page and "Signals through depth" in page
    assert "Signals through depth" not in render(report())
