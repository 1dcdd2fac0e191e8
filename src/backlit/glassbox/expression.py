"""Reading a formula: Python's grammar parses it, a whitelist decides what stays, and nothing is ever run as Python.

The result is a small tree of :class:`Number`, :class:`Name`, :class:`Items` and :class:`Call`, each knowing its place
in the text, so that errors and explanations can point at it.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import ExpressionError, Span

MAX_LENGTH = 2000
MAX_DEPTH = 100
"""Deeper nesting is refused before any recursion could run out of stack."""


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float
    span: Span


@dataclass(frozen=True)
class Name:
    """A variable."""

    name: str
    span: Span


@dataclass(frozen=True)
class Items:
    """A list: a vector of numbers, or a matrix of such lists."""

    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True)
class Call:
    """A function, or an operator under its function's name, with its arguments."""

    function: str
    arguments: tuple[Expression, ...]
    span: Span


Expression = Number | Name | Items | Call

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.MatMult: "@",
}
OPERATORS = frozenset(_BINARY.values()) | {"neg"}

_REFUSED: dict[type[ast.AST], str] = {
    ast.BitXor: "'^' is not a power here; write x**2",
    ast.FloorDiv: "'//' has no useful gradient; use '/'",
    ast.Mod: "'%' is not supported; use + - * / ** @",
    ast.Compare: "comparisons are not supported; use relu, max, min or abs",
    ast.BoolOp: "'and' and 'or' are not supported; use max and min",
    ast.IfExp: "'if' is not supported; use relu, max, min or abs",
    ast.Attribute: "attributes are not supported; write sigmoid(x), not x.sigmoid()",
    ast.Subscript: "indexing is not supported; give each element its own name",
    ast.Lambda: "functions cannot be defined here",
    ast.NamedExpr: "values are given after the expression, as in x=3",
    ast.Tuple: "write lists with [ and ]",
    ast.JoinedStr: "text is not a value here; values are numbers",
}


def parse(text: str, *, lists: bool = True) -> Expression:
    """Read a formula such as ``(x + y) * z``.

    Args:
        text: numbers, names, + - * / ** @, unary minus, parentheses, lists and function calls.
        lists: whether lists may occur.

    Raises:
        ExpressionError: anything else, or a text that is too long or nested too deeply; it points at the place.
    """
    text = one_line(text)
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"the expression has {len(text)} characters, the limit is {MAX_LENGTH}", text, Span(MAX_LENGTH, len(text))
        )
    if not text:
        raise ExpressionError("the expression is empty", text, Span(0, 1))
    if "#" in text:
        raise ExpressionError("comments are not supported", text, Span(text.index("#"), len(text)))
    return _Reader(text, lists).read(_tree(text), 1)


def one_line(text: str) -> str:
    """The text as places are counted in it: without surrounding space, every other white space a single blank."""
    return " ".join(text.split())


def names(expression: Expression) -> Iterator[Name]:
    """Every occurrence of a variable, from left to right."""
    if isinstance(expression, Name):
        yield expression
    children = expression.arguments if isinstance(expression, Call) else getattr(expression, "items", ())
    for child in children:
        yield from names(child)


def _tree(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        at = max(0, (error.offset or 1) - 1)
        end = max(at + 1, (error.end_offset or 0) - 1)
        raise ExpressionError(_syntax_message(text, error), text, Span(at, min(end, len(text)))) from None
    except (MemoryError, RecursionError, ValueError):
        raise ExpressionError("the expression is nested too deeply", text, Span(0, len(text))) from None


def _syntax_message(text: str, error: SyntaxError) -> str:
    reason = str(error.msg or "")
    if "never closed" in reason or "unmatched" in reason or "does not match" in reason:
        return f"the brackets do not match: {reason}"
    if "too many nested" in reason:
        return "the expression is nested too deeply"
    if "=" in text and "==" not in text:
        return "an '=' does not belong in the expression; values are given after it, as in x=3"
    if "decimal literal" in reason:
        return "a number runs into a name; write the product out, as in 2*x"
    return "the expression cannot be read here"


class _Reader:
    """Turns Python's syntax tree into ours, refusing what is not on the whitelist."""

    def __init__(self, text: str, lists: bool) -> None:
        self.text = text
        self.bytes = text.encode()
        self.lists = lists

    def read(self, tree: ast.expr, depth: int) -> Expression:
        span = self.span(tree)
        if depth > MAX_DEPTH:
            raise ExpressionError(f"the expression is nested deeper than {MAX_DEPTH} levels", self.text, span)
        match tree:
            case ast.Constant(value=bool() | str() | bytes() | None | complex() | ellipsis_()):
                raise ExpressionError("this is not a real number", self.text, span)
            case ast.Constant(value=value):
                return Number(self.number(value, span), span)
            case ast.Name(id=name):
                return Name(name, span)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.read(operand, depth + 1)
                return Number(-inner.value, span) if isinstance(inner, Number) else Call("neg", (inner,), span)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.read(operand, depth + 1)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return Call(_BINARY[type(op)], (self.read(left, depth + 1), self.read(right, depth + 1)), span)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return Call(name, tuple(self.read(a, depth + 1) for a in arguments), span)
            case ast.List(elts=items) if self.lists:
                return Items(tuple(self.read(item, depth + 1) for item in items), span)
        raise self.refusal(tree, span)

    def number(self, value: object, span: Span) -> float:
        try:
            number = float(value)  # type: ignore[arg-type]
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ExpressionError("this number is too large for float64", self.text, span)
        return number

    def refusal(self, tree: ast.expr, span: Span) -> ExpressionError:
        kind: type[ast.AST] = type(tree.op) if isinstance(tree, ast.BinOp) else type(tree)
        if isinstance(tree, ast.Call):
            reason = "named arguments are not supported" if tree.keywords else "only a function's name can be called"
        else:
            reason = _REFUSED.get(kind, "this is not supported; use numbers, names, + - * / ** @, lists and functions")
        return ExpressionError(reason, self.text, span)

    def span(self, tree: ast.expr) -> Span:
        """Python counts bytes; people count characters."""
        start = len(self.bytes[: tree.col_offset].decode(errors="ignore"))
        end = len(self.bytes[: tree.end_col_offset].decode(errors="ignore"))
        return Span(start, end)


ellipsis_ = type(...)
