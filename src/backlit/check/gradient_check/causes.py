"""What is probably wrong with a gradient, from how it differs from the right one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...numerics import quiet

Array = NDArray[Any]
CLOSE = 1e-4
"""Two gradients are the same for the purpose of naming a cause when they differ by less than this share."""


@dataclass(frozen=True)
class Cause:
    """A suspected cause: ``kind`` for programs, ``text`` for people.

    Kinds: ``missing-sum``, ``transposed``, ``factor``, ``sign``, ``chain-factor``, ``zero``, ``detached``, ``stale``,
    ``non-deterministic``, ``non-finite``, ``flat``, ``shape``, ``dtype``, ``error``, ``unknown``.
    """

    kind: str
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Evidence:
    """A gradient, the right one, and what the rule had to work with.

    ``numeric`` is NaN where it was not computed. ``upstream`` and ``values`` (the inputs and the output, by name) are
    known where one operation is looked at; ``shapes`` are those of everything concerned. ``doubled`` is the gradient
    for twice the upstream gradient, ``spread`` the one for an input that is not broadcast but stretched beforehand, if
    computed.
    """

    analytic: Array | None
    numeric: Array
    upstream: Array | None = None
    values: dict[str, Array] = field(default_factory=dict)
    shapes: Sequence[tuple[int, ...]] = ()
    doubled: Array | None = None
    spread: Array | None = None


def name_cause(evidence: Evidence) -> Cause:
    """The first explanation that fits every entry that was computed."""
    with quiet():
        for suspect in SUSPECTS:
            cause = suspect(evidence)
            if cause is not None:
                return cause
    return Cause("unknown", "no known pattern fits: compare the rule with the formula of the operation")


def alike(x: Array, y: Array) -> bool:
    """Whether two gradients agree wherever the second was computed, relative to its largest entry."""
    if x.shape != y.shape:
        return False
    known = np.isfinite(y)
    if not known.any():
        return False
    size = np.abs(y[known]).max()
    return bool(size > 0 and np.isfinite(x[known]).all() and np.abs(x[known] - y[known]).max() <= CLOSE * size)


def _none(e: Evidence) -> Cause | None:
    if e.analytic is None:
        return Cause("detached", "no gradient arrives although the output depends on this input: the path is cut")
    return None


def _of_shape(e: Evidence) -> Cause | None:
    a, n = e.analytic, e.numeric
    assert a is not None
    if a.shape == n.shape:
        return None
    if broadcasts(n.shape, a.shape):
        return Cause(
            "missing-sum",
            f"the gradient has shape {a.shape}, the input {n.shape}: the sum over the axes along which the input was "
            "broadcast is missing",
        )
    if sorted(a.shape) == sorted(n.shape):
        return Cause("transposed", f"the gradient has shape {a.shape}, the input {n.shape}: it is transposed")
    return Cause("shape", f"the gradient has shape {a.shape}, the input {n.shape}")


def broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether one shape is stretched to give the other."""
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


def _not_finite(e: Evidence) -> Cause | None:
    assert e.analytic is not None
    if np.isfinite(e.analytic[np.isfinite(e.numeric)]).all():
        return None
    return Cause(
        "non-finite",
        "the gradient is NaN or infinite where the function has a finite slope (zero times infinity behind a mask?)",
    )


def _zero(e: Evidence) -> Cause | None:
    assert e.analytic is not None
    known = np.isfinite(e.numeric)
    size = np.abs(e.numeric[known]).max(initial=0.0)
    if size > 0 and not e.analytic[known].any():
        return Cause("zero", "the gradient is zero everywhere although the output depends on this input")
    if size <= CLOSE * np.abs(e.analytic[known]).max(initial=0.0):
        return Cause(
            "flat", "there is a gradient although the output does not change with this input (a straight-through rule?)"
        )
    return None


def ratio(e: Evidence) -> float | None:
    """The one number by which the gradient differs from the right one, or None if there is no such number."""
    assert e.analytic is not None
    known = np.isfinite(e.numeric)
    a, n = e.analytic[known], e.numeric[known]
    if not np.isfinite(a).all():
        return None
    c = float((a * n).sum() / (n * n).sum())
    return c if alike(e.analytic, c * e.numeric) else None


def _plain_factor(e: Evidence) -> Cause | None:
    c = ratio(e)
    if c is None:
        return None
    if abs(c + 1) < CLOSE:
        return Cause("sign", "the sign is wrong: every entry is the negative of what it should be")
    names = {2.0: "2", 0.5: "1/2", -2.0: "−2", -0.5: "−1/2"}
    for value, label in names.items():
        if abs(c / value - 1) < CLOSE:
            return Cause("factor", f"a factor {label}: every entry is {label} times what it should be")
    for n, what in counts(e.shapes):
        for value, label in ((float(n), f"{n}"), (1.0 / n, f"1/{n}")):
            if abs(c / value - 1) < CLOSE:
                return Cause("factor", f"a factor {label}, {what} (a mean where a sum belongs, or the other way round)")
    return None


def counts(shapes: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, str]]:
    """The numbers of elements that a forgotten or superfluous division can be by, with what they are."""
    seen = {0, 1, 2}
    for shape in shapes:
        for size in range(1, len(shape) + 1):
            for axes in itertools.combinations(range(len(shape)), size):
                n = int(np.prod([shape[a] for a in axes]))
                if n not in seen:
                    seen.add(n)
                    what = f"size of axis {axes[0]}" if size == 1 else f"elements along axes {axes}"
                    yield n, f"the {what} of shape {shape}"


def _transposed(e: Evidence) -> Cause | None:
    a = e.analytic
    assert a is not None
    for axes in itertools.permutations(range(a.ndim)) if a.ndim in (2, 3, 4) else ():
        if axes != tuple(range(a.ndim)) and alike(a.transpose(axes), e.numeric):
            return Cause("transposed", f"the gradient is transposed (its axes come in the order {axes})")
    if a.ndim > 1 and a.size and alike(np.swapaxes(a, -1, -2).reshape(a.shape), e.numeric):
        return Cause("transposed", "the entries are those of the transposed gradient, read in the wrong order")
    return None


def _unsummed(e: Evidence) -> Cause | None:
    """One slice of what should have been added up."""
    if e.spread is None or not broadcasts(e.numeric.shape, e.spread.shape) or e.spread.shape == e.numeric.shape:
        return None
    total = fitted(e.spread, e.numeric.shape)
    if total is None or not alike(total, e.numeric):
        return None
    lead = e.spread.ndim - e.numeric.ndim
    for place in (0, -1):
        one = e.spread[(place,) * lead]
        for axis, n in enumerate(e.numeric.shape):
            one = one.take([place], axis) if n == 1 else one
        if e.analytic is not None and alike(e.analytic, one):
            return Cause(
                "missing-sum",
                "the gradient of one repetition is taken: the sum over the axes along which the input was broadcast is "
                "missing",
            )
    return None


def _unscaled(e: Evidence) -> Cause | None:
    """The local slope, or the upstream gradient, was left out of the product."""
    a = e.analytic
    assert a is not None
    if e.doubled is not None and alike(e.doubled, a):
        return Cause("chain-factor", "the chain factor is missing: the rule does not multiply by the upstream gradient")
    if e.upstream is not None:
        passed = fitted(e.upstream, a.shape)
        if passed is not None and alike(a, passed):
            return Cause(
                "chain-factor",
                "the chain factor is missing: the upstream gradient is handed on without the local slope",
            )
    return None


def fitted(part: Array, shape: tuple[int, ...]) -> Array | None:
    """An array summed over the axes along which ``shape`` was broadcast, or stretched to it; None if neither fits."""
    if part.shape == shape:
        return part
    if broadcasts(shape, part.shape):
        lead = part.ndim - len(shape)
        axes = tuple(i for i in range(part.ndim) if i < lead or (shape[i - lead] == 1 and part.shape[i] != 1))
        return part.sum(axis=axes).reshape(shape)
    return np.broadcast_to(part, shape) if broadcasts(part.shape, shape) else None


def _slope(e: Evidence) -> Cause | None:
    """The ratio of the gradients is a known function of the values: that factor is missing or superfluous."""
    a = e.analytic
    assert a is not None
    if ratio(e) is not None and e.numeric.size > 1:
        return None
    for text, value in _slopes(e.values):
        stretched = np.broadcast_to(value, a.shape) if broadcasts(value.shape, a.shape) else None
        if stretched is None or not np.isfinite(stretched).all() or np.ptp(stretched) == 0 < a.size - 1:
            continue
        if alike(a * stretched, e.numeric):
            return Cause("chain-factor", f"a chain factor is missing: multiplied by {text} the gradient is right")
        if alike(a, e.numeric * stretched):
            return Cause("chain-factor", f"a chain factor too many: divided by {text} the gradient is right")
    return None


def _slopes(values: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    for name, v in values.items():
        if not v.size:
            continue
        yield name, v
        yield f"2·{name}", 2 * v
        yield f"{name}²", v * v
        yield f"1 − {name}²", 1 - v * v
        yield f"{name}·(1 − {name})", v * (1 - v)
        yield f"exp({name})", np.exp(v)
        yield f"cos({name})", np.cos(v)
        yield f"sin({name})", np.sin(v)


def _constant(e: Evidence) -> Cause | None:
    c = ratio(e)
    if c is None:
        return None
    if e.numeric.size == 1:
        return Cause("chain-factor", f"the only entry is {c:.6g} times what it should be: a missing chain factor?")
    return Cause("factor", f"a constant factor: every entry is {c:.6g} times what it should be")


def _some_signs(e: Evidence) -> Cause | None:
    assert e.analytic is not None
    if alike(np.abs(e.analytic), np.abs(e.numeric)):
        return Cause("sign", "some entries have the wrong sign")
    return None


SUSPECTS = (
    _none,
    _of_shape,
    _not_finite,
    _zero,
    _plain_factor,
    _transposed,
    _unsummed,
    _unscaled,
    _slope,
    _constant,
    _some_signs,
)
"""What is considered, the most specific first."""
