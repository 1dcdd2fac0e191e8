"""Derivatives by differences: adaptive step with Richardson extrapolation, one-sided slopes, a sweep over steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...numerics import quiet
from .subject import Vector

Along = Callable[[float], Vector]
EPS = 1e-6
RUNGS = (4096.0, 512.0, 64.0, 8.0, 1.0)
"""Multiples of the smallest step tried, from wide (little rounding) to narrow (no kink or curvature inside)."""


@dataclass(frozen=True)
class Estimate:
    """A derivative by differences: ``value`` within ``error``, at ``step``."""

    value: float
    error: float
    step: float


def central(along: Along, u: Vector, h: float) -> float:
    """(f(h) − f(−h)) / 2h, where f is the inner product of ``u`` and the outputs.

    Outputs are subtracted before they are added up, so that those that do not change cost no digits.
    """
    with quiet():
        return float(u @ (along(h) - along(-h))) / (2 * h)


def richardson(
    along: Along, u: Vector, noise: float, *, scale: float = 1.0, eps: float = EPS, analytic: float, allowed: float
) -> Estimate:
    """The derivative at 0 by central differences, with adaptive step and Richardson extrapolation.

    D(h) errs by h²f‴/6 + O(h⁴), so R = (4 D(h/2) − D(h)) / 3 cancels the first term, and |R − D(h/2)| bounds the error
    (Richardson 1911). Steps shrink until R agrees with ``analytic`` within ``allowed`` or is settled to seven digits;
    the most certain of them is returned. ``noise`` is the rounding of the inner product.
    """
    best = Estimate(np.nan, np.inf, eps * scale)
    for rung in RUNGS:
        h = rung * eps * scale
        wide, narrow = central(along, u, h), central(along, u, h / 2)
        value = (4 * narrow - wide) / 3
        error = abs(value - narrow) + 2 * noise / h
        if np.isfinite(value) and error < best.error:
            best = Estimate(value, error, h)
        if abs(value - analytic) <= allowed and error <= 1e3 * allowed:
            return Estimate(value, error, h)
        if best.error <= 1e-7 * abs(best.value):
            break
    return best


@dataclass(frozen=True)
class Bend:
    """Slopes on both sides of a point that stay apart however small the step: ``kind`` is kink or jump."""

    kind: str
    left: float
    right: float


def bend(along: Along, u: Vector, here: Vector, noise: float, analytic: float, scale: float, eps: float) -> Bend | None:
    """The kink or jump at 0 (or within the step), if the one-sided slopes stay apart and enclose the analytic value.

    There a difference quotient averages two branches, and any value between the slopes is a subgradient: neither is
    wrong. Slopes of a smooth function approach each other in proportion to the step.
    """
    wide, narrow = (_sides(along, u, here, h) for h in (eps * scale, eps * scale / 16))
    for sides, h in ((narrow, eps * scale / 16), (wide, eps * scale)):
        low, high = min(sides), max(sides)
        slack = 1e-6 * max(abs(low), abs(high)) + 2 * noise / h
        if high - low > 1e-3 * max(abs(low), abs(high)) + 4 * slack and low - slack <= analytic <= high + slack:
            gap_wide, gap_narrow = abs(wide[1] - wide[0]), abs(narrow[1] - narrow[0])
            if sides is narrow and gap_narrow < 0.25 * gap_wide:
                continue  # it closes with the step: curvature
            if sides is wide and 0.02 * gap_wide < gap_narrow < 0.25 * gap_wide:
                continue
            return Bend("jump" if gap_narrow > 4 * gap_wide else "kink", *sides)
    return None


def _sides(along: Along, u: Vector, here: Vector, h: float) -> tuple[float, float]:
    with quiet():
        return float(u @ (here - along(-h))) / h, float(u @ (along(h) - here)) / h


@dataclass(frozen=True)
class Sweep:
    """The error of a plain central difference against the analytic value, from wide to narrow steps.

    A right rule gives a V: truncation falls with h², then rounding grows with 1/h. A wrong rule gives a plateau.
    """

    steps: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def lowest(self) -> tuple[float, float]:
        """The smallest error, and the step where it is."""
        at = int(np.nanargmin(self.errors)) if np.isfinite(self.errors).any() else 0
        return self.errors[at], self.steps[at]

    @property
    def shape(self) -> str:
        """``"V"`` (the two agree but for truncation and rounding), ``"plateau"`` (they differ), or ``"noise"``."""
        lowest, _ = self.lowest
        finite = np.asarray(self.errors)[np.isfinite(self.errors)]
        if not finite.size:
            return "noise"
        if lowest <= 1e-5:
            return "V"
        level = finite[finite <= 1.5 * lowest].size
        return "plateau" if level >= 3 else "noise"

    def __str__(self) -> str:
        error, step = self.lowest
        if not np.isfinite(error):
            return "says nothing: the gradient or the differences are not finite"
        if self.shape == "V":
            return f"falls to {error:.1e} at a step of {step:.0e}, then rounding takes over: the rule is right"
        if self.shape == "plateau":
            return f"levels off at {error:.1e} whatever the step: a wrong value, not rounding"
        return f"never settles (at best {error:.1e}, at a step of {step:.0e}): rounding or roughness hides the slope"


STEPS = tuple(10.0**-k for k in range(1, 13))


def sweep(along: Along, u: Vector, analytic: float, scale: float, floor: float) -> Sweep:
    """Relative errors of central differences over twelve decades of steps."""
    errors = []
    for step in STEPS:
        numeric = central(along, u, step * scale)
        error = abs(numeric - analytic) / max(abs(numeric), abs(analytic), floor)
        errors.append(error if np.isfinite(error) else np.nan)
    return Sweep(tuple(step * scale for step in STEPS), tuple(errors))
