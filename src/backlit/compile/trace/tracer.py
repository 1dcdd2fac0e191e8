"""Watching a function run once on real values, and writing down what it computes.

Everything that is computed passes by :meth:`Tracer.applied`; what is written in place, by :meth:`Tracer.wrote`. The
function's own result is eager mode's, and its effects happen once. Where something cannot be written down the tracer
*fails*: it remembers why and stops, and the function still runs to its end.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np

from ...containers import flatten
from ...graph import mode
from ...ops.definition import Op
from ...ops.indexing import Index
from ...source import describe, mark
from ...tensor import Tensor
from ..errors import TraceError
from ..ir.build import Builder
from ..ir.program import Instruction, Value
from ..lower import drawing_of, lowering_of
from ..native import DTYPES, supports
from .calls import unnoticed, unnoticed_if_librarys
from .extern import VARIES, ExternForward
from .memory import Memory
from .origins import source_of
from .sources import Fixed, Source
from .streams import ExternSample, Streams, in_turn
from .surroundings import Surroundings

Array = np.ndarray

SHAPE_DEPENDS_ON_VALUES = frozenset({"argwhere", "nonzero", "masked_select", "unique", "bincount"})


def _is_mask(x: Any) -> bool:
    return getattr(getattr(x, "dtype", None), "kind", "") == "b"


class Application:
    """One operation as it was traced: what a gradient rule may need of it."""

    __slots__ = ("extra", "inputs", "kept", "op", "params", "result")

    def __init__(self, op: type[Op], inputs: list[Any], params: dict[str, Any], extra: Any, result: Any) -> None:
        self.op = op
        self.inputs = inputs
        self.params = params
        self.extra = extra
        self.result = result
        self.kept: Value | None = None
        """What was drawn, where the operation draws random numbers."""


class Tracer:
    """The program of a function, growing while it runs.

    Attributes:
        inputs: the program's inputs so far, with the :class:`~.sources.Source` that each is read from.
        error: why the function cannot be compiled, once that is known.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self.builder = Builder()
        self.memory = Memory()
        self.surroundings = surroundings
        self.inputs: dict[Value, Source] = {}
        self._made_inside: dict[int, tuple[ref[Tensor], str]] = {}
        self.applications: dict[Any, Application] = {}
        self.targets: dict[Value, Array] = {}
        self.versions: dict[int, list[Any]] = {}
        for x in surroundings.tensors():
            self.watch_version(x)
        self.gradients: dict[int, Tensor] = {}
        self.entry_gradients: dict[int, Tensor] = {}
        self.given_gradients: dict[int, Tensor] = {}
        """Leaves whose gradients were there and were looked at."""
        self.updates: list[Any] = []
        self.used_gradients: dict[int, Value] = {}
        """The gradients that optimizers used, by the ids of their parameters."""
        self.streams = Streams(self.add_input)
        self.error: TraceError | None = None
        self.strict = False
        self.walked = False
        """Whether the function takes gradients itself."""
        self.in_rule = 0
        self.drawn = False
        self.rule_mark: Any = None

    def made(self, x: Tensor, origin: str) -> None:
        """A tensor was made; ``origin`` is the library's function that made it, where its values may depend on more
        than numbers and shapes. It is not kept alive."""
        self._made_inside[id(x)] = ref(x), origin

    def was_made_inside(self, x: Tensor) -> bool:
        """Whether a tensor was made while the function ran."""
        return self.origin_of(x) is not None

    def origin_of(self, x: Tensor) -> str | None:
        """What :meth:`made` was told of a tensor; None where it was there before."""
        made = self._made_inside.get(id(x))
        return made[1] if made is not None and made[0]() is x else None

    # -- what is seen -----------------------------------------------------------------------------------------------

    @unnoticed
    def applied(self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], extra: Any, result: Tensor) -> None:
        """An operation was applied: write it down."""
        if self.error is not None:
            return
        try:
            self._write_down(op, inputs, params, extra, result)
        except TraceError as error:
            self.fail(error)

    @unnoticed
    def wrote(self, target: Tensor, value: Tensor) -> None:
        """A tensor was overwritten with the values of another."""
        if self.error is not None or target is value:
            return
        try:
            self.store(target, self.value_of(value))
        except TraceError as error:
            self.fail(error)

    @unnoticed
    def copied(self, x: Tensor, copy: Tensor) -> None:
        """A tensor's values were copied, without an operation, before it is overwritten."""
        if self.error is not None:
            return
        try:
            self.memory.put(copy._data, self.value_of(x))
        except TraceError as error:
            self.fail(error)

    def fail(self, error: TraceError) -> None:
        """Give up, for the first reason found."""
        if self.error is None:
            self.error = error

    def read(self, error: TraceError) -> None:
        """A value is asked for that a compiled program could not give."""
        self.fail(error)
        if self.strict:
            raise error

    def varies(self, x: Tensor) -> bool:
        """Whether a tensor's values differ from call to call, as far as the tracer knows."""
        value = self.memory.get(x._data)
        if value is None:
            return self.memory.is_stale(x._data) or self.surroundings.find(x) is not None
        maker = next((i for i in self.builder.body if value in i.results), None)
        return maker is None or maker.opcode != "constant"

    # -- doors of the library ----------------------------------------------------------------------------------------

    def walk(self, roots: Any, *, create_graph: bool, keep: bool, targets: Any = None) -> dict[Any, Any]:
        """A reverse walk starts; see :mod:`.pullback`."""
        from .pullback import traced_walk

        self.walked = True
        return traced_walk(self, roots, create_graph=create_graph, keep=keep, targets=targets)

    def step(self, optimizer: Any, update: Any) -> None:
        """An optimizer is about to make a step by calling ``update``; see :mod:`.optimizer`."""
        from .optimizer import trace_step

        seen: list[dict[int, Tensor]] = []
        try:
            for group in optimizer.param_groups:
                seen.append({id(p): p._grad for p in group["params"] if p._grad is not None})
                for p in group["params"]:
                    if p._grad is None:
                        self._without_gradient(p)
                    elif self.error is None:
                        self.value_of(p)
        except TraceError as error:
            self.fail(error)
        if any(map(callable, vars(optimizer).values())):  # a method that the program exchanged
            update()
        else:
            unnoticed_if_librarys(type(optimizer), update)
        if self.error is None:
            try:
                trace_step(self, optimizer, seen)
            except TraceError as error:
                self.fail(error)

    def refuse(self, what: str) -> None:
        """Something looks at values to decide what to compute."""
        self.read(
            TraceError(
                f"compile: {what} at {describe(mark())} depends on values in a way that cannot be compiled. Do it "
                "outside the function, or run the function eagerly."
            )
        )

    def assume(self, condition: Tensor) -> None:
        """The program is for values where a 0-d condition holds."""
        if self.error is None:
            try:
                self.builder.require(self.builder.elementwise("where", self.value_of(condition), 0.0, 1.0))
            except TraceError as error:
                self.fail(error)

    def drew(self) -> None:
        """Random numbers are about to be drawn."""
        self.drawn = True

    def restarted(self, what: str) -> None:
        """A stream of random numbers is put somewhere else."""
        self.read(
            TraceError(
                f"compile: {what} at {describe(mark())} moves a stream of random numbers, which a compiled function "
                "would have to do at each call. Do it outside the function."
            )
        )

    def sample(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """A function of :mod:`backlit.random` is called: call it, now and whenever the program runs."""
        outer, mode.tracer = mode.tracer, None
        try:
            result: Tensor = function(*args, **kwargs)
        finally:
            mode.tracer = outer
        if self.error is None and not result._requires_grad:
            try:
                given, rebuild = flatten((args, kwargs))
                value = Value(result.shape, result.dtype)
                self.builder.mark, self.builder.scope = mark(), mode.scope
                self.call(ExternSample(function, rebuild), tuple(map(self.value_of, given)), (value,))
                self.memory.put(result._data, value)
            except TraceError as error:
                self.fail(error)
        return result

    def draw_in_turn(self) -> None:
        """Make every draw a call, since some are: how much those use up of a stream is not known beforehand."""
        self.builder.body[:] = in_turn(self.builder.body)
        for drawn in self.streams.drawn.values():
            del self.inputs[drawn.value]
        self.streams.drawn.clear()

    def randomness(self) -> TraceError:
        """The error for random numbers that are not drawn by an operation."""
        return TraceError(
            f"compile: random numbers are drawn at {describe(mark())} in a way that cannot be compiled. Draw them "
            "outside and pass them as an argument."
        )

    # -- gradients --------------------------------------------------------------------------------------------------

    def before_gradient(self, leaf: Tensor) -> None:
        """A gradient is about to arrive at a leaf; what is there already is an input, unless it was cleared."""
        if id(leaf) in self.gradients:
            return
        self.gradients[id(leaf)] = leaf
        if leaf._grad is None:
            self.entry_gradients[id(leaf)] = leaf

    def _without_gradient(self, leaf: Tensor) -> None:
        """The program is for a leaf that has no gradient: none when it starts, if nothing in it says so."""
        if id(leaf) not in self.gradients:
            self.entry_gradients[id(leaf)] = leaf

    def asked_for_gradient(self, leaf: Tensor) -> None:
        """Code looks at a gradient, and may go on in another way where there is none: that is as it is now."""
        if id(leaf) in self.gradients or not self.outlives(leaf):
            return
        if leaf._grad is None:
            self.entry_gradients[id(leaf)] = leaf
        else:
            self.given_gradients[id(leaf)] = leaf

    def outlives(self, leaf: Tensor) -> bool:
        """Whether a leaf was there before the function was called, so that its gradient is an effect."""
        return not self.was_made_inside(leaf) or self.surroundings.find(leaf) is not None

    def cleared(self, leaf: Tensor) -> None:
        """A leaf's gradient was set to None."""
        self.gradients[id(leaf)] = leaf

    # -- values of tensors ------------------------------------------------------------------------------------------

    def value_of(self, x: Any) -> Value:
        """The value that a tensor or an array holds now; what was not seen before becomes an input."""
        array = x._data if isinstance(x, Tensor) else x
        found = self.memory.get(array)
        if found is not None:
            return found
        if self.memory.is_stale(array):
            return self._look_again(x)
        value = self._new_input(x, array)
        self.memory.put(array, value)
        return value

    def _new_input(self, x: Any, array: Array) -> Value:
        source = source_of(self, x)
        if isinstance(source, Fixed) and array.ndim == 0:
            return self.builder.constant(array.item(), array.dtype)
        return self.add_input(source, array)

    def add_input(self, source: Source, array: Array) -> Value:
        """A new input of the program, which holds what ``array`` holds."""
        value = Value(array.shape, array.dtype, source.name)
        self.inputs[value] = source
        self.targets[value] = array
        return value

    def watch_version(self, x: Tensor) -> None:
        """Notice writes to a tensor's memory that are not written down."""
        storage = x.storage()
        self.versions.setdefault(id(storage), [storage, storage.version])

    def _look_again(self, x: Any) -> Value:
        """A view of memory that was written to through another tensor."""
        view = x._view if isinstance(x, Tensor) else None
        if view is None:
            raise TraceError(
                f"compile: a tensor used at {describe(mark())} shares memory with one that was overwritten, in a way "
                "that cannot be followed. Use the out-of-place form, or work on a clone()."
            )
        array, value = view.base._data, self.value_of(view.base)
        for op, params in view.chain:
            array = op.forward(array, **params)
            value = self._lowered(op, [value], params, None, array)[0]
        self.memory.put(x._data, value)
        return value

    def store(self, target: Tensor, value: Value) -> None:
        """A tensor holds a value from now on, and what it is a view of shows it."""
        view = target._view
        if view is None:
            self._know_history(target, value, value)
            self._known_write(target)
            self.memory.wrote(target._data, value)
            return
        from ...ops.inplace import ViewWrite

        base = view.base
        before = self.value_of(base)
        params = {"chain": view.chain}
        after = self._lowered(ViewWrite, [before, value], params, None, base._data)[0]
        self._know_history(base, value, after)
        self._known_write(base)
        self.memory.wrote(base._data, after)
        self.memory.put(target._data, value)

    def replaced(self, target: Tensor, new: Any) -> None:
        """A tensor is about to get other memory; a program writes what that holds to the memory it has."""
        if self.error is not None:
            return
        if not isinstance(new, Tensor) or (new.shape, new.dtype) != (target.shape, target.dtype):
            self.read(
                TraceError(
                    f"compile: .data of a tensor of shape {target.shape} is set at {describe(mark())} to something of "
                    "another shape or dtype. Do that outside the function."
                )
            )
            return
        self.value_of(target)
        self.watch_version(target)
        self.versions[id(target.storage())][1] += 1
        self.memory.wrote(target._data, self.value_of(new))

    def _know_history(self, written: Tensor, value: Value, after: Value) -> None:
        """The node that a write gave to a tensor of which it replaced a region, or to one that stays a result."""
        from ...ops.inplace import ViewWrite

        node = written._node
        if node is not None and node.op is ViewWrite and node not in self.applications:
            inputs = [self.value_of(written), value]
            self.applications[node] = Application(ViewWrite, inputs, node.params, None, after)

    def _known_write(self, target: Tensor) -> None:
        """Count a write that was written down, to a tensor that is known as an input if it is one."""
        held = self.versions.get(id(target.storage()))
        self.value_of(target)
        if held is not None:
            held[1] += 1

    def optimized(self, param: Tensor, value: Value) -> None:
        """An optimizer gave a parameter a new value, and counted the write."""
        self.versions[id(param.storage())][1] += 1
        self.memory.wrote(param._data, value)

    def unseen_write(self) -> TraceError | None:
        """The error for memory that was written to by something that the tracer did not see."""
        for storage, version in self.versions.values():
            if storage.version != version:
                return TraceError(
                    f"compile: a tensor of shape {storage.array.shape} was overwritten at {describe(storage.writer)} "
                    "in a way that cannot be compiled. Use operations on tensors, or do it outside the function."
                )
        return None

    # -- operations -------------------------------------------------------------------------------------------------

    def _write_down(self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], extra: Any, result: Tensor) -> None:
        if op.name in SHAPE_DEPENDS_ON_VALUES or (op is Index and any(_is_mask(x) for x in inputs)):
            raise TraceError(
                f"compile: the shape of what {op.name} gives at {describe(mark())} depends on values, and a compiled "
                "step has fixed shapes. Use where or a mask instead, or move it outside the function."
            )
        self.builder.mark, self.builder.scope = self.rule_mark or mark(), mode.scope
        if not hasattr(op, "forward"):
            self._know_own_node(op, params, result)
            return
        values = [self.value_of(x) if isinstance(x, (Tensor, np.ndarray)) else x for x in inputs]
        draw, kept, extra_value = drawing_of(op), None, None
        if self.drawn and draw is not None and result._data.size and result._data.dtype in DTYPES:
            self.drawn = False
            value, kept = draw(self.builder, values, params, self.streams)
        else:
            value, extra_value = self._lowered(op, values, params, extra, result._data)
        if not op.is_view or self.memory.get(result._data) is None:
            self.memory.put(result._data, value)
        if result._node is not None:
            self.applications[result._node] = Application(op, values, params, extra_value, value)
            self.applications[result._node].kept = kept

    def _know_own_node(self, op: Any, params: dict[str, Any], result: Tensor) -> None:
        """The program's own node: what its forward rule is made of was written down when that ran."""
        node = result._node
        if node is not None and node.op is not op:  # one of several outputs
            self.applications[node] = Application(node.op, [], {}, None, None)
            (node,) = node.edges
        if node is not None:
            self.applications[node] = Application(op, [], params, None, None)

    def _lowered(
        self, op: Any, values: list[Any], params: dict[str, Any], extra: Any, like: Array
    ) -> tuple[Value, Value | None]:
        """The value of an operation, and of what it keeps beside its output if that comes from NumPy."""
        lower = lowering_of(op)
        start = len(self.builder.body)
        if lower is not None and not self.drawn:
            made = lower(self.builder, values, params, op, Value(like.shape, like.dtype))
            if made is not None and all(map(supports, self.builder.body[start:])):
                if (made.shape, made.dtype) != (like.shape, like.dtype):
                    raise TraceError(f"compile: {op.name} gives {like.dtype}{like.shape}, but is lowered to {made!r}.")
                return made, None
            del self.builder.body[start:]
        return self.extern(op, values, params, like)

    def extern(self, op: Any, values: list[Any], params: dict[str, Any], like: Array) -> tuple[Value, Value | None]:
        """A call of the operation's own forward rule."""
        operands = tuple(v for v in values if isinstance(v, Value))
        template = [VARIES if isinstance(v, Value) else v for v in values]
        result = Value(like.shape, like.dtype)
        extra = Value((), None) if op.has_extra else None
        call = ExternForward(op, template, params, self.drawn)
        self.drawn = False
        results = (result,) if extra is None else (result, extra)
        self.call(call, operands, results)
        return result, extra

    def call(self, function: Any, operands: tuple[Value, ...], results: tuple[Value, ...]) -> None:
        """Append a call of a Python function on arrays."""
        self.builder.body.append(
            Instruction("extern", operands, results, {"call": function}, self.builder.mark, self.builder.scope)
        )
