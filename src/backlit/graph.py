"""The heart of Backlit: nodes and the one reverse walk.

A :class:`Node` is one recorded application of an operation. Its ``edges`` point at what its inputs came from: another
node, a leaf (anything with ``accumulate``), or None for a constant. :func:`walk` visits nodes newest first (an input is
always older than what was made from it, so creation order is a topological order), asks each node to *pull* its
upstream gradient back to its inputs, and adds contributions up where paths join.

This file knows nothing of tensors, NumPy or derivatives: gradients are anything that can be added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from operator import attrgetter
from typing import Any, Protocol

from .errors import GradientError
from .grad_mode import enable_grad as enable_grad
from .grad_mode import inference_mode as inference_mode
from .grad_mode import is_grad_enabled as is_grad_enabled
from .grad_mode import mode as mode
from .grad_mode import no_grad as no_grad
from .grad_mode import set_grad_enabled as set_grad_enabled
from .source import Mark, Source, resolve

Gradient = Any
Hook = Callable[[Gradient], Gradient | None]

_next_id = count(1).__next__
_by_id = attrgetter("id")


class Leaf(Protocol):
    """The end of a path: a tensor that collects its gradient in ``.grad``.

    One that is ``hooked`` gets its contributions as one sum at the end of the walk, for its hooks see it once.
    """

    @property
    def hooked(self) -> bool: ...

    def accumulate(self, gradient: Gradient, owned: bool = False) -> None: ...


class WalkObserver:
    """Sees the reverse walk without changing it. Explanation, statistics and anomaly tracing subclass it."""

    def start(self, roots: Sequence[tuple[Any, Gradient]]) -> None:
        """Called before a walk, with its roots and their upstream gradients."""

    def finish(self) -> None:
        """Called after a walk that reached its end, when all leaves have their gradients."""

    def enter(self, node: Node, upstream: Gradient) -> None:
        """Called with the complete upstream gradient, before the node's rule runs."""

    def leave(self, node: Node, upstream: Gradient, downstream: Sequence[Gradient | None]) -> None:
        """Called with what the rule handed down, one entry an input (None where no gradient is needed)."""

    def arrive(self, leaf: Leaf, gradient: Gradient) -> None:
        """Called when a contribution reaches a leaf."""


class Deferred:
    """A gradient as parts that are not added up yet; a rule may return one instead of a gradient.

    Many small contributions to one large array, such as those of the slices of a loop, then cost one large array and
    not one each. ``add_up`` makes the gradient of all parts: what rules put in, and gradients from elsewhere.
    """

    __slots__ = ("add_up", "parts")

    def __init__(self, add_up: Callable[[list[Any]], Gradient], part: Any) -> None:
        self.add_up = add_up
        self.parts = [part]

    def __add__(self, other: Gradient) -> Deferred:
        """Take in another contribution. The walk is the only holder, so this one grows and no copy is made."""
        self.parts.extend(other.parts if other.__class__ is Deferred else [other])
        return self

    def total(self) -> Gradient:
        """The gradient."""
        return self.add_up(self.parts)


class Node:
    """One recorded application of an operation.

    ``op`` defines the mathematics, ``params`` its settings, ``edges`` where each input came from, ``saved`` the values
    that the gradient rules named, ``shapes`` the inputs' shapes (None for unary elementwise operations, whose input has
    the output's shape), ``shape`` and ``dtype`` the output's, ``mark`` the user's line, ``scope`` the module stack.
    ``constants`` remembers the inputs that have no edge, so that the forward pass can be told again: numbers and small
    arrays as they are, larger ones by weak reference; None where every input has an edge. ``behind`` is what
    :mod:`backlit.breadcrumbs` found behind it, once asked.
    """

    __slots__ = (
        "__weakref__",
        "behind",
        "constants",
        "dtype",
        "edges",
        "extra",
        "hooks",
        "id",
        "mark",
        "op",
        "params",
        "plan",
        "saved",
        "scope",
        "shape",
        "shapes",
        "versions",
    )

    id: int
    op: Any
    params: dict[str, Any]
    edges: tuple[Any, ...]
    saved: Any
    versions: Any
    plan: Any
    extra: Any
    shapes: tuple[tuple[int, ...], ...] | None
    shape: tuple[int, ...]
    dtype: Any
    mark: Mark | None
    scope: tuple[Any, ...] | None
    hooks: list[Hook] | None
    constants: tuple[Any, ...] | None
    behind: tuple[Any, Any] | None

    def __init__(
        self,
        op: Any,
        params: dict[str, Any],
        edges: tuple[Any, ...],
        out: Any,
        shapes: Any,
        mark: Mark | None,
        saved: Any = None,
        plan: Any = None,
        extra: Any = None,
    ) -> None:
        self.id = _next_id()
        self.op = op
        self.params = params
        self.edges = edges
        self.shape = out.shape
        self.dtype = out.dtype
        self.shapes = shapes
        self.mark = mark
        self.scope = mode.scope
        self.saved = saved
        self.plan = plan
        self.extra = extra
        self.hooks = self.versions = self.constants = self.behind = None

    @property
    def name(self) -> str:
        """The operation's name, such as ``matmul``."""
        return self.op.name

    @property
    def source(self) -> Source | None:
        """The user's file and line that applied the operation."""
        return resolve(self.mark)

    @property
    def module(self) -> str:
        """The path of the module that applied the operation, such as ``net.layers.0``; empty outside modules."""
        return scope_path(self.scope)

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What each input came from, in order: a node, a leaf tensor, or None for a constant."""
        return self.edges

    def register_hook(self, hook: Hook) -> Callable[[], None]:
        """Call ``hook(upstream)`` during the walk, before the rule; what it returns replaces the upstream gradient."""
        if self.hooks is None:
            self.hooks = []
        hooks = self.hooks
        hooks.append(hook)
        return lambda: hooks.remove(hook)

    def release(self) -> None:
        """Let go of the saved values; a later backward through this node raises."""
        self.saved = self.extra = None

    def __repr__(self) -> str:
        place = self.source
        return f"<{self.name} {'×'.join(map(str, self.shape)) or 'scalar'}{f' at {place}' if place else ''}>"


def last_id() -> int:
    """A number not below that of any node made so far, and below those of all later ones."""
    return _next_id()


def scope_path(scope: tuple[Any, ...] | None) -> str:
    """Join the names on a module stack. Each entry is ``(outer, module, place)``; modules name their children."""
    if scope is None:
        return ""
    outer, module, _ = scope
    parent = outer[1] if outer is not None else None
    name = module.scope_name(parent)
    prefix = scope_path(outer)
    return f"{prefix}.{name}" if prefix else name


def reachable(roots: Iterable[Node]) -> list[Node]:
    """Every node that the roots were computed from, newest first."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        for edge in stack.pop().edges:
            if type(edge) is Node and edge not in seen:
                seen.add(edge)
                stack.append(edge)
    return sorted(seen, key=_by_id, reverse=True)


def leading_to(nodes: Sequence[Node], targets: set[Any]) -> set[Node]:
    """Those of ``nodes`` (newest first) from which a target can be reached; targets that are nodes included."""
    useful: set[Node] = set()
    for node in reversed(nodes):
        if node in targets or any(edge in targets or edge in useful for edge in node.edges if edge is not None):
            useful.add(node)
    return useful


def walk(
    roots: Sequence[tuple[Any, Gradient]],
    *,
    create_graph: bool = False,
    keep: bool = False,
    targets: set[Any] | None = None,
    arrive: Callable[[Any, Gradient, bool], None],
    pull: Callable[[Node, Gradient], Sequence[Gradient | None]] | None = None,
) -> dict[Any, Gradient]:
    """The reverse walk.

    Args:
        roots: pairs of (node or leaf, gradient of the result with respect to it).
        create_graph: record the walk itself, so that gradients can be differentiated again.
        keep: keep saved values, so that the graph can be walked again.
        targets: nodes and leaves whose gradients are wanted; the walk is cut down to the paths that reach them.
        arrive: called as ``arrive(leaf, gradient, owned)`` for every contribution to a leaf, unless ``targets`` is
            given; ``owned`` tells that the rule made the array and nobody else holds it.
        pull: runs the rule of a node, in place of ``node.op.pull``.

    Returns:
        The gradients of the targets (empty without targets).
    """
    upstream: dict[Any, Gradient] = {}
    found: dict[Any, Gradient] = {}
    observers = mode.walkers
    plain = targets is None and not observers
    for observer in observers:
        observer.start(roots)
    for place, gradient in roots:
        _contribute(place, gradient, upstream, found, targets, arrive, observers)
    order = reachable([place for place, _ in roots if type(place) is Node])
    useful = leading_to(order, targets) if targets is not None else None
    for node in order:
        gradient = upstream.pop(node, None)
        if gradient is None or (useful is not None and node not in useful):
            continue
        if gradient.__class__ is Deferred:
            gradient = gradient.total()
        if node.hooks is not None:
            gradient = run_hooks(node.hooks, gradient)
        if targets is not None and node in targets:
            found[node] = gradient
        for observer in observers:
            observer.enter(node, gradient)
        downstream = node.op.pull(node, gradient, create_graph) if pull is None else pull(node, gradient)
        if observers:
            downstream = [part.total() if part.__class__ is Deferred else part for part in downstream]
            for observer in observers:
                observer.leave(node, gradient, downstream)
        if not keep:
            node.release()
        for edge, part in zip(node.edges, downstream, strict=True):
            if edge is None or part is None:
                continue
            deferred = part.__class__ is Deferred
            if deferred or edge.__class__ is Node or (targets is None and edge.hooked):
                if useful is not None and edge not in useful and (targets is None or edge not in targets):
                    continue
                before = upstream.get(edge)
                upstream[edge] = part if before is None else part + before if deferred else before + part
            else:
                owned = part is not gradient and node.op.fresh
                if plain:
                    arrive(edge, part, owned)
                else:
                    _contribute(edge, part, upstream, found, targets, arrive, observers, owned)
    for leaf, gradient in upstream.items():
        deferred = gradient.__class__ is Deferred
        total = gradient.total() if deferred else gradient
        _contribute(leaf, total, upstream, found, targets, arrive, observers, deferred)
    for observer in observers:
        observer.finish()
    return found


def _contribute(
    place: Any,
    gradient: Gradient,
    upstream: dict[Any, Gradient],
    found: dict[Any, Gradient],
    targets: set[Any] | None,
    arrive: Callable[[Any, Gradient, bool], None],
    observers: tuple[WalkObserver, ...],
    owned: bool = False,
) -> None:
    """Hand a contribution to a node's pending sum, or to a leaf."""
    if type(place) is Node:
        upstream[place] = upstream[place] + gradient if place in upstream else gradient
    elif targets is None:
        for observer in observers:
            observer.arrive(place, gradient)
        arrive(place, gradient, owned)
    elif place in targets:
        found[place] = found[place] + gradient if place in found else gradient


def run_hooks(hooks: Iterable[Hook], gradient: Gradient) -> Gradient:
    """Pass a gradient through hooks in order; a hook that returns None leaves it as it is."""
    for hook in tuple(hooks):
        replaced = hook(gradient)
        if replaced is not None:
            gradient = replaced
    return gradient


def freed(node: Node) -> GradientError:
    """The error for walking a graph twice."""
    return GradientError(
        f"{node!r}: its saved values were already released by an earlier backward(). "
        "Pass retain_graph=True to the first backward(), or compute the loss again before the second."
    )
