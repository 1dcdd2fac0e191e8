"""The explanation as data: plain numbers, lists and texts, which every view (terminal, JSON, page) is made from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Value = float | list[Any]
"""A number, or nested lists of numbers."""

LocalKind = Literal["number", "gradient", "elementwise", "jacobian", "large"]


@dataclass(frozen=True)
class Local:
    """The local gradient of a step with respect to one operand.

    ``kind`` says what ``value`` holds: a ``number`` (both are scalars); a ``gradient`` of the operand's shape (the
    output is a scalar); an ``elementwise`` slope, the diagonal of a Jacobian that is zero elsewhere; a whole
    ``jacobian`` of ``shape`` output shape + operand shape; or nothing, where it would be too ``large`` to show.
    """

    kind: LocalKind
    shape: tuple[int, ...]
    value: Value | None


@dataclass(frozen=True)
class Operand:
    """One input of a step: its ``role`` in the operation's formula, the ``name`` of the variable, step or number that
    it is, the ``local`` gradient, and what the step hands ``downstream`` to it (None for constants)."""

    role: str
    name: str
    local: Local | None = None
    downstream: Value | None = None


@dataclass(frozen=True)
class Step:
    """One operation of the forward pass, with what the backward pass did there.

    ``expression`` is the part of the formula it computes and ``span`` its place; ``upstream`` is the gradient of the
    result with respect to the step's value, None where no variable is involved.
    """

    name: str
    expression: str
    span: tuple[int, int]
    operation: str
    formula: str
    gate: str
    domain: str
    shape: tuple[int, ...]
    value: Value
    operands: tuple[Operand, ...]
    upstream: Value | None


@dataclass(frozen=True)
class Variable:
    """An input with its value and the gradient of the result with respect to it (None: it has none)."""

    name: str
    shape: tuple[int, ...]
    value: Value
    gradient: Value | None


@dataclass(frozen=True)
class Explanation:
    """A formula at given values: its variables, its steps in the order they were computed, and its result.

    ``summed`` says that the result is not a scalar and its elements were summed for the backward pass. ``notes`` are
    sentences about places where a slope is a convention (kinks, ties) or not finite.
    """

    expression: str
    variables: tuple[Variable, ...]
    steps: tuple[Step, ...]
    shape: tuple[int, ...]
    value: Value
    summed: bool
    notes: tuple[str, ...] = field(default=())

    def contributions(self, name: str) -> list[tuple[str, Value]]:
        """What each step handed down to a variable or step, as (step, gradient); they add up to its gradient."""
        return [
            (step.name, operand.downstream)
            for step in self.steps
            for operand in step.operands
            if operand.name == name and operand.downstream is not None
        ]

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, lists, numbers and texts that JSON can hold; infinities and NaN become texts."""
        return _plain(asdict(self))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
