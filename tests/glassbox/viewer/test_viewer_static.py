"""Pictures without a browser: SVG and Graphviz source."""

import re
from xml.etree import ElementTree

import pytest
from viewer_records import EVIL, chain, circuit, hostile, join, network, odd_records, transformer

from backlit.glassbox.viewer import dot, svg
from backlit.glassbox.viewer.bundle import ASSETS
from backlit.glassbox.viewer.dot import quoted
from backlit.glassbox.viewer.labels import number
from backlit.glassbox.viewer.layered import Box, connect, lay_out
from backlit.glassbox.viewer.scene import SYMBOLS, build_scene

SPACE = "{http://www.w3.org/2000/svg}"


def texts(picture):
    return [element.text for element in ElementTree.fromstring(picture).iter(f"{SPACE}text")]


def test_values_and_gradients():
    found = texts(svg(circuit()))
    assert sorted(found) == sorted(
        ["x", "y", "z", "+", "q", "×", "f", "−2", "5", "3", "−4", "−12", "−4", "−4", "−4", "3", "1"]
    )


def test_value_stands_above_its_gradient():
    root = ElementTree.fromstring(svg(join()))
    labels = [element for element in root.iter(f"{SPACE}text") if element.get("font-family").startswith("ui-monospace")]
    values = [e for e in labels if e.get("fill") == "#0b6e55"]
    gradients = {e.get("x"): float(e.get("y")) for e in labels if e.get("fill") == "#b3261e"}
    assert values and all(float(e.get("y")) < gradients[e.get("x")] for e in values)


def test_names_cannot_become_markup():
    for name in texts(svg(hostile(), title="")):
        assert name is not None
    root = ElementTree.fromstring(svg(hostile()))
    assert {element.tag.removeprefix(SPACE) for element in root.iter()} <= {"svg", "title", "rect", "g", "path", "text"}
    assert any(EVIL[1][:20] in text for text in texts(svg(hostile())))
    assert root.find(f"{SPACE}title").text == EVIL[0] + EVIL[2]


def test_large_graphs_are_drawn_with_modules_closed():
    picture = texts(svg(transformer(12)))
    assert any("blocks.11" in text for text in picture) and any("operations" in text for text in picture)
    assert len(ElementTree.fromstring(svg(transformer(12), most=40)).findall(f".//{SPACE}text")) < 300
    assert "nodes 1–60" in texts(svg(chain(300)))


def test_wire_between_closed_modules_brings_back_the_whole_gradient():
    """A block's output goes into the next one twice, beside and into its norm: below the one wire stands the sum."""
    data = transformer(12)
    last = max(node["id"] for node in data["nodes"] if (node["module"] or "").endswith("blocks.0"))
    norm = next(e["upstream"]["stats"]["norm"] for e in data["passes"][0]["nodes"] if e["node"] == last)
    wires = [wire for wire in build_scene(data).wires if wire.tail.endswith("blocks.0") and wire.head is not None]
    assert [wire.below for wire in wires] == [f"‖{number(norm)}‖"]


def test_boxes_do_not_overlap():
    boxes = [Box(30 + 7 * (i % 5), 20 + 5 * (i % 3)) for i in range(60)]
    for i, box in enumerate(boxes[1:], 1):
        connect(boxes[i // 2], box)
        if i % 7 == 0:
            connect(boxes[i // 3], box)
    lay_out(boxes)
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            apart_x = abs(one.x - other.x) - (one.width + other.width) / 2
            apart_y = abs(one.y - other.y) - (one.height + other.height) / 2
            assert max(apart_x, apart_y) > 0
    assert all(one.x < after.x for one in boxes for after in one.behind)


def test_lines_that_need_not_cross_do_not():
    left, right = [Box(10, 10) for _ in range(6)], [Box(10, 10) for _ in range(6)]
    for one, other in zip(left, reversed(right), strict=True):
        connect(one, other)
    lay_out([*left, *right])
    assert [one.y for one in left] == [other.y for other in reversed(right)]


def test_dot():
    source = dot(circuit())
    assert source.startswith("digraph {\n  rankdir=LR")
    assert '<font color="#0b6e55">−2</font><br/><font color="#b3261e">−4</font>' in source
    assert 'label="net"' in dot(network()) and "subgraph cluster_" in dot(network())


@pytest.mark.parametrize("text", ['a"b', "a\\", 'a\\"b', "a\nb", "<b>"])
def test_quoted_strings_end_where_they_should(text):
    inside = quoted(text)[1:-1]
    assert re.fullmatch(r'(?:[^"\\\n]|\\.)*', inside)


@pytest.mark.parametrize("record", [circuit, join, network, hostile])
def test_graphviz_reads_it(browser, record):
    page = browser.new_page()
    page.route("http://graphviz.test/", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto("http://graphviz.test/")
    page.add_script_tag(path=ASSETS / "vendor" / "viz-global.js")
    status = page.evaluate("async (source) => (await Viz.instance()).render(source, { format: 'svg' })", dot(record()))
    page.close()
    assert status["status"] == "success", status["errors"]
    drawn = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(status["output"]).iter()}
    assert drawn <= {"svg", "g", "title", "path", "polygon", "ellipse", "text", "polyline"}


def test_symbols_are_those_of_the_page():
    text = (ASSETS / "js" / "model.js").read_text(encoding="utf-8")
    table = re.search(r"const SYMBOLS = \{(.*?)\};", text, re.DOTALL)[1]
    page = dict(re.findall(r'(\w+): "([^"]+)"', table))
    assert page == SYMBOLS


@pytest.mark.parametrize("name", odd_records())
@pytest.mark.parametrize("most", [150, 3])
def test_unusual_records(name, most):
    rec = odd_records()[name]
    assert len(texts(svg(rec, most=most))) >= 2
    assert dot(rec, most=most).count("->") >= 1
