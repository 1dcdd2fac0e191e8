"""Explaining a formula at given values: a record of every step's value, local and upstream gradient."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from ..autograd import backward
from ..graph import enable_grad
from ..source import Source
from ..spelling import did_you_mean
from ..tensor import Tensor
from .binding import check
from .errors import ExpressionError, Span
from .evaluate import MAX_ELEMENTS, Evaluator
from .expression import Name, Step, names, one_line, parse_steps
from .functions import FUNCTIONS
from .record.capture import Capture
from .record.entries import Entry
from .record.front import _watching
from .record.model import Record
from .record.naming import _plain, _unique

CONSTANTS = {"pi": np.pi}
LONGEST_NAME = 24
"""Lists that are written out in a formula are called by their text up to this many characters."""


def explain_formula(text: str, values: Mapping[str, Any], *, wrt: str | Collection[str] = ()) -> Record:
    """Compute a formula and its gradients, and record what happened at every step.

    Args:
        text: the formula, such as ``"(x + y) * z"``, or with steps that have names, ``"q = x + y; q * z"``; it is
            parsed, never run as Python.
        values: a number, nested lists or an array for every name in it.
        wrt: the names that get gradients; all of them where it is left out.

    Returns:
        The record of the forward and the backward pass, in float64: leaves by their names, steps by theirs or as q1,
        q2, … and f for the last. A result that is not a scalar is summed before the backward pass.

    Raises:
        ExpressionError: the formula cannot be read, or names and values do not match; as EvaluationError, it cannot be
            computed at these values.

    >>> rec = explain_formula("(x + y) * z", {"x": -2, "y": 5, "z": -4})
    >>> rec.node("f").value, rec.node("q1").upstream, rec.node("z").upstream
    (array(-12.), array(-4.), array(3.))
    """
    text = one_line(text)
    wrt = (wrt,) if isinstance(wrt, str) else wrt
    values = {unicodedata.normalize("NFKC", name): value for name, value in values.items()}
    formula = _Formula(text, parse_steps(text), values)
    leaves = {name: formula.leaf(name, name in wrt or not wrt) for name in values}
    formula.check_wrt(wrt)
    return _recorded(formula, leaves)


def _recorded(formula: _Formula, leaves: dict[str, Tensor]) -> Record:
    capture = Capture()
    constants = {name: Tensor(np.asarray(value)) for name, value in CONSTANTS.items() if name not in leaves}
    evaluator = Evaluator(formula.text, {**constants, **leaves}, capture)
    with enable_grad():
        for step in formula.steps:
            result = evaluator.result(step.expression)
            if step.name is not None:
                evaluator.variables[step.name] = result
    with _watching(walkers=(capture,)):
        if result.requires_grad:
            backward(result, Tensor(np.ones(result.shape)))
    _Writer(formula, evaluator, {**constants, **leaves}, capture.index_of(result)).write(capture.entries)
    return Record(capture.entries, capture.passes, "all", formula.text)


class _Formula:
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


class _Writer:
    """Gives the entries of a capture the names, expressions and places that they have in the formula."""

    def __init__(self, formula: _Formula, evaluator: Evaluator, leaves: Mapping[str, Tensor], result: int) -> None:
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
