"""Marks of instructions: the user's line that an instruction came from, and whether it computes a gradient."""

from __future__ import annotations

from types import CodeType

from ...source import Mark


class OfGradient(tuple[CodeType, int]):
    """The mark of an operation, on the instructions that compute its gradient."""

    __slots__ = ()


def of_gradient(mark: Mark | None) -> Mark | None:
    """The mark for the gradient of an operation that has this mark."""
    return None if mark is None else OfGradient(mark)
