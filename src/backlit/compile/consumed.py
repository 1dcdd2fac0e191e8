"""What ``p.grad`` is after a compiled step that used the gradient up inside and did not keep it."""

from __future__ import annotations

import weakref
from typing import Any

from ..creation import zeros
from ..errors import GradientError
from ..source import Mark, mark
from ..tensor import Tensor


class Consumed(Tensor):
    """Stands for a gradient that was never in memory as a whole. Looking at it raises; ``zero_grad()`` clears it, and
    filling it with zeros puts zeros in its place.

    ``called_at`` is the user's line that called the step, for ``backlit.why``.
    """

    __slots__ = ("_leaf", "_of", "called_at")

    def __init__(self, leaf: Tensor) -> None:
        self._leaf = weakref.ref(leaf)
        self._of = leaf.shape
        self.called_at: Mark | None = mark()
        self._requires_grad = False
        self._node = self._grad = self._hooks = self._storage = self._view = None

    @property
    def _values(self) -> Any:
        raise GradientError(
            f"the gradient of the parameter of shape {self._of} was used up inside a compiled step and not kept. "
            "Compile with backlit.compile(step, gradients=True) to have it in .grad after each step, or run the step "
            "eagerly; zero_grad() clears it, as before a backward pass of another loss."
        )

    _data = _values  # type: ignore[assignment]

    def detach_(self) -> Consumed:
        """Nothing to do: it was not computed by recorded operations."""
        return self

    def zero_(self) -> Tensor:
        """Give the parameter a gradient of zeros, whatever was in the one that is gone."""
        leaf = self._leaf()
        if leaf is None or leaf._grad is not self:
            return self._values
        leaf._grad = zeros(leaf.shape, dtype=leaf.dtype)
        return leaf._grad

    def __repr__(self) -> str:
        return f"<gradient of a parameter of shape {self._of}, used up inside a compiled step>"
