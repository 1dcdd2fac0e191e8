"""A layered layout from left to right (Sugiyama's method), for pictures that are drawn without a browser.

Of the libraries, Graphviz is no Python package, grandalf is under the GPL, and fast-sugiyama has wheels for few
platforms; the method itself is short: give every box a layer, let long lines pass through places in each layer between,
order each layer so that few lines cross, and shift boxes towards their neighbours as far as they have room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

GAP_X, GAP_Y = 18.0, 12.0
_SWEEPS = 20


@dataclass(eq=False)
class Box:
    """A box to be placed, with the boxes before and behind it; ``x`` and ``y`` are its middle, ``drawn`` the width
    between the ends of its lines."""

    width: float
    height: float
    drawn: float = 0.0
    before: list[Box] = field(default_factory=list)
    behind: list[Box] = field(default_factory=list)
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    place: float = 0.0


def connect(tail: Box, head: Box) -> None:
    """Draw a line from one box to another."""
    tail.behind.append(head)
    head.before.append(tail)


def lay_out(boxes: Sequence[Box]) -> dict[tuple[int, int], list[Box]]:
    """Place boxes; returns for each line, by the ``id`` of its two boxes, the places that it passes through.

    Lines must not form circles.
    """
    _assign_layers(boxes)
    routes, everything = _cut_long_lines(boxes)
    layers: list[list[Box]] = [[] for _ in range(1 + max((box.layer for box in everything), default=0))]
    for box in everything:
        layers[box.layer].append(box)
    _order(layers)
    _place(layers)
    return routes


def _assign_layers(boxes: Sequence[Box]) -> None:
    """As far to the left as possible; then what nothing leads to, up to what it leads to."""
    waiting = {id(box): len(box.before) for box in boxes}
    ready = [box for box in boxes if not box.before]
    for box in ready:
        for after in box.behind:
            after.layer = max(after.layer, box.layer + 1)
            waiting[id(after)] -= 1
            if not waiting[id(after)]:
                ready.append(after)
    for box in reversed(ready):
        if box.behind and (not box.before or all(not b.before for b in box.before)):
            box.layer = min(after.layer for after in box.behind) - 1


def _cut_long_lines(boxes: Sequence[Box]) -> tuple[dict[tuple[int, int], list[Box]], list[Box]]:
    routes: dict[tuple[int, int], list[Box]] = {}
    everything = list(boxes)
    lines = [(box, after) for box in boxes for after in box.behind]
    for box in boxes:
        box.before, box.behind = [], []
    for tail, head in lines:
        between = [Box(0.0, 2.0, layer=layer) for layer in range(tail.layer + 1, head.layer)]
        routes[id(tail), id(head)] = between
        everything += between
        chain = [tail, *between, head]
        for one, other in pairwise(chain):
            connect(one, other)
    return routes, everything


def _order(layers: list[list[Box]]) -> None:
    """Sort each layer by the mean place of its neighbours, to and fro, and keep the order with the fewest crossings."""
    _number(layers)
    best, least = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for layer in layers if forward else reversed(layers):
            for box in layer:
                near = box.before if forward else box.behind
                if near:
                    box.place = sum(other.place for other in near) / len(near)
            layer.sort(key=lambda box: box.place)
            for i, box in enumerate(layer):
                box.place = i
        crossings = _crossings(layers)
        if crossings < least:
            best, least = [list(layer) for layer in layers], crossings
    for layer, kept in zip(layers, best, strict=True):
        layer[:] = kept
    _number(layers)


def _number(layers: list[list[Box]]) -> None:
    for layer in layers:
        for i, box in enumerate(layer):
            box.place = i


def _crossings(layers: list[list[Box]]) -> int:
    count = 0
    for layer in layers:
        lines = sorted((box.place, after.place) for box in layer for after in box.behind)
        ends = [end for _, end in lines]
        count += sum(ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, min(len(ends), i + 60)))
    return count


def _place(layers: list[list[Box]]) -> None:
    x = 0.0
    for layer in layers:
        width = max(box.width for box in layer)
        for box in layer:
            box.x = x + width / 2
        x += width + GAP_X
        _settle(layer, [0.0] * len(layer))
    for sweep in range(2 * _SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            _settle(layer, [_wish(box, sweep) for box in layer])
    top = min(box.y - box.height / 2 for layer in layers for box in layer)
    for layer in layers:
        for box in layer:
            box.y -= top


def _wish(box: Box, sweep: int) -> float:
    """Where a box would like to be: level with its neighbours, first of one side, finally of both."""
    sides = (box.before, box.behind) if sweep % 2 == 0 else (box.behind, box.before)
    near = sides[0] or sides[1] if sweep < _SWEEPS else [*sides[0], *sides[1]]
    return sum(other.y for other in near) / len(near) if near else box.y


def _settle(layer: list[Box], wishes: list[float]) -> None:
    """Put boxes as near to their wishes as order and sizes allow: least squares, by pooling neighbours that touch."""
    offsets, reached = [], 0.0
    for i, box in enumerate(layer):
        if i:
            reached += (layer[i - 1].height + box.height) / 2 + GAP_Y
        offsets.append(reached)
    pools: list[tuple[float, int]] = []
    for wish, offset in zip(wishes, offsets, strict=True):
        total, count = wish - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            more, others = pools.pop()
            total, count = total + more, count + others
        pools.append((total, count))
    levels = [total / count for total, count in pools for _ in range(count)]
    for box, level, offset in zip(layer, levels, offsets, strict=True):
        box.y = level + offset
