"""Losses that compare a prediction with a target entry by entry and then reduce: what they share.

A declaration is a class with ``value(s, x, target, ...)`` and ``slope_<input>(s, ...)`` for each differentiable input,
where ``s`` names the scalar functions, as in :mod:`~backlit.ops.elementwise`. Or it states ``pull_<input>(s, g, ...)``,
the product with the upstream gradient, where the gradient is routed rather than multiplied. The forward rule with its
reduction, VJPs and JVPs follow, each as one operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import NOTHING, Op, Sample, Tensor, apply
from .elementwise import LIBRARY, NUMPY, match, operand, unbroadcast

REDUCTIONS = ("mean", "sum", "none")


class Pointwise(Op):
    """Base of pointwise losses; see the module's description."""

    gate = "scales by the local slope, divided by the number of entries for a mean"
    value: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        value = cls.value
        cls.inputs = value.__code__.co_varnames[1 : value.__code__.co_argcount]
        if "forward" not in cls.__dict__:
            cls.forward = staticmethod(
                lambda *arrays, reduction, **settings: reduced(value(NUMPY, *arrays, **settings), reduction)
            )
        for i, name in enumerate(cls.inputs):
            _derive_rules(cls, i, name)
        super().__init_subclass__(**options)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        """Every reduction, 0-d and empty."""
        for reduction in REDUCTIONS:
            yield Sample(rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), reduction=reduction)
        yield Sample(rng.normal(size=()), rng.normal(size=()))
        yield Sample(rng.normal(size=(0, 2)), rng.normal(size=(0, 2)), reduction="sum")


def reduced(values: Any, reduction: str) -> Any:
    """Entries, their sum, or their mean (NaN where there are none)."""
    if reduction == "none":
        return values
    if isinstance(values, Tensor):
        total = values.sum()
        count = math.prod(values.shape)
    else:
        total = np.add.reduce(values, axis=None)
        count = values.size
    return total if reduction == "sum" else total / (count or math.nan)


def shared(ctx: Any, g: Any) -> Any:
    """What each entry receives of the upstream gradient: of that of a mean, an equal share."""
    reduction = ctx.params["reduction"]
    if reduction != "none" and g.__class__ is np.ndarray:
        g = g[()]  # as a NumPy number: arithmetic with a 0-d array costs a microsecond more
    return g * (1.0 / (math.prod(ctx.shapes[0]) or math.nan)) if reduction == "mean" else g


def _derive_rules(cls: type[Pointwise], index: int, name: str) -> None:
    """Turn ``pull_<name>`` or ``slope_<name>`` into VJP and JVP rules that know about the reduction."""
    pull = getattr(cls, f"pull_{name}", None) or _pull_from_slope(getattr(cls, f"slope_{name}", None))
    if pull is None:
        return

    def vjp(ctx: Any, g: Any, *values: Any) -> Any:
        _, settings = _split(ctx.params)
        part = pull(LIBRARY if isinstance(g, Tensor) else NUMPY, shared(ctx, g), *values, **settings)
        return unbroadcast(part, ctx.shapes[index])

    def jvp(ctx: Any, t: Any, *values: Any) -> Any:
        reduction, settings = _split(ctx.params)
        return reduced(pull(LIBRARY, t, *values, **settings), reduction)

    names = getattr(pull, "names", None) or pull.__code__.co_varnames[2 : pull.__code__.co_argcount]
    for kind, rule in (("vjp", vjp), ("jvp", jvp)):
        rule.names = names  # type: ignore[union-attr]
        rule.__qualname__ = f"{cls.__name__}.{kind}_{name}"
        setattr(cls, f"{kind}_{name}", staticmethod(rule))


def _pull_from_slope(slope: Any) -> Any:
    if slope is None:
        return None

    def pull(s: Any, g: Any, *values: Any, **settings: Any) -> Any:
        return s.gated(g, slope(s, *values, **settings))

    pull.names = slope.__code__.co_varnames[1 : slope.__code__.co_argcount]  # type: ignore[attr-defined]
    return pull


def _split(params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if len(params) == 1:
        return params["reduction"], NOTHING
    settings = dict(params)
    return settings.pop("reduction"), settings


# -- arguments ----------------------------------------------------------------------------------------------------


def reduction_of(
    name: str, reduction: str, size_average: bool | None = None, reduce: bool | None = None, *more: str
) -> str:
    """Check a reduction. ``size_average`` and ``reduce`` are PyTorch's older way to say it, and win when given."""
    if size_average is not None or reduce is not None:
        if reduce is False:
            return "none"
        return "sum" if size_average is False else "mean"
    if reduction not in REDUCTIONS and reduction not in more:
        raise OperationError(
            f"{name} at {describe(mark())}: reduction={reduction!r}; choose from {', '.join((*REDUCTIONS, *more))}."
        )
    return reduction


def pair(name: str, x: Any, target: Any) -> tuple[Any, Any]:
    """Prediction and target in one floating dtype.

    Raises:
        OperationError: their shapes differ, or neither is floating.
    """
    if x.__class__ is Tensor and target.__class__ is Tensor:
        a, b = x._data, target._data
        if a.shape == b.shape and a.dtype is b.dtype and a.dtype.kind == "f":
            return x, target
    dtype: Any = getattr(x, "dtype", None)
    if dtype is None or dtype is not getattr(target, "dtype", None):
        x, target = match(operand(x), operand(target))
        dtype = x.dtype
    if x.shape != target.shape:
        raise _unequal(name, x.shape, target.shape)
    if dtype.kind != "f":
        raise OperationError(f"{name} at {describe(mark())}: needs floating values, got {dtype.name}; use .float().")
    return x, target


def _unequal(name: str, x: tuple[int, ...], target: tuple[int, ...]) -> OperationError:
    advice = "Give one target for each prediction."
    if math.prod(x) == math.prod(target):
        advice = f"They hold equally many numbers: reshape the target, target.reshape({', '.join(map(str, x))})."
    else:
        try:
            wide = np.broadcast_shapes(x, target)
            advice = (
                f"Broadcasting them would compare {wide} pairs, which is seldom meant; if it is, expand first: "
                f"target.expand({', '.join(map(str, wide))})."
            )
        except ValueError:
            pass
    return OperationError(
        f"{name} at {describe(mark())}: the prediction has shape {tuple(x)} and the target {tuple(target)}; "
        f"they must be equal. {advice}"
    )


def weighted(
    name: str, op: type[Pointwise], inputs: tuple[Any, ...], weight: Any, params: dict[str, Any], by_weight: bool
) -> Any:
    """A pointwise loss with its entries weighted; ``by_weight`` divides a mean by the sum of the weights.

    Raises:
        OperationError: the weight does not fit the prediction.
    """
    shape, dtype = inputs[0].shape, inputs[0].dtype
    weight = operand(weight)
    if weight.shape != shape and (by_weight or not _fits(weight.shape, shape)):
        raise OperationError(
            f"{name} at {describe(mark())}: weight has shape {tuple(weight.shape)}, which does not fit the "
            f"prediction's {tuple(shape)}."
        )
    weight = weight if weight.dtype == dtype else weight.astype(dtype)
    values = apply(op, inputs, {**params, "reduction": "none"}) * weight
    if by_weight and params["reduction"] == "mean":
        return reduced(values, "sum") / weight.sum()
    return reduced(values, params["reduction"])


def _fits(weight: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(weight, shape) == shape
    except ValueError:
        return False
