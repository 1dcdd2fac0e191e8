"""A headless Chromium for the viewer's tests, and what every page must keep to: no errors, no requests."""

import shutil

import pytest

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven through its DevTools protocol."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[test]'"
    )
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium here: install Debian's package 'chromium'")
    with sync_api.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def troubles():
    """What pages logged, and the requests they made, beside their own files; empty at the end of every test."""
    found = []
    yield found
    assert [trouble for trouble in found if not trouble.startswith("request: data:,")] == []


@pytest.fixture
def open_page(browser, troubles, tmp_path):
    """``open_page(text, **settings)`` opens a page from a file."""
    contexts = []

    def open_(text, name="page.html", **settings):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | settings))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("request", lambda request: troubles.append(f"request: {request.url[:200]}"))
        page.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(file.as_uri())
        assert troubles.pop(0) == f"request: {file.as_uri()}"
        return page

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture
def view(open_page):
    """``view(record)`` opens the viewer on a record."""
    from backlit.glassbox.viewer import html

    def view_(record, **settings):
        page = open_page(html(record), **settings)
        page.wait_for_selector("#app[data-ready]", timeout=20_000)
        return page

    return view_
