"""Formulas of elementwise operations as data, so that the page can compute them again without running foreign code.

An elementwise operation is declared once, by ``value(s, x, …)`` and its slopes, with a namespace ``s`` of scalar
functions. Here the namespace and the operands are symbols that write down what is done with them: a tree such as
``["mul", "x", ["exp", "y"]]``. In a gradient rule ``$g`` is the upstream gradient and ``$out`` the output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partialmethod
from typing import Any, NamedTuple

from ...ops.elementwise import Elementwise, pull_rule
from ...ops.pointwise import Pointwise
from ...ops.registry import REGISTRY

Tree = Any
"""A number, a name, or a list of a function's name and its operands."""


RULES = frozenset({"sum", "mean", "permute", "softmax", "log_softmax", "cross_entropy"})
"""What the page computes by rules of its own that need settings (assets/js/rules.js)."""


class Operator(NamedTuple):
    """A node of a record, as far as its formula is concerned."""

    id: int
    op: str
    params: dict[str, Any]


class Symbol:
    """An operand that writes down what is computed with it."""

    __slots__ = ("tree",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def _with(self, function: str, other: Any) -> Symbol:
        return Symbol([function, self.tree, _tree(other)])

    def _after(self, function: str, other: Any) -> Symbol:
        return Symbol([function, _tree(other), self.tree])

    def __neg__(self) -> Symbol:
        return Symbol(["neg", self.tree])

    def __invert__(self) -> Symbol:
        return Symbol(["logical_not", self.tree])

    def __abs__(self) -> Symbol:
        return Symbol(["abs", self.tree])

    def __bool__(self) -> bool:
        raise TypeError("a rule that branches on values has no formula")


_OPERATORS = ("add", "sub", "mul", "truediv", "pow", "mod", "and", "or", "gt", "ge", "lt", "le", "eq", "ne")
_NAMES = {"truediv": "div", "mod": "remainder", "and": "logical_and", "or": "logical_or"}
_UNSUPPORTED = frozenset({"erfinv", "nan_to_num"})
for _operator in _OPERATORS:
    _function = _NAMES.get(_operator, _operator)
    setattr(Symbol, f"__{_operator}__", partialmethod(Symbol._with, _function))
    if _operator not in ("gt", "ge", "lt", "le", "eq", "ne"):
        setattr(Symbol, f"__r{_operator}__", partialmethod(Symbol._after, _function))


class _Writer:
    """The namespace of scalar functions; each writes itself down."""

    def __getattr__(self, name: str) -> Callable[..., Symbol]:
        if name in _UNSUPPORTED:
            raise TypeError(f"{name} is not computed in the page")
        return lambda *operands: Symbol([name, *map(_tree, operands)])


def _tree(x: Any) -> Tree:
    if isinstance(x, Symbol):
        return x.tree
    number = float(x)
    return number if math.isfinite(number) else str(number)


def program(op: type[Elementwise] | type[Pointwise], params: dict[str, Any]) -> dict[str, Any] | None:
    """``{"inputs": names, "value": tree, "pulls": {name: tree}, "reduction": …}`` of an elementwise operation or a
    pointwise loss; None where a rule cannot be written as a formula."""
    settings = {name: value for name, value in params.items() if name != "reduction"}
    try:
        value = _tree(op.value(_Writer(), *map(Symbol, op.inputs), **settings))
        pulls = {name: pull for name in op.inputs if (pull := _pull(op, name, settings)) is not None}
    except (TypeError, AttributeError, ValueError):
        return None
    return {"inputs": list(op.inputs), "value": value, "pulls": pulls, "reduction": params.get("reduction", "none")}


def _pull(op: type[Elementwise] | type[Pointwise], name: str, params: dict[str, Any]) -> Tree | None:
    rule = pull_rule(op, name)  # type: ignore[arg-type]  # pointwise losses name their rules in the same way
    if rule is None:
        return None
    pull, names = rule
    operands = [Symbol("$out" if each == "out" else each) for each in names]
    return _tree(pull(_Writer(), Symbol("$g"), *operands, **params))


def programs_of(nodes: Iterable[Operator]) -> dict[str, Any]:
    """``{"list": programs, "of": {id: place in the list}, "settings": {id: settings}}``: formulas, each kept once, and
    the settings of the operations that the page computes by rules of its own."""
    found: list[dict[str, Any]] = []
    places: dict[str, int | None] = {}
    of: dict[str, int] = {}
    settings: dict[str, dict[str, Any]] = {}
    for node in nodes:
        key = f"{node.op} {sorted(node.params.items(), key=str)}"
        if key not in places:
            made = _program_of(node)
            places[key] = None if made is None else len(found)
            found += [] if made is None else [made]
        if (place := places[key]) is not None:
            of[str(node.id)] = place
        elif node.op in RULES:
            settings[str(node.id)] = {name: _plain(value) for name, value in node.params.items()}
    return {"list": found, "of": of, "settings": settings}


def _program_of(node: Operator) -> dict[str, Any] | None:
    entry = REGISTRY.get(node.op)
    op = entry.definition if entry is not None else None
    return program(op, node.params) if op is not None and issubclass(op, Elementwise | Pointwise) else None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
