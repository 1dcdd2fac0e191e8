"""One forward and backward pass of a copy of the model, with the operations that it applied."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ...graph import enable_grad, mode
from ...numerics import quiet
from ...tensor import Tensor
from .situation import Batch, Situation, first_rows

ROWS = 1024


@dataclass
class Applied:
    """An operation of the pass: its name and its settings."""

    name: str
    params: dict[str, Any]


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


class _Forward:
    """Notes every operation as it is applied."""

    def __init__(self, found: list[Applied]) -> None:
        self.found = found

    def applied(self, op: Any, inputs: Any, params: dict[str, Any], extra: Any, result: Tensor) -> None:
        self.found.append(Applied(op.name, params))

    def wrote(self, *_: Any) -> None:
        """Writes in place change no verdict."""


def observe(situation: Situation) -> Pass:
    """Run a copy of the model forward and backward on the training rows, in training mode."""
    model, _ = situation.copies()
    model.train()
    inputs, target = first_rows(situation.rows, ROWS)
    for parameter in model.parameters():
        parameter.grad = None
    seen = Pass((inputs, target))
    before = mode.observers
    try:
        with enable_grad(), quiet():
            mode.observers = (*before, _Forward(seen.applied))
            seen.output = model(*inputs)
            mode.observers = before
            loss = situation.loss.function(seen.output, target)
            seen.loss = float(loss)
            if loss.requires_grad:
                loss.backward()
    except Exception as error:  # whatever a model or a loss of the program's own raises is what there is to say
        seen.error = error
    finally:
        mode.observers = before
    return seen
