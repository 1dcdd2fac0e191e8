"""Modules as text, in the layout that PyTorch made familiar."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .module import Module


def module_repr(module: Module) -> str:
    """``Name(settings)`` on one line, or with one line for each submodule."""
    settings = module.extra_repr()
    lines = settings.split("\n") if settings else []
    children = [f"({name}): {indented(repr(child))}" for name, child in module._held("module")]
    return enclosed(module._get_name(), lines, children)


def list_repr(module: Module) -> str:
    """As :func:`module_repr`, with runs of equal submodules written as ``(0-2): 3 x Linear(...)``."""
    runs: list[tuple[str, str, str, int]] = []
    for name, child in module._held("module"):
        text = repr(child)
        if runs and runs[-1][2] == text:
            first, _, _, count = runs[-1]
            runs[-1] = (first, name, text, count + 1)
        else:
            runs.append((name, name, text, 1))
    children = [
        f"({first}): {indented(text)}" if count == 1 else f"({first}-{last}): {count} x {indented(text)}"
        for first, last, text, count in runs
    ]
    return enclosed(module._get_name(), [], children) if children else f"{module._get_name()}()"


def enclosed(name: str, lines: list[str], children: list[str]) -> str:
    """``name(...)`` around settings and children; a single line of settings alone stays on the same line."""
    if len(lines) == 1 and not children:
        return f"{name}({lines[0]})"
    body = lines + children
    return f"{name}(\n  " + "\n  ".join(body) + "\n)" if body else f"{name}()"


def indented(text: str) -> str:
    """``text`` with all lines but the first moved in by two."""
    return text.replace("\n", "\n  ")
