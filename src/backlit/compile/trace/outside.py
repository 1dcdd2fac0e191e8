"""Results whose backward pass runs outside the compiled function: their pullback, as a program of its own.

Right after the function ran, still watched, the reverse walk is made from its results to what it was given, with
upstream gradients that stand for any. What that writes down, and the results do not need, is the backward program. It
reads what the forward program hands on: values as further outputs, and inputs as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...graph import reachable
from ...source import describe
from ...tensor import Tensor
from ..errors import TraceError
from ..ir.layout import VIEWS
from ..ir.program import Instruction, Program, Value, verify
from ..passes.dead_code import has_effect
from .sources import Argument, ByReference, Source, Variable

CHEAP = VIEWS | {"constant", "iota"}
"""What is made again rather than kept."""


@dataclass
class Pullback:
    """How gradients of a compiled function's results are carried back to what it was given.

    Attributes:
        program: its inputs are what is kept, in the order of ``kept``, and then the upstream gradients, one for each
            result that is ``open``; its outputs are the gradients of ``wanted``.
        kept: where the forward program reads one of its inputs, or the position of a value among its outputs.
        open: whether a gradient can arrive at each result.
        wanted: where the tensors are found whose gradients the program gives.
        arrays: what each input was when it was traced.
    """

    program: Program
    kept: list[Source | int]
    open: list[bool]
    wanted: list[Source]
    arrays: dict[Value, Any]


def trace_pullback(
    tracer: Any, results: list[Tensor], arguments: list[Tensor], written: list[tuple[Value, Value]]
) -> tuple[Pullback, list[Instruction], list[Value]]:
    """The pullback of a function that just ran.

    Args:
        tracer: the tracer that watched it.
        results, arguments: the tensors it gave and was given.
        written: what it wrote to its inputs.

    Returns:
        The pullback, the forward program's instructions, and the values it must hand on as further outputs.

    Raises:
        TraceError: the graph has hooks, or goes through something that cannot be compiled.
    """
    wanted = _wanted(tracer, arguments, {target for target, _ in written})
    outputs = [tracer.value_of(x) for x in results]
    upstream, found = _walk_back(tracer, results, wanted)
    reached = [(source, found[edge]) for source, edge in wanted if edge in found]
    gradients = [tracer.value_of(gradient) for _, gradient in reached]
    if tracer.error is not None:
        raise tracer.error
    body = tracer.builder.body
    forward = _needed(body, {*outputs, *[value for _, value in written]})
    backward = _backward(body, set(forward), gradients)
    overwritten = {target for target, _ in written}
    kept: dict[Value, Source | int] = {}
    handed_on: list[Value] = []
    for value in _taken(backward, gradients):
        source = tracer.inputs.get(value)
        if value in upstream:
            continue
        if source is not None and value not in overwritten:
            kept[value] = source
        elif value.dtype is None:
            raise TraceError("compile: a result that requires gradients comes from an operation that is run in NumPy.")
        else:
            kept[value] = len(outputs) + len(handed_on)
            handed_on.append(value)
    program = verify(Program([*kept, *upstream], backward, gradients))
    arrays = {v: tracer.targets.get(v, np.empty(v.shape, v.dtype)) for v in program.inputs}
    is_open = [x._requires_grad for x in results]
    return Pullback(program, list(kept.values()), is_open, [s for s, _ in reached], arrays), forward, handed_on


def _wanted(tracer: Any, arguments: list[Tensor], overwritten: set[Value]) -> list[tuple[Source, Any]]:
    """The inputs that require gradients: where each is found, and its place in the graph."""
    found = []
    for value, source in tracer.inputs.items():
        tensor = tensor_at(source, arguments)
        if tensor is not None and tensor.requires_grad:
            if value in overwritten:
                raise TraceError(
                    f"compile: {source.name or 'a tensor'} of shape {tensor.shape} requires gradients and is "
                    "overwritten in a function whose backward pass runs outside it. Run the function eagerly."
                )
            found.append((source, tensor.grad_fn or tensor))
    return found


def tensor_at(source: Source, arguments: Any) -> Tensor | None:
    """The tensor that a source leads to now; None for arrays and numbers."""
    if isinstance(source, Argument):
        return arguments[source.index]  # type: ignore[no-any-return]
    if isinstance(source, ByReference):
        return source.tensor
    held = source.holder[source.key] if isinstance(source, Variable) else None
    return held if isinstance(held, Tensor) else None


def _walk_back(tracer: Any, results: list[Tensor], wanted: list[tuple[Source, Any]]) -> tuple[list[Value], Any]:
    """The reverse walk with upstream gradients that are inputs; their values, and the gradients by place."""
    from .pullback import traced_walk

    upstream: list[Value] = []
    roots: list[tuple[Any, Tensor]] = []
    for x in results:
        if x._requires_grad:
            g = Tensor(np.ones(x.shape, x.dtype))
            upstream.append(tracer.add_input(Argument(len(upstream), f"upstream{len(upstream)}"), g._data))
            tracer.memory.put(g._data, upstream[-1])
            roots.append((x.grad_fn or x, g))
    ends = {edge for _, edge in wanted}
    for node in reachable([place for place, _ in roots if not isinstance(place, Tensor)]):
        if node.hooks and node not in ends:
            raise TraceError(
                f"compile: the gradient of {node.name} at {describe(node.mark)} is hooked or retained in a function "
                "whose backward pass runs outside it. Call backward() inside, or run the function eagerly."
            )
    return upstream, traced_walk(tracer, roots, create_graph=False, keep=True, targets=ends, ends=ends)


def _needed(body: list[Instruction], needed: set[Value]) -> list[Instruction]:
    """The instructions that some values, and all effects, depend on."""
    kept = []
    for instruction in reversed(body):
        if has_effect(instruction) or any(value in needed for value in instruction.results):
            kept.append(instruction)
            needed.update(instruction.operands)
    return kept[::-1]


def _backward(body: list[Instruction], forward: set[Instruction], gradients: Iterable[Value]) -> list[Instruction]:
    """The instructions that make the gradients of what the forward program makes."""
    needed, kept = set(gradients), []
    for instruction in reversed(body):
        anew = instruction not in forward or instruction.opcode in CHEAP
        if anew and any(value in needed for value in instruction.results):
            kept.append(instruction)
            needed.update(instruction.operands)
    return kept[::-1]


def _taken(body: list[Instruction], gradients: Iterable[Value]) -> dict[Value, None]:
    """What instructions and outputs take that is not made among them, in order."""
    made = {value for instruction in body for value in instruction.results}
    taken = [value for instruction in body for value in instruction.operands] + list(gradients)
    return dict.fromkeys(value for value in taken if value not in made)
