"""The viewer in notebooks."""

import importlib.util

import pytest
from viewer_records import circuit

from backlit.glassbox.viewer import mimebundle, widget


@pytest.fixture
def without_anywidget(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "backlit.glassbox.viewer.notebook.find_spec", lambda name: None if name == "anywidget" else found(name)
    )


def test_still_picture_without_anywidget(without_anywidget):
    shown = mimebundle(circuit())
    assert set(shown) == {"image/svg+xml", "text/plain"}
    assert shown["image/svg+xml"].startswith("<svg") and "5 nodes" in shown["text/plain"]


def test_records_show_themselves(without_anywidget):
    rec = circuit()
    assert rec._repr_mimebundle_() == mimebundle(rec)
    with pytest.raises(ModuleNotFoundError, match="anywidget"):
        rec.widget()


def test_widget_needs_anywidget(without_anywidget):
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'backlit\[notebook\]'"):
        widget(circuit())


def test_live_view_with_anywidget():
    pytest.importorskip("anywidget")
    shown = mimebundle(circuit())
    assert "application/vnd.jupyter.widget-view+json" in shown and "image/svg+xml" in shown


def test_widget_draws_in_a_front_end(browser):
    pytest.importorskip("anywidget")
    made = widget(circuit(), height=400)
    page = browser.new_page()
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.route("http://front.test/", lambda route: route.fulfill(body="<div id=cell></div>", content_type="text/html"))
    page.route(
        "http://front.test/widget.js", lambda route: route.fulfill(body=made._esm, content_type="text/javascript")
    )
    page.goto("http://front.test/")
    page.evaluate(
        "async ([record, height]) => { const { default: { render } } = await import('/widget.js');"
        "const model = { get: (name) => ({ record, height })[name] };"
        "await render({ model, el: document.getElementById('cell') }); }",
        [made.record, made.height],
    )
    host = page.locator("#cell > div")
    assert host.get_attribute("data-nodes") == "5" and host.bounding_box()["height"] == 400
    assert page.locator(".item .title").all_text_contents() == ["x", "y", "+", "z", "×"]
    page.locator(".item.operation").first.click()
    assert page.locator(".panel h2").inner_text() == "q"
    page.keyboard.press("Escape")
    assert not page.locator(".panel.shown").count() and troubles == []
    page.close()
