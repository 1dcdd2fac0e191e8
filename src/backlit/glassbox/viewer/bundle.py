"""ES modules joined into one script: the page may load nothing, so that nothing can be imported from a URL.

Each imported module becomes a function that is called once and returns its exports; the entry itself stays as it is.
Modules keep to two forms, and anything else is refused: ``import { a, b } from "./file.js";`` and
``export function/const/class name``; the entry may also ``export default``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)
_LEFT_OVER = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


@cache
def bundle(entry: Path) -> str:
    """The entry module and everything it imports, as the text of one ES module.

    Args:
        entry: the file to start from.

    Raises:
        ValueError: for a form of import or export that is not understood, or for modules that import each other.
    """
    placed: dict[Path, str] = {}
    _place(entry.resolve(), placed, ())
    script = "\n".join(placed.values())
    if "</script" in script.lower():
        raise ValueError(f"{entry.name}: '</script' in a module would end the script element that holds it.")
    return script


def _place(path: Path, placed: dict[Path, str], above: tuple[Path, ...]) -> None:
    """Put a module behind those it imports."""
    if path in above:
        raise ValueError(f"{path.name} imports itself, through {' → '.join(p.name for p in above)}.")
    if path in placed:
        return
    text = path.read_text(encoding="utf-8")
    for match in _IMPORT.finditer(text):
        _place((path.parent / match[2]).resolve(), placed, (*above, path))
    text = _IMPORT.sub(lambda match: f"const {{{match[1]}}} = {_name(path.parent / match[2])};", text)
    placed[path] = _as_function(path, text) if above else text


def _as_function(path: Path, text: str) -> str:
    exports = _EXPORT.findall(text)
    text = _EXPORT.sub("", text)
    if left := _LEFT_OVER.search(text):
        raise ValueError(f"{path.name}: {left[0]!r} is not a form of import or export that can be bundled.")
    return f"const {_name(path)} = (() => {{\n{text}\nreturn {{ {', '.join(exports)} }};\n}})();"


def _name(path: Path) -> str:
    return "module_" + re.sub(r"\W", "_", path.name)
