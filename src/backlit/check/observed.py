"""One forward and backward pass of a copy of the model, with what each operation gave and which gradient reached it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BacklitError
from ..graph import WalkObserver, enable_grad, mode, scope_path
from ..numerics import quiet
from ..tensor import Tensor
from .situation import Situation

_WEIGHTED = frozenset({"linear", "matmul", "convolution"})
_RESHAPING = frozenset(
    {"reshape", "view", "squeeze", "unsqueeze", "flatten", "transpose", "permute", "expand", "select"}
)
ROWS = 1024


@dataclass
class Applied:
    """An operation of the pass: its name, the module, the result, the inputs' shapes and the gradient's size."""

    name: str
    module: str
    result: Tensor
    shapes: tuple[tuple[int, ...], ...]
    params: dict[str, Any]
    gradient: float = math.nan

    @property
    def where(self) -> str:
        """The module's path without the model's own name, or the operation's name outside modules."""
        return self.module.partition(".")[2] or self.name


@dataclass
class Pass:
    """What one pass showed. ``error`` is what stopped it; ``gradients`` map parameter names to arrays or None."""

    applied: list[Applied] = field(default_factory=list)
    gradients: dict[str, NDArray[Any] | None] = field(default_factory=dict)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    output: Tensor | None = None
    loss: float = math.nan
    attached: bool = True
    error: BaseException | None = None

    @property
    def last(self) -> Applied | None:
        """The operation that made the model's output, behind reshapes."""
        if self.output is None:
            return None
        before = {id(a.result): i for i, a in enumerate(self.applied)}
        index = before.get(id(self.output))
        while index is not None and index > 0 and self.applied[index].name in _RESHAPING:
            index -= 1
        return None if index is None else self.applied[index]

    @property
    def weighted(self) -> list[Applied]:
        """The operations with weights that a gradient reached, in the order of the forward pass."""
        return [a for a in self.applied if a.name in _WEIGHTED and not math.isnan(a.gradient)]


class _Forward:
    """Notes every operation as it is applied."""

    def __init__(self, found: list[Applied]) -> None:
        self.found = found

    def applied(self, op: Any, inputs: Any, params: dict[str, Any], extra: Any, result: Tensor) -> None:
        shapes = tuple(x.shape for x in inputs if hasattr(x, "shape"))
        self.found.append(Applied(op.name, scope_path(mode.scope), result, shapes, params))

    def wrote(self, *_: Any) -> None:
        """Writes in place change no verdict."""


class _Backward(WalkObserver):
    """Notes how large the gradient is where it reaches each operation: the norm of a row's, so that width matters
    little."""

    def __init__(self, found: list[Applied]) -> None:
        self.nodes = {a.result._node: a for a in found if a.result._node is not None}

    def enter(self, node: Any, upstream: Any) -> None:
        place = self.nodes.get(node)
        if place is not None:
            array = np.asarray(getattr(upstream, "_data", upstream), np.float64)
            place.gradient = float(np.sqrt((array * array).sum()))


def observe(situation: Situation, training: bool = True) -> Pass:
    """Run a copy of the model forward and backward on the training rows."""
    model, _ = situation.copies()
    model.train(training)
    inputs, target = situation.rows
    if inputs and len({len(x._data) for x in (*inputs, target)}) == 1:
        inputs, target = tuple(Tensor(x._data[:ROWS]) for x in inputs), Tensor(target._data[:ROWS])
    named = dict(model.named_parameters())
    for parameter in named.values():
        parameter.grad = None
    seen = Pass(weights={name: p._data.copy() for name, p in named.items()})
    before, walkers = mode.observers, mode.walkers
    try:
        with enable_grad(), quiet():
            mode.observers = (*before, _Forward(seen.applied))
            seen.output = model(*inputs)
            mode.observers = before
            loss = situation.loss.function(seen.output, target)
            seen.loss = float(loss)
            seen.attached = loss.requires_grad
            if seen.attached:
                mode.walkers = (*walkers, _Backward(seen.applied))
                loss.backward()
    except (BacklitError, ValueError, TypeError, IndexError) as error:
        seen.error = error
    finally:
        mode.observers, mode.walkers = before, walkers
    seen.gradients = {name: None if p.grad is None else p.grad._data for name, p in named.items() if p.requires_grad}
    return seen
