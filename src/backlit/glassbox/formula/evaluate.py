"""Computing a formula with the library's own operations, every one of them written down by a capture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import BacklitError
from ...tensor import Tensor
from ..errors import EvaluationError, ExpressionError
from ..record.capture import Capture
from ..record.front import _watching
from .binding import bind, setting
from .expression import Call, Expression, Items, Name, Number
from .failures import not_finite, refused
from .functions import FUNCTIONS

MAX_ELEMENTS = 1_000_000
"""No result may have more elements than this."""
MAX_TOTAL = 10_000_000
"""All results together may not have more elements than this."""

_COLUMNS = {"@": -1, "matmul": -1, "linear": -2, "attention": -2, "scaled_dot_product_attention": -2}
"""Products of matrices, and which size of the second one counts the columns of the result."""

Operand = Tensor | float


class Evaluator:
    """Computes expressions from leaves to root.

    ``variables`` are tensors by name; steps that the formula names join them. ``capture`` writes down every operation;
    ``calls`` tells for each of its entries which call it was made for, and with which values.
    """

    def __init__(self, text: str, variables: Mapping[str, Tensor], capture: Capture) -> None:
        self.text = text
        self.variables: dict[str, Tensor] = dict(variables)
        self.capture = capture
        self.calls: dict[int, tuple[Call, list[tuple[Expression, Any]]]] = {}
        self._elements = 0

    def result(self, expression: Expression) -> Tensor:
        """The value of a whole expression, as a tensor."""
        with _watching(observers=(self.capture,)):
            found = _tensor(self._value(expression))
            self.capture.index_of(found)
        return found

    def _value(self, expression: Expression) -> Operand:
        match expression:
            case Number(value=value):
                return value
            case Name(name=name):
                return self.variables[name]
            case Items():
                return Tensor(self._array(expression))
            case Call():
                return self._compute(expression)
        raise ExpressionError("this is not a value", self.text, expression.span)

    def _compute(self, call: Call) -> Tensor:
        function = FUNCTIONS[call.function]
        positional: list[Any] = []
        named: dict[str, Any] = {}
        values: list[tuple[Expression, Any]] = []
        for i, (parameter, given) in enumerate(bind(self.text, call)):
            if parameter.setting:
                value = setting(self.text, call, parameter, given)
            else:
                value = self._value(given)
                value = value if function.numbers else _tensor(value)
                values.append((given, value))
            if i < len(call.arguments):
                positional.append(value)
            else:
                named[parameter.name] = value
        if function.numbers and not any(isinstance(value, Tensor) for value in positional):
            positional[0] = _tensor(positional[0])
        return self._applied(call, values, positional, named)

    def _applied(self, call: Call, values: list[Any], positional: list[Any], named: dict[str, Any]) -> Tensor:
        arrays = [np.asarray(getattr(value, "_data", value)) for _, value in values]
        self._check_size(call, arrays)
        before = len(self.capture.entries)
        try:
            result = FUNCTIONS[call.function].compute(*positional, **named)
        except (BacklitError, TypeError) as error:
            raise EvaluationError(refused(call, arrays, error), self.text, call.span) from None
        for number in range(before, len(self.capture.entries)):
            self.calls.setdefault(number, (call, values))
        self._check(call, arrays, result)
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

    # -- limits and what went wrong -------------------------------------------------------------------------------

    def _check_size(self, call: Call, arrays: list[np.ndarray]) -> None:
        """Refuse what would take too much memory before it is computed."""
        size = result_size(call.function, [array.shape for array in arrays])
        self._elements += size
        if size > MAX_ELEMENTS:
            message = f"the result of '{call.function}' would have {size:,} elements; the limit is {MAX_ELEMENTS:,}"
            raise EvaluationError(message, self.text, call.span)
        if self._elements > MAX_TOTAL:
            message = f"all results together have more than {MAX_TOTAL:,} elements, which is the limit"
            raise EvaluationError(message, self.text, call.span)

    def _check(self, call: Call, arrays: list[np.ndarray], result: Any) -> None:
        """Stop at the first step that leaves the real numbers, rather than show a table of NaN."""
        if not isinstance(result, Tensor):
            raise EvaluationError(f"'{call.function}' gives no number here", self.text, call.span)
        if not result._data.size:
            raise EvaluationError(f"the result of '{call.function}' is empty", self.text, call.span)
        if not np.isfinite(result._data).all():
            last = next(entry for entry in reversed(self.capture.entries) if entry.op is not None)
            reason, span = not_finite(call, arrays, result._data, last.op.domain)
            raise EvaluationError(reason, self.text, span)


def result_size(function: str, shapes: list[tuple[int, ...]]) -> int:
    """How many elements a result (or the scores inside attention) will have at most; shapes that do not fit are left to
    the operation itself."""
    sizes = [math.prod(shape) for shape in shapes]
    most = max(sizes, default=1)
    try:
        if function in _COLUMNS and all(shapes[:2]):
            return _product_size(shapes[0], shapes[1], _COLUMNS[function])
        if function == "outer":
            return math.prod(sizes)
        if function == "diag":
            return most**2 if len(shapes[0]) == 1 else most
        return math.prod(np.broadcast_shapes(*shapes))
    except ValueError:
        return most


def _product_size(a: tuple[int, ...], b: tuple[int, ...], columns: int) -> int:
    batch = np.broadcast_shapes(a[:-2], b[:-2])
    return math.prod(batch) * (a[-2] if len(a) > 1 else 1) * (b[columns] if len(b) > 1 else 1)


def _tensor(value: Operand) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(np.asarray(value, np.float64))
