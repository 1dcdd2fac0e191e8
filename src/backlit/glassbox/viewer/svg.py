"""A record as a still picture, for papers, slides and notebooks: values above the lines, gradients below."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from .data import as_dictionary
from .layered import Box, connect, lay_out
from .scene import MOST, Scene, Thing, Wire, build_scene

_MARGIN = 16.0
_CAPTION = 14.0
_VALUE, _GRADIENT, _LINE, _INK, _MUTED = "#0b6e55", "#b3261e", "#8b8f99", "#1c1e24", "#5c6069"
_SANS = "ui-sans-serif, system-ui, Helvetica, Arial, sans-serif"
_MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
_FILLS = {
    "operation": ("#ffffff", _LINE),
    "parameter": ("#e3ebff", "#2f4fd0"),
    "variable": ("#eef1f6", _LINE),
    "constant": ("#eef1f6", _LINE),
    "module": ("#f1eee6", _INK),
}


def svg(record: Any, *, title: str | None = None, most: int = MOST) -> str:
    """The computational graph as one self-contained SVG image on a light ground.

    Args:
        record: a :class:`~backlit.glassbox.record.Record`, or its ``to_dict(inline=True)``.
        title: the image's title, read aloud by screen readers; the record's own by default.
        most: graphs with more nodes are drawn with their modules closed.

    Returns:
        The text of the SVG element.

    >>> import backlit as bl
    >>> x = bl.tensor(-2.0, requires_grad=True)
    >>> picture = svg(bl.explain(x * 3))
    >>> picture.startswith("<svg"), ">−6</text>" in picture
    (True, True)
    """
    scene = build_scene(as_dictionary(record), most)
    return _Picture(scene).text(scene.title if title is None else title)


@dataclass
class _Part:
    """A wire's label in the layout; its line goes straight through it."""

    wire: Wire
    box: Box


class _Picture:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.boxes = {key: Box(*_size(thing)) for key, thing in scene.things.items()}
        self.labels = [_Part(wire, Box(_label_width(wire), 38.0 if wire.above else 6.0)) for wire in scene.wires]
        forward = _without_circles(scene)
        for part in self.labels:
            tail, head = self.boxes[part.wire.tail], part.wire.head and self.boxes[part.wire.head]
            first, last = (tail, head) if id(part.wire) in forward else (head, tail)
            connect(first or tail, part.box)
            if head:
                connect(part.box, last or head)
        self.routes = lay_out([*self.boxes.values(), *(part.box for part in self.labels)])

    def text(self, title: str) -> str:
        boxes = [*self.boxes.values(), *(part.box for part in self.labels)]
        width = max((box.x + box.width / 2 for box in boxes), default=0) + 2 * _MARGIN
        height = max((box.y + box.height / 2 for box in boxes), default=0) + 2 * _MARGIN
        content = "".join([*(self._wire(part) for part in self.labels), *map(self._thing, self.scene.things.values())])
        size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="max-width: 100%; height: auto" role="img">'
            f"<title>{escape(title or 'Computational graph')}</title>"
            f'<rect width="100%" height="100%" fill="#fbfaf7"/>'
            f'<g transform="translate({_MARGIN:.0f} {_MARGIN:.0f})" text-anchor="middle">{content}</g></svg>'
        )

    def _wire(self, part: _Part) -> str:
        box, wire = part.box, part.wire
        left, right = box.x - box.width / 2, box.x + box.width / 2
        tail, head = self.boxes[wire.tail], self.boxes[wire.head] if wire.head else None
        backwards = head is not None and tail.x > head.x
        line = self._curve(head if backwards and head else tail, box) + f"L{right:.1f},{box.y:.1f}"
        if head is not None:
            line += self._curve(box, tail if backwards else head)
        texts = _text(box.x, box.y - 6, wire.above, 12, _VALUE, _MONO) + _text(
            box.x, box.y + 15, wire.below, 12, _GRADIENT, _MONO
        )
        tip = "" if head is None or backwards else _arrow(head.x - _half(head), head.y)
        return f'<path d="M{left:.1f},{box.y:.1f}{line}" fill="none" stroke="{_LINE}" stroke-width="1.3"/>{tip}{texts}'

    def _curve(self, tail: Box, head: Box) -> str:
        """From the right of one box to the left of the other, level at every place that it passes."""
        x, y = tail.x + _half(tail), tail.y
        path = f"M{x:.1f},{y:.1f}"
        for place in [*self.routes.get((id(tail), id(head)), ()), head]:
            to = place.x - _half(place)
            middle = (x + to) / 2
            path += f"C{middle:.1f},{y:.1f} {middle:.1f},{place.y:.1f} {to:.1f},{place.y:.1f}"
            x, y = place.x + _half(place), place.y
        return path

    def _thing(self, thing: Thing) -> str:
        box = self.boxes[thing.key]
        if thing.kind == "number":
            return _text(box.x, box.y + 4, thing.title, 12, _INK, _MONO)
        fill, stroke = _FILLS[thing.kind]
        width, height = 2 * _half(box), box.height - (2 * _CAPTION if thing.caption else 0)
        radius = height / 2 if thing.kind == "operation" else 7
        shape = (
            f'<rect x="{box.x - width / 2:.1f}" y="{box.y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'rx="{radius:.1f}" fill="{fill}" stroke="{stroke}" stroke-width="1.4"/>'
        )
        title = _text(
            box.x, box.y + (-3 if thing.subtitle else 5), _cut(thing.title), 14, _INK, _SANS, ' font-weight="600"'
        )
        subtitle = _text(box.x, box.y + 13, thing.subtitle, 11, _MUTED, _SANS)
        caption = _text(
            box.x, box.y + box.height / 2 - 3, _cut(thing.caption), 11, _MUTED, _SANS, ' font-style="italic"'
        )
        return shape + title + subtitle + caption


def _half(box: Box) -> float:
    """Half the width of what is drawn of a box; a caption may be wider."""
    return (box.drawn or box.width) / 2


def _without_circles(scene: Scene) -> set[int]:
    """The wires that go forward; a closed module that is used twice can lead back to itself through others."""
    behind: dict[str, list[Wire]] = {}
    for wire in scene.wires:
        behind.setdefault(wire.tail, []).append(wire)
    forward = {id(wire) for wire in scene.wires if wire.head is None}
    entered: set[str] = set()
    above: set[str] = set()
    for start in scene.things:
        stack = [] if start in entered else [(start, iter(behind.get(start, ())))]
        while stack:
            key, wires = stack[-1]
            entered.add(key)
            above.add(key)
            found = next((wire for wire in wires if wire.head not in above), None)
            if found is None:
                above.discard(key)
                stack.pop()
                continue
            forward.add(id(found))
            if found.head is not None and found.head not in entered:
                stack.append((found.head, iter(behind.get(found.head, ()))))
    return forward


def _size(thing: Thing) -> tuple[float, float, float]:
    """Width and height with the caption, and the width without."""
    title = _cut(thing.title)
    if thing.kind == "number":
        return _width(title, 7.3) + 12, 22.0, 0.0
    wide = max(_width(title, 8.6), _width(thing.subtitle, 6.4)) + 22
    if thing.kind != "operation":
        return max(36.0, wide), 44.0 if thing.subtitle else 30.0, 0.0
    drawn = 36.0 if len(title) <= 2 else wide
    height = (36.0 if len(title) <= 2 else 32.0) + (2 * _CAPTION if thing.caption else 0.0)
    return max(drawn, _width(_cut(thing.caption), 6.2)), height, drawn


def _label_width(wire: Wire) -> float:
    return max(_width(wire.above, 7.3), _width(wire.below, 7.3)) + 10 if wire.above else 2.0


def _width(text: str, per_character: float) -> float:
    return per_character * len(text)


def _cut(text: str) -> str:
    return text if len(text) <= 26 else text[:25] + "…"


def _text(x: float, y: float, text: str, size: int, colour: str, font: str, more: str = "") -> str:
    if not text:
        return ""
    style = f'font-size="{size}" font-family="{font}" fill="{colour}"{more}'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _arrow(x: float, y: float) -> str:
    return f'<path d="M{x:.1f},{y:.1f}l-7,-3v6z" fill="{_LINE}"/>'
