"""Why an operation made a NaN or an infinity, and what to do: one rule for each known cause, tried in order.

A rule looks at the :class:`Evidence` and returns a :class:`Diagnosis`, or None where it does not apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...ops.definition import Op
from .nonfinite import Entries


class Diagnosis(NamedTuple):
    """A short name of the cause, what happened, and the remedy."""

    cause: str
    diagnosis: str
    fix: str


@dataclass(frozen=True)
class Evidence:
    """What is known about one operation: see :class:`~backlit.check.anomaly.Anomaly`.

    ``makers`` names the operation that made each operand (empty for leaves); ``upstream_bad`` says that the upstream
    gradient was not finite already, though no rule made it so.
    """

    phase: str
    op: Any
    params: dict[str, Any]
    result: Entries
    operands: tuple[Entries, ...]
    makers: tuple[str, ...]
    upstream: Entries | None = None
    upstream_bad: bool = False

    @property
    def name(self) -> str:
        """The operation's name."""
        return str(self.op.name)

    def values(self, name: str) -> tuple[float, ...]:
        """The values in question of the operand of this name."""
        return next((o.values for o in self.operands if o.name == name), ())

    def position(self, name: str) -> int:
        """Where the operand of this name stands."""
        return next(i for i, o in enumerate(self.operands) if o.name == name)

    @property
    def overflowed(self) -> bool:
        """Whether finite numbers gave an infinity."""
        return any(math.isinf(v) for v in self.result.values) and self.finite_operands

    @property
    def finite_operands(self) -> bool:
        """Whether the operands' values in question are finite."""
        return all(math.isfinite(v) for o in self.operands for v in o.values)


Rule = Callable[[Evidence], Diagnosis | None]

_LOGARITHMS = {"log": 0.0, "log2": 0.0, "log10": 0.0, "log1p": -1.0}
_EXPONENTIALS = ("exp", "exp2", "expm1", "sinh", "cosh")
_NORMS = {
    **dict.fromkeys(("norm", "vector_norm", "sqrt"), "all entries that it was made of vanished"),
    **dict.fromkeys(("std", "var"), "all entries that it was made of are equal"),
    **dict.fromkeys(("sum", "mean"), "the entries that it was made of vanished, or cancelled"),
}
_SOFTMAXES = ("softmax", "log_softmax", "logsumexp", "cross_entropy", "logcumsumexp", "scaled_dot_product_attention")
_BOUNDED = {
    "asin": ("−1 ≤ x ≤ 1", lambda v: abs(v) > 1),
    "acos": ("−1 ≤ x ≤ 1", lambda v: abs(v) > 1),
    "acosh": ("x ≥ 1", lambda v: v < 1),
    "atanh": ("−1 < x < 1", lambda v: abs(v) >= 1),
}
_ROOT = "Keep away from the edge: (x + 1e-12).sqrt(); for lengths use norm(), which is safe at 0."
_ARCUS = "Keep away from the edge: x.clamp(-1 + 1e-6, 1 - 1e-6)."
_STEEP = {
    "sqrt": ("output", 0.0, "0", "√x rises infinitely steeply at 0: its slope there is 1/(2√0) = ∞", _ROOT),
    "asin": ("x", 1.0, "±1", "the slope 1/√(1 − x²) is infinite at ±1", _ARCUS),
    "acos": ("x", 1.0, "±1", "the slope −1/√(1 − x²) is infinite at ±1", _ARCUS),
    "acosh": ("x", 1.0, "1", "the slope 1/√(x² − 1) is infinite at 1", "Keep away from it: x.clamp(min=1 + 1e-6)."),
}


def diagnose(evidence: Evidence) -> Diagnosis:
    """The first rule that knows the cause; there is always one."""
    for rule in _RULES:
        found = rule(evidence)
        if found is not None:
            return found
    return _unknown(evidence)


def behind_mask(found: Diagnosis) -> Diagnosis:
    """The same where the infinity was multiplied by 0 later, which was to leave it out."""
    return found._replace(
        diagnosis=f"{found.diagnosis} It was multiplied by 0 later, which does not mask it: 0 · ∞ is NaN.",
        fix=f"Choose with where(mask, x, 0.0) instead of multiplying by a mask. {found.fix}",
    )


def _given(e: Evidence) -> Diagnosis | None:
    if e.phase == "data":
        return Diagnosis(
            "bad input data",
            f"an operand of {e.name} held NaN or infinity from the start; no operation made it.",
            "Look at where this tensor comes from; drop or fill in what is missing, for example with "
            "bl.where(bl.isfinite(x), x, 0.0).",
        )
    if e.phase == "parameter":
        return Diagnosis(
            "spoiled parameter",
            f"a weight that {e.name} uses holds NaN or infinity already, from an earlier update or from where it was "
            "loaded.",
            "Go back to weights that are finite (a checkpoint, or a new initialization) and lower the learning rate.",
        )
    return None


def _upstream(e: Evidence) -> Diagnosis | None:
    if not e.upstream_bad:
        return None
    return Diagnosis(
        "bad upstream gradient",
        f"the gradient that arrives at {e.name} is not finite, and no rule made it so: it was passed to backward(), "
        "returned by a hook, or contributions of several paths overflowed when they were added.",
        "Look at gradient= in the call of backward() and at hooks; if it is the sum, scale the loss down.",
    )


def _log(e: Evidence) -> Diagnosis | None:
    if e.phase == "backward" or e.name not in _LOGARITHMS:
        return None
    pole = _LOGARITHMS[e.name]
    fix = "Keep the argument away from 0, as x.clamp(min=1e-12); "
    fix += "for probabilities start from logits: log_softmax, logsigmoid, cross_entropy, bce_with_logits."
    values = e.values("x")
    number = "0" if pole == 0 else "−1"
    if any(v == pole for v in values):
        return Diagnosis(
            "log of zero" if pole == 0 else "log1p of -1", f"{e.name} is −∞ at {number}, and x is {number} here.", fix
        )
    if any(v < pole for v in values):
        return Diagnosis(
            "log of a negative number" if pole == 0 else "log1p below -1",
            f"{e.name} is defined above {number} only, and x is {min(values):.6g} here.",
            fix,
        )
    return None


def _sqrt(e: Evidence) -> Diagnosis | None:
    if e.phase == "backward" or e.name not in ("sqrt", "rsqrt"):
        return None
    values = e.values("x")
    if any(v < 0 for v in values):
        return Diagnosis(
            "square root of a negative number",
            f"{e.name} is defined from 0 on, and x is {min(values):.6g} here; often a difference that should be 0 and "
            "is slightly below by rounding.",
            "Use x.clamp(min=0) before the root, or where() with the condition.",
        )
    if e.name == "rsqrt" and any(v == 0 for v in values):
        return Diagnosis(
            "division by zero", "rsqrt divides by √x, and x is 0 here.", "Add a small number first: (x + 1e-8).rsqrt()."
        )
    return None


def _division(e: Evidence) -> Diagnosis | None:
    if e.phase == "backward" or e.name not in ("div", "reciprocal", "floor_divide", "remainder", "fmod"):
        return None
    divisor = "x" if e.name == "reciprocal" else "y"
    if not any(v == 0 for v in e.values(divisor)):
        return None
    maker = e.makers[e.position(divisor)] if e.makers else ""
    if maker in _NORMS:
        return Diagnosis(
            "division by a vanished norm",
            f"the divisor was made by {maker} and is exactly 0 here: {_NORMS[maker]}.",
            f"Bound it from below, x / {maker}.clamp(min=1e-8), or use "
            f"{'layer_norm or batch_norm' if maker in ('std', 'var') else 'nn.functional.normalize'}, which does.",
        )
    zero = e.name == "div" and all(v == 0 for v in e.values("x"))
    if zero and _one_for_many(e):
        return Diagnosis(
            "division by a vanished norm",
            "the divisor is exactly 0 here, and so is all that it divides: its norm, spread or number vanished.",
            "Bound it from below, x / norm.clamp(min=1e-8), or use nn.functional.normalize (for a spread, layer_norm "
            "or batch_norm), which does.",
        )
    return Diagnosis(
        "division by zero",
        f"the divisor is 0 here{', and so is the dividend' if zero else ''}.",
        "Add a small number to the divisor, or choose with where(divisor != 0, x / divisor, other).",
    )


def _one_for_many(e: Evidence) -> bool:
    """Whether each entry of the divisor divides several of the dividend, as a norm of each row does."""
    x, y = (next(o.shape for o in e.operands if o.name == name) for name in ("x", "y"))
    return math.prod(x) > math.prod(y)


def _tiny_divisor(e: Evidence) -> Diagnosis | None:
    if e.phase == "backward" or e.name not in ("div", "reciprocal") or not e.overflowed:
        return None
    divisor = min((abs(v) for v in e.values("x" if e.name == "reciprocal" else "y")), default=math.inf)
    if divisor >= 1.0 / math.sqrt(float(np.finfo(e.result.dtype).max)):
        return None
    return Diagnosis(
        "division by nearly zero",
        f"the divisor is {divisor:.6g} here, and the quotient exceeds the largest {e.result.dtype}.",
        "Bound the divisor from below, for example y.clamp(min=1e-6), or compute it without underflow (logarithms).",
    )


def _power(e: Evidence) -> Diagnosis | None:
    if e.phase == "backward" or e.name != "pow":
        return None
    pairs = list(zip(e.values("x"), np.resize(e.values("y"), len(e.values("x"))), strict=True))
    if any(x < 0 and y != round(y) for x, y in pairs):
        return Diagnosis(
            "power of a negative number",
            "a negative number has no real power with an exponent that is not whole.",
            "Take the absolute value or clamp first: x.abs() ** p, or x.clamp(min=0) ** p.",
        )
    if any(x == 0 and y < 0 for x, y in pairs):
        return Diagnosis(
            "division by zero", "0 to a negative power is a division by 0.", "Add a small number to the base."
        )
    return None


def _bounded(e: Evidence) -> Diagnosis | None:
    domain, outside = _BOUNDED.get(e.name, ("", None))
    if e.phase == "backward" or outside is None:
        return None
    found = [v for v in e.values("x") if outside(v)]
    if not found:
        return None
    return Diagnosis(
        f"{e.name} outside its domain",
        f"{e.name} is defined for {domain}, and x is {found[0]:.6g} here.",
        f"Keep x inside, for example with clamp; products of unit vectors exceed 1 by rounding (domain: {domain}).",
    )


def _softmax(e: Evidence) -> Diagnosis | None:
    if e.phase == "backward" or e.name not in _SOFTMAXES:
        return None
    bad = [v for o in e.operands for v in o.values if not math.isfinite(v)]
    if bad and all(v == -math.inf for v in bad):
        return Diagnosis(
            "softmax of all -inf",
            f"{e.name} shares out among entries that are all −∞: every one was masked, and 0/0 is NaN.",
            "Let each row keep at least one entry (a query that attends to nothing can attend to itself), or mask with "
            "a large finite number such as -1e9 instead of -inf.",
        )
    return None


def _ignored(e: Evidence) -> Diagnosis | None:
    if e.phase == "backward" or e.name not in ("cross_entropy", "nll_loss") or not e.finite_operands:
        return None
    if not any(math.isnan(v) for v in e.result.values):
        return None
    return Diagnosis(
        "nothing to average",
        f"{e.name} averages over no target: all are ignored (ignore_index), or their class weights are 0.",
        "Leave such batches out, or use reduction='sum' and divide by the number of targets that count, at least 1.",
    )


def _of_infinities(e: Evidence) -> Diagnosis | None:
    if e.phase == "backward" or e.finite_operands:
        return None
    what = {"add": "∞ − ∞", "sub": "∞ − ∞", "mul": "0 · ∞", "div": "∞ / ∞"}.get(e.name, "∞ − ∞ or 0 · ∞")
    return Diagnosis(
        "arithmetic with infinity",
        f"{e.name} met an infinity that was put there, and {what} is NaN.",
        "Mask with a large finite number instead of infinity, or mask after this operation instead of before.",
    )


def _empty(e: Evidence) -> Diagnosis | None:
    if e.phase == "backward" or not any(0 in o.shape for o in e.operands):
        return None
    return Diagnosis(
        "nothing to average",
        f"{e.name} was given no entries at all, and their mean is 0/0.",
        "Skip empty selections, for example a mask that selects nothing or a batch without labels.",
    )


def _infinite_slope(e: Evidence) -> Diagnosis | None:
    if e.phase != "backward":
        return None
    name, edge, shown, why, fix = _STEEP.get(e.name, ("", 0.0, "", "", ""))
    if name and any(abs(v) == edge for v in e.values(name)):
        return Diagnosis(f"infinite slope of {e.name} at {shown}", f"{why}, and x is {shown} here.", fix)
    if e.name == "pow" and any(v == 0 for v in e.values("x")):
        return Diagnosis(
            "infinite slope of pow at 0",
            "x ** p with p < 1 rises infinitely steeply at 0, and x is 0 here.",
            "Keep away from the edge: (x + 1e-12) ** p; for lengths use norm(), which is safe at 0.",
        )
    return None


def _near_zero_divisor(e: Evidence) -> Diagnosis | None:
    if e.phase != "backward" or e.name not in ("div", "reciprocal", "rsqrt", "log", "log2", "log10", "log1p"):
        return None
    return Diagnosis(
        "division by nearly zero",
        f"the slope of {e.name} divides by its argument, which is 0 or too small here.",
        "Bound the argument from below, for example x.clamp(min=1e-6).",
    )


def _own(e: Evidence) -> Diagnosis | None:
    if not hasattr(e.op, "owner"):
        return None
    return Diagnosis(
        "own function",
        f"{e.name}.{e.phase if e.phase == 'backward' else 'forward'}, which you wrote, returned it although what it "
        "was given is finite.",
        "Look at the formula at these values; where it divides or takes roots and logarithms, guard it with where().",
    )


def _float16(e: Evidence) -> Diagnosis | None:
    if e.result.dtype != "float16" or not any(math.isinf(v) for v in e.result.values) or not e.finite_operands:
        return None
    return Diagnosis(
        "float16 overflow",
        f"{e.name} exceeds 65504, the largest float16; in float32 it would not.",
        "Compute this part in float32 (x.float()), or scale down: inputs, the loss, or the sum's operands.",
    )


def _exp(e: Evidence) -> Diagnosis | None:
    if e.name not in _EXPONENTIALS or not any(math.isinf(v) for v in e.result.values):
        return None
    edge = math.log(float(np.finfo(e.result.dtype).max))
    values = e.values("x")
    shown = f", and x is {max(values, key=abs):.6g} here" if values else ""
    return Diagnosis(
        f"overflow of {e.name}",
        f"{e.name}(x) exceeds the largest {e.result.dtype} for x above {edge:.4g}{shown}.",
        "Subtract the largest entry first, as softmax, log_softmax and logsumexp do, or clamp x; logits this large "
        "often mean that the learning rate is too high.",
    )


def _masked(e: Evidence) -> Diagnosis | None:
    if e.upstream is None or not e.upstream.values or any(e.upstream.values):
        return None
    return Diagnosis(
        "0 · inf behind a mask",
        f"the upstream gradient is exactly 0 here (nothing asked for this branch), but the rule of {e.name} multiplies "
        "it by an infinity or NaN.",
        "Mask the operand as well as the result: f(where(ok, x, 1.0)) inside where(ok, …, other).",
    )


def _overflow(e: Evidence) -> Diagnosis | None:
    limit = float(np.finfo(e.result.dtype).max)
    if not e.finite_operands or not (any(math.isinf(v) for v in e.result.values) or _cancelled(e, limit)):
        return None
    what = "the gradient handed down" if e.phase == "backward" else "the result"
    return Diagnosis(
        "overflow",
        f"{what} of {e.name} exceeds {limit:.3g}, the largest {e.result.dtype}.",
        "Look at the operands' size: lower the learning rate, clip gradients (clip_grad_norm=1.0), normalize inputs "
        "and hidden values, or scale the loss down.",
    )


def _cancelled(e: Evidence, limit: float) -> bool:
    """Whether large finite numbers gave NaN where none is undefined: parts that overflowed met as ∞ − ∞."""
    given = [*e.operands, *([e.upstream] if e.upstream is not None else [])]
    largest = max((abs(v) for o in given for v in o.values), default=0.0)
    return e.op.domain == Op.domain and largest > limit**0.3


def _unknown(e: Evidence) -> Diagnosis:
    if e.phase == "backward":
        return Diagnosis(
            "gradient not defined here",
            f"the rule of {e.name} gives no finite gradient at these values ({e.op.domain}).",
            "Keep its operands inside the domain, away from the edge.",
        )
    return Diagnosis(
        "outside the domain",
        f"{e.name} has no finite value for these operands (defined for: {e.op.domain}).",
        "Keep its operands inside the domain.",
    )


_RULES: tuple[Rule, ...] = (
    _given,
    _upstream,
    _log,
    _sqrt,
    _division,
    _tiny_divisor,
    _power,
    _bounded,
    _softmax,
    _empty,
    _ignored,
    _of_infinities,
    _masked,
    _infinite_slope,
    _near_zero_divisor,
    _own,
    _float16,
    _exp,
    _overflow,
)

RUNAWAY = frozenset({"overflow", "float16 overflow", "spoiled parameter", *(f"overflow of {n}" for n in _EXPONENTIALS)})
"""Causes that a learning rate too high brings about, when losses or weights grew before."""

OF_INFINITIES = frozenset({"arithmetic with infinity", "softmax of all -inf"})
"""Causes where infinities were given, on purpose as a mask or by mistake with the data."""
