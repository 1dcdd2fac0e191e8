"""Fitting the arguments of a call to the parameters of its function, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...spelling import did_you_mean
from ..errors import ExpressionError, Span
from .advice import OTHER_NAMES
from .expression import Call, Expression, Index, Items, Number, Word, children
from .functions import FUNCTIONS, Function, Parameter, words


def check(text: str, expression: Expression, known: frozenset[str]) -> None:
    """Refuse unknown functions and arguments that do not fit, everywhere in an expression.

    Args:
        text: the formula, for the message.
        expression: what is checked.
        known: names of variables, to tell ``x(y)`` from a misspelt function.

    Raises:
        ExpressionError: it points at the place.
    """
    if isinstance(expression, Call):
        if expression.function not in FUNCTIONS:
            raise ExpressionError(_unknown(expression.function, known), text, expression.span)
        for parameter, given in bind(text, expression):
            if parameter.setting:
                setting(text, expression, parameter, given)
            elif isinstance(given, Word):
                raise ExpressionError("this is not a real number", text, given.span)
    for child in children(expression):
        check(text, child, known)


def bind(text: str, call: Call) -> Iterator[tuple[Parameter, Expression]]:
    """Each argument of a call with the parameter that it is for.

    Raises:
        ExpressionError: too many or too few arguments, or one by a name that the function does not have.
    """
    function = FUNCTIONS[call.function]
    by_position = function.parameters
    if function.rest:
        by_position = (by_position[0],) * len(call.arguments)
    by_name = {parameter.name: parameter for parameter in function.parameters}
    taken = {parameter.name for parameter in by_position[: len(call.arguments)]}
    missing = [p.name for p in function.parameters if p.required and p.name not in taken | dict(call.keywords).keys()]
    if len(call.arguments) > len(by_position) or missing:
        count = len(call.arguments) + len(call.keywords)
        raise ExpressionError(_wrong_count(call.function, function, count), text, call.span)
    yield from zip(by_position, call.arguments, strict=False)
    for name, given in call.keywords:
        if name not in by_name or name in taken:
            raise ExpressionError(_wrong_name(call.function, name, by_name, taken), text, given.span)
        if by_name[name].required and not by_name[name].setting:
            raise ExpressionError(
                f"'{name}' of '{call.function}' is given in its place, without a name", text, given.span
            )
        taken.add(name)
        yield by_name[name], given


def setting(text: str, call: Call, parameter: Parameter, given: Expression) -> Any:
    """The value of a setting: a number, a tuple of whole numbers, a word.

    Raises:
        ExpressionError: it depends on variables, or is no such thing.
    """
    match given:
        case Number(value=value):
            return int(value) if value == int(value) else value
        case Word(value=value):
            return value
        case Index(key=key):
            return key
        case Items(items=items) if all(isinstance(item, Number) for item in items):
            return tuple(int(item.value) for item in items if isinstance(item, Number))
    reason = f"'{parameter.name}' of '{call.function}' is a setting; write it as a number, as in {parameter.name}=0"
    raise ExpressionError(reason, text, given.span)


def _unknown(name: str, known: frozenset[str]) -> str:
    if name in known:
        return f"'{name}' is a value, not a function; write a product with '*'"
    if name in OTHER_NAMES:
        return f"there is no function '{name}'; here it is called '{OTHER_NAMES[name]}'"
    hint = did_you_mean(name, words()) or "; known are " + ", ".join(words())
    return f"there is no function '{name}'{hint}"


def _wrong_count(name: str, function: Function, count: int) -> str:
    least, most = function.least, function.most
    wanted = f"{least}" if most == least else f"at least {least}" if most is None else f"{least} to {most}"
    return f"'{name}' takes {wanted} argument{'s' * (wanted != '1')}, not {count}"


def _wrong_name(function: str, name: str, by_name: dict[str, Parameter], taken: set[str]) -> str:
    if name in taken:
        return f"'{name}' of '{function}' is given twice"
    hint = " (write dim)" if name in ("axis", "axes") and "dim" in by_name else did_you_mean(name, by_name)
    settings = ", ".join(parameter for parameter in by_name if parameter not in taken)
    return f"'{function}' has no argument '{name}'{hint or (f'; it has {settings}' if settings else '')}"


def place_of_argument(call: Call, position: int) -> Span:
    """Where an argument stands, by its position; the whole call where it is not there."""
    return call.arguments[position].span if position < len(call.arguments) else call.span
