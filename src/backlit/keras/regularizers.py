"""Penalties on weights: ``l1``, ``l2``, both; Keras's convention has no ½."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import OperationError
from ..nn.penalties import l1_penalty, l2_penalty
from ..tensor import Tensor


class L1L2(NamedTuple):
    """``l1 Σ|w| + l2 Σ w²``."""

    l1: float = 0.0
    l2: float = 0.0


class Penalty(NamedTuple):
    """A regularizer and the weights it acts on."""

    regularizer: L1L2
    weight: Tensor

    def __call__(self) -> Any:
        """The value of the penalty."""
        total: Any = 0.0
        if self.regularizer.l1:
            total = total + self.regularizer.l1 * l1_penalty([self.weight])
        if self.regularizer.l2:
            total = total + self.regularizer.l2 * l2_penalty([self.weight])
        return total


def l1(l1: float = 0.01) -> L1L2:
    """``l1 Σ|w|``."""
    return L1L2(l1=l1)


def l2(l2: float = 0.01) -> L1L2:
    """``l2 Σ w²``."""
    return L1L2(l2=l2)


L1, L2 = l1, l2


def resolve_regularizer(given: Any) -> L1L2 | None:
    """A regularizer, ``"l1"``, ``"l2"``, or None."""
    if given is None or isinstance(given, L1L2):
        return given
    if given in ("l1", "l2"):
        return L1L2(**{given: 0.01})
    raise OperationError(f"regularizer must be 'l1', 'l2' or made by keras.regularizers, got {given!r}.")
