"""Writes docs/pictures: the viewer's page on five records, as a headless Chromium shows it.

Run it after a change to how the page looks, and look at what it wrote: ``python tools/draw_pictures.py``.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, sync_playwright

import backlit as bl
from backlit import nn
from backlit.glassbox.viewer import html

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "glassbox" / "viewer"))

from viewer_records import circuit, transformer  # noqa: E402


class Picture(NamedTuple):
    """A record, and what is done with its page before it is photographed."""

    name: str
    record: Any
    script: str
    scheme: str = "light"


def neuron() -> Any:
    """The sigmoid neuron of the lectures."""
    w0, x0, w1, x1, w2 = (bl.tensor(value, requires_grad=True) for value in (2.0, -1.0, -3.0, -2.0, -3.0))
    f = 1 / (1 + bl.exp(-(w0 * x0 + w1 * x1 + w2)))
    return bl.explain(f, title="A sigmoid neuron")


def perceptron() -> Any:
    """A step of the 784-256-10 network."""
    bl.manual_seed(0)
    net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    x, y = bl.randn(32, 784), bl.randint(0, 10, (32,))
    loss = nn.functional.cross_entropy(net(x), y)
    return bl.explain(loss, title="784-256-10")


def convolutional() -> Any:
    """A step of a small convolutional network."""
    bl.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU())
    net = nn.Sequential(features, nn.Flatten(), nn.Linear(2304, 10))
    x, y = bl.randn(8, 1, 28, 28), bl.randint(0, 10, (8,))
    loss = nn.functional.cross_entropy(net(x), y)
    return bl.explain(loss, title="A small CNN")


def pictures() -> list[Picture]:
    """The five pictures."""
    node = "viewer.goTo(viewer.model.nodes.find((node) => node.name === '{}'))"
    block = "viewer.toggle(viewer.model.tree.groups[0].groups.find((group) => group.label === 'blocks').groups[5])"
    return [
        Picture("circuit", circuit(), f"{node.format('q')}; viewer.player.seek(4)"),
        Picture("neuron-both-networks", neuron(), "viewer.setDirection('both')"),
        Picture("perceptron-weight", perceptron(), node.format("0.weight"), "dark"),
        Picture("convolutional", convolutional(), "viewer.setColouring('gradient')"),
        Picture("transformer-block-open", transformer(12), f"{block}; viewer.viewport.fit()"),
    ]


def draw(browser: Browser, picture: Picture, folder: Path) -> None:
    """Open a record's page, prepare it, and write what is seen."""
    page_file = folder / "page.html"
    html(picture.record, page_file)
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=picture.scheme)  # type: ignore[arg-type]
    page.goto(page_file.as_uri())
    page.wait_for_selector("#app[data-ready]")
    page.evaluate(f"(() => {{ const viewer = backlitViewer; {picture.script}; }})()")
    page.wait_for_timeout(500)
    page.screenshot(path=ROOT / "docs" / "pictures" / f"{picture.name}.png")
    page.close()


def main() -> None:
    """Write all pictures."""
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox"])
        for picture in pictures():
            draw(browser, picture, Path(folder))
        browser.close()


if __name__ == "__main__":
    main()
