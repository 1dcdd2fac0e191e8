"""A traced function: its program, and how what goes in and comes out is connected to the world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...containers import flatten
from ...graph import mode
from ...tensor import Tensor
from ..errors import TraceError
from ..ir.program import Program, Value, verify
from .optimizer import GroupUpdate
from .sources import Argument, ByReference, Guard, Source, Surroundings, Variable
from .tracer import Tracer
from .watch import watching


@dataclass
class Capture:
    """What one run of a function with certain arguments was seen to do.

    Attributes:
        program: what it computes.
        sources: where each input of the program is read from, in order.
        guards: entries of variables and modules that must be as they were.
        gradient_free: leaves that must have no gradient when the function is called.
        gradients: each leaf whose gradient the function sets, with the position of the gradient among the program's
            outputs; None where it is cleared, −1 where it is not kept.
        updates: the optimizers' steps.
        rebuild: makes the function's result from tensors in the places of the outputs.
        results: how many of the outputs belong to the result.
        arrays: what each input was when the function was traced.
    """

    program: Program
    sources: list[Source]
    guards: list[Guard]
    gradient_free: list[Tensor]
    gradients: list[tuple[Tensor, int | None]]
    updates: list[GroupUpdate]
    rebuild: Callable[[list[Any]], Any]
    results: int
    arrays: dict[Value, Any]


def capture(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], strict: bool, keep_gradients: bool
) -> tuple[Any, Capture | TraceError]:
    """Run a function once, watched.

    Returns:
        Its own result, and what it was seen to do, or why it cannot be compiled.

    Raises:
        TraceError: with ``strict``, where the function asks for a value.
    """
    arguments, _ = flatten((args, kwargs))
    surroundings = Surroundings(function, arguments)
    tracer = Tracer(surroundings)
    tracer.strict = strict
    with watching(tracer):
        result = function(*args, **kwargs)
        if tracer.error is None:
            try:
                seen = _finish(tracer, result, keep_gradients)
            except TraceError as error:
                tracer.fail(error)
    return result, seen if tracer.error is None else tracer.error


def _finish(tracer: Tracer, result: Any, keep_gradients: bool) -> Capture:
    if tracer.drawn:
        raise tracer.randomness()
    unseen = tracer.unseen_write()
    if unseen is not None:
        raise unseen
    tensors, rebuild = flatten(result)
    _refuse_open_graphs(tensors)
    outputs = [tracer.value_of(x) for x in tensors]
    gradients: list[tuple[Tensor, int | None]] = []
    updated = {id(p) for update in tracer.updates for p in update.params}
    for leaf in tracer.gradients.values():
        kept = keep_gradients or id(leaf) not in updated
        gradients.append((leaf, None if leaf._grad is None else len(outputs) if kept else -1))
        if leaf._grad is not None and kept:
            outputs.append(tracer.value_of(leaf._grad))
    program = Program(tracer.inputs, tracer.builder.body, outputs, _writes(tracer))
    return Capture(
        verify(program),
        list(tracer.inputs.values()),
        tracer.surroundings.guards,
        list(tracer.entry_gradients.values()),
        gradients,
        tracer.updates,
        rebuild,
        len(tensors),
        dict(tracer.targets),
    )


def _refuse_open_graphs(results: list[Tensor]) -> None:
    """A result whose gradient is still to be taken outside would lose its history."""
    for x in results:
        if x._requires_grad and mode.recording and (x._node is None or x._node.saved is not None):
            raise TraceError(
                f"compile: a result of shape {x.shape} requires gradients, and its backward pass would run outside the "
                "compiled function. Call backward() inside it, return x.detach(), or call it under backlit.no_grad()."
            )


def _writes(tracer: Tracer) -> list[tuple[Value, Value]]:
    """What the memory of each input holds in the end, where that is not what it held before."""
    writes = []
    for value, source in tracer.inputs.items():
        now = tracer.memory.get(tracer.targets[value])
        if isinstance(source, (Argument, ByReference, Variable)) and now is not None and now is not value:
            writes.append((value, now))
    return writes
