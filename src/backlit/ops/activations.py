"""Activation functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .definition import Sample, Tensor, apply, operation
from .elementwise import Elementwise, to_float, unary
from .misuse import misuse

_SQRT_HALF, _SQRT_2_OVER_PI, _INV_SQRT_2PI = math.sqrt(0.5), math.sqrt(2.0 / math.pi), 1.0 / math.sqrt(2.0 * math.pi)
_GELU_CUBIC = 0.044715  # Hendrycks & Gimpel 2016, the tanh approximation
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946  # Klambauer et al. 2017


def _sigmoid(s: Any, x: Any) -> Any:
    """σ(x) through e^(−|x|), which cannot overflow."""
    e = s.exp(-s.abs(x))
    return s.where(x >= 0, 1.0, e) / (e + 1.0)


def _softplus(s: Any, x: Any) -> Any:
    """ln(1 + eˣ) = max(x, 0) + ln(1 + e^(−|x|)), which cannot overflow."""
    return s.maximum(x, 0.0) + s.log1p(s.exp(-s.abs(x)))


class Sigmoid(Elementwise):
    """Logistic sigmoid."""

    formula = "y = σ(x) = 1/(1 + e⁻ˣ)"
    gate = "scales by y(1 − y), at most ¼; vanishes when saturated"

    def value(s, x):
        return _sigmoid(s, x)

    def slope_x(s, out):
        return out * (1.0 - out)


class LogSigmoid(Elementwise):
    """Logarithm of the sigmoid, finite for every finite input."""

    name = "logsigmoid"
    formula = "y = ln σ(x) = −ln(1 + e⁻ˣ)"

    def value(s, x):
        return s.minimum(x, 0.0) - s.log1p(s.exp(-s.abs(x)))

    def slope_x(s, x):
        return _sigmoid(s, -x)


class Relu(Elementwise):
    """Rectified linear unit; its slope at 0 is taken as 0."""

    formula = "y = max(0, x)"
    gate = "routes: passes where x > 0, blocks elsewhere; its Jacobian is diagonal and never built"
    domain = "kink at 0, where the slope 0 is used"
    floats = False
    indicator = True
    avoid = (0.0,)

    def value(s, x):
        return s.maximum(x, 0)

    def slope_x(s, out):
        return out > 0


class Silu(Elementwise):
    """Sigmoid linear unit (swish)."""

    formula = "y = x σ(x)"

    def value(s, x):
        return x * _sigmoid(s, x)

    def slope_x(s, x):
        p = _sigmoid(s, x)
        return p * (1.0 + x * (1.0 - p))


class Mish(Elementwise):
    """Mish, ``x * tanh(softplus(x))`` (Misra 2019)."""

    formula = "y = x tanh(ln(1 + eˣ))"

    def value(s, x):
        return x * s.tanh(_softplus(s, x))

    def slope_x(s, x):
        t = s.tanh(_softplus(s, x))
        return t + x * (1.0 - t * t) * _sigmoid(s, x)


class HardSigmoid(Elementwise):
    """Piecewise linear sigmoid."""

    name = "hardsigmoid"
    formula = "y = min(max(x/6 + ½, 0), 1)"
    domain = "kinks at −3 and 3"
    interval = (-5.0, 5.0)
    avoid = (-3.0, 3.0)

    def value(s, x):
        return s.minimum(s.maximum(x / 6.0 + 0.5, 0.0), 1.0)

    def pull_x(s, g, x):
        return s.where((x > -3.0) & (x < 3.0), g / 6.0, 0.0)


class HardSwish(Elementwise):
    """``x`` times the hard sigmoid (Howard et al. 2019)."""

    name = "hardswish"
    formula = "y = x · min(max(x + 3, 0), 6)/6"
    domain = "kinks at −3 and 3"
    interval = (-5.0, 5.0)
    avoid = (-3.0, 3.0)

    def value(s, x):
        return x * s.minimum(s.maximum(x + 3.0, 0.0), 6.0) / 6.0

    def slope_x(s, x):
        return s.where(x <= -3.0, 0.0, s.where(x >= 3.0, 1.0, x / 3.0 + 0.5))


class LeakyRelu(Elementwise):
    """Leaky rectifier."""

    name = "leaky_relu"
    formula = "y = x if x > 0 else a·x"
    gate = "passes where x > 0, scales by a elsewhere"
    domain = "kink at 0"
    avoid = (0.0,)

    def value(s, x, *, negative_slope):
        return s.where(x > 0, x, x * negative_slope)

    def pull_x(s, g, x, *, negative_slope):
        return s.where(x > 0, g, g * negative_slope)


class Elu(Elementwise):
    """Exponential linear unit (Clevert et al. 2015)."""

    formula = "y = x if x > 0 else α(eˣ − 1)"
    domain = "kink at 0 unless α = 1"
    avoid = (0.0,)

    def value(s, x, *, alpha, scale):
        return s.where(x > 0, x, s.expm1(s.minimum(x, 0.0)) * alpha) * scale

    def slope_x(s, x, *, alpha, scale):
        return s.where(x > 0, scale, s.exp(s.minimum(x, 0.0)) * (alpha * scale))


class GeluErf(Elementwise):
    """Gaussian error linear unit, exact."""

    name = "gelu"
    formula = "y = x Φ(x) = x/2 (1 + erf(x/√2))"

    def value(s, x):
        return x * (0.5 * (1.0 + s.erf(x * _SQRT_HALF)))

    def slope_x(s, x):
        return 0.5 * (1.0 + s.erf(x * _SQRT_HALF)) + x * (s.exp(x * x * -0.5) * _INV_SQRT_2PI)


class GeluTanh(Elementwise):
    """Gaussian error linear unit, tanh approximation."""

    name = "gelu_tanh"
    formula = "y = x/2 (1 + tanh(√(2/π)(x + 0.044715 x³)))"

    def value(s, x):
        return 0.5 * x * (1.0 + s.tanh(_SQRT_2_OVER_PI * (x + _GELU_CUBIC * x * x * x)))

    def slope_x(s, x):
        t = s.tanh(_SQRT_2_OVER_PI * (x + _GELU_CUBIC * x * x * x))
        inner = _SQRT_2_OVER_PI * (1.0 + 3.0 * _GELU_CUBIC * x * x)
        return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner


class Softplus(Elementwise):
    """Smooth rectifier; linear above ``threshold``."""

    formula = "y = ln(1 + e^(βx))/β"

    def value(s, x, *, beta, threshold):
        return s.where(x * beta > threshold, x, _softplus(s, x * beta) / beta)

    def slope_x(s, x, *, beta, threshold):
        return s.where(x * beta > threshold, 1.0, _sigmoid(s, x * beta))


class Clamp(Elementwise):
    """Limit values to an interval; the gradient passes inside it and at its ends."""

    formula = "y = min(max(x, lo), hi)"
    gate = "passes inside the interval, blocks outside"
    domain = "kinks at the limits"
    floats = False
    indicator = True

    def value(s, x, *, low, high):
        y = x if low is None else s.maximum(x, low)
        return y if high is None else s.minimum(y, high)

    def slope_x(s, x, *, low, high):
        if low is None:
            return x <= high
        return x >= low if high is None else (x >= low) & (x <= high)


sigmoid = unary(Sigmoid)
logsigmoid = unary(LogSigmoid)
relu = unary(Relu)
silu = unary(Silu)
mish = unary(Mish)
hardsigmoid = unary(HardSigmoid)
hardswish = unary(HardSwish)


def _with(op: type[Elementwise], **params: Any) -> Any:
    """Samples of a declaration with the given settings, passed by keyword."""

    def samples(rng: np.random.Generator) -> Any:
        for sample in op.samples(rng):
            yield Sample(*sample.args, **params)

    return samples


@operation(LeakyRelu, samples=_with(LeakyRelu, negative_slope=0.2))
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """``x`` where positive, ``negative_slope * x`` elsewhere."""
    return apply(LeakyRelu, (to_float(x),), {"negative_slope": float(negative_slope)})


@operation(Elu, samples=_with(Elu, alpha=0.7))
def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """Exponential linear unit: ``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere."""
    return apply(Elu, (to_float(x),), {"alpha": float(alpha), "scale": 1.0})


@operation(Elu, samples=_with(Elu), formula="y = λx if x > 0 else λα(eˣ − 1)")
def selu(x: Any) -> Tensor:
    """Self-normalising exponential linear unit (Klambauer et al. 2017)."""
    return apply(Elu, (to_float(x),), {"alpha": _SELU_ALPHA, "scale": _SELU_SCALE})


def _gelu_samples(rng: np.random.Generator) -> Any:
    for kind in ("none", "tanh"):
        yield from _with(GeluErf, approximate=kind)(rng)


@operation(GeluErf, samples=_gelu_samples)
def gelu(x: Any, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit; ``approximate`` is ``"none"`` (erf) or ``"tanh"``."""
    if approximate not in ("none", "tanh"):
        from ..errors import OperationError

        raise OperationError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}.")
    return apply(GeluTanh if approximate == "tanh" else GeluErf, (to_float(x),))


@operation(Softplus, samples=_with(Softplus, beta=1.5))
def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Smooth rectifier ``log(1 + exp(beta * x)) / beta``; linear where ``beta * x`` exceeds ``threshold``."""
    return apply(Softplus, (to_float(x),), {"beta": float(beta), "threshold": float(threshold)})


def _clamp_samples(rng: np.random.Generator) -> Any:
    x = rng.uniform(0.1, 0.9, size=(3, 4)) + rng.integers(-2, 2, size=(3, 4))
    yield from (Sample(x, -1.0, 1.0), Sample(x, min=0.0), Sample(x, max=0.0))


@operation(Clamp, samples=_clamp_samples)
def clamp(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """Limit values to ``[min, max]``; one of them may be left out. Tensor limits are broadcast and differentiable.

    Raises:
        OperationError: neither is given.
    """
    from .arithmetic import maximum, minimum
    from .elementwise import operand

    if min is None and max is None:
        raise misuse("clamp", "neither min nor max is given; give at least one of them.")
    x = operand(x)
    if hasattr(min, "dtype") or hasattr(max, "dtype"):
        x = x if min is None else maximum(x, min)
        return x if max is None else minimum(x, max)
    if x.dtype.kind != "f" and any(isinstance(limit, float) for limit in (min, max)):
        x = to_float(x)
    return apply(Clamp, (x,), {"low": min, "high": max})


def clamp_min(x: Any, min: Any) -> Tensor:
    """Values below ``min`` raised to it: ``clamp(x, min=min)``."""
    return clamp(x, min=min)


def clamp_max(x: Any, max: Any) -> Tensor:
    """Values above ``max`` lowered to it: ``clamp(x, max=max)``."""
    return clamp(x, max=max)


@operation(
    formula="y = min(max(x, lo), hi)",
    gate="passes inside the interval, blocks outside",
    domain="kinks at the limits",
    samples=lambda rng: [Sample(rng.uniform(-0.9, 0.9, (3, 4)))],
)
def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Limit values to ``[min_val, max_val]``."""
    if min_val > max_val:
        raise misuse("hardtanh", f"min_val is {min_val}, which is more than max_val, {max_val}.")
    return clamp(to_float(x), float(min_val), float(max_val))


@operation(
    formula="y = min(max(x, 0), 6)",
    gate="passes inside the interval, blocks outside",
    domain="kinks at 0 and 6",
    samples=lambda rng: [Sample(rng.uniform(0.1, 5.9, (3, 4)))],
)
def relu6(x: Any) -> Tensor:
    """Rectifier with ceiling 6."""
    return clamp(to_float(x), 0.0, 6.0)
