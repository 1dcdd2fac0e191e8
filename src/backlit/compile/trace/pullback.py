"""The reverse walk while a function is traced: gradient rules on tensors, so that they are written down like the rest.

There is one walk, that of :mod:`backlit.graph`; this file only says how the rule of a node is run. Where the gradient
has a lowering of its own, the rule runs on arrays. Otherwise, where a definition's rules are composed of operations,
they run on tensors and pass by the tracer; the rest is called on arrays when the program runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...graph import mode, walk
from ...numerics import quiet
from ...ops.definition import OUTPUT, _unpack, apply
from ...ops.shape import Clone
from ...source import describe
from ...tensor import Tensor
from ..errors import TraceError
from ..ir.marks import of_gradient
from ..ir.program import Value
from ..lower import pull_of, rules_are_traced
from ..native import supports
from .calls import unnoticed_if_librarys
from .extern import VARIES, ExternPull, pull_arrays
from .tracer import Application, Tracer
from .watch import telling

Array = np.ndarray


class Pull:
    """What the lowering of a gradient may use: the upstream gradient, the forward's values, who wants gradients."""

    __slots__ = ("application", "g", "needs", "node")

    def __init__(self, application: Application, g: Value, node: Any) -> None:
        self.application = application
        self.g = g
        self.node = node
        self.needs = tuple(edge is not None for edge in node.edges)

    @property
    def inputs(self) -> list[Any]:
        """The forward's inputs: values, numbers, None."""
        return self.application.inputs

    @property
    def out(self) -> Value:
        """The forward's output."""
        return self.application.result

    @property
    def kept(self) -> Value | None:
        """What the forward drew, where it drew random numbers natively."""
        return self.application.kept  # type: ignore[no-any-return]

    @property
    def params(self) -> dict[str, Any]:
        """The operation's settings."""
        return self.application.params


def traced_walk(
    tracer: Tracer, roots: Any, *, create_graph: bool, keep: bool, targets: Any = None, ends: Any = frozenset()
) -> dict[Any, Any]:
    """The reverse walk with every gradient a tensor that the tracer knows; it does not go on behind ``ends``."""

    def arrive(leaf: Any, gradient: Tensor, owned: bool) -> None:
        tracer.before_gradient(leaf)
        leaf.accumulate(gradient if owned else apply(Clone, (gradient,), {"order": "K"}))

    def pull(node: Any, gradient: Tensor) -> Any:
        if node in ends:
            return [None] * len(node.edges)
        return _pull(tracer, node, gradient, create_graph)

    before = mode.recording
    mode.recording = create_graph
    try:
        return walk(roots, create_graph=True, keep=keep, targets=targets, arrive=arrive, pull=pull)
    finally:
        mode.recording = before


def _pull(tracer: Tracer, node: Any, g: Tensor, create_graph: bool) -> Any:
    application = tracer.applications.get(node)
    known = tracer.error is None and application is not None
    on_tensors = rules_are_traced(node.op) and pull_of(node.op) is None
    if not known or create_graph or node.plan is None or on_tensors:  # no plan: the program's own node
        if tracer.error is None and application is None:
            tracer.fail(_unknown(node))
        return _run_rules(tracer, node, g)
    return unnoticed_if_librarys(node.op, _pull_arrays, tracer, node, application, g)


def _pull_arrays(tracer: Tracer, node: Any, application: Any, g: Tensor) -> list[Tensor | None]:
    """Run the rules on arrays, and write the gradient down."""
    arrays = _unpack(node, False)
    with quiet():
        parts = pull_arrays(node.plan, node, g._data, arrays)
    tensors = [_as_tensor(part, edge, g) for part, edge in zip(parts, node.edges, strict=True)]
    try:
        _write_down(tracer, node, application, g, arrays, tensors)
    except TraceError as error:
        tracer.fail(error)
    return tensors


def _run_rules(tracer: Tracer, node: Any, g: Tensor) -> Any:
    """Run the rules on tensors; Python code inside them may make constants of its own."""
    tracer.in_rule += 1
    scope, mode.scope = mode.scope, node.scope
    tracer.rule_mark, outer = of_gradient(node.mark), tracer.rule_mark
    try:
        return node.op.pull(node, g, True)
    finally:
        tracer.in_rule -= 1
        tracer.rule_mark = outer
        mode.scope = scope


@telling
def _as_tensor(part: Any, edge: Any, g: Tensor) -> Tensor | None:
    if part is None or edge is None:
        return None
    if part is g._data:  # handed on, so that nobody takes it for an array of its own
        return g
    return Tensor(np.asarray(part.total() if hasattr(part, "total") else part))


def _write_down(
    tracer: Tracer, node: Any, application: Any, g: Tensor, arrays: list[Any], tensors: list[Tensor | None]
) -> None:
    """One gradient: by its own lowering, or as a call of the rule."""
    builder = tracer.builder
    builder.mark, builder.scope = of_gradient(node.mark), node.scope
    pull = Pull(application, tracer.value_of(g), node)
    lower = pull_of(node.op)
    start = len(builder.body)
    if lower is not None and application.extra is None:
        made = lower(builder, pull)
        if made is not None and all(map(supports, builder.body[start:])):
            for value, tensor in zip(made, tensors, strict=True):
                if tensor is not None and tensor is not g:
                    tracer.memory.put(tensor._data, value)
            return
        del builder.body[start:]
    _call_rule(tracer, node, application, pull.g, arrays, tensors)


def _call_rule(
    tracer: Tracer, node: Any, application: Any, g: Value, arrays: list[Any], tensors: list[Tensor | None]
) -> None:
    operands, saved = [g], []
    if node.op.has_extra:
        operands.append(_extra(tracer, application))
    for slot, array in zip(node.plan.kept, arrays, strict=True):
        value = application.result if slot == OUTPUT else application.inputs[slot] if slot >= 0 else None
        saved.append(VARIES if isinstance(value, Value) else array)
        if isinstance(value, Value):
            operands.append(value)
    wanted = tuple(i for i, tensor in enumerate(tensors) if tensor is not None)
    results = []
    for i in wanted:
        array = tensors[i]._data  # type: ignore[union-attr]
        results.append(Value(array.shape, array.dtype))
        tracer.memory.put(array, results[-1])
    call = ExternPull(node, saved, wanted, node.op.has_extra)
    tracer.call(call, tuple(operands), tuple(results))


def _extra(tracer: Tracer, application: Application) -> Value:
    """What the forward rule keeps for the gradient, for which it is called if it was lowered."""
    if application.extra is None:
        like = np.empty(application.result.shape, application.result.dtype)
        op, values, params = application.op, application.inputs, application.params
        application.result, application.extra = tracer.extern(op, values, params, like)
    return application.extra


def _unknown(node: Any) -> TraceError:
    return TraceError(
        f"compile: the backward pass goes through {node.name}, computed at {describe(node.mark)} before the compiled "
        "function was called. Compute it inside the function, or detach it."
    )
