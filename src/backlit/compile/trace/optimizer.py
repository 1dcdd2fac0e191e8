"""An optimizer's update, written down: its own ``update`` runs on arrays that write instructions instead of computing.

What ``update`` looks at besides arrays are the options of its parameter group. Numbers among them may only be asked
whether they are zero, as in ``if group["weight_decay"]``: the answer becomes a condition for using the program. Those
that it computes with come through ``constants`` and are worked out at each call, so that schedules cost no compilation.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import is_
from typing import Any

import numpy as np

from ...ops.numpy_protocol import _UFUNC_NAMES
from ...source import mark
from ...tensor import Tensor
from ..errors import TraceError
from ..ir.build import Builder
from ..ir.primitives import MEANING
from ..ir.program import Value
from .assignments import PLAIN
from .guards import Guard, Size
from .sources import ByReference, Number


class SymbolicArray(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands in for an array of a dtype in ``update``. ``out=`` gives it a new value."""

    def __init__(self, builder: Builder, value: Value | None, dtype: Any) -> None:
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


def still_answers(group: dict[str, Any], asked: dict[str, tuple[Any, bool]]) -> bool:
    """Whether a group would give the same answers as when the update was traced."""
    for name, (value, truth) in asked.items():
        now = group[name]
        if now is not value and (bool(now) if truth else now) != value:
            return False
    return True


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
        self.asked: dict[str, tuple[Any, bool]] = {}
        self.params = list(self.group["params"])
        self.counters: list[tuple[Any, Any]] = []
        for block in self.plan.blocks:
            at = [i for i, p in enumerate(block.params) if id(p) in members]
            if at:
                self.counters.append((block.steps, None if len(at) == len(block.params) else np.array(at)))

    def holds(self) -> bool:
        """Whether the program's update is the one that the optimizer would make now."""
        optimizer, group = self.optimizer, self.group
        groups, plans, params = optimizer.param_groups, optimizer._plans, group["params"]
        return (
            len(groups) > self.index
            and groups[self.index] is group
            and len(plans) > self.index
            and plans[self.index] is self.plan
            and len(params) == len(self.params)
            and all(map(is_, params, self.params))
            and not optimizer._before
            and not optimizer._after
            and still_answers(group, self.asked)
        )

    def step(self) -> int | None:
        """The number of the coming update, or None where parameters have made different numbers of steps."""
        first = None
        for counter, at in self.counters:
            steps = counter.tolist() if at is None else counter[at].tolist()
            first = steps[0] if first is None else first
            if steps.count(first) != len(steps):
                return None
        return int(first or 0) + 1 + self.ahead

    def constants(self, step: int) -> Any:
        """The numbers of an update."""
        return self.optimizer.constants(self.group, step)

    def done(self, step: int) -> None:
        """Count an update that was made."""
        for counter, at in self.counters:
            counter[... if at is None else at] = step
        self.optimizer._stepped = True


def trace_step(tracer: Any, optimizer: Any, gradients: list[dict[int, Tensor]]) -> None:
    """Write down the step that an optimizer just made; ``gradients`` are those that it saw, for each group.

    Parameters without a gradient, frozen ones for instance, are left out, and those that have made other numbers of
    steps than the rest are an update of their own.
    """
    if optimizer._before or optimizer._after:
        raise TraceError(f"compile: {type(optimizer).__name__} has step hooks, which cannot be compiled.")
    groups = optimizer.param_groups
    tracer.surroundings.guards += [Guard(Size(x), None, len(x)) for x in (groups, *(g["params"] for g in groups))]
    for index, seen in enumerate(gradients):
        if seen:
            for (step, ahead), members in _by_steps(optimizer._plans[index], seen, tracer.updates).items():
                count = len(optimizer.constants(groups[index], step))
                _trace_group(tracer, GroupUpdate(optimizer, index, members, count, ahead), seen)


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
    numbers: dict[Any, list[Value]] = {}
    for param, moments, dtype in _parameters(update.plan):
        if id(param) not in update.members:
            continue
        if dtype != param.dtype:
            raise TraceError(f"compile: {param.dtype.name} parameters are updated in {dtype.name}, in eager mode only.")
        if dtype not in numbers:
            feeds = [Number(update, i, f"k{i}") for i in range(update.count)]
            numbers[dtype] = [tracer.add_input(feed, np.zeros((), dtype)) for feed in feeds]
        tracer.used_gradients[id(param)] = tracer.value_of(seen[id(param)])
        _trace_parameter(tracer, update, param, moments, numbers[dtype], seen[id(param)])
    builder.mark = None


def _trace_parameter(
    tracer: Any, update: GroupUpdate, param: Tensor, moments: dict[str, Tensor], numbers: list[Value], gradient: Tensor
) -> None:
    builder = tracer.builder
    builder.mark, builder.scope = mark(), None
    source = tracer.surroundings.find(param)
    for name, moment in moments.items():
        if tracer.memory.get(moment._data) is None:
            full = f"{source.name}.{name}" if source is not None else name
            tracer.memory.put(moment._data, tracer.add_input(ByReference(moment, full, counted=False), moment._data))
    held, states = (
        [SymbolicArray(builder, tracer.value_of(t), t.dtype) for t in tensors]
        for tensors in ((gradient, param), moments.values())
    )
    scratch = [SymbolicArray(builder, None, param.dtype) for _ in range(2)]
    options = Options(update.group)
    k = [SymbolicArray(builder, number, number.dtype) for number in numbers]
    update.optimizer.update(options, k, *held, *scratch, *states)
    update.asked.update(options.asked)
    tracer.optimized(param, held[1].value)
    for moment, state in zip(moments.values(), states, strict=True):
        tracer.memory.wrote(moment._data, state.value)


def _parameters(plan: Any) -> Iterator[tuple[Tensor, dict[str, Tensor], Any]]:
    """Each parameter with its state tensors and the dtype it is updated in."""
    states = iter(plan.states)
    for block in plan.blocks:
        for param in block.params:
            state = next(states) if plan.states else {}
            yield param, {name: state[name] for name in block.moments}, block.flat.dtype
