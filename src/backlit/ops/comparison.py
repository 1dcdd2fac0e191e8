"""Comparisons and logic: boolean results, no gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import mode
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import match, operand
from .misuse import misuse

_BLOCKS = "blocks: the result is not a number that varies smoothly"


def _pairs(rng: np.random.Generator) -> Any:
    yield Sample(rng.normal(size=(3, 4)), rng.normal(size=(4,)))
    yield Sample(rng.normal(size=()), rng.normal(size=()))


def _comparison(name: str, symbol: str, ufunc: Any) -> Any:
    """A comparison by name, mathematical symbol and NumPy function."""
    definition = type(
        name.capitalize(),
        (Op,),
        {
            "name": name,
            "formula": f"z = x {symbol} y",
            "gate": _BLOCKS,
            "differentiable": False,
            "forward": staticmethod(lambda x, y: ufunc(x, y)),
            "samples": staticmethod(_pairs),
        },
    )

    def compare(x: Any, y: Any, /) -> Tensor:
        return apply(definition, match(x, y))

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = f"``x {symbol} y``, element by element and broadcast, as booleans."
    return operation(definition)(compare)


eq = _comparison("eq", "=", np.equal)
ne = _comparison("ne", "≠", np.not_equal)
lt = _comparison("lt", "<", np.less)
le = _comparison("le", "≤", np.less_equal)
gt = _comparison("gt", ">", np.greater)
ge = _comparison("ge", "≥", np.greater_equal)


def _logic(name: str, symbol: str, ufunc: Any, inputs: int) -> Any:
    """A logical or bitwise function of one or two inputs."""
    one: Any = lambda x: ufunc(x)  # noqa: E731
    two: Any = lambda x, y: ufunc(x, y)  # noqa: E731
    forward: Any = staticmethod(one if inputs == 1 else two)

    def samples(rng: np.random.Generator) -> Any:
        yield Sample(*[rng.random((3, 4)) < 0.5 for _ in range(inputs)])

    definition = type(
        name,
        (Op,),
        {
            "name": name,
            "formula": symbol,
            "gate": _BLOCKS,
            "differentiable": False,
            "forward": forward,
            "samples": staticmethod(samples),
        },
    )

    def function(*operands: Any) -> Tensor:
        return apply(definition, match(*operands) if inputs == 2 else (operand(*operands),))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``{symbol}``, element by element."
    return operation(definition)(function)


logical_and = _logic("logical_and", "x ∧ y", np.logical_and, 2)
logical_or = _logic("logical_or", "x ∨ y", np.logical_or, 2)
logical_xor = _logic("logical_xor", "x ⊻ y", np.logical_xor, 2)
logical_not = _logic("logical_not", "¬x", np.logical_not, 1)
bitwise_and = _logic("bitwise_and", "x & y", np.bitwise_and, 2)
bitwise_or = _logic("bitwise_or", "x | y", np.bitwise_or, 2)
bitwise_xor = _logic("bitwise_xor", "x ^ y", np.bitwise_xor, 2)
bitwise_not = _logic("bitwise_not", "~x", np.invert, 1)


def _test(name: str, meaning: str, ufunc: Any) -> Any:
    """A yes-or-no question about each element."""
    definition = type(
        name,
        (Op,),
        {
            "name": name,
            "formula": meaning,
            "gate": _BLOCKS,
            "differentiable": False,
            "forward": staticmethod(lambda x: ufunc(x)),
            "samples": staticmethod(lambda rng: [Sample(rng.normal(size=(3, 4)))]),
        },
    )

    def function(x: Any, /) -> Tensor:
        return apply(definition, (operand(x),))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Whether each element is {meaning}."
    return operation(definition)(function)


isnan = _test("isnan", "not a number", np.isnan)
isinf = _test("isinf", "infinite", np.isinf)
isfinite = _test("isfinite", "a finite number", np.isfinite)


def isclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether each pair is equal within ``atol + rtol * |y|``."""
    if not (rtol >= 0 and atol >= 0):
        raise misuse("isclose", f"tolerances must not be negative, they are rtol={rtol}, atol={atol}.")
    x, y = match(x, y)
    if mode.tracer is not None:
        mode.tracer.refuse("isclose")
    return Tensor(np.isclose(getattr(x, "_data", x), getattr(y, "_data", y), rtol, atol, equal_nan))


def allclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all pairs are equal within ``atol + rtol * |y|``."""
    return bool(isclose(x, y, rtol, atol, equal_nan)._data.all())


def equal(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors have the same shape and the same values."""
    if mode.tracer is not None:
        mode.tracer.refuse("equal")
    return bool(np.array_equal(x._data, y._data))
