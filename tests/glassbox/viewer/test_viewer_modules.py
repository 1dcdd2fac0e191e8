"""The page's modules by themselves: js/*.test.js, run in the browser that the page runs in."""

from pathlib import Path

import pytest

from backlit.glassbox.viewer.bundle import bundle

FILES = sorted((Path(__file__).parent / "js").glob("*.test.js"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_module(browser, file):
    page = browser.new_page()
    page.add_script_tag(content=bundle(file), type="module")
    page.wait_for_function("globalThis.results !== undefined")  # a module runs when the page comes to it
    results = page.evaluate("globalThis.results")
    page.close()
    assert len(results) >= 3
    failures = [f"{result['name']}: {result['error']}" for result in results if result["error"]]
    assert not failures, "\n".join(failures)
