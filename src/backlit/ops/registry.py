"""Every public operation by name, with what people and tests want to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BacklitError

if TYPE_CHECKING:
    from .definition import Op

REGISTRY: dict[str, Operation] = {}
"""Every public operation by name: what the property tests, the operation table and the NumPy protocols iterate."""


def describe_value(value: Any) -> str:
    """An array's shape and dtype; anything else as it prints."""
    if isinstance(value, np.ndarray):
        return f"{tuple(value.shape)} {value.dtype.name}"
    return repr(value)


class Operation:
    """A registry entry: the public function and what defines it, an :class:`Op` or a composition of others."""

    def __init__(
        self, name: str, function: Callable[..., Any], definition: type[Op] | None, about: dict[str, Any]
    ) -> None:
        self.name = name
        self.function = function
        self.definition = definition
        self._about = about

    @property
    def formula(self) -> str:
        """The operation as a formula, for people."""
        return self._about.get("formula") or (self.definition.formula if self.definition else "")

    @property
    def gate(self) -> str:
        """What the operation does to gradients."""
        return self._about.get("gate") or (self.definition.gate if self.definition else "")

    @property
    def domain(self) -> str:
        """Where the operation is defined and differentiable."""
        return self._about.get("domain") or (self.definition.domain if self.definition else "all real inputs")

    @property
    def differentiable(self) -> bool:
        """Whether gradients flow through the operation at all."""
        return self._about.get("differentiable", self.definition.differentiable if self.definition else True)

    @property
    def samples(self) -> Callable[[np.random.Generator], Iterable[Sample]]:
        """Inputs for the property tests."""
        found = self._about.get("samples") or getattr(self.definition, "samples", None)
        if found is None:
            raise BacklitError(f"operation {self.name!r} has no samples; every operation must state some.")
        return found


class Sample:
    """Arguments for one call of an operation: float64 arrays among ``args`` are what the tests differentiate."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        parts = [describe_value(a) for a in self.args] + [f"{k}={describe_value(v)}" for k, v in self.kwargs.items()]
        return f"({', '.join(parts)})"


def operation(definition: type[Op] | None = None, **about: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a public function: ``@operation(Sum)`` for a primitive, ``@operation(formula=..., samples=...)`` for a
    function composed of other operations."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = about.get("name", function.__name__)
        REGISTRY[name] = Operation(name, function, definition, about)
        return function

    return register
