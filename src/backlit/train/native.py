"""Batches as native code: which function a batch is, when compiling it pays, and what stands in the way.

A batch's function is compiled once its shapes have come :data:`PATIENCE` times, where arithmetic dominates once: before
that, compiling would cost more than it saves. How often shapes came is part of a run's state, so that a resumed run
makes each batch in the way the uninterrupted one does, and ends with the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import BacklitError, OperationError
from ..graph import no_grad
from ..tensor import Tensor
from .finite import finite_sum

PATIENCE = 64
HEAVY = 10_000_000
"""Multiplications in a batch's products from which its time is that of arithmetic and not of calls."""

LARGEST = 1e20
"""A sum of squared gradients up to which no update by a reasonable rate can overflow."""

LARGEST_RATE = 1e4


class Native:
    """A function of a batch that runs as native code where that pays and is possible.

    Attributes:
        off: whether it never does.
        reason: why, in one line, where it could not be compiled.
    """

    def __init__(
        self, function: Callable[..., Any], choice: str | bool, parameters: Sequence[Any], undone: Any
    ) -> None:
        """``choice`` is ``"auto"``, True (from the first batch on, and what stands in the way is an error) or False;
        ``undone`` makes a block at whose end everything that the function changes in it is put back."""
        self.function = function
        self.undone = undone
        self.strict = choice is True
        self.reason: str | None = None
        self.counts: dict[Any, int] = {}
        self.gradients = False
        self._parameters = parameters
        self._compiled: Any = None
        self.off = choice is False or not self._can_compile()

    def _can_compile(self) -> bool:
        from ..compile.function import available

        if self.strict and not available():
            raise OperationError("fit: compile=True needs llvmlite, and it is missing or does not know this machine.")
        return available()

    def run(self, batch: tuple[Any, ...]) -> Any:
        """The function's result; None where the batch is to be made eagerly.

        Raises:
            TraceError: the function cannot be compiled, where it must.
        """
        if self.off or not self._pays(batch):
            return None
        from ..compile.errors import TraceError, Unforeseen

        try:
            return self._prepared().native(self.undone, *batch)
        except Unforeseen:
            return None
        except TraceError as error:
            if self.strict:
                raise
            self.off = True
            self.reason = _in_short(error)
            return None

    def _prepared(self) -> Any:
        if self._compiled is None:
            from ..compile.function import Compiled

            self._compiled = Compiled(self.function, fallback=True, gradients=self.gradients)
        return self._compiled

    def _pays(self, batch: tuple[Any, ...]) -> bool:
        if self.strict:
            return True
        key = _shapes(batch)
        count = self.counts.get(key, 0)
        if count < PATIENCE:
            self.counts[key] = count + 1
        return count >= PATIENCE or (count > 0 and self._is_heavy(batch))

    def _is_heavy(self, batch: tuple[Any, ...]) -> bool:
        """Whether products dominate: each row meets each weight, and kernels of more dimensions meet all pixels."""
        rows = math.prod(getattr(batch[0], "shape", (1,))[:-1])
        return any(p.ndim > 2 for p in self._parameters) or rows * sum(p.numel() for p in self._parameters) > HEAVY

    def clear_used_gradients(self) -> None:
        """Set to None what stands for gradients that were used up inside native code."""
        from ..compile.consumed import Consumed

        for parameter in self._parameters:
            if isinstance(parameter._grad, Consumed):
                parameter._grad = None

    def state_dict(self) -> list[Any]:
        """How often shapes came, as lists of numbers."""
        return [[[list(shape) for shape in key], count] for key, count in self.counts.items()]

    def load_state_dict(self, state: list[Any]) -> None:
        """Go on from a saved state."""
        self.counts = {tuple(map(tuple, key)): count for key, count in state}


def _shapes(batch: tuple[Any, ...]) -> Any:
    return tuple(tuple(getattr(part, "shape", ())) for part in batch)


def _in_short(error: BacklitError) -> str:
    """The first sentence of a message."""
    text = str(error).removeprefix("compile: ")
    return text.split(". ")[0].rstrip(".")


def training_step(
    model: Any, loss: Any, optimizer: Any, penalty: Any, clip: Any, checks: list[tuple[Any, bool, bool]]
) -> Callable[..., Any]:
    """A batch of training as one function of its tensors, the target last: it gives loss, penalty and output.

    It holds for batches whose loss and gradients are finite, and not so large that an update could overflow.
    """

    def step(*batch: Any) -> tuple[Any, Any, Any]:
        from ..compile.assumptions import assume

        output = model(*batch[:-1])
        value = loss(output, batch[-1])
        term = None if penalty is None else penalty(model)
        optimizer.zero_grad()
        (value if term is None else value + term).backward()
        with no_grad():
            total = finite_sum(checks)
            sound = abs(value) < math.inf
            if total is not None:
                sound = sound & (total < LARGEST)
            assume(sound)
        if clip is not None:
            clip()
        optimizer.step()
        return value.detach(), None if term is None else term.detach(), detached(output)

    return step


def evaluation_step(model: Any, loss: Any) -> Callable[..., Any]:
    """A batch of evaluation as one function of its tensors, the target last: it gives loss and output."""

    def step(*batch: Any) -> tuple[Any, Any]:
        output = model(*batch[:-1])
        return loss(output, batch[-1]), output

    return step


def detached(output: Any) -> Any:
    """A model's output without its history, whatever containers it comes in."""
    from ..containers import map_tensors

    return map_tensors(Tensor.detach, output)
