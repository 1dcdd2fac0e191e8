"""The value of a term from the values of its symbols."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...numerics import quiet
from ...ops.elementwise import NUMPY
from . import terms as t

_RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    "≥": operator.ge,
    "<": operator.lt,
    "≤": operator.le,
    "=": np.equal,
    "≠": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"σ": lambda x: 1 / (1 + np.exp(-x))}


class Unknown(LookupError):
    """A symbol has no value, or a function is only a name."""


def evaluate(term: t.Term, functions: Mapping[str, Callable[..., Any]] = _FUNCTIONS) -> Any:
    """The value of a term.

    Args:
        term: what to evaluate; its symbols carry their values.
        functions: what the names of functions mean, beside the scalar functions of declarations.

    Raises:
        Unknown: a symbol has no value, or a function is only a name.

    >>> z = t.Symbol("z", 3.0)
    >>> float(evaluate(t.multiply(z, 1 - z)))
    -6.0
    """
    with quiet():
        return _value(term, functions)


def _value(term: t.Term, functions: Mapping[str, Callable[..., Any]]) -> Any:
    def of(part: t.Term) -> Any:
        return _value(part, functions)

    match term:
        case t.Number(number):
            return number
        case t.Symbol(name, value) | t.Partial(name, value=value):
            if value is None:
                raise Unknown(f"{name} has no value here")
            return value
        case t.Sum(left, right, minus):
            return of(left) - of(right) if minus else of(left) + of(right)
        case t.Negative(inner):
            return -of(inner)
        case t.Product(left, right, kind):
            return _product(of(left), of(right), kind)
        case t.Quotient(top, bottom):
            return np.true_divide(of(top), of(bottom))
        case t.Power(base, exponent):
            return np.power(of(base), of(exponent))
        case t.Transpose(inner):
            return np.asarray(of(inner)).mT
        case t.Indicator(condition):
            return np.where(of(condition), 1.0, 0.0)
        case t.Choice(condition, yes, no):
            return np.where(of(condition), of(yes), of(no))
        case t.Condition(relation, left, right):
            return _RELATIONS[relation](of(left), of(right))
        case t.Call(name, arguments):
            function = functions.get(name) or getattr(NUMPY, name, None)
            if function is None:
                raise Unknown(f"{name} is only a name here")
            return function(*map(of, arguments))
    raise Unknown(f"{term!r} has no value")


def _product(a: Any, b: Any, kind: str) -> Any:
    return a @ b if kind == "@" and np.ndim(a) and np.ndim(b) else a * b


def settled(term: t.Term, where: Any = True) -> t.Term:
    """A term without the choices that its values have made: what no entry (of those ``where``) takes is left out.

    >>> x = t.Symbol("x", 3.0)
    >>> settled(t.Choice(x > 0, t.Number(1.0), t.Number(0.0)))
    Number(number=1.0)
    """
    if isinstance(term, t.Choice):
        return _settled_choice(term, where)
    if isinstance(term, t.Indicator):
        return settled(t.Choice(term.condition, t.Number(1.0), t.Number(0.0)), where)
    match term:
        case t.Sum(left, right, minus):
            return (t.subtract if minus else t.add)(settled(left, where), settled(right, where))
        case t.Product(left, right, kind):
            return t.multiply(settled(left, where), settled(right, where), kind)
        case t.Quotient(top, bottom):
            return t.divide(settled(top, where), settled(bottom, where))
        case t.Power(base, exponent):
            return t.power(settled(base, where), settled(exponent, where))
        case t.Negative(inner):
            return t.negative(settled(inner, where))
    return term


def _settled_choice(term: t.Choice, where: Any) -> t.Term:
    try:
        condition = np.asarray(evaluate(term.condition))
    except Unknown:
        return term
    taken, left = condition & where, ~condition & where
    if not np.any(left):
        return settled(term.yes, where)
    if not np.any(taken):
        return settled(term.no, where)
    return t.FUNCTIONS.where(term.condition, settled(term.yes, taken), settled(term.no, left))
