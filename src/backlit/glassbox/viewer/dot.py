"""A record as Graphviz source, for those who want to lay it out and style it themselves."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from .data import as_dictionary
from .scene import MOST, Scene, Thing, Wire, build_scene

_VALUE, _GRADIENT = "#0b6e55", "#b3261e"
_STYLES = {
    "operation": 'shape=box, style="rounded,filled", fillcolor="#ffffff"',
    "parameter": 'shape=box, style=filled, fillcolor="#e3ebff"',
    "variable": 'shape=box, style=filled, fillcolor="#eef1f6"',
    "constant": 'shape=box, style=filled, fillcolor="#eef1f6"',
    "number": "shape=plaintext",
    "module": 'shape=box3d, style=filled, fillcolor="#f1eee6"',
}


def dot(record: Any, *, title: str | None = None, most: int = MOST) -> str:
    """The computational graph in Graphviz' language, modules as clusters, values and gradients on the edges.

    Args:
        record: a :class:`~backlit.glassbox.record.Record`, or its ``to_dict(inline=True)``.
        title: the graph's label; the record's own title by default.
        most: graphs with more nodes are drawn with their modules closed.

    >>> import backlit as bl
    >>> x = bl.tensor(-2.0, requires_grad=True)
    >>> print(dot(bl.explain(x * 3)).splitlines()[0])
    digraph {
    """
    scene = build_scene(as_dictionary(record), most)
    label = scene.title if title is None else title
    names = {key: f"n{i}" for i, key in enumerate(scene.things)}
    lines = ["digraph {", "  rankdir=LR", "  node [fontname=Helvetica]", "  edge [fontname=Helvetica, fontsize=11]"]
    if label:
        lines.append(f"  label={quoted(label)}")
    lines += _clusters(scene, names)
    lines += [_edge(wire, i, names) for i, wire in enumerate(scene.wires)]
    return "\n".join([*lines, "}"]) + "\n"


def quoted(text: str) -> str:
    """A text as a quoted string of the language, in which nothing has a special meaning any more."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _clusters(scene: Scene, names: dict[str, str]) -> Iterator[str]:
    """The nodes, inside nested clusters for their modules."""
    groups: dict[tuple[str, ...], list[Thing]] = {(): []}
    for thing in scene.things.values():
        for i in range(len(thing.path) + 1):
            groups.setdefault(thing.path[:i], [])
        groups[thing.path].append(thing)
    numbers = {path: i for i, path in enumerate(groups)}
    yield from _cluster((), groups, numbers, names)


def _cluster(
    path: tuple[str, ...], groups: dict[tuple[str, ...], list[Thing]], numbers: dict[tuple[str, ...], int], names: Any
) -> Iterator[str]:
    indent = "  " * (len(path) + 1)
    for thing in groups[path]:
        yield f"{indent}{names[thing.key]} [label={_label(thing)}, {_STYLES[thing.kind]}]"
    for inner in groups:
        if len(inner) == len(path) + 1 and inner[:-1] == path:
            yield f"{indent}subgraph cluster_{numbers[inner]} {{"
            yield f"{indent}  label={quoted(inner[-1])}"
            yield from _cluster(inner, groups, numbers, names)
            yield f"{indent}}}"


def _label(thing: Thing) -> str:
    return quoted("\n".join(text for text in (thing.title, thing.subtitle or thing.caption) if text))


def _edge(wire: Wire, i: int, names: dict[str, str]) -> str:
    parts = [(wire.above, _VALUE), (wire.below, _GRADIENT)]
    label = "<br/>".join(f'<font color="{colour}">{escape(text)}</font>' for text, colour in parts if text)
    if wire.head is None:
        return f"  out{i} [shape=point, style=invis]\n  {names[wire.tail]} -> out{i} [label=<{label}>]"
    return f"  {names[wire.tail]} -> {names[wire.head]}" + (f" [label=<{label}>]" if label else "")
