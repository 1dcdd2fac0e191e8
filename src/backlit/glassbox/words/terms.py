"""Mathematical expressions as trees: made by computing with symbols, simplified a little, and written by a script.

A declaration such as ``slope_x(s, x)`` of an operation, run on these, writes itself down as mathematics. A symbol may
carry a value; what depends on it can then be evaluated (:mod:`.evaluation`), so that formula and number come from one
tree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

CONDITION, SUM, PRODUCT, POWER, ATOM = range(5)
"""How tightly a term holds together: what is looser than its place needs parentheses."""


class Term:
    """Base of all terms. Arithmetic and comparisons make larger terms."""

    level: ClassVar[int] = ATOM
    __hash__ = None  # type: ignore[assignment]

    @property
    def key(self) -> str:
        """Equal for terms of equal structure."""
        return repr(self)

    def __neg__(self) -> Term:
        return negative(self)

    def __abs__(self) -> Term:
        return Call("abs", (self,))

    def __add__(self, other: Any) -> Term:
        return add(self, term(other))

    def __radd__(self, other: Any) -> Term:
        return add(term(other), self)

    def __sub__(self, other: Any) -> Term:
        return subtract(self, term(other))

    def __rsub__(self, other: Any) -> Term:
        return subtract(term(other), self)

    def __mul__(self, other: Any) -> Term:
        return multiply(self, term(other))

    def __rmul__(self, other: Any) -> Term:
        return multiply(term(other), self)

    def __truediv__(self, other: Any) -> Term:
        return divide(self, term(other))

    def __rtruediv__(self, other: Any) -> Term:
        return divide(term(other), self)

    def __pow__(self, other: Any) -> Term:
        return power(self, term(other))

    def __gt__(self, other: Any) -> Term:
        return Condition(">", self, term(other))

    def __ge__(self, other: Any) -> Term:
        return Condition("≥", self, term(other))

    def __lt__(self, other: Any) -> Term:
        return Condition("<", self, term(other))

    def __le__(self, other: Any) -> Term:
        return Condition("≤", self, term(other))

    def __eq__(self, other: Any) -> Any:
        return Condition("=", self, term(other))

    def __ne__(self, other: Any) -> Any:
        return Condition("≠", self, term(other))

    def __and__(self, other: Any) -> Term:
        return Condition("and", self, term(other))

    def __or__(self, other: Any) -> Term:
        return Condition("or", self, term(other))

    def __bool__(self) -> bool:
        raise TypeError("a term has no truth value: the rule branches on numbers and cannot be written down")


@dataclass(eq=False)
class Number(Term):
    """A constant."""

    number: float

    @property
    def level(self) -> int:  # type: ignore[override]
        """A negative number needs parentheses in a product."""
        return SUM if self.number < 0 else ATOM


@dataclass(eq=False)
class Symbol(Term):
    """A name; ``value`` and ``shape`` are those of what it stands for, where they are known."""

    name: str
    value: Any = field(default=None, repr=False)
    shape: tuple[int, ...] | None = field(default=None, repr=False)


@dataclass(eq=False)
class Partial(Term):
    """∂top/∂bottom; ``index`` tells two uses of the same value by one operation apart."""

    top: str
    bottom: str
    index: int | None = None
    value: Any = field(default=None, repr=False)


@dataclass(eq=False)
class Sum(Term):
    """``left + right``, or ``left − right``."""

    level = SUM
    left: Term
    right: Term
    minus: bool = False


@dataclass(eq=False)
class Negative(Term):
    """``−inner``."""

    level = SUM
    inner: Term


@dataclass(eq=False)
class Product(Term):
    """``left right``: ``kind`` is ``""`` for numbers, ``"⊙"`` for entry by entry, ``"@"`` for matrices."""

    level = PRODUCT
    left: Term
    right: Term
    kind: str = ""


@dataclass(eq=False)
class Quotient(Term):
    """``top / bottom``."""

    level = PRODUCT
    top: Term
    bottom: Term


@dataclass(eq=False)
class Power(Term):
    """``base`` to the power of ``exponent``."""

    level = POWER
    base: Term
    exponent: Term


@dataclass(eq=False)
class Transpose(Term):
    """``innerᵀ``."""

    level = POWER
    inner: Term


@dataclass(eq=False)
class Call(Term):
    """A function of arguments, such as ``tanh(z)``."""

    name: str
    arguments: tuple[Term, ...]


@dataclass(eq=False)
class Function(Term):
    """The name of a function, to say what it means."""

    name: str


@dataclass(eq=False)
class Condition(Term):
    """A comparison, or two joined by ``and`` or ``or``."""

    level = CONDITION
    relation: str
    left: Term
    right: Term


@dataclass(eq=False)
class Indicator(Term):
    """1 where the condition holds, else 0."""

    condition: Term


@dataclass(eq=False)
class Choice(Term):
    """``yes`` where the condition holds, else ``no``."""

    level = CONDITION
    condition: Term
    yes: Term
    no: Term


def term(x: Any) -> Term:
    """Numbers as terms; terms as they are."""
    return x if isinstance(x, Term) else Number(float(x))


def is_number(x: Term, value: float | None = None) -> bool:
    """Whether a term is a number (this number)."""
    return isinstance(x, Number) and (value is None or x.number == value)


# -- arithmetic that simplifies ----------------------------------------------------------------------------------


def add(a: Term, b: Term) -> Term:
    """``a + b``."""
    if is_number(a, 0):
        return b
    if is_number(b, 0):
        return a
    if isinstance(a, Number) and isinstance(b, Number):
        return Number(a.number + b.number)
    if isinstance(b, Negative):
        return Sum(a, b.inner, minus=True)
    return Sum(a, b)


def subtract(a: Term, b: Term) -> Term:
    """``a − b``."""
    if is_number(b, 0):
        return a
    if is_number(a, 0):
        return negative(b)
    if isinstance(a, Number) and isinstance(b, Number):
        return Number(a.number - b.number)
    return add(a, b.inner) if isinstance(b, Negative) else Sum(a, b, minus=True)


def negative(a: Term) -> Term:
    """``−a``."""
    if isinstance(a, Number):
        return Number(-a.number)
    return a.inner if isinstance(a, Negative) else Negative(a)


def multiply(a: Term, b: Term, kind: str = "") -> Term:
    """``a b``: numbers first, signs outside, equal factors as a square."""
    for one, other in ((a, b), (b, a)):
        if is_number(one, 0) or is_number(one, 1):
            return one if is_number(one, 0) else other
        if is_number(one, -1):
            return negative(other)
    if isinstance(a, Number) and isinstance(b, Number):
        return Number(a.number * b.number)
    if isinstance(a, Negative) or (isinstance(a, Number) and a.number < 0):
        return negative(multiply(negative(a), b, kind))
    if isinstance(b, Negative):
        return negative(multiply(a, b.inner, kind))
    if isinstance(b, Number):
        return multiply(b, a)
    if isinstance(a, Number) and isinstance(b, Product) and isinstance(b.left, Number):
        return multiply(Number(a.number * b.left.number), b.right, b.kind)
    if isinstance(a, Number) and isinstance(b, Quotient) and isinstance(b.top, Number):
        return divide(Number(a.number * b.top.number), b.bottom)
    return _gathered(a, b) if kind == "" else Product(a, b, kind)


def _gathered(a: Term, b: Term) -> Term:
    """A product of numbers in which a factor that occurs again is a power."""
    if isinstance(a, Product) and a.kind == "" and _base(a.right).key == _base(b).key:
        return Product(a.left, _gathered(a.right, b))
    if _base(a).key == _base(b).key and isinstance(_exponent(a), Number) and isinstance(_exponent(b), Number):
        return power(_base(a), add(_exponent(a), _exponent(b)))
    return Product(a, b)


def _base(a: Term) -> Term:
    return a.base if isinstance(a, Power) else a


def _exponent(a: Term) -> Term:
    return a.exponent if isinstance(a, Power) else Number(1.0)


def divide(a: Term, b: Term) -> Term:
    """``a / b``: one fraction, signs outside."""
    if is_number(b, 1) or is_number(a, 0):
        return a
    if isinstance(a, Negative):
        return negative(divide(a.inner, b))
    if isinstance(a, Quotient):
        return divide(a.top, multiply(a.bottom, b))
    if isinstance(b, Number) and b.number < 0:
        return negative(divide(a, Number(-b.number)))
    if isinstance(a, Number) and 0 < a.number < 1 and (1 / a.number).is_integer():
        return divide(Number(1.0), multiply(Number(1 / a.number), b))
    sigmoid = _sigmoid(a, b)
    return Quotient(a, b) if sigmoid is None else sigmoid


def power(base: Term, exponent: Term) -> Term:
    """``base`` to the power of ``exponent``."""
    if is_number(exponent, 1) or is_number(base, 1):
        return base
    if is_number(exponent, 0):
        return Number(1.0)
    if isinstance(base, Power) and isinstance(exponent, Number) and isinstance(base.exponent, Number):
        return power(base.base, Number(base.exponent.number * exponent.number))
    return Power(base, exponent)


def _sigmoid(a: Term, b: Term) -> Term | None:
    """σ(x), recognised where it is computed without overflow: ``where(x ≥ 0, 1, e)/(e + 1)`` with ``e = exp(−|x|)``."""
    match a, b:
        case Choice(Condition("≥", x, Number()), Number(), Call("exp") as e), Sum(Call("exp") as again, Number()):
            return Call("σ", (x,)) if e.key == again.key else None
    return None


# -- the functions that declarations use ---------------------------------------------------------------------------


class Functions:
    """The namespace ``s`` of scalar functions for declarations of elementwise operations: each writes itself down."""

    def __getattr__(self, name: str) -> Callable[..., Term]:
        return lambda *arguments: Call(name, tuple(term(x) for x in arguments))

    def where(self, condition: Any, yes: Any, no: Any) -> Term:
        """A choice; an indicator where it is between 1 and 0."""
        yes, no = term(yes), term(no)
        if yes.key == no.key:
            return yes
        if is_number(yes, 1) and is_number(no, 0):
            return Indicator(condition)
        return Choice(condition, yes, no)

    def gated(self, g: Any, slope: Any) -> Term:
        """A product."""
        return term(g) * slope

    def square(self, x: Any) -> Term:
        """A power of 2."""
        return power(term(x), Number(2))

    def pow(self, x: Any, y: Any) -> Term:
        """A power."""
        return power(term(x), term(y))

    def logical_and(self, x: Any, y: Any) -> Term:
        """Both conditions."""
        return Condition("and", x, y)

    def logical_or(self, x: Any, y: Any) -> Term:
        """Either condition."""
        return Condition("or", x, y)


FUNCTIONS = Functions()

CONSTANTS = {
    math.sqrt(0.5): ("1/√2", r"\tfrac{1}{\sqrt{2}}"),
    math.sqrt(2 / math.pi): ("√(2/π)", r"\sqrt{2/\pi}"),
    1 / math.sqrt(2 * math.pi): ("1/√(2π)", r"\tfrac{1}{\sqrt{2\pi}}"),
    2 / math.sqrt(math.pi): ("2/√π", r"\tfrac{2}{\sqrt{\pi}}"),
    math.log(2): ("ln 2", r"\ln 2"),
    math.log(10): ("ln 10", r"\ln 10"),
    math.pi: ("π", r"\pi"),
    0.5: ("½", r"\tfrac{1}{2}"),
}
"""Numbers that mathematics has a name for."""
