"""Whether engines compute the same: their losses over the first steps, from the same weights and batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

STEPS = 5

FIRST, LATER = 1e-5, 5e-3
"""Relative differences that are allowed: of the first loss, and of those that follow. Adam's first steps are of the
same size however small a gradient is, so that rounding in a gradient near zero moves a weight by a whole step."""


def number(loss: Any) -> float:
    """A loss as an engine returns it, as a number."""
    if isinstance(loss, (list, tuple)):
        loss = loss[0]
    return float(loss.item() if hasattr(loss, "item") else loss)


def first_losses(
    contestants: dict[str, Callable[[], Any]], optional: str = "torch.compile"
) -> tuple[dict[str, list[float]], list[str]]:
    """The losses of every contestant, and notes on the ``optional`` one where it cannot run: it is taken out then."""
    losses, notes = {}, []
    for name, run in list(contestants.items()):
        try:
            losses[name] = [number(run()) for _ in range(STEPS)]
        except Exception as error:
            if name != optional:
                raise
            reason = " ".join(str(error).split())[:200]
            notes.append(f"{name} cannot run here: {type(error).__name__}: {reason}")
            del contestants[name]
    return losses, notes


def disagreement(losses: dict[str, list[float]]) -> str:
    """What is wrong with the losses; empty where all agree with the first contestant."""
    (own, reference), *others = losses.items()
    if not np.isfinite(reference).all() or reference[-1] >= reference[0]:
        return f"{own} does not learn: losses {reference}"
    for name, values in others:
        off = np.abs(np.array(values) / reference - 1)
        if not off[0] <= FIRST or not off.max() <= LATER:
            return f"{name} and {own} do not compute the same: losses {values} and {reference}"
    return ""
