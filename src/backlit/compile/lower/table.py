"""How operations are written down as instructions: a table by definition, filled by the files of this folder.

``lowering(Definition)`` registers a function ``(builder, inputs, params, op, like) -> Value``: ``inputs`` are values,
Python numbers and None, and ``like`` has the shape and dtype of eager mode's result. It may answer None: not in this
case. ``rules="traced"`` says that the definition's gradient rules are composed of operations when they are given
tensors, and look at no value while they run, so that they can be traced. ``pulls(Definition)`` registers a gradient
that is written down directly, which is preferred. What is in neither table runs in NumPy, between two stretches of
native code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from ...ops.definition import Op

Lowering = Callable[..., Any]

_LOWERINGS: dict[type[Op], Lowering] = {}
_PULLS: dict[type[Op], Lowering] = {}
_TRACED: set[type[Op]] = set()
_DRAWINGS: dict[type[Op], Lowering] = {}


def lowering(*definitions: type[Op], rules: str = "") -> Callable[[Lowering], Lowering]:
    """Register how definitions and those derived from them are written down."""

    def register(function: Lowering) -> Lowering:
        for definition in definitions:
            _LOWERINGS[definition] = function
            if rules == "traced":
                _TRACED.add(definition)
        return function

    return register


def pulls(*definitions: type[Op]) -> Callable[[Lowering], Lowering]:
    """Register how the gradient of definitions is written down; see :class:`Pull` for what the function gets."""

    def register(function: Lowering) -> Lowering:
        for definition in definitions:
            _PULLS[definition] = function
        return function

    return register


def drawing(definition: type[Op]) -> Callable[[Lowering], Lowering]:
    """Register how an operation that draws random numbers is written down: ``(builder, inputs, params, streams)`` gives
    its value, and that of what it keeps for its gradient."""

    def register(function: Lowering) -> Lowering:
        _DRAWINGS[definition] = function
        return function

    return register


def drawing_of(op: type[Op]) -> Lowering | None:
    """How an operation draws, or None."""
    return _DRAWINGS.get(op)


@cache
def lowering_of(op: type[Op]) -> Lowering | None:
    """The registered lowering of an operation, or None."""
    return _nearest(op, _LOWERINGS)


@cache
def pull_of(op: type[Op]) -> Lowering | None:
    """The registered gradient of an operation, or None."""
    return _nearest(op, _PULLS)


@cache
def rules_are_traced(op: type[Op]) -> bool:
    """Whether the gradient rules of an operation are composed of operations.

    Rules of a definition that keeps something besides its output may use that, which the tracer does not see; such a
    definition must be registered itself.
    """
    return op in _TRACED or (not op.has_extra and any(base in _TRACED for base in op.__mro__))


def _nearest(op: type[Op], table: dict[type[Op], Lowering]) -> Lowering | None:
    return next((table[base] for base in op.__mro__ if base in table), None)  # type: ignore[index]
