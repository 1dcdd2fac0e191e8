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

from ..errors import ExpressionError, Span
from .advice import refusal, syntax_message

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
    """A variable, or an earlier step of the formula."""

    name: str
    span: Span


@dataclass(frozen=True)
class Items:
    """A list: a vector of numbers, or a matrix of such lists."""

    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True)
class Word:
    """What only a setting can be: True, False, None, or a text."""

    value: bool | str | None
    span: Span


@dataclass(frozen=True)
class Index:
    """What stands between [ and ] after a value: whole numbers and slices."""

    key: tuple[int | slice, ...]
    span: Span


@dataclass(frozen=True)
class Call:
    """A function, or an operator under its function's name, with its arguments, the last ones perhaps by name."""

    function: str
    arguments: tuple[Expression, ...]
    span: Span
    keywords: tuple[tuple[str, Expression], ...] = ()


Expression = Number | Name | Items | Word | Index | Call


@dataclass(frozen=True)
class Step:
    """One statement of a formula: an expression and, if it has one, the name it gets."""

    name: str | None
    expression: Expression
    span: Span


_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.MatMult: "@",
}


def parse(text: str, *, limit: int = MAX_LENGTH) -> Expression:
    """Read one expression such as ``(x + y) * z``.

    Args:
        text: numbers, names, + - * / ** @, unary minus, parentheses, lists, indices and function calls.
        limit: how many characters are allowed.

    Raises:
        ExpressionError: anything else, or a text that is too long or nested too deeply; it points at the place.
    """
    steps = parse_steps(text, limit=limit)
    if len(steps) > 1 or steps[0].name is not None:
        raise ExpressionError("one value is wanted here, without ';' and '='", one_line(text), steps[0].span)
    return steps[0].expression


def parse_steps(text: str, *, limit: int = MAX_LENGTH) -> tuple[Step, ...]:
    """Read a formula, which may name its steps: ``s = w*x - y; s**2``.

    Raises:
        ExpressionError: as :func:`parse`.
    """
    text = one_line(text)
    if len(text) > limit:
        raise ExpressionError(
            f"the expression has {len(text)} characters, the limit is {limit}", text, Span(limit, len(text))
        )
    if not text:
        raise ExpressionError("the expression is empty", text, Span(0, 1))
    if "#" in text:
        raise ExpressionError("comments are not supported", text, Span(text.index("#"), len(text)))
    reader = _Reader(text)
    return tuple(reader.step(statement) for statement in _tree(text))


def one_line(text: str) -> str:
    """The text as places are counted in it: without surrounding space, every other white space a single blank."""
    return " ".join(text.split())


def names(expression: Expression) -> Iterator[Name]:
    """Every occurrence of a variable, from left to right."""
    if isinstance(expression, Name):
        yield expression
    for child in children(expression):
        yield from names(child)


def children(expression: Expression) -> tuple[Expression, ...]:
    """What an expression is directly made of."""
    if isinstance(expression, Call):
        return (*expression.arguments, *(value for _, value in expression.keywords))
    return expression.items if isinstance(expression, Items) else ()


def _tree(text: str) -> list[ast.stmt]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text).body
    except SyntaxError as error:
        at = max(0, (error.offset or 1) - 1)
        end = max(at + 1, (error.end_offset or 0) - 1)
        raise ExpressionError(syntax_message(text, error), text, Span(at, min(end, len(text)))) from None
    except (MemoryError, RecursionError, ValueError):
        raise ExpressionError("the expression is nested too deeply", text, Span(0, len(text))) from None


class _Reader:
    """Turns Python's syntax tree into ours, refusing what is not on the whitelist."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.bytes = text.encode()

    def step(self, tree: ast.stmt) -> Step:
        """One statement."""
        span = self.span(tree)
        match tree:
            case ast.Expr(value=value):
                return Step(None, self.read(value, 1), span)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                return Step(name, self.read(value, 1), span)
        raise ExpressionError("a step is an expression, or NAME = expression", self.text, span)

    def read(self, tree: ast.expr, depth: int) -> Expression:
        """An expression, its parts read one level deeper."""
        span = self.span(tree)
        if depth > MAX_DEPTH:
            raise ExpressionError(f"the expression is nested deeper than {MAX_DEPTH} levels", self.text, span)
        match tree:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return Number(self.number(value, span), span)
            case ast.Constant():
                raise ExpressionError("this is not a real number", self.text, span)
            case ast.Name(id=name):
                return Name(name, span)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.read(operand, depth + 1)
                return Number(-inner.value, span) if isinstance(inner, Number) else Call("neg", (inner,), span)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.read(operand, depth + 1)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return Call(_BINARY[type(op)], (self.read(left, depth + 1), self.read(right, depth + 1)), span)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
                given = tuple(self.read(a, depth + 1) for a in arguments)
                return Call(name, given, span, tuple(self.keyword(k, depth + 1) for k in keywords))
            case ast.List(elts=items):
                return Items(tuple(self.read(item, depth + 1) for item in items), span)
            case ast.Subscript(value=value, slice=key):
                return Call("[]", (self.read(value, depth + 1), self.index(key)), span)
        raise ExpressionError(refusal(tree, self.text), self.text, span)

    def keyword(self, tree: ast.keyword, depth: int) -> tuple[str, Expression]:
        """An argument by name; some settings are words."""
        if tree.arg is None:
            raise ExpressionError("'**' before an argument is not supported", self.text, self.span(tree.value))
        span = self.span(tree.value)
        match tree.value:
            case ast.Constant(value=bool() | str() | None as word):
                return tree.arg, Word(word, span)
            case ast.Tuple(elts=items):
                return tree.arg, Items(tuple(self.read(item, depth) for item in items), span)
        return tree.arg, self.read(tree.value, depth)

    def index(self, tree: ast.expr) -> Index:
        """Whole numbers and slices, with commas between."""
        parts = tree.elts if isinstance(tree, ast.Tuple) else [tree]
        return Index(tuple(self.place(part) for part in parts), self.span(tree))

    def place(self, tree: ast.expr) -> int | slice:
        """A whole number, or a slice of whole numbers."""
        match tree:
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)) if not isinstance(value, bool):
                return -value
            case ast.Slice(lower=lower, upper=upper, step=step):
                return slice(*(None if part is None else self.place(part) for part in (lower, upper, step)))
        reason = "an index is a whole number or a slice, as in x[0] or x[1:3]; give other elements names of their own"
        raise ExpressionError(reason, self.text, self.span(tree))

    def number(self, value: float, span: Span) -> float:
        """A number as float64 has it."""
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ExpressionError("this number is too large for float64", self.text, span)
        return number

    def span(self, tree: ast.expr | ast.stmt) -> Span:
        """Python counts bytes; people count characters."""
        start = len(self.bytes[: tree.col_offset].decode(errors="ignore"))
        end = len(self.bytes[: tree.end_col_offset].decode(errors="ignore"))
        return Span(start, end)
