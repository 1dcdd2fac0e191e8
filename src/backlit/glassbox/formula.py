"""Explaining a formula at given values: every step's value, local and upstream gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd import backward
from ..graph import Node, WalkObserver, enable_grad, mode
from ..ops.elementwise import Elementwise
from ..tensor import Tensor
from .errors import ExpressionError
from .evaluate import Applied, Evaluator
from .explanation import Explanation, Local, Operand, Step, Value, Variable
from .expression import Call, Expression, Name, names, one_line, parse
from .functions import FUNCTIONS
from .local import local_gradients

CONSTANTS = {"pi": np.pi}


def explain_formula(text: str, values: Mapping[str, Any]) -> Explanation:
    """Compute a formula and its gradients, and say what happened at every step.

    Args:
        text: the formula, such as ``"(x + y) * z"``; it is parsed, never run as Python.
        values: a number or nested lists for every name in it.

    Returns:
        The record of the forward and the backward pass, in float64. A result that is not a scalar is summed first.

    Raises:
        ExpressionError: the formula cannot be read or computed, or names and values do not match.

    >>> explained = explain_formula("(x + y) * z", {"x": -2, "y": 5, "z": -4})
    >>> explained.value, {v.name: v.gradient for v in explained.variables}
    (-12.0, {'x': -4.0, 'y': -4.0, 'z': 3.0})
    """
    text = one_line(text)
    expression = parse(text)
    variables = _leaves(text, expression, values)
    constants = {name: Tensor(np.asarray(value)) for name, value in CONSTANTS.items() if name not in variables}
    _check_functions(text, expression)
    evaluator = Evaluator(text, {**constants, **variables})
    with enable_grad():
        result = _watched(evaluator, expression)
    locals_ = {a.result._node: local_gradients(a.result._node) for a in evaluator.applied_operations if a.result._node}
    gradients = _Gradients()
    if result.requires_grad:
        _walk(result, gradients)
    return _Writer(text, variables, evaluator.applied_operations, locals_, gradients, constants).explanation(result)


def read_value(text: str) -> Any:
    """A number or a list from text such as ``-2``, ``1/3`` or ``[[1, 2], [3, 4]]``.

    Raises:
        ExpressionError: it is something else; the message points at the place.
    """
    text = one_line(text)
    expression = parse(text)
    for name in names(expression):
        if name.name not in CONSTANTS:
            raise ExpressionError("a value is a number or a list of numbers", text, name.span)
    _check_functions(text, expression)
    constants = {name: Tensor(np.asarray(value)) for name, value in CONSTANTS.items()}
    return Evaluator(text, constants).result(expression)._data.tolist()


def _leaves(text: str, expression: Expression, values: Mapping[str, Any]) -> dict[str, Tensor]:
    """A tensor that requires gradients for every name, in the order in which the names occur."""
    occurring = {name.name: name for name in reversed(list(names(expression)))}
    missing = [name for name in reversed(occurring.values()) if name.name not in values and name.name not in CONSTANTS]
    unused = [name for name in values if name not in occurring]
    if missing:
        raise ExpressionError(_missing_message(missing[0].name, unused or values), text, missing[0].span)
    if unused:
        from ..spelling import did_you_mean

        raise ExpressionError(
            f"a value is given for '{unused[0]}', which does not occur in the expression"
            f"{did_you_mean(unused[0], occurring)}",
            text,
            expression.span,
        )
    return {name: _leaf(text, occurring[name], values[name]) for name in values}


def _leaf(text: str, name: Name, value: Any) -> Tensor:
    try:
        array = np.array(value, np.float64)
    except (ValueError, TypeError):
        raise ExpressionError(f"the value of '{name.name}' is not a regular list of numbers", text, name.span) from None
    leaf = Tensor(array)
    leaf.requires_grad = True
    return leaf


def _missing_message(name: str, given: Iterable[str]) -> str:
    from ..spelling import did_you_mean

    if name in FUNCTIONS:
        return f"'{name}' is a function; write {name}(...)"
    return f"'{name}' has no value{did_you_mean(name, given)}; give one after the expression, as in {name}=3"


def _check_functions(text: str, expression: Expression) -> None:
    from ..spelling import did_you_mean

    if isinstance(expression, Call):
        known = [name for name in FUNCTIONS if name.isidentifier() and name != "neg"]
        function = FUNCTIONS.get(expression.function)
        if function is None:
            hint = did_you_mean(expression.function, known) or f"; known are {', '.join(sorted(known))}"
            raise ExpressionError(f"there is no function '{expression.function}'{hint}", text, expression.span)
        count = len(expression.arguments)
        if count < function.least or (function.most is not None and count > function.most):
            wanted = f"{function.least}" if function.most == function.least else f"at least {function.least}"
            raise ExpressionError(
                f"'{expression.function}' takes {wanted} argument(s), not {count}", text, expression.span
            )
    for child in expression.arguments if isinstance(expression, Call) else getattr(expression, "items", ()):
        _check_functions(text, child)


def _watched(evaluator: Evaluator, expression: Expression) -> Tensor:
    before = mode.observers
    mode.observers = (*before, evaluator)
    try:
        return evaluator.result(expression)
    finally:
        mode.observers = before


class _Gradients(WalkObserver):
    """Keeps what passes through every node of the reverse walk."""

    def __init__(self) -> None:
        self.upstream: dict[Node, Value] = {}
        self.downstream: dict[Node, list[Value | None]] = {}

    def leave(self, node: Node, upstream: Any, downstream: Sequence[Any]) -> None:
        self.upstream[node] = np.array(upstream).tolist()
        self.downstream[node] = [None if part is None else np.array(part).tolist() for part in downstream]


def _walk(result: Tensor, observer: WalkObserver) -> None:
    before = mode.walkers
    mode.walkers = (*before, observer)
    try:
        backward(result, Tensor(np.ones(result.shape)), retain_graph=True)
    finally:
        mode.walkers = before


class _Writer:
    """Turns what was watched into the record: names for steps, then the numbers."""

    def __init__(
        self,
        text: str,
        variables: Mapping[str, Tensor],
        applied: list[Applied],
        locals_: Mapping[Node, list[Local | None]],
        gradients: _Gradients,
        constants: Mapping[str, Tensor],
    ) -> None:
        self.text, self.variables, self.applied = text, variables, applied
        self.locals, self.gradients = locals_, gradients
        self.names = {id(tensor): name for name, tensor in (*variables.items(), *constants.items())}
        self._name_steps()

    def _name_steps(self) -> None:
        taken = set(self.variables) | set(FUNCTIONS)
        fresh = (name for name in (f"q{i}" for i in range(1, len(self.applied) + len(taken) + 2)) if name not in taken)
        last = next(name for name in ("f", "result", "the_result") if name not in taken)
        for applied in self.applied:
            self.names[id(applied.result)] = last if applied is self.applied[-1] else next(fresh)

    def explanation(self, result: Tensor) -> Explanation:
        steps = tuple(self._step(applied) for applied in self.applied)
        return Explanation(
            expression=self.text,
            variables=tuple(self._variable(name, tensor) for name, tensor in self.variables.items()),
            steps=steps,
            shape=result.shape,
            value=result._data.tolist(),
            summed=result.shape != (),
            notes=tuple(
                note for applied, step in zip(self.applied, steps, strict=True) for note in _notes(applied, step)
            ),
        )

    def _variable(self, name: str, tensor: Tensor) -> Variable:
        gradient = None if tensor.grad is None else tensor.grad._data.tolist()
        return Variable(name, tensor.shape, tensor._data.tolist(), gradient)

    def _step(self, applied: Applied) -> Step:
        node, op, span = applied.result._node, applied.op, applied.call.span
        return Step(
            name=self.names[id(applied.result)],
            expression=self.text[span.start : span.end],
            span=(span.start, span.end),
            operation=op.name,
            formula=op.formula,
            gate=op.gate,
            domain=op.domain,
            shape=applied.result.shape,
            value=applied.result._data.tolist(),
            operands=self._operands(applied, node),
            upstream=self.gradients.upstream.get(node) if node is not None else None,
        )

    def _operands(self, applied: Applied, node: Node | None) -> tuple[Operand, ...]:
        count = len(applied.inputs)
        locals_ = self.locals.get(node, [None] * count) if node is not None else [None] * count
        downstream = self.gradients.downstream.get(node, [None] * count) if node is not None else [None] * count
        roles = applied.op.inputs
        return tuple(
            Operand(roles[min(i, len(roles) - 1)], self._operand_name(x), locals_[i], downstream[i])
            for i, x in enumerate(applied.inputs)
        )

    def _operand_name(self, x: Any) -> str:
        name = self.names.get(id(x))
        if name is not None:
            return name
        array = np.asarray(getattr(x, "_data", x))
        return f"{array:g}" if array.ndim == 0 and array.dtype.kind == "f" else str(array.tolist())


def _notes(applied: Applied, step: Step) -> list[str]:
    """Where a slope is a convention or not finite."""
    arrays = [np.asarray(getattr(x, "_data", x)) for x in applied.inputs]
    notes = []
    if step.operation in ("maximum", "minimum") and np.any(arrays[0] == arrays[1]):
        notes.append(f"{step.name} = {step.expression}: both inputs are equal, so the gradient is split in halves.")
    if issubclass(applied.op, Elementwise) and len(arrays) == 1 and np.isin(arrays[0], applied.op.avoid).any():
        notes.append(f"{step.name} = {step.expression}: {step.domain}.")
    for operand in step.operands:
        if operand.local is not None and operand.local.value is not None and not np.isfinite(operand.local.value).all():
            notes.append(f"{step.name} = {step.expression}: the slope is not finite here (defined for: {step.domain}).")
            break
    return notes
