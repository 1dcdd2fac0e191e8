"""The record as one HTML file that needs nothing else: script, style and numbers lie in it, and it may load nothing.

The content-security policy names the two scripts and the style by their hashes, so that nothing that a record brings
along can run, and forbids every request. Graphviz is WebAssembly, which ``wasm-unsafe-eval`` allows; JavaScript's
``eval`` stays forbidden.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from .bundle import ASSETS, bundle
from .data import page_data


def html(record: Any, path: str | Path | None = None, *, title: str | None = None) -> str | None:
    """The viewer with a record in it, as one self-contained HTML file.

    Args:
        record: a :class:`~backlit.glassbox.record.Record`, or its ``to_dict(inline=True)``.
        path: where to write the file; None returns its text.
        title: shown above the graph; the record's own title by default.

    Returns:
        The text of the file, or None where it was written.

    Raises:
        OSError: where the file cannot be written.
    """
    data = page_data(record, title)
    text = _page(data["record"]["title"] or "Backlit", as_script_text(data))
    if path is None:
        return text
    Path(path).write_text(text, encoding="utf-8")
    return None


def as_script_text(data: Any) -> str:
    """JSON that can lie in a script element: no character in it can end the element or start a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _page(title: str, data: str) -> str:
    scripts, style = (graphviz_script(), page_script()), page_style()
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy(scripts, style)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(title)} · Backlit</title><style>{style}</style></head>"
        '<body><div id="app"></div><noscript>This page draws with JavaScript.</noscript>'
        f'<script type="application/json" id="record">{data}</script>'
        f'<script>{scripts[0]}</script><script type="module">{scripts[1]}</script></body></html>\n'
    )


def policy(scripts: Iterable[str], style: str) -> str:
    """The content-security policy under which exactly these scripts and this style work, and no request is made."""
    hashes = " ".join(f"'{_hash(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes} 'wasm-unsafe-eval'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def graphviz_script() -> str:
    """Graphviz as WebAssembly in a script that defines ``Viz``."""
    return (ASSETS / "vendor" / "viz-global.js").read_text(encoding="utf-8")


@cache
def page_script() -> str:
    """The page's JavaScript, one module."""
    return bundle(ASSETS / "js" / "main.js")


@cache
def page_style() -> str:
    """The viewer's style sheet."""
    return (ASSETS / "viewer.css").read_text(encoding="utf-8")
