"""Breadcrumbs: what is remembered where a gradient's path ends, so that ``backlit.why`` can name the line later.

The graph leads from results back to inputs. Where a result leaves it (``detach``, ``no_grad``, an argmax, a cast to
integers …) nothing would remain to tell of the way back, so the result carries a :class:`Cut`: what was done, the
user's line, and which leaves the path led to, all by weak reference. Constants computed from such a result carry the
cut on. Values that leave the library altogether (``.item()``, ``.numpy()``) are noted on a short :class:`Trail`.

Nothing here keeps a value or a graph alive, and what accumulates is bounded: a running total over a million batches
carries as much as one over a hundred. Recorded operations pay nothing; what is worked out here is little, and the rest
is left to whoever asks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from weakref import ref

from .graph import Node, last_id, mode
from .source import Mark, mark

Leaves = frozenset[Any]
"""Weak references to leaf tensors."""

MANY = 64
"""How many cuts one cut may stand for before they are gathered by line."""

RECENT = 256
"""How many cuts a trail remembers."""


class Cut(NamedTuple):
    """The end of a gradient's path. A tuple because nothing is made more quickly; two cuts are the same only if ``is``.

    Attributes:
        kind: what ended it, such as ``"detach"``, ``"no_grad"``, ``"item"``; empty where constants were only joined.
        op: the operation or method that was called.
        mark: the user's line.
        block: which switch had turned recording off, if it was off, and the line that turned it.
        sources: where the path came from: weak references to leaves, and for nodes pairs of a weak reference and what
            :func:`behind` found.
        parents: cuts that this one follows.
        size: how many cuts it stands for.
        stamp: comparable with the numbers of nodes: what was made later has a larger one.
    """

    kind: str
    op: str
    mark: Mark | None
    block: tuple[str, Mark | None] | None
    sources: tuple[Any, ...]
    parents: tuple[Cut, ...]
    size: int
    stamp: int

    @property
    def leaves(self) -> Leaves:
        """Weak references to the leaves that the path led to."""
        leaves: set[Any] = set()
        for source in self.sources:
            if source.__class__ is tuple:
                leaves |= source[1][0]
            elif source() is not None:
                leaves.add(source)
        return frozenset(leaves)

    def ends(self) -> Iterator[tuple[Cut, ...]]:
        """Every cut that this one goes back to and that has leaves, at the end of the way to it from here."""
        seen: set[int] = set()
        stack: list[tuple[Cut, ...]] = [(self,)]
        while stack:
            way = stack.pop()
            here = way[-1]
            if id(here) not in seen:
                seen.add(id(here))
                if here.sources:
                    yield way
                stack += [(*way, parent) for parent in here.before()]

    def before(self) -> Iterator[Cut]:
        """The cuts that this one follows: of constants that it was made from, and of constants in the graph it left."""
        yield from self.parents
        for source in self.sources:
            if source.__class__ is tuple:
                yield from source[1][1]


_tuple = tuple.__new__


def _made(
    kind: str, op: str, place: Mark | None, block: Any, sources: tuple[Any, ...], parents: tuple[Cut, ...]
) -> Cut:
    size = 1
    if parents:
        for parent in parents:
            size += parent.size
        if size > MANY:
            parents = _gathered(parents)
            size = 1 + len(parents)
    found = _tuple(Cut, (kind, op, place, block, sources, parents, size, last_id()))
    if place is not None:
        recent.append(found)
    return found


recent: deque[Cut] = deque(maxlen=RECENT)
"""The last cuts of all threads."""


class Trail(threading.local):
    """What a thread remembers of values that left the library, the latest of each: arrays (``exports``) and Python
    numbers (``numbers``), by identity, with the cut."""

    def __init__(self) -> None:
        self.exports: OrderedDict[int, tuple[Any, Cut]] = OrderedDict()
        self.numbers: OrderedDict[int, tuple[float, Cut]] = OrderedDict()


trail = Trail()


def behind(node: Node) -> tuple[Leaves, tuple[Cut, ...]]:
    """What a node was computed from: leaves, and cuts that its constants carry. It remembers the answer."""
    while node.behind is None:  # a chain has what the node at its end has
        edges = node.edges
        if len(edges) != 1 or edges[0].__class__ is not Node:
            node.behind = _collected(node)
            break
        node = edges[0]
    return node.behind


def _collected(node: Node) -> tuple[Leaves, tuple[Cut, ...]]:
    seen: set[Any] = {node}
    leaves: set[Any] = set()
    cuts: list[Cut] = []
    stack = [node]
    while stack:
        place = stack.pop()
        for edge in place.edges:
            if edge is None or edge in seen:
                continue
            seen.add(edge)
            if edge.__class__ is not Node:
                leaves.add(ref(edge))
                if edge._cut is not None:
                    cuts.append(edge._cut)
            elif edge.behind is None:
                stack.append(edge)
            else:
                leaves |= edge.behind[0]
                cuts += edge.behind[1]
        if place.constants is not None:
            cuts += _cuts(place.constants)
    return frozenset(leaves), tuple({id(one): one for one in cuts}.values())


def leaves_of(place: Any) -> Leaves:
    """The leaves that a node was computed from; of a leaf, itself."""
    return behind(place)[0] if place.__class__ is Node else frozenset((ref(place),))


def cut(kind: str, op: str, inputs: Sequence[Any], block: Any = None) -> Cut | None:
    """The cut of a result that leaves the graph, or None where no input was in it or had left it before."""
    sources = []
    parents: tuple[Cut, ...] = ()
    for x in inputs:
        needs = getattr(x, "_requires_grad", None)
        if needs is None:
            continue
        if needs:
            node = x._node
            sources.append(ref(x) if node is None else (ref(node), behind(node)))
        own = x._cut
        if own is not None:
            parents = (own,) if not parents else _with(parents, own)
    return _made(kind, op, mark(), block, tuple(sources), parents) if sources or parents else None


def _with(cuts: tuple[Cut, ...], own: Cut) -> tuple[Cut, ...]:
    return cuts if any(own is one for one in cuts) else (*cuts, own)


def taken(kind: str, op: str, x: Any) -> Cut | None:
    """:func:`cut` for one tensor."""
    own = x._cut
    parents = () if own is None else (own,)
    if x._requires_grad:
        node = x._node
        source = ref(x) if node is None else (ref(node), behind(node))
        return _made(kind, op, mark(), None, (source,), parents)
    return None if own is None else _made(kind, op, mark(), None, (), parents)


def unrecorded(result: Any, op: Any, inputs: Sequence[Any], needs: int) -> None:
    """Give the result of an operation that was not recorded the cut that it makes or passes on."""
    if not needs:
        for x in inputs:
            if getattr(x, "_cut", None) is not None:
                result._cut = _joined(_cuts(inputs), op.name)
                return
    elif mode.recording:
        result._cut = cut("cast" if op.name == "cast" else "not_differentiable", op.name, inputs)
    else:
        block = mode.stopped
        result._cut = cut("no_grad" if block is None else block[0], op.name, inputs, block)


def written(target: Any, value: Any, op: str) -> None:
    """A constant took over the values of a tensor that is in the graph, unrecorded, or that has left it."""
    if target._requires_grad:
        return
    found = cut("no_grad", op, (value,), mode.stopped) if value._requires_grad else value._cut
    before = target._cut
    if found is not None and before is not None and before is not found:
        found = _joined((before, found), op)
    target._cut = found
    if target._view is not None and not target._view.base._requires_grad:
        target._view.base._cut = found


def leave(kind: str, op: str, tensor: Any, value: Any = None) -> Cut | None:
    """Note that a tensor's values leave the library, as a Python ``value`` or as an array.

    A number taken out after the backward pass is to be looked at, and nobody is asked where it went.
    """
    node = tensor._node
    if node.saved is None if node is not None else not tensor._requires_grad and tensor._cut is None:
        return None
    found = taken(kind, op, tensor)
    if found is not None and value.__class__ is float:
        _keep(trail.numbers, id(value), (value, found))
    return found


def export(tensor: Any, kind: str, op: str) -> None:
    """Note that a tensor's array is handed out."""
    found = taken(kind, op, tensor)
    if found is not None:
        array = _owner(tensor._data)
        _keep(trail.exports, id(array), (ref(array), found))


def returned(data: Any) -> Cut | None:
    """The cut of a number or an array that comes back into the library after it left, or None."""
    if data.__class__ is float:
        known = trail.numbers.get(id(data))
        return known[1] if known is not None and known[0] is data else None
    if trail.exports and hasattr(data, "__array_interface__"):
        array = _owner(data)
        entry = trail.exports.get(id(array))
        if entry is not None and entry[0]() is array:
            return entry[1]
    return None


def copied(data: Any, op: str = "tensor") -> Cut | None:
    """The cut of a new tensor made from ``data``: a tensor, a sequence with tensors in it, or what left before."""
    if hasattr(data, "_cut"):
        return taken("copy", op, data)
    if isinstance(data, (list, tuple)):
        held = [x for x in data[:MANY] if hasattr(x, "_cut")]
        if held:
            return cut("copy", op, held)
        numbers = trail.numbers
        return _joined(tuple([numbers[id(x)][1] for x in data[:MANY] if id(x) in numbers]), "tensor")
    return returned(data)


def _joined(cuts: tuple[Cut, ...], op: str) -> Cut | None:
    """One cut for several; None for none."""
    if len(cuts) < 2:
        return cuts[0] if cuts else None
    return _made("", op, None, None, (), cuts)


def _cuts(inputs: Iterable[Any]) -> tuple[Cut, ...]:
    owns = [own for x in inputs if (own := getattr(x, "_cut", None)) is not None]
    return tuple(owns) if len(owns) < 2 else tuple({id(own): own for own in owns}.values())


def _owner(array: Any) -> Any:
    """The array that owns the memory that another shows, as far as arrays tell."""
    while type(array.base) is type(array):
        array = array.base
    return array


def _keep(table: OrderedDict[int, Any], key: int, entry: Any) -> None:
    table[key] = entry
    table.move_to_end(key)
    if len(table) > MANY:
        table.popitem(last=False)


def _gathered(cuts: tuple[Cut, ...]) -> tuple[Cut, ...]:
    """What cuts go back to, one a line, the latest lines only, each with the leaves that are still alive."""
    by_line: dict[Any, list[Cut]] = {}
    for one in cuts:
        for way in one.ends():
            last = way[-1]
            line = None if last.mark is None else (id(last.mark[0]), last.mark[1])
            by_line.setdefault((last.kind, line), []).append(last)
    gathered = []
    for same in by_line.values():
        alive = tuple({leaf for one in same for leaf in one.leaves if leaf() is not None})
        if alive:
            gathered.append(max(same, key=_stamp)._replace(sources=alive, parents=(), size=1))
    return tuple(sorted(gathered, key=_stamp)[-MANY // 2 :])


def _stamp(found: Cut) -> int:
    return found.stamp
