"""The viewer in notebooks: a live widget where anywidget is installed, a still picture everywhere."""

from __future__ import annotations

import base64
from functools import cache
from importlib.util import find_spec
from typing import Any

from .bundle import ASSETS, bundle
from .data import as_dictionary, page_data
from .page import as_script_text, graphviz_script, page_style
from .svg import svg

_HEIGHT = 560


def mimebundle(record: Any) -> dict[str, Any]:
    """What a notebook shows of a record: an SVG image and a line of text, and the live viewer where anywidget is
    installed; the front end takes the richest that it can show.

    >>> import backlit as bl
    >>> x = bl.tensor(-2.0, requires_grad=True)
    >>> sorted(mimebundle(bl.explain(x * 3)))[-2:]
    ['image/svg+xml', 'text/plain']
    """
    data = as_dictionary(record)
    found: dict[str, Any] = {"image/svg+xml": svg(data), "text/plain": _line(data)}
    if find_spec("anywidget") is not None:
        shown = widget(record)._repr_mimebundle_() or {}
        views = shown[0] if isinstance(shown, tuple) else shown
        found |= {kind: view for kind, view in views.items() if kind != "text/plain"}
    return found


def _line(data: dict[str, Any]) -> str:
    title = f" {data['title']!r}" if data.get("title") else ""
    return f"<Record{title}: {len(data['nodes'])} nodes, {len(data['passes'])} passes; .html(path) opens the viewer>"


def widget(record: Any, *, title: str | None = None, height: int = _HEIGHT) -> Any:
    """The viewer as a Jupyter widget, with everything that the page can do.

    Args:
        record: a :class:`~backlit.glassbox.record.Record`, or its ``to_dict(inline=True)``.
        title: shown above the graph; the record's own title by default.
        height: of the widget, in pixels.

    Raises:
        ModuleNotFoundError: anywidget is not installed.
    """
    if find_spec("anywidget") is None:
        raise ModuleNotFoundError(
            "The widget needs anywidget, which is not installed: pip install 'backlit[notebook]'. "
            "Without it, .html(path) writes the same viewer as a page, and .svg() a still picture.",
            name="anywidget",
        )
    return _widget_class()(record=as_script_text(page_data(record, title)), height=height)


@cache
def _widget_class() -> Any:
    import anywidget
    import traitlets

    class RecordWidget(anywidget.AnyWidget):
        """A record in the viewer."""

        _esm = widget_script()
        record = traitlets.Unicode().tag(sync=True)
        height = traitlets.Int(_HEIGHT).tag(sync=True)

    return RecordWidget


@cache
def widget_script() -> str:
    """The viewer as one ES module that exports ``render``, with its style and Graphviz inside."""
    style = base64.b64encode(page_style().encode()).decode()
    return f'{graphviz_script()}\nconst STYLE = "{style}";\n{bundle(ASSETS / "js" / "widget.js")}'
