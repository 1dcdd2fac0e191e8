"""An optimizer's update, written down: its own ``update`` runs on arrays that write instructions instead of computing.

What ``update`` looks at besides arrays are the options of its parameter group. Numbers among them may only be asked
whether they are zero, as in ``if group["weight_decay"]``: the answer becomes a condition for using the program. Those
that it computes with come through ``constants`` and are worked out at each call, so that schedules cost no compilation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...ops.numpy_protocol import _UFUNC_NAMES
from ...source import mark
from ...tensor import Tensor
from ..errors import Misfit, TraceError
from ..ir.build import Builder
from ..ir.primitives import MEANING
from ..ir.program import Instruction, Value
from .before import PLAIN
from .calls import unnoticed
from .guards import Guard, Size
from .sources import ByReference, Number


class SymbolicArray(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands in for an array of a dtype in ``update``. ``out=`` gives it a new value."""

    def __init__(self, builder: Builder, value: Any, dtype: Any) -> None:
        """``value`` is None for an array of which nothing is known yet: scratch."""
        self.builder = builder
        self.value = value
        self.dtype = dtype

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        name = _UFUNC_NAMES.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or options or name not in MEANING:
            raise TraceError(f"compile: an optimizer's update uses np.{ufunc.__name__}, which cannot be compiled.")
        made = self.builder.elementwise(name, *[self._operand(x) for x in inputs])
        if out is None:
            return SymbolicArray(self.builder, made, made.dtype)
        (target,) = out
        target.value = self.builder.cast(made, target.dtype)
        return target

    def _operand(self, x: Any) -> Any:
        if isinstance(x, SymbolicArray):
            return x.value
        if isinstance(x, (np.ndarray, np.generic)):
            return self.builder.constant(x.item(), x.dtype)
        return x


class Options:
    """A parameter group that remembers what ``update`` asked of it."""

    def __init__(self, group: dict[str, Any]) -> None:
        self._group = group
        self.asked: dict[str, tuple[Any, bool]] = {}

    def __getitem__(self, name: str) -> Any:
        value = self._group[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            if not isinstance(value, PLAIN):
                raise TraceError(f"compile: an optimizer's update looks at its option {name!r}, which is {value!r}.")
            self.asked[name] = value, False
            return value
        self.asked[name] = bool(value), True
        return _WhetherZero(bool(value))


class _WhetherZero:
    """A number of which nothing may be known but whether it is zero."""

    def __init__(self, answer: bool) -> None:
        self._answer = answer

    def __bool__(self) -> bool:
        return self._answer


class GroupUpdate:
    """The update of parameters of one group that have made as many steps: what must hold, and the numbers to work out
    at each call."""

    def __init__(self, optimizer: Any, index: int, members: set[int], count: int, ahead: int = 0) -> None:
        """``members`` are the ids of the parameters, ``count`` says how many numbers the rule asks for, ``ahead`` how
        many steps the program has made for them before this one."""
        self.ahead = ahead
        self.optimizer = optimizer
        self.index = index
        self.group = optimizer.param_groups[index]
        self.plan = optimizer._plans[index]
        self.members = members
        self.count = count
        self.params = list(self.group["params"])
        self.truths: list[tuple[str, bool]] = []
        """Numbers of which the update asked whether they are zero, and whether they were not."""
        updated = [id(p) in members for block in self.plan.blocks for p in block.params]
        self.steps = self.plan.steps
        self.at = None if all(updated) else np.flatnonzero(updated)

    def guards(self, asked: dict[str, tuple[Any, bool]]) -> list[Guard]:
        """What the update asked of its options and must be so again, where objects tell it; the rest is
        :meth:`step`."""
        self.truths = [(name, answer) for name, (answer, is_truth) in asked.items() if is_truth]
        return [Guard(self.group, name, value) for name, (value, is_truth) in asked.items() if not is_truth]

    def step(self) -> int:
        """The number of the coming update.

        Raises:
            Misfit: the optimizer would make another update than the program: a number among the options is zero now
                and was not, or the other way round, or parameters have made different numbers of steps.
        """
        group = self.group
        for name, answer in self.truths:
            if bool(group[name]) is not answer:
                raise Misfit
        steps = (self.steps if self.at is None else self.steps[self.at]).tolist()
        if steps.count(steps[0]) != len(steps):
            raise Misfit
        return int(steps[0]) + 1 + self.ahead

    def done(self, step: int) -> None:
        """Count an update that was made."""
        if self.at is None:
            self.steps.fill(step)
        else:
            self.steps[self.at] = step
        self.optimizer._stepped = True


@unnoticed
def trace_step(tracer: Any, optimizer: Any, gradients: list[dict[int, Tensor]]) -> None:
    """Write down the step that an optimizer just made; ``gradients`` are those that it saw, for each group.

    Parameters without a gradient, frozen ones for instance, are left out, and those that have made other numbers of
    steps than the rest are an update of their own.
    """
    if optimizer._before or optimizer._after:
        raise TraceError(f"compile: {type(optimizer).__name__} has step hooks, which cannot be compiled.")
    groups = optimizer.param_groups
    tracer.surroundings.guards += _guards(optimizer, [i for i, seen in enumerate(gradients) if seen])
    for index, seen in enumerate(gradients):
        if seen:
            for (step, ahead), members in _by_steps(optimizer._plans[index], seen, tracer.updates).items():
                count = len(optimizer.constants(groups[index], step))
                _trace_group(tracer, GroupUpdate(optimizer, index, members, count, ahead), seen)


def _guards(optimizer: Any, updated: list[int]) -> list[Guard]:
    """What tells, once for all updates, whether an optimizer still has the groups, parameters and hooks that it had;
    ``updated`` are the numbers of the groups that a step updates."""
    own = vars(optimizer)
    groups, plans = own["param_groups"], own["_plans"]
    sized = (groups, own["_before"], own["_after"], *(group["params"] for group in groups))
    guards = [Guard(own, name, own[name]) for name in ("param_groups", "_plans", "_before", "_after")]
    guards += [Guard(Size(x), None, len(x)) for x in sized]
    for i in updated:
        params = groups[i]["params"]
        guards += [Guard(groups, i, groups[i]), Guard(plans, i, plans[i]), Guard(groups[i], "params", params)]
        guards += [Guard(params, k, p) for k, p in enumerate(params)]
    return guards


def _by_steps(plan: Any, seen: dict[int, Tensor], before: list[GroupUpdate]) -> dict[tuple[int, int], set[int]]:
    """The ids of the parameters that were updated, by how many steps they have made, and how many of those ``before``
    in the same program."""
    found: dict[tuple[int, int], set[int]] = {}
    for block in plan.blocks:
        for param, step in zip(block.params, block.steps.tolist(), strict=True):
            if id(param) in seen:
                ahead = sum(update.group is plan.group and id(param) in update.members for update in before)
                found.setdefault((int(step), ahead), set()).add(id(param))
    return found


def _trace_group(tracer: Any, update: GroupUpdate, seen: dict[int, Tensor]) -> None:
    builder = tracer.builder
    tracer.updates.append(update)
    rule = _Rule(builder, update)
    numbers: dict[Any, list[Value]] = {}
    builder.mark, builder.scope = mark(), None
    for param, moments, dtype in _parameters(update.plan):
        if id(param) not in update.members:
            continue
        if dtype != param.dtype:
            raise TraceError(f"compile: {param.dtype.name} parameters are updated in {dtype.name}, in eager mode only.")
        if dtype not in numbers:
            feeds = [Number(update, i, f"k{i}") for i in range(update.count)]
            numbers[dtype] = [tracer.add_input(feed, np.zeros((), dtype)) for feed in feeds]
        tracer.used_gradients[id(param)] = tracer.value_of(seen[id(param)])
        _trace_parameter(tracer, rule, (param, seen[id(param)]), moments, numbers[dtype])
    tracer.surroundings.guards += update.guards(rule.options.asked)
    builder.mark = None


def _trace_parameter(
    tracer: Any, rule: _Rule, pair: tuple[Tensor, Tensor], moments: dict[str, Tensor], numbers: list[Value]
) -> None:
    """Write down the update of one parameter by its gradient."""
    param, gradient = pair
    source = tracer.surroundings.find(param)
    for name, moment in moments.items():
        if tracer.memory.get(moment._data) is None:
            full = f"{source.name}.{name}" if source is not None else name
            tracer.memory.put(moment._data, tracer.add_input(ByReference(moment, full, counted=False), moment._data))
    held = [tracer.value_of(x) for x in (gradient, param, *moments.values())]
    after, *states = rule.written(numbers, held)
    tracer.optimized(param, after)
    for moment, state in zip(moments.values(), states, strict=True):
        tracer.memory.wrote(moment._data, state)


class _Rule:
    """An optimizer's ``update`` as instructions. It is elementwise and cannot ask for shapes, so that it runs once for
    parameters of one dtype, and what it wrote is repeated for the others."""

    def __init__(self, builder: Builder, update: GroupUpdate) -> None:
        self.builder = builder
        self.update = update.optimizer.update
        self.options = Options(update.group)
        self._written: dict[Any, tuple[list[Value], list[Instruction], list[Value]]] = {}

    def written(self, numbers: list[Value], held: list[Value]) -> list[Value]:
        """The values after an update of those that the gradient, the parameter and its moments ``held``; the
        gradient's is left out."""
        form = *[v.dtype for v in held], held[1].shape == ()
        known = self._written.get(form)
        if known is not None:
            return self._repeated(*known, held)
        start = len(self.builder.body)
        made = self._run(numbers, held)
        if len(set(held)) == len(held):  # otherwise nobody knows which of them an instruction means
            self._written[form] = held, self.builder.body[start:], made
        return made

    def _run(self, numbers: list[Value], held: list[Value]) -> list[Value]:
        k, (gradient, param, *moments) = ([SymbolicArray(self.builder, v, v.dtype) for v in x] for x in (numbers, held))
        scratch = [SymbolicArray(self.builder, None, param.dtype) for _ in range(2)]
        self.update(self.options, k, gradient, param, *scratch, *moments)
        return [x.value for x in (param, *moments)]

    def _repeated(
        self, held: list[Value], body: list[Instruction], made: list[Value], others: list[Value]
    ) -> list[Value]:
        """The instructions for a parameter once more, for one of another shape."""
        builder, shape = self.builder, others[1].shape
        now = dict(zip(held, others, strict=True))
        for line in body:
            (old,) = line.results
            new = Value(shape if old.shape else (), old.dtype)
            operands = tuple([now.get(v, v) for v in line.operands])
            builder.body.append(Instruction(line.opcode, operands, (new,), line.params, builder.mark, builder.scope))
            now[old] = new
        return [now.get(v, v) for v in made]


def _parameters(plan: Any) -> Iterator[tuple[Tensor, dict[str, Tensor], Any]]:
    """Each parameter with its state tensors and the dtype it is updated in."""
    states = iter(plan.states)
    for block in plan.blocks:
        for param in block.params:
            state = next(states) if plan.states else {}
            yield param, {name: state[name] for name in block.moments}, block.flat.dtype
