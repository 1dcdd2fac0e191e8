"""Computing an expression with the library's own operations, every one of them watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BacklitError
from ..tensor import Tensor
from .errors import ExpressionError, Span
from .expression import Call, Expression, Items, Name, Number
from .functions import FUNCTIONS, NEEDS_TENSOR

MAX_ELEMENTS = 100_000

Operand = Tensor | float


@dataclass(frozen=True)
class Applied:
    """One operation as it was applied, and the part of the expression it was applied for."""

    op: Any
    inputs: tuple[Any, ...]
    result: Tensor
    call: Call


class Evaluator:
    """Computes an expression from leaves to root; put in ``mode.observers`` it keeps what was applied, in order."""

    def __init__(self, text: str, variables: Mapping[str, Tensor]) -> None:
        self.text = text
        self.variables = variables
        self.applied_operations: list[Applied] = []
        self._call: Call | None = None

    def applied(self, op: Any, inputs: tuple[Any, ...], params: Any, extra: Any, result: Tensor) -> None:
        """The observer's method: remember the operation."""
        if self._call is not None:
            self.applied_operations.append(Applied(op, inputs, result, self._call))

    def result(self, expression: Expression) -> Tensor:
        """The value of the whole expression, as a float64 tensor."""
        return _tensor(self._value(expression))

    def _value(self, expression: Expression) -> Operand:
        match expression:
            case Number(value=value):
                return value
            case Name(name=name):
                return self.variables[name]
            case Items():
                return Tensor(self._array(expression))
            case Call(arguments=arguments):
                return self._compute(expression, [self._value(argument) for argument in arguments])

    def _compute(self, call: Call, arguments: list[Operand]) -> Tensor:
        function = FUNCTIONS[call.function]
        if call.function in NEEDS_TENSOR or not any(isinstance(a, Tensor) for a in arguments):
            arguments[0] = _tensor(arguments[0])
        self._call = call
        try:
            result = function.compute(*arguments)
        except BacklitError as error:
            raise self._refused(call, arguments, error) from None
        finally:
            self._call = None
        self._check(call, arguments, result)
        return result

    def _array(self, items: Items) -> np.ndarray:
        rows = [self._constant(item) for item in items.items]
        if len({row.shape for row in rows}) > 1:
            raise ExpressionError("the rows of this list differ in length", self.text, items.span)
        if not rows:
            raise ExpressionError("this list is empty", self.text, items.span)
        return np.stack(rows)

    def _constant(self, item: Expression) -> np.ndarray:
        if isinstance(item, Items):
            return self._array(item)
        value = self._value(item) if not isinstance(item, Name) else None
        if value is None or (isinstance(value, Tensor) and (value.requires_grad or value.ndim)):
            raise ExpressionError("a list holds numbers only", self.text, item.span)
        return np.asarray(value, np.float64)

    # -- what went wrong ----------------------------------------------------------------------------------------

    def _refused(self, call: Call, arguments: list[Operand], error: BacklitError) -> ExpressionError:
        shapes = " and ".join(describe_shape(np.shape(a)) for a in arguments)
        if call.function in ("@", "matmul", "dot"):
            reason = "the last size of the first must be the first size of the second, and neither may be a number"
        elif call.function in ("+", "-", "*", "/", "**", "max", "min"):
            reason = "sizes must be equal, or one of them 1"
        else:
            reason = str(error).split(" at inside backlit")[0]
        return ExpressionError(f"'{call.function}' cannot take {shapes}: {reason}", self.text, call.span)

    def _check(self, call: Call, arguments: list[Operand], result: Any) -> None:
        """Stop at the first step that leaves the real numbers, rather than show a table of NaN."""
        if not isinstance(result, Tensor):
            raise ExpressionError(f"'{call.function}' gives no number here", self.text, call.span)
        if result._data.size > MAX_ELEMENTS:
            raise ExpressionError(f"a result has more than {MAX_ELEMENTS} elements", self.text, call.span)
        if not np.isfinite(result._data).all():
            reason, span = self._not_finite(call, [np.asarray(_tensor(a)._data) for a in arguments], result._data)
            raise ExpressionError(reason, self.text, span)

    def _not_finite(self, call: Call, arguments: list[np.ndarray], result: np.ndarray) -> tuple[str, Span]:
        if call.function == "/" and np.any(arguments[1] == 0):
            return "division by zero", call.arguments[1].span
        if call.function == "**" and np.any((arguments[0] == 0) & (arguments[1] < 0)):
            return "division by zero: 0 to a negative power", call.span
        if call.function == "log" and np.any(arguments[0] <= 0):
            bad = arguments[0][arguments[0] <= 0].flat[0]
            return f"log is defined for numbers above 0, and this is {bad:g}", call.arguments[0].span
        if np.isnan(result).any():
            at = ", ".join(f"{a:g}" if a.ndim == 0 else describe_shape(a.shape) for a in arguments)
            domain = self.applied_operations[-1].op.domain
            return f"'{call.function}' is not a real number at {at} (defined for: {domain})", call.span
        return f"the result of '{call.function}' is too large for float64", call.span


def _tensor(value: Operand) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(np.asarray(value, np.float64))


def describe_shape(shape: tuple[int, ...]) -> str:
    """``a number``, ``a list of 3``, ``a 2×3 matrix``."""
    if not shape:
        return "a number"
    return f"a list of {shape[0]}" if len(shape) == 1 else f"a {'×'.join(map(str, shape))} array"
