"""A formula and the values given for it, held against each other before anything is computed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from ...spelling import did_you_mean
from ...tensor import Tensor
from ..errors import ExpressionError, Span
from .binding import check
from .evaluate import MAX_ELEMENTS
from .expression import Name, Step, names
from .functions import CONSTANTS, FUNCTIONS


class Given:
    """A formula that was read, and the values given for it; what does not match is refused."""

    def __init__(self, text: str, steps: tuple[Step, ...], values: Mapping[str, Any]) -> None:
        self.text = text
        self.steps = steps
        self.values = values
        self.occurring: dict[str, Name] = {}
        self.defined: dict[str, Step] = {}
        for step in steps:
            self._read(step)
        self._check_used()

    def _read(self, step: Step) -> None:
        check(self.text, step.expression, frozenset({*self.values, *self.defined}))
        for name in names(step.expression):
            if name.name not in self.defined:
                self._require(name)
                self.occurring.setdefault(name.name, name)
        if step.name is None:
            return
        if step.name in self.values:
            raise self._error(f"'{step.name}' is a step of the formula, and a value is given for it as well", step.span)
        if step.name in self.defined:
            raise self._error(f"'{step.name}' names two steps; give each a name of its own", step.span)
        self.defined[step.name] = step

    def _require(self, name: Name) -> None:
        if name.name not in self.values and name.name not in CONSTANTS:
            unused = [given for given in self.values if given not in self.occurring]
            raise self._error(_missing_message(name.name, unused or self.values), name.span)

    def _check_used(self) -> None:
        if not self.values and not self.occurring and self.steps[-1].name is not None:
            raise self._error("values are given after the expression, as in x=3", self.steps[-1].span)
        unused = [name for name in self.values if name not in self.occurring]
        if unused:
            raise self._error(
                f"a value is given for '{unused[0]}', which does not occur in the expression"
                f"{did_you_mean(unused[0], self.occurring)}",
                self.steps[0].span if len(self.steps) == 1 else Span(0, len(self.text)),
            )

    def check_wrt(self, wrt: Collection[str]) -> None:
        """Refuse names that have no gradient."""
        for name in wrt:
            if name not in self.values:
                raise self._error(
                    f"'{name}' is no variable of the formula{did_you_mean(name, self.values)}, so there is no gradient "
                    "with respect to it",
                    Span(0, len(self.text)),
                )

    def leaf(self, name: str, requires_grad: bool) -> Tensor:
        """The tensor that stands for a variable."""
        try:
            array = np.array(self.values[name], np.float64)
        except (ValueError, TypeError):
            raise self._wrong_value(name, "is not a regular list of numbers") from None
        if array.size > MAX_ELEMENTS:
            raise self._wrong_value(name, f"has {array.size:,} elements; the limit is {MAX_ELEMENTS:,}")
        if not array.size:
            raise self._wrong_value(name, "is empty")
        if not np.isfinite(array).all():
            at = np.argwhere(~np.isfinite(array))[0].tolist()
            raise self._wrong_value(name, f"is not finite{f' at {at}' if at else ''}")
        leaf = Tensor(array)
        leaf.requires_grad = requires_grad
        return leaf

    def _wrong_value(self, name: str, what: str) -> ExpressionError:
        return self._error(f"the value of '{name}' {what}", self.occurring[name].span)

    def _error(self, message: str, span: Span) -> ExpressionError:
        return ExpressionError(message, self.text, span)


def _missing_message(name: str, given: Iterable[str]) -> str:
    if name in FUNCTIONS:
        return f"'{name}' is a function; write {name}(...)"
    return f"'{name}' has no value{did_you_mean(name, given)}; give one after the expression, as in {name}=3"
