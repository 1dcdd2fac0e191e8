"""How tensors that require gradients are related: which are one, which were computed from which.

A walk inside a function gives a tensor the gradient of whatever leads to it. A program that was traced for two tensors
gives each its own share; where they are one tensor, or one was computed from the other, that is not all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...graph import reachable
from ...tensor import Tensor
from .sources import ByReference, Source


class Histories:
    """The relations among tensors that a function is given, or finds in variables, and of those to the ones that are
    always the same."""

    def __init__(self, surroundings: Any, arguments: Sequence[Tensor]) -> None:
        """Must be made before the function runs: it may give its arguments other histories."""
        places = [(x, s) for x, s in surroundings.places() if isinstance(x, Tensor) and x.requires_grad]
        self.moving: list[Source] = [s for _, s in places if not isinstance(s, ByReference)]
        """Where the tensors are found that may be others at each call."""
        self._fixed = [x for x, s in places if isinstance(s, ByReference)]
        self._seen = self._relations(arguments) if self.moving else None

    @property
    def matter(self) -> bool:
        """Whether other calls may find other relations."""
        return bool(self.moving)

    @property
    def told_by_nodes(self) -> bool:
        """Whether nothing can change as long as tensors are the same and leaves are leaves: none was computed."""
        return self._seen is not None and not self._seen[1] and all(x.grad_fn is None for x in self._fixed)

    def holds(self, arguments: Sequence[Tensor]) -> bool:
        """Whether a call with these arguments finds the same."""
        try:
            return self._relations(arguments) == self._seen
        except (LookupError, ValueError, AttributeError):
            return False

    def _relations(self, arguments: Sequence[Tensor]) -> tuple[Any, ...]:
        moving = [source.now(arguments) for source in self.moving]
        tensors = [*self._fixed, *moving]
        numbers: dict[int, int] = {}
        for number, x in enumerate(tensors):
            numbers.setdefault(id(x), number)
        ends = {id(x.grad_fn or x): numbers[id(x)] for x in tensors}
        nodes = reachable([x.grad_fn for x in tensors if x.grad_fn is not None])
        reached = {ends.get(id(edge)) for node in nodes for edge in node.edges if edge is not None}
        alike = tuple((numbers[id(x)], x.grad_fn is None) for x in moving)
        return alike, reached


__all__ = ["Histories"]
