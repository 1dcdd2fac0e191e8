"""Samples of operations at other sizes and with other values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from operation_cases import Case, rebuilt

import backlit as bl
from backlit.ops.definition import Operation, Sample

Array = np.ndarray


def changed(sample: Sample, change: Callable[[Array], Any]) -> Sample:
    args, kwargs = rebuilt([list(sample.args), sample.kwargs], change)
    return Sample(*args, **kwargs)


def results(call: Any, case: Case) -> list[Array]:
    bl.manual_seed(0)
    with np.errstate(all="ignore"):
        return [t.detach().numpy().copy() for part in call(*case.tensors) for t in part]


def resized(sample: Sample, more: int) -> Sample:
    """A sample whose dimensions of size 2 and more are larger by ``more``, filled with the values that it has, again
    and again: they stay in the operation's domain, and in the range of what they number."""
    return changed(sample, lambda a: np.resize(a, tuple(n + more if n > 1 else n for n in a.shape)))


def emptied(sample: Sample) -> Sample:
    """A sample whose leading dimensions are empty."""
    return changed(sample, lambda a: a[:0] if a.ndim else a)


def works(operation: Operation, sample: Sample) -> bool:
    """Whether an operation takes a sample that was changed, and gives a gradient."""
    try:
        case = Case(operation, sample, np.float64)
        with np.errstate(all="ignore"):
            case()
    except (bl.errors.BacklitError, ArithmeticError, LookupError, TypeError, ValueError):
        return False
    return True
