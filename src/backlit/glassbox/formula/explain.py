"""Explaining a formula at given values: a record of every step's value, local and upstream gradient."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ...autograd import backward
from ...graph import enable_grad
from ...tensor import Tensor
from ..record.capture import Capture
from ..record.front import _watching
from ..record.model import Record
from .evaluate import Evaluator
from .expression import one_line, parse_steps
from .functions import CONSTANTS
from .given import Given
from .labels import Labels


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
    formula = Given(text, parse_steps(text), values)
    leaves = {name: formula.leaf(name, name in wrt or not wrt) for name in values}
    formula.check_wrt(wrt)
    return _recorded(formula, leaves)


def _recorded(formula: Given, leaves: dict[str, Tensor]) -> Record:
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
    Labels(formula, evaluator, {**constants, **leaves}, capture.index_of(result)).write(capture.entries)
    return Record(capture.entries, capture.passes, "all", formula.text)
