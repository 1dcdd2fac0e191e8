"""A traced function: its program, and how what goes in and comes out is connected to the world."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from ...graph import mode
from ...source import Mark, describe
from ...tensor import Tensor
from ..collection import no_collection
from ..errors import TraceError
from ..ir.program import Instruction, Program, Value, verify
from ..passes.dead_code import has_effect
from ..signature import Arguments
from .arguments import named_leaves
from .assignments import assigned
from .calls import hidden_functions, noticing_calls
from .guards import FEW_BYTES, Apart, Aspect, Bytes, Guard, has_gradient, kind_of, place_of
from .histories import Histories
from .optimizer import GroupUpdate
from .outside import Pullback, trace_pullback
from .sharing import Identity, Shared, shared_memory
from .sources import Argument, ByReference, Source, Variable
from .streams import Drawn
from .structure import Makers, Outcome, Parts
from .surroundings import Surroundings
from .tracer import Tracer
from .watch import watching


@dataclass
class Capture:
    """What one run of a function with certain arguments was seen to do.

    Attributes:
        program: what it computes.
        sources: where each input of the program is read from, in order.
        guards: entries of variables and modules that must be as they were.
        shared: relations among inputs and other tensors in sight that the program takes for granted: shared memory,
            identity, histories.
        requiring: for each source whether what it leads to required gradients.
        gradient_free: leaves that must have no gradient when the function is called, by their sources.
        gradients: each leaf whose gradient the function sets, by its source, with the position of the gradient among
            the program's outputs; None where it is cleared, −1 where it is not kept.
        updates: the optimizers' steps.
        results: how many of the outputs are tensors for the result or for variables.
        arrays: what each input was when the function was traced.
        streams: generators that the program draws from by position, with the number of words it uses up.
        pullback: how gradients are carried back through the function, where its results require them.
        hidden: functions that ran and whose code nothing in sight names. What they name is not guarded, so that the
            program must not be used before they are looked at.
        outcome: makes the result of the outputs, and gives variables the values that the function gives them.
    """

    program: Program
    sources: list[Source]
    guards: list[Guard]
    shared: list[Shared | Identity | Histories]
    requiring: list[bool]
    gradient_free: list[Source]
    gradients: list[tuple[Source, int | None]]
    updates: list[GroupUpdate]
    results: int
    arrays: dict[Value, Any]
    streams: list[Drawn]
    outcome: Outcome
    pullback: Pullback | None = None
    hidden: list[Any] = field(default_factory=list)

    @property
    def containers(self) -> dict[Any, Any]:
        """The lists, tuples and dictionaries that variables must hold, by the places of these."""
        held = [g for g in self.guards if type(g.expected) in (list, tuple, dict) and g.key is not None]
        return {place_of(guard.holder, guard.key): guard.expected for guard in held}

    def fits(self, arguments: Sequence[Tensor]) -> bool:
        """Whether the world still is as it was, as far as that can be told without building the program."""
        return (
            all(guard.holds() for guard in self.guards)
            and all(shared.holds(arguments) for shared in self.shared)
            and all(source.now(arguments)._grad is None for source in self.gradient_free)
        )


@no_collection()
def capture(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    strict: bool,
    keep_gradients: bool,
    moving: Container[tuple[Any, Any]] = (),
    hidden: Sequence[Any] = (),
) -> tuple[Any, Capture | TraceError | None]:
    """Run a function once, watched.

    Returns:
        Its own result, and what it was seen to do, or why it cannot be compiled; None where hooks watch it, so that it
        runs as it is written as long as they do.

    Raises:
        TraceError: with ``strict``, where the function asks for a value.
    """
    arguments = Arguments(args, kwargs)
    surroundings = Surroundings(function, named_leaves(function, args, kwargs), moving, arguments.given, hidden)
    if surroundings.watched():
        return function(*args, **kwargs), None
    tracer = Tracer(surroundings)
    histories = Histories(surroundings, arguments)
    tracer.strict = strict
    if surroundings.iterators:
        tracer.read(_repeats(*surroundings.iterators[0]))
    with watching(tracer):
        before = _global_randomness()
        with noticing_calls() as calls:
            result = function(*args, **kwargs)
        if _global_randomness() != before:
            tracer.fail(tracer.randomness())
        if tracer.error is None:
            try:
                seen = _finish(tracer, result, arguments, keep_gradients)
                seen.hidden = hidden_functions(calls, surroundings.codes, surroundings.libraries)
                if tracer.walked and histories.matter:
                    seen.shared.append(histories)
            except TraceError as error:
                tracer.fail(error)
    return result, seen if tracer.error is None else tracer.error


def _repeats(name: str, kind: str, place: Mark | None) -> TraceError:
    return TraceError(
        f"compile: {name}, used in the function at {describe(place)}, is an iterator ({kind}): what it gives next is "
        "different at each call, and a compiled program would repeat it. Take values from it outside, and pass them as "
        "arguments."
    )


def _global_randomness() -> Any:
    """Where the generators of Python and NumPy are that belong to nobody: they move when numbers are drawn."""
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002  (to notice that somebody else uses it)
    return random.getstate(), repr(legacy["state"]["pos"]), legacy["state"]["key"].tobytes()  # type: ignore[index]


def _finish(tracer: Tracer, result: Any, arguments: list[Tensor], keep_gradients: bool) -> Capture:
    if tracer.drawn:
        raise tracer.randomness()
    unseen = tracer.unseen_write()
    if unseen is not None:
        raise unseen
    if tracer.streams.drawn and any(map(_draws_in_turn, tracer.builder.body)):
        tracer.draw_in_turn()
    makers = Makers(tracer)
    make = makers.maker(result, "gives back")
    makers.constant = True
    changes = assigned(tracer, makers)
    makers.parts.settle()
    outcome = Outcome(makers.parts, make, isinstance(result, Tensor), changes)
    is_open = any(map(_is_open, makers.parts.made))
    return (_finish_open if is_open else _finish_closed)(tracer, makers.parts, outcome, arguments, keep_gradients)


def _finish_closed(
    tracer: Tracer, parts: Parts, outcome: Outcome, arguments: list[Tensor], keep_gradients: bool
) -> Capture:
    """A function whose results have no gradients that are still to be taken."""
    outputs = [tracer.value_of(x) for x in parts.made]
    gradients: list[tuple[Source, int | None]] = []
    updated = {id(p) for update in tracer.updates for p in update.params}
    for leaf in filter(tracer.outlives, tracer.gradients.values()):
        unused = id(leaf) not in updated or _written_since(tracer, leaf)
        kept = keep_gradients or unused or id(leaf) in parts.used_gradients
        gradients.append((_source_of(tracer, leaf), None if leaf._grad is None else len(outputs) if kept else -1))
        if leaf._grad is not None and kept:
            outputs.append(tracer.value_of(leaf._grad))
    program = Program(tracer.inputs, tracer.builder.body, outputs, _writes(tracer))
    return _captured(tracer, program, outcome, arguments, len(parts.made), gradients)


def _written_since(tracer: Tracer, leaf: Tensor) -> bool:
    """Whether a gradient holds something else than what an optimizer used: zeros, for instance."""
    return leaf._grad is not None and tracer.value_of(leaf._grad) is not tracer.used_gradients.get(id(leaf))


def _source_of(tracer: Tracer, leaf: Tensor) -> Source:
    return tracer.surroundings.find(leaf) or ByReference(leaf)


def _captured(
    tracer: Tracer,
    program: Program,
    outcome: Outcome,
    arguments: list[Tensor],
    results: int,
    gradients: list[tuple[Source, int | None]],
) -> Capture:
    sources = [tracer.inputs[value] for value in program.inputs]
    return Capture(
        verify(program),
        sources,
        [*tracer.surroundings.guards, *_unread(tracer, sources), *_with_gradients(tracer), *_apart(tracer, outcome)],
        [*shared_memory(tracer, [target for target, _ in program.writes]), *_identities(tracer, arguments)],
        [requires_gradient(source, arguments) for source in sources],
        [_source_of(tracer, leaf) for leaf in filter(tracer.outlives, tracer.entry_gradients.values())],
        gradients,
        tracer.updates,
        results,
        dict(tracer.targets),
        list(tracer.streams.drawn.values()),
        outcome,
    )


def _unread(tracer: Tracer, sources: list[Source]) -> list[Guard]:
    """What tensors and arrays in sight must be that the program does not read: the function may have asked for their
    shapes, and NumPy for what is in an array."""
    read = set(map(id, sources))
    found = []
    for x, s in tracer.surroundings.places():
        if id(s) in read:
            continue
        if isinstance(s, Variable):
            found.append(Guard(Aspect(s.holder, s.key, kind_of), None, tracer.surroundings.kinds[id(s)]))
        if isinstance(x, np.ndarray) and x.nbytes <= FEW_BYTES:
            holder, key = (s.holder, s.key) if isinstance(s, Variable) else ([x], 0)
            found.append(Guard(Bytes(holder, key), None, True))
    return found


def _identities(tracer: Tracer, arguments: list[Tensor]) -> list[Identity]:
    """Which arguments are one tensor, where code may have asked."""
    if not tracer.surroundings.compares:
        return []
    places = [Argument(i, "") for i in range(len(arguments))]
    pairs = combinations(zip(places, arguments, strict=True), 2)
    return [Identity(a, b, x is y) for (a, x), (b, y) in pairs]


def _apart(tracer: Tracer, outcome: Outcome) -> list[Guard]:
    """That no two variables hold the same container, where they may hold others at each call and one is changed."""
    places = tracer.surroundings.exchanged.places()
    changed = any(change.where is not None for change in outcome.assigned)
    return [Guard(Apart(places), None, True)] if changed and len(places) > 1 else []


def _with_gradients(tracer: Tracer) -> list[Guard]:
    """That leaves have gradients whose gradients the function looked at; the signature says it of arguments."""
    leaves = [(leaf, tracer.surroundings.find(leaf)) for leaf in tracer.given_gradients.values()]
    places = [(s.holder, s.key) if isinstance(s, Variable) else ([x], 0) for x, s in leaves if type(s) is not Argument]
    return [Guard(Aspect(holder, key, has_gradient), None, True) for holder, key in places]


def _draws_in_turn(instruction: Instruction) -> bool:
    return instruction.opcode == "extern" and has_effect(instruction)


def requires_gradient(source: Source, arguments: Sequence[Tensor]) -> bool:
    """Whether the tensor that a source leads to now requires gradients."""
    if not isinstance(source, (Argument, ByReference, Variable)):
        return False
    return bool(getattr(source.now(arguments), "_requires_grad", False))


def _is_open(x: Tensor) -> bool:
    """Whether the gradient of a result is still to be taken outside."""
    return x._requires_grad and mode.recording and (x._node is None or x._node.saved is not None)


def _finish_open(
    tracer: Tracer, parts: Parts, outcome: Outcome, arguments: list[Tensor], keep_gradients: bool
) -> Capture:
    """A function whose backward pass runs outside: a forward program, and one that carries gradients back."""
    if tracer.gradients or tracer.updates:
        x = next(filter(_is_open, parts.made))
        raise TraceError(
            f"compile: a result of shape {x.shape} requires gradients, and its backward pass would run outside the "
            "compiled function, which also runs one inside. Return x.detach(), or do all of it on one side."
        )
    writes = _writes(tracer)
    pullback, forward, handed_on = trace_pullback(tracer, parts.made, arguments, writes)
    outputs = [*[tracer.value_of(x) for x in parts.made], *handed_on]
    taken = {v for instruction in forward for v in instruction.operands} | {*outputs, *[t for t, _ in writes]}
    program = Program([v for v in tracer.inputs if v in taken], forward, outputs, writes)
    captured = _captured(tracer, program, outcome, arguments, len(parts.made), [])
    captured.pullback = pullback
    return captured


def _writes(tracer: Tracer) -> list[tuple[Value, Value]]:
    """What the memory of each input holds in the end, where that is not what it held before."""
    writes = []
    for value, source in tracer.inputs.items():
        now = tracer.memory.get(tracer.targets[value])
        if isinstance(source, (Argument, ByReference, Variable)) and now is not None and now is not value:
            writes.append((value, now))
    return writes
