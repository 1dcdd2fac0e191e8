"""How parameters are laid out for an update: each pass over memory is one NumPy call on a piece that fits a cache.

Update rules are elementwise, so it makes no difference to the result how parameters are cut up or put together. A large
parameter is cut into pieces of :data:`CHUNK` elements, and the passes of a rule run over one piece before going on to
the next. Small parameters are the opposite case: the calls cost more than the arithmetic, so they are gathered into one
flat array, updated in one go and copied back. That is also the way for parameters a rule cannot work on where they lie:
non-contiguous ones, and float16 ones, which are computed in float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import attrgetter, is_, itemgetter
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import memory
from ..errors import OperationError
from ..source import Mark, describe, mark
from ..storage import wrote_all
from ..tensor import Tensor

Array = NDArray[Any]
Group = dict[str, Any]
State = dict[str, Any]

CHUNK = 32768
"""Elements in a piece. Adam touches five arrays: 640 KiB in float32, which a second-level cache holds."""

SMALL = 4096
"""Parameters up to this many elements are gathered: below it, copying is cheaper than calls of their own."""

_array_of = attrgetter("_data")


class Rule(Protocol):
    """What a block needs to know of an optimizer; see :class:`~backlit.optim.Optimizer`."""

    state: Any
    counts_steps: ClassVar[bool]

    def slots(self, group: Group) -> Mapping[str, float]: ...

    def constants(self, group: Group, step: int) -> Sequence[float]: ...

    def update(
        self, group: Group, k: Sequence[Array], g: Array, p: Array, t: Array, u: Array, *moments: Array
    ) -> None: ...


class Block:
    """Parameters that one run of the update rule covers, seen as one flat array of one dtype.

    ``moments`` are the rule's state arrays, flat as well; the tensors in ``optimizer.state[p]`` are views of them.
    ``steps`` counts each parameter's updates, since a parameter without a gradient is skipped; it is a piece of the
    plan's.
    """

    __slots__ = (
        "arrays",
        "copies",
        "ends",
        "flat",
        "grad",
        "k",
        "last",
        "moments",
        "params",
        "pieces",
        "scratch",
        "steps",
        "storages",
    )

    steps: Array

    def __init__(self, params: list[Tensor], scratch: Array, slots: Mapping[str, float], *, direct: bool) -> None:
        dtype = scratch.dtype
        self.params = params
        self.scratch = scratch
        self.arrays = [p._data for p in params]
        self.storages = [p.storage() for p in params]
        self.ends = list(accumulate(a.size for a in self.arrays))
        total = self.ends[-1]
        self.moments = {name: memory.full(total, start, dtype) for name, start in slots.items()}
        self.flat = self.arrays[0].reshape(-1) if direct else memory.empty(total, dtype)
        self.grad = None if direct else memory.empty(total, dtype)
        self.copies: list[tuple[Tensor, Array, Array, Array]] = []
        if self.grad is not None:
            self.copies += zip(params, self.arrays, self.split(self.flat), self.split(self.grad), strict=True)
        self.k: list[Array] = []
        self.last: Sequence[float] | None = None
        bounds = [(low, min(low + CHUNK, total)) for low in range(0, max(total, 1), CHUNK)]
        self.pieces = [(low, high, self.piece(low, high)) for low, high in bounds]

    def split(self, flat: Array) -> Iterator[Array]:
        """Views of a flat array, shaped as the parameters."""
        for array, end in zip(self.arrays, self.ends, strict=True):
            yield flat[end - array.size : end].reshape(array.shape)

    def piece(self, low: int, high: int) -> tuple[Array, ...]:
        """What the rule works on between two positions: parameter, two scratch arrays, moments."""
        moments = [moment[low:high] for moment in self.moments.values()]
        return (self.flat[low:high], *self.scratch[:, : high - low], *moments)

    def run(self, rule: Rule, group: Group, place: Mark | None) -> None:
        """Update every parameter that has a gradient."""
        steps = self.steps.tolist()
        grad = self.gather()
        if grad is None or steps.count(steps[0]) != len(steps):
            self.run_singly(rule, group, place)
            return
        step = int(steps[0]) + 1
        self.steps.fill(step)
        k = self.constants(rule, group, step)
        update = rule.update
        for low, high, piece in self.pieces:
            update(group, k, grad[low:high], *piece)
        for _, array, values, _ in self.copies:
            array[...] = values
        wrote_all(self.storages, place)

    def gather(self) -> Array | None:
        """The flat gradient (and, where parameters are copied, their values); None when a gradient is missing."""
        if self.grad is None:
            gradient = self.params[0]._grad
            return None if gradient is None else gradient._data.reshape(-1)
        for param, array, values, grad in self.copies:
            gradient = param._grad
            if gradient is None:
                return None
            grad[...] = gradient._data
            values[...] = array
        return self.grad

    def run_singly(self, rule: Rule, group: Group, place: Mark | None) -> None:
        """Update one parameter after the other: some have no gradient this time, or have made fewer steps."""
        if self.grad is None:
            return
        for i, (param, array, values, grad) in enumerate(self.copies):
            if param._grad is None:
                continue
            grad[...] = param._grad._data
            values[...] = array
            self.steps[i] += 1
            low, high = self.ends[i] - array.size, self.ends[i]
            k = self.constants(rule, group, int(self.steps[i]))
            rule.update(group, k, self.grad[low:high], *self.piece(low, high))
            array[...] = values
            wrote_all(self.storages[i : i + 1], place)

    def constants(self, rule: Rule, group: Group, step: int) -> list[Array]:
        """The rule's numbers for this step as 0-d arrays, which NumPy takes at half the cost of Python floats."""
        numbers = rule.constants(group, step)
        if numbers != self.last:
            self.last = numbers
            values = np.array(numbers, self.flat.dtype)
            self.k = [values[i, ...] for i in range(len(values))]
        return self.k

    def adopt(self, rule: Rule) -> Iterator[State]:
        """Take over the state that the optimizer holds for each parameter, and publish views of the block's arrays."""
        views = {name: list(self.split(moment)) for name, moment in self.moments.items()}
        for i, param in enumerate(self.params):
            state = rule.state[param]
            known = [name for name in views if state.get(name) is not None]
            for name in known:
                _check_shape(name, state[name], param)
                views[name][i][...] = state[name]._data
            if rule.counts_steps:
                self.steps[i] = float(state.get("step", 0))
                state["step"] = Tensor(self.steps[i, ...])
            else:
                self.steps[i] = len(known) > 0
            state.update({name: Tensor(view[i]) for name, view in views.items()})
            yield state


class Plan:
    """The blocks of one parameter group, and the means to tell that they still describe it."""

    __slots__ = ("arrays", "blocks", "entries", "group", "idle", "params", "slots", "states", "steps", "updated")

    def __init__(self, rule: Rule, group: Group) -> None:
        self.group = group
        self.slots = rule.slots(group)
        self.params: list[Tensor] = list(group["params"])
        self.arrays = [p._data for p in self.params]
        self.idle = [p for p in self.params if p._grad is None and p not in rule.state]
        idle = set(self.idle)
        self.blocks = list(_blocks([p for p in self.params if p not in idle], self.slots))
        self.steps = np.zeros(sum(len(block.params) for block in self.blocks))
        ends = accumulate(len(block.params) for block in self.blocks)
        for block, end in zip(self.blocks, ends, strict=True):
            block.steps = self.steps[end - len(block.params) : end]
        self.updated: list[Tensor] = []
        self.states: list[State] = []
        if self.slots or rule.counts_steps:
            for block in self.blocks:
                self.updated.extend(block.params)
                self.states.extend(block.adopt(rule))
        names = (*self.slots, "step") if rule.counts_steps else tuple(self.slots)
        self.entries = [(itemgetter(name), [state[name] for state in self.states]) for name in names]

    def fits(self, rule: Rule, group: Group) -> bool:
        """Whether nothing was added, replaced or reshaped since the plan was made, and no idle parameter woke up."""
        params = group["params"]
        return (
            self.group is group
            and len(params) == len(self.params)
            and all(map(is_, params, self.params))
            and all(map(is_, map(_array_of, params), self.arrays))
            and self.slots == rule.slots(group)
            and (not self.idle or all(p._grad is None for p in self.idle))
            and (not self.states or self._holds_state(rule.state))
        )

    def _holds_state(self, state: Any) -> bool:
        try:
            return all(map(is_, map(state.get, self.updated), self.states)) and all(
                all(map(is_, map(get, self.states), tensors)) for get, tensors in self.entries
            )
        except KeyError:
            return False


def _blocks(params: Iterable[Tensor], slots: Mapping[str, float]) -> Iterator[Block]:
    """Large contiguous parameters each by themselves, small ones of the same dtype together."""
    scratch: dict[np.dtype[Any], Array] = {}
    packs: dict[np.dtype[Any], list[Tensor]] = {}
    for param in params:
        _check(param)
        array = param._data
        dtype = np.promote_types(array.dtype, np.float32)
        if dtype not in scratch:
            scratch[dtype], packs[dtype] = np.empty((2, CHUNK), dtype), []
        pack = packs[dtype]
        if array.size > SMALL:
            yield Block([param], scratch[dtype], slots, direct=dtype == array.dtype and array.flags.c_contiguous)
            continue
        if sum(p._data.size for p in pack) + array.size > CHUNK or _overlaps(array, pack):
            yield Block(pack, scratch[dtype], slots, direct=False)
            pack = packs[dtype] = []
        pack.append(param)
    for dtype, pack in packs.items():
        if pack:
            yield Block(pack, scratch[dtype], slots, direct=False)


def _overlaps(array: Array, pack: Iterable[Tensor]) -> bool:
    """Parameters that share memory are updated one after the other, not from one copy of their common values."""
    return any(np.may_share_memory(array, p._data) for p in pack)


def _check(param: Tensor) -> None:
    array, gradient = param._data, param._grad
    if array.dtype.kind != "f":
        problem = f"has dtype {array.dtype.name}, and only floating parameters can be updated"
    elif not array.flags.writeable:
        problem = "lies in read-only memory; make it from a copy"
    elif gradient is not None and gradient.shape != array.shape:
        problem = f"has a gradient of shape {gradient.shape}, left from before its data was replaced; call zero_grad()"
    else:
        return
    raise OperationError(f"step() at {describe(mark())}: a parameter of shape {array.shape} {problem}.")


def _check_shape(name: str, held: Any, param: Tensor) -> None:
    if held.shape != param.shape:
        raise OperationError(
            f"step() at {describe(mark())}: a parameter has shape {param.shape}, but its {name!r} in the "
            f"optimizer's state has shape {held.shape}. If you replaced the parameter's data, drop its state: "
            "optimizer.state.pop(p)."
        )
