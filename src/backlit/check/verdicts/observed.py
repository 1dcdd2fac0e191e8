"""One forward and backward pass of a copy of the model, with what each operation gave and which gradient reached it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import BacklitError
from ...graph import WalkObserver, enable_grad, mode, scope_path
from ...numerics import quiet
from ...tensor import Tensor
from .situation import Batch, Situation, first_rows

_WEIGHTED = frozenset({"linear", "matmul", "convolution"})
_RESHAPING = frozenset(
    {"reshape", "view", "squeeze", "unsqueeze", "flatten", "transpose", "permute", "expand", "select"}
)
ROWS = 1024


@dataclass
class Applied:
    """An operation of the pass: its name, the module, the result, its settings and the gradient's size."""

    name: str
    module: str
    result: Tensor
    params: dict[str, Any]
    gradient: float = math.nan

    @property
    def where(self) -> str:
        """The module's path without the model's own name, or the operation's name outside modules."""
        return self.module.partition(".")[2] or self.name


@dataclass
class Pass:
    """What one pass of ``batch`` showed; ``error`` is what stopped it."""

    batch: Batch
    applied: list[Applied] = field(default_factory=list)
    output: Tensor | None = None
    loss: float = math.nan
    error: BaseException | None = None

    @property
    def target(self) -> Tensor:
        """The targets of the batch."""
        return self.batch[1]

    @property
    def weighted(self) -> list[Applied]:
        """The operations with weights that a gradient reached, in the order of the forward pass."""
        return [a for a in self.applied if a.name in _WEIGHTED and not math.isnan(a.gradient)]


class _Forward:
    """Notes every operation as it is applied."""

    def __init__(self, found: list[Applied]) -> None:
        self.found = found

    def applied(self, op: Any, inputs: Any, params: dict[str, Any], extra: Any, result: Tensor) -> None:
        self.found.append(Applied(op.name, scope_path(mode.scope), result, params))

    def wrote(self, *_: Any) -> None:
        """Writes in place change no verdict."""


class _Backward(WalkObserver):
    """Notes the norm of the gradient that reaches each operation."""

    def __init__(self, found: list[Applied]) -> None:
        self.nodes = {a.result._node: a for a in found if a.result._node is not None}

    def enter(self, node: Any, upstream: Any) -> None:
        place = self.nodes.get(node)
        if place is not None:
            array = np.asarray(getattr(upstream, "_data", upstream), np.float64)
            place.gradient = float(np.sqrt((array * array).sum()))


def observe(situation: Situation) -> Pass:
    """Run a copy of the model forward and backward on the training rows, in training mode."""
    model, _ = situation.copies()
    model.train()
    inputs, target = first_rows(situation.rows, ROWS)
    for parameter in model.parameters():
        parameter.grad = None
    seen = Pass((inputs, target))
    before, walkers = mode.observers, mode.walkers
    try:
        with enable_grad(), quiet():
            mode.observers = (*before, _Forward(seen.applied))
            seen.output = model(*inputs)
            mode.observers = before
            loss = situation.loss.function(seen.output, target)
            seen.loss = float(loss)
            if loss.requires_grad:
                mode.walkers = (*walkers, _Backward(seen.applied))
                loss.backward(retain_graph=True)
    except (BacklitError, ValueError, TypeError, IndexError) as error:
        seen.error = error
    finally:
        mode.observers, mode.walkers = before, walkers
    return seen
