"""Breadcrumbs: what is remembered where a gradient's path ends, so that ``backlit.why`` can name the line later.

The graph leads from results back to inputs. Where a result leaves it (``detach``, ``no_grad``, an argmax, a cast to
integers …) nothing would remain to tell of the way back, so the result carries a :class:`Cut`: what was done, the
user's line, and which leaves the path led to, all by weak reference. Constants computed from such a result carry the
cut on. Values that leave the library altogether (``.item()``, ``.numpy()``) are noted in a short :class:`Trail`.

Nothing here keeps a value or a graph alive, and what accumulates is bounded: a running total over a million batches
carries as much as one over a hundred. Recorded operations pay nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from weakref import ref

from .graph import Node, last_id, mode
from .source import Mark, mark

Leaves = frozenset[Any]
"""Weak references to leaf tensors."""

MANY = 64
"""How many cuts one cut may stand for before they are gathered by line, and how many lines a trail remembers."""


class Cut:
    """The end of a gradient's path.

    Attributes:
        kind: what ended it, such as ``"detach"``, ``"no_grad"``, ``"item"``; empty where constants were only joined.
        op: the operation or method that was called.
        mark: the user's line.
        block: under a switched off recording, which switch it was and the line that turned it.
        source: a weak reference to the node or leaf that the path came from, or None.
        leaves: those that the path led to.
        parents: cuts that this one follows.
        stamp: comparable with the numbers of nodes: what was made later has a larger one.
        value: a number that left the library, to be recognised by identity.
    """

    __slots__ = ("block", "kind", "leaves", "mark", "op", "parents", "size", "source", "stamp", "value")
    size: int
    parents: tuple[Cut, ...]

    def __init__(
        self,
        kind: str,
        op: str,
        place: Mark | None = None,
        source: Any = None,
        leaves: Leaves = frozenset(),
        parents: tuple[Cut, ...] = (),
        value: Any = None,
    ) -> None:
        self.kind = kind
        self.op = op
        self.mark = place
        self.block = None if mode.recording else mode.stopped
        self.source = source
        self.leaves = leaves
        self.stamp = last_id()
        self.value = value
        self.size = 1 + sum([parent.size for parent in parents])
        if self.size > MANY:
            parents = _gathered(parents)
            self.size = 1 + len(parents)
        self.parents = parents

    def ends(self) -> Iterator[tuple[Cut, ...]]:
        """Every cut that this one goes back to and that has leaves, at the end of the way to it from here."""
        seen: set[Cut] = set()
        stack: list[tuple[Cut, ...]] = [(self,)]
        while stack:
            way = stack.pop()
            here = way[-1]
            if here in seen:
                continue
            seen.add(here)
            if here.leaves:
                yield way
            stack += [(*way, parent) for parent in here.parents]


class Trail(threading.local):
    """What a thread remembers beyond single tensors, the latest :data:`MANY` of each.

    ``recent`` are the last cuts, by line; ``exports`` the arrays that left through NumPy, by identity; ``numbers`` the
    Python numbers that left, by identity.
    """

    def __init__(self) -> None:
        self.recent: OrderedDict[Any, Cut] = OrderedDict()
        self.exports: OrderedDict[int, tuple[Any, Cut]] = OrderedDict()
        self.numbers: OrderedDict[int, Cut] = OrderedDict()


trail = Trail()


def behind(place: Any) -> tuple[Leaves, tuple[Cut, ...]]:
    """What a node was computed from: leaves, and cuts that its constants carry. A node remembers the answer."""
    if place.__class__ is not Node:
        return frozenset((ref(place),)), () if place._cut is None else (place._cut,)
    while place.behind is None:  # a chain has what the node at its end has
        edges = [edge for edge in place.edges if edge is not None]
        if len(edges) != 1 or edges[0].__class__ is not Node or place.constants is not None:
            break
        place = edges[0]
    if place.behind is None:
        place.behind = _collected(place)
    return place.behind  # type: ignore[no-any-return]


def leaves_of(place: Any) -> Leaves:
    """The leaves that a node was computed from; of a leaf, itself."""
    return behind(place)[0]


def _collected(node: Node) -> tuple[Leaves, tuple[Cut, ...]]:
    seen: set[Any] = {node}
    leaves: set[Any] = set()
    cuts: dict[Cut, None] = {}
    stack = [node]
    while stack:
        place = stack.pop()
        for edge in place.edges:
            if edge is None or edge in seen:
                continue
            seen.add(edge)
            if edge.__class__ is Node and edge.behind is None:
                stack.append(edge)
            else:
                some, more = behind(edge)
                leaves |= some
                cuts.update(dict.fromkeys(more))
        if place.constants is not None:
            cuts.update(dict.fromkeys(_cuts(place.constants)))
    return frozenset(leaves), tuple(cuts)


def cut(kind: str, op: str, inputs: Sequence[Any], value: Any = None) -> Cut | None:
    """The cut of a result that leaves the graph, or None where no input was in it or had left it before."""
    sources = [x._node or x for x in inputs if getattr(x, "_requires_grad", False)]
    parents = _cuts(inputs)
    if not sources:
        return None if not parents else Cut(kind, op, mark(), None, frozenset(), parents, value)
    leaves, cuts = behind(sources[0])
    for source in sources[1:]:
        some, more = behind(source)
        leaves, cuts = leaves | some, (*cuts, *more)
    found = Cut(kind, op, mark(), ref(sources[0]), leaves, tuple(dict.fromkeys((*parents, *cuts))), value)
    _remember(found)
    return found


def unrecorded(result: Any, op: Any, inputs: Sequence[Any], needs: int) -> None:
    """Give the result of an operation that was not recorded the cut that it makes or passes on."""
    if not needs:
        parents = _cuts(inputs)
        if parents:
            result._cut = parents[0] if len(parents) == 1 else Cut("", op.name, parents=parents)
        return
    if not mode.recording:
        kind = "no_grad" if mode.stopped is None else mode.stopped[0]
    else:
        kind = "cast" if op.name == "cast" else "not_differentiable"
    result._cut = cut(kind, op.name, inputs)


def written(target: Any, value: Any, op: str) -> None:
    """A constant took over the values of a tensor that is in the graph, unrecorded, or that has left it."""
    if target._requires_grad:
        return
    found = cut("no_grad", op, (value,)) if value._requires_grad else value._cut
    before = target._cut
    if found is not None and before is not None and before is not found:
        found = Cut("", op, parents=(before, found))
    target._cut = found
    if target._view is not None and not target._view.base._requires_grad:
        target._view.base._cut = found


def leave(kind: str, op: str, tensor: Any, value: Any = None) -> Cut | None:
    """Note that a tensor's values leave the library, as a Python ``value`` or as an array."""
    if not tensor._requires_grad and tensor._cut is None:
        return None
    found = cut(kind, op, (tensor,), value if value.__class__ is float else None)
    if found is not None and found.parents:
        _remember(found)
    if found is not None and found.value is not None:
        _keep(trail.numbers, id(value), found)
    return found


def export(tensor: Any, kind: str, op: str) -> None:
    """Note that a tensor's array is handed out."""
    found = leave(kind, op, tensor)
    if found is not None:
        array = _owner(tensor._data)
        _keep(trail.exports, id(array), (ref(array), found))


def returned(data: Any) -> Cut | None:
    """The cut of a number or an array that comes back into the library after it left, or None."""
    if data.__class__ is float:
        found = trail.numbers.get(id(data))
        return found if found is not None and found.value is data else None
    if trail.exports and hasattr(data, "__array_interface__"):
        array = _owner(data)
        known = trail.exports.get(id(array))
        if known is not None and known[0]() is array:
            return known[1]
    return None


def copied(data: Any) -> Cut | None:
    """The cut of a new tensor made from ``data``: a tensor, a sequence with tensors in it, or what left before."""
    if hasattr(data, "_cut"):
        return cut("copy", "tensor", (data,))
    if isinstance(data, (list, tuple)):
        held = [x for x in data[:MANY] if hasattr(x, "_cut")]
        if held:
            return cut("copy", "tensor", held)
        backs = tuple(found for x in data[:MANY] if (found := returned(x)) is not None)
        return None if not backs else backs[0] if len(backs) == 1 else Cut("", "tensor", parents=backs)
    return returned(data)


def _cuts(inputs: Iterable[Any]) -> tuple[Cut, ...]:
    found: list[Cut] = []
    for x in inputs:
        own = getattr(x, "_cut", None)
        if own is not None and own not in found:
            found.append(own)
    return tuple(found)


def _owner(array: Any) -> Any:
    """The array that owns the memory that another shows, as far as arrays tell."""
    while type(array.base) is type(array):
        array = array.base
    return array


def _keep(table: OrderedDict[Any, Any], key: Any, entry: Any) -> None:
    table[key] = entry
    table.move_to_end(key)
    if len(table) > MANY:
        table.popitem(last=False)


def _line(found: Cut) -> Any:
    return found.kind, None if found.mark is None else (id(found.mark[0]), found.mark[1])


def _remember(found: Cut) -> None:
    """Put a cut on the trail, together with what the same line cut before and is still alive."""
    key = _line(found)
    before = trail.recent.get(key)
    leaves = found.leaves
    if before is not None and not before.leaves <= leaves:
        leaves = leaves | frozenset(leaf for leaf in before.leaves if leaf() is not None)
    _keep(trail.recent, key, found if leaves is found.leaves else _joined(found, leaves))


def _joined(found: Cut, leaves: Leaves) -> Cut:
    joined = Cut(found.kind, found.op, found.mark, found.source, leaves, found.parents, found.value)
    joined.block, joined.stamp = found.block, found.stamp
    return joined


def _gathered(cuts: tuple[Cut, ...]) -> tuple[Cut, ...]:
    """What cuts go back to, one a line, the latest lines only, each with the leaves that are still alive."""
    by_line: dict[Any, list[Cut]] = {}
    for one in cuts:
        for way in one.ends():
            by_line.setdefault(_line(way[-1]), []).append(way[-1])
    gathered = []
    for same in by_line.values():
        last = max(same, key=_stamp)
        alive = frozenset(leaf for one in same for leaf in one.leaves if leaf() is not None)
        if alive:
            only = Cut(last.kind, last.op, last.mark, last.source, alive, (), last.value)
            only.block, only.stamp = last.block, last.stamp
            gathered.append(only)
    return tuple(sorted(gathered, key=_stamp)[-MANY // 2 :])


def _stamp(found: Cut) -> int:
    return found.stamp
