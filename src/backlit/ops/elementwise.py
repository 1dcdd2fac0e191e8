"""Elementwise operations: declared by a scalar expression and its local derivatives, and everything else follows.

A declaration is a class with ``value(s, x, ...)`` and a ``slope_<input>(s, ...)`` for each differentiable input. ``s``
names the scalar functions (``s.exp``, ``s.where`` ...), so that one expression serves every interpretation: with
:data:`NUMPY` it computes on arrays, with :data:`LIBRARY` it is recorded, and a compiler passes a tracer. A slope names
the inputs it needs, or ``out``, and only those are saved. From the slope come

- the VJP, upstream gradient times slope, summed over the axes along which the input was broadcast;
- the JVP, slope times tangent.

``indicator = True`` says that slopes are conditions (1 where true, 0 elsewhere): the gradient is routed, not
multiplied, so an infinite upstream gradient does not become NaN where the gate is closed. Every other product is
*gated*: an upstream gradient of exactly zero stays zero, whatever the slope, also where that is infinite or NaN. That
is what makes ``where(x > 0, sqrt(x), x)`` differentiable at 0 and below; docs/numerics.md says what it costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from .. import dtypes
from ..creation import as_tensor
from ..errors import OperationError
from ..numerics import surely_finite
from ..source import describe, mark
from . import error_function
from .definition import NOTHING, REGISTRY, Array, Op, Sample, Tensor, apply, operation
from .powers import written_power

_LARGE = 8192  # from here on, four vectorised passes over bits are quicker than one pass of branches (3 ns an element)
_BITS = {2: np.int16, 4: np.int32, 8: np.int64}


def _select(condition: Any, x: Any, y: Any) -> Any:
    """``np.where`` as ``y ^ ((x ^ y) & mask)`` on the bits of floats, exact for every value, also NaN and infinity."""
    kinds = {a.dtype for a in (x, y) if isinstance(a, np.ndarray)}
    if len(kinds) != 1 or condition.dtype != np.bool_ or next(iter(kinds)).kind != "f":
        return np.where(condition, x, y)
    dtype = kinds.pop()
    bits = _BITS[dtype.itemsize]
    mask = condition.astype(bits)
    np.negative(mask, out=mask)
    x = np.asarray(x, dtype).view(bits)
    if not isinstance(y, np.ndarray) and y == 0 and math.copysign(1, y) > 0:  # all bits of 0.0 are 0, not so of -0.0
        return np.bitwise_and(mask, x).view(dtype)
    y = np.asarray(y, dtype).view(bits)
    chosen = x ^ y
    chosen = np.bitwise_and(chosen, mask, out=chosen if chosen.shape == mask.shape else None)
    return np.bitwise_xor(chosen, y, out=chosen).view(dtype)


class _NumPy:
    """The scalar functions on arrays."""

    abs = np.abs
    exp = np.exp
    exp2 = np.exp2
    expm1 = np.expm1
    log = np.log
    log1p = np.log1p
    log2 = np.log2
    log10 = np.log10
    sqrt = np.sqrt
    square = np.square
    sin = np.sin
    cos = np.cos
    tan = np.tan
    asin = np.arcsin
    acos = np.arccos
    atan = np.arctan
    sinh = np.sinh
    cosh = np.cosh
    tanh = np.tanh
    asinh = np.arcsinh
    acosh = np.arccosh
    atanh = np.arctanh
    floor = np.floor
    ceil = np.ceil
    trunc = np.trunc
    round = np.rint
    sign = np.sign
    maximum = np.maximum
    minimum = np.minimum
    atan2 = np.arctan2
    remainder = np.remainder
    fmod = np.fmod
    hypot = np.hypot
    logaddexp = np.logaddexp
    sinc = np.sinc
    nan_to_num = np.nan_to_num
    isnan = np.isnan
    logical_and = np.logical_and
    logical_or = np.logical_or

    @staticmethod
    def where(condition: Any, x: Any, y: Any) -> Any:
        """``np.where``; on large floating arrays by masking bits, which does not stumble over branches."""
        if getattr(condition, "size", 1) < _LARGE:
            return np.where(condition, x, y)
        return _select(condition, x, y)

    erf = staticmethod(error_function.erf)
    erfc = staticmethod(error_function.erfc)
    erfinv = staticmethod(error_function.erfinv)

    @staticmethod
    def pow(x: Any, exponent: Any) -> Any:
        """``np.power``, which takes 10 ns an element; with a common number for the exponent, products and roots."""
        written = written_power(_NumPy, x, exponent) if isinstance(exponent, int | float) else None
        return np.power(x, exponent) if written is None else written

    @staticmethod
    def gated(g: Any, slope: Any) -> Any:
        """``g * slope`` where zero times infinity or NaN is zero: nothing flows through a gate that nobody asks."""
        product = g * slope
        if isinstance(g, np.generic) and g != 0:
            return product
        if not surely_finite(product):
            product = np.where(np.equal(g, 0), product.dtype.type(0), product)
        return product


class _Library:
    """The same names as recorded operations, looked up in the registry when first used."""

    def __getattr__(self, name: str) -> Any:
        if name not in REGISTRY:
            raise AttributeError(name)
        function = REGISTRY[name].function
        setattr(self, name, function)
        return function


NUMPY = _NumPy
LIBRARY = _Library()


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum a gradient over the axes along which an input of ``shape`` was broadcast: copies forward, sums backward."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    stretched = [i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1]
    return g.sum(axis=(*range(lead), *stretched)).reshape(shape)


class Elementwise(Op):
    """Base of elementwise declarations; see the module's description."""

    gate = "scales by the local slope"
    floats: ClassVar[bool] = True
    """Integer inputs are converted to the default floating dtype first."""
    indicator: ClassVar[bool] = False
    takes_masks: ClassVar[bool] = False
    """A boolean operand beside a floating one is computed with, and saved, as it is: one byte an element."""
    interval: ClassVar[tuple[float, float]] = (-3.0, 3.0)
    """Where the property tests take inputs from."""
    avoid: ClassVar[tuple[float, ...]] = ()
    """Kinks and jumps, kept out of finite differences."""

    value: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        value = cls.__dict__.get("value")
        if value is not None:
            cls.inputs = value.__code__.co_varnames[1 : value.__code__.co_argcount]
            cls.forward = staticmethod(lambda *arrays, **params: value(NUMPY, *arrays, **params))
            cls.keeps_shapes = len(cls.inputs) > 1
            for i, name in enumerate(cls.inputs):
                _derive_rules(cls, i, name)
        super().__init_subclass__(**options)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        """Shapes that broadcast, a 0-d and an empty one, with values inside ``interval`` and away from ``avoid``."""
        shapes: list[tuple[tuple[int, ...], ...]] = [((3, 4),) * len(cls.inputs), ((),) * len(cls.inputs)]
        shapes.append(((0, 2),) * len(cls.inputs))
        if len(cls.inputs) > 1:
            shapes += [((3, 4), (4,), (3, 1))[: len(cls.inputs)], ((2, 1, 3), (4, 1), (1, 1))[: len(cls.inputs)]]
        for group in shapes:
            yield Sample(*[cls.draw(rng, shape) for shape in group])

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Values inside ``interval``, pushed away from ``avoid`` by 0.05."""
        x = rng.uniform(*cls.interval, size=shape)
        for point in cls.avoid:
            x = np.where(np.abs(x - point) < 0.05, point + 0.05 + np.abs(x - point), x)
        return x


def pull_rule(cls: type[Elementwise], name: str) -> tuple[Any, tuple[str, ...]] | None:
    """The gradient rule of an input for any namespace and the values it takes; None if there is none.

    The rule is ``pull(s, g, *values, **params)``, before broadcasting is undone. It comes from ``slope_<name>``, or
    from ``pull_<name>``, which includes the product.
    """
    pull = cls.__dict__.get(f"pull_{name}") or _pull_from_slope(cls, cls.__dict__.get(f"slope_{name}"))
    if pull is None:
        return None
    pull = getattr(pull, "__func__", pull)
    code = pull.__code__
    return pull, getattr(pull, "names", None) or code.co_varnames[2 : code.co_argcount]


def _derive_rules(cls: type[Elementwise], index: int, name: str) -> None:
    """Turn an input's gradient rule into VJP and JVP rules."""
    rule = pull_rule(cls, name)
    if rule is None:
        return
    pull, names = rule
    single = len(cls.inputs) == 1

    def vjp(ctx: Any, g: Any, *values: Any) -> Any:
        part = pull(LIBRARY if isinstance(g, Tensor) else NUMPY, g, *values, **ctx.params)
        return part if single else unbroadcast(part, ctx.shapes[index])

    def jvp(ctx: Any, t: Any, *values: Any) -> Any:
        part = pull(LIBRARY, t, *values, **ctx.params)
        return part if part.shape == ctx.shape else part.expand(ctx.shape)

    for kind, made in (("vjp", vjp), ("jvp", jvp)):
        made.names = names  # type: ignore[union-attr]
        made.__qualname__ = f"{cls.__name__}.{kind}_{name}"
        setattr(cls, f"{kind}_{name}", staticmethod(made))


def _pull_from_slope(cls: type[Elementwise], slope: Any) -> Any:
    if slope is None:
        return None
    slope = getattr(slope, "__func__", slope)
    if cls.indicator:

        def pull(s: Any, g: Any, *values: Any, **params: Any) -> Any:
            return s.where(slope(s, *values, **params), g, 0.0)

    else:

        def pull(s: Any, g: Any, *values: Any, **params: Any) -> Any:
            return s.gated(g, slope(s, *values, **params))

    code = slope.__code__
    pull.names = code.co_varnames[1 : code.co_argcount]  # type: ignore[attr-defined]
    return pull


def operand(x: Any) -> Any:
    """Accept what has a dtype as it is; numbers and sequences become tensors."""
    return x if hasattr(x, "dtype") else as_tensor(x)


def to_float(x: Any) -> Any:
    """Integers and booleans in the default floating dtype; floats as they are."""
    x = operand(x)
    return x if x.dtype.kind == "f" else x.astype(dtypes.get_default_dtype())


def unary(op: type[Elementwise]) -> Callable[[Any], Tensor]:
    """The public function of a declaration with one input."""
    floats = op.floats

    def function(x: Any, /) -> Any:
        if not hasattr(x, "dtype") or (floats and x.dtype.kind != "f"):
            x = to_float(x) if floats else operand(x)
        return apply(op, (x,))

    return _publish(op, function)


def binary(op: type[Elementwise]) -> Callable[[Any, Any], Tensor]:
    """The public function of a declaration with two inputs, which are broadcast and brought to one dtype."""
    floats = op.floats

    def function(x: Any, y: Any, /) -> Any:
        dtype = getattr(x, "dtype", None)
        mixed = dtype is None or dtype is not getattr(y, "dtype", None) or (floats and x.dtype.kind != "f")
        if mixed and not (op.takes_masks and _kinds(x, y) in ("bf", "fb")):
            x, y = match(x, y, floats)
        return apply(op, (x, y))

    return _publish(op, function)


def _kinds(x: Any, y: Any) -> str:
    """The kinds of two operands' dtypes, where both have one."""
    return x.dtype.kind + y.dtype.kind if hasattr(x, "dtype") and hasattr(y, "dtype") else ""


def _publish(op: type[Elementwise], function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.__doc__
    function.__module__ = op.__module__
    return operation(op)(function)


def match(x: Any, y: Any, floats: bool = False) -> tuple[Any, Any]:
    """Bring two operands to one dtype by PyTorch's rules; Python numbers take the dtype of the other operand.

    ``floats`` asks for a floating dtype (true division, powers of e ...): two integers then give the default dtype.
    """
    x, y = _sequence(x), _sequence(y)
    dx: Any = getattr(x, "dtype", None)
    dy: Any = getattr(y, "dtype", None)
    if dx is None and dy is None:
        x = as_tensor(x)
        dx = x.dtype
    if dx is None:
        y, x = _weak(y, x, floats)
        return x, y
    if dy is None:
        return _weak(x, y, floats)
    common = dtypes.promote(dx, x.ndim, dy, y.ndim)
    if floats and common.kind != "f":
        common = dtypes.get_default_dtype()
    return (x if dx == common else x.astype(common)), (y if dy == common else y.astype(common))


def together(x: Any, weight: Any, bias: Any = None) -> list[Any]:
    """The operands of an affine map, brought to one dtype; the bias may be None.

    A product of whole numbers is not promoted: adding a bias that is none then fails, as in PyTorch.
    """
    if x.dtype != weight.dtype:
        x, weight = match(x, weight)
    if bias is None:
        return [x, weight]
    bias = operand(bias)
    if bias.dtype == x.dtype or x.dtype.kind != "f":
        return [x, weight, bias]
    x, bias = match(x, bias)
    return [x, *match(weight, bias)]


def _sequence(x: Any) -> Any:
    if isinstance(x, (Tensor, np.ndarray, np.generic, int, float)):
        return x
    if isinstance(x, (list, tuple)):
        return as_tensor(x)
    if hasattr(x, "__array__"):
        return as_tensor(np.asarray(x))
    raise OperationError(
        f"at {describe(mark())}: cannot compute with a value of type {type(x).__name__}; "
        "operands are tensors, arrays, numbers or sequences of numbers."
    )


def _weak(x: Any, number: Any, floats: bool) -> tuple[Any, Any]:
    """An array or tensor with a Python number: the number is converted, except that floats win over integers."""
    kind = x.dtype.kind
    if kind != "f" and (floats or isinstance(number, float)):
        x = x.astype(dtypes.get_default_dtype())
    elif kind == "b" and not isinstance(number, bool):
        x = x.astype(dtypes.int64)
    return x, float(number) if x.dtype.kind == "f" else number


__all__ = [
    "LIBRARY",
    "NOTHING",
    "NUMPY",
    "Elementwise",
    "binary",
    "match",
    "operand",
    "pull_rule",
    "to_float",
    "unary",
    "unbroadcast",
]
