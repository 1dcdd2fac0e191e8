"""What the entries of a record are called in a formula: variables, steps, constants, and where each stands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...source import Source
from ...tensor import Tensor
from ..record.entries import Entry
from ..record.naming import _plain, _unique
from .evaluate import Evaluator
from .functions import FUNCTIONS
from .given import Given

LONGEST_NAME = 24
"""Lists that are written out in a formula are called by their text up to this many characters."""


class Labels:
    """Gives the entries of a capture the names, expressions and places that they have in the formula."""

    def __init__(self, formula: Given, evaluator: Evaluator, leaves: Mapping[str, Tensor], result: int) -> None:
        self.formula, self.evaluator, self.result = formula, evaluator, result
        self.leaves = {id(tensor): name for name, tensor in leaves.items()}
        self.steps = {evaluator.capture.index_of(evaluator.variables[name]): name for name in reversed(formula.defined)}
        self.taken = {*leaves, *formula.defined}
        self.used: set[str] = set()
        self.count = 0

    def write(self, entries: list[Entry]) -> None:
        """Name everything, in the order in which it came about."""
        for number, entry in enumerate(entries):
            entry.source = Source("formula", 1, "", self.formula.text)
            entry.module = ""
            if entry.op is None:
                entry.name = self.leaves.get(id(entry.tensor)) or _unique(self._constant(number, entry), self.used)
            else:
                entry.name = self.steps.get(number) or self._step(number)
                span = self.evaluator.calls[number][0].span
                entry.span = (span.start, span.end)
                entry.expression = self.formula.text[span.start : span.end]
            self.used.add(entry.name)

    def _step(self, number: int) -> str:
        if number == self.result:
            return next(name for name in ("f", "result", "the_result") if name not in self.taken)
        while True:
            self.count += 1
            name = f"q{self.count}"
            if name not in self.taken and name not in FUNCTIONS:
                return name

    def _constant(self, number: int, entry: Entry) -> str:
        """A constant by its text in the formula, where it stands there and is short."""
        array = None if entry.kept is None else entry.kept.array
        for expression, value in self.evaluator.calls.get(number, (None, []))[1]:
            if array is not None and np.array_equal(getattr(value, "_data", value), array):
                span = expression.span
                text = self.formula.text[span.start : span.end]
                return text if len(text) <= LONGEST_NAME else "list"
        return _plain(entry)
