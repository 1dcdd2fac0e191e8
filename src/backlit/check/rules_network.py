"""Faults of the network and its loss, seen in one forward and backward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BacklitError
from ..graph import no_grad
from ..numerics import quiet
from ..tensor import Tensor
from .faults import finding
from .finding import Finding
from .observed import Applied, Pass
from .situation import Situation

Array = NDArray[Any]
_RANGES = {"sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf)}


def network_faults(s: Situation) -> Iterator[Finding]:
    """Everything that the pass shows."""
    seen: Pass = s.notes["pass"]
    if seen.error is not None:
        yield from stopped(s, seen)
        return
    for rule in _RULES:
        yield from rule(s, seen)


def stopped(s: Situation, seen: Pass) -> Iterator[Finding]:
    """The pass raised an error: some of them have a name here."""
    text = str(seen.error)
    if "probabilities" in text:
        yield finding("loss_expects_probabilities", f"{_sentence(text)}", "loss")


def expects_probabilities(s: Situation, seen: Pass) -> Iterator[Finding]:
    """A loss that falls below 0 on whole-number targets and grows with the scores is no logarithm of a probability."""
    output, y = seen.output, s.target
    if output is None or y.dtype.kind not in "iu" or output.ndim != y.ndim + 1 or output.shape[1] < 2:
        return
    scores = output._data.astype(np.float64)
    none, once, twice = (_loss(s, factor * scores) for factor in (0, 1, 2))
    if none is None or once is None or twice is None or none != 0 or abs(twice - 2 * once) > 1e-4 * abs(once):
        return
    total = np.exp(np.minimum(scores, 50)).sum(axis=1)
    if float(np.abs(total - 1).max()) > 1e-2:
        text = f"The loss is linear in the output (negative log-likelihood), whose exponentials add up to {total.mean():.3g}, not 1."
        yield finding("loss_expects_probabilities", text, "loss")


def applied_twice(s: Situation, seen: Pass) -> Iterator[Finding]:
    """Probabilities go into a loss that makes probabilities of scores itself."""
    output = seen.output
    if output is None or output.dtype.kind != "f" or not output.numel():
        return
    values = output._data.astype(np.float64)
    if values.min() < 0 or values.max() > 1 + 1e-6:
        return
    here, shifted = _loss(s, values), _loss(s, values + 3.0)
    if here is None or shifted is None:
        return
    rows = values.ndim > 1 and values.shape[1] > 1 and float(np.abs(values.sum(axis=1) - 1).max()) < 1e-3
    if rows and abs(here - shifted) < 1e-5 * max(1.0, abs(here)) and s.target.dtype.kind in "iu":
        lowest = math.log(1 + (values.shape[1] - 1) * math.exp(-1))
        text = (
            "The model's output is probabilities (each row adds up to 1), and the loss applies softmax itself: it cannot "
            f"fall below {lowest:.3g}, and is {here:.3g}."
        )
        yield finding("double_softmax", text, _place(seen.last), lowest=lowest)
    elif _last_is(seen, "sigmoid") and _neutral_at_zero(s, values):
        text = (
            "The model's output passed through a sigmoid, and the loss applies another: at an output of 0 it is ln 2."
        )
        yield finding("double_sigmoid", text, _place(seen.last))


def _neutral_at_zero(s: Situation, values: Array) -> bool:
    zero, one_sided = _loss(s, np.zeros_like(values)), _loss(s, np.full_like(values, -60.0))
    return zero is not None and abs(zero - math.log(2)) < 1e-3 and one_sided is not None and math.isfinite(one_sided)


def unreachable(s: Situation, seen: Pass) -> Iterator[Finding]:
    """Targets outside the range of the last activation."""
    last, y = seen.last, s.target
    if last is None or last.name not in _RANGES or y.dtype.kind != "f" or seen.output is None:
        return
    low, high = _RANGES[last.name]
    outside = float(((y < low - 1e-6) | (y > high + 1e-6)).mean())
    if outside > 0.01 and y.size == seen.output.numel():
        text = f"{outside:.0%} of the targets lie outside [{low:g}, {high:g}], the range of the last {last.name}."
        yield finding("unreachable_targets", text, last.where, share=outside)


def no_gradient(s: Situation, seen: Pass) -> Iterator[Finding]:
    """Trainable parameters that the backward pass does not reach."""
    missing = [name for name, gradient in seen.gradients.items() if gradient is None]
    if not seen.gradients or not missing:
        return
    text = f"{len(missing)} of {len(seen.gradients)} trainable parameters got no gradient: {_listed(missing)}."
    if not seen.attached:
        text = f"The loss does not depend on any of the {len(missing)} trainable parameters; the graph ends before it."
    yield finding("no_gradient", text, missing[0].rpartition(".")[0] or missing[0], parameters=missing)


def symmetry(s: Situation, seen: Pass) -> Iterator[Finding]:
    """All rows of a weight are equal, and so are those of its gradient: they will stay equal."""
    same = [
        name
        for name, gradient in seen.gradients.items()
        if gradient is not None and gradient.ndim >= 2 and gradient.shape[0] > 1
        and _equal_rows(seen.weights[name]) and _equal_rows(gradient)
    ]  # fmt: skip
    if same:
        weight = seen.weights[same[0]]
        what = "all weights are 0" if not weight.any() else "the weights of all units are equal"
        text = f"In {same[0]}, {what}, and their gradients are equal too, so its {len(weight)} units cannot become different."
        yield finding("symmetry", text, same[0].rpartition(".")[0], parameters=same)


def _equal_rows(array: Array) -> bool:
    rows = array.reshape(len(array), -1).astype(np.float64)
    return bool(np.abs(rows - rows[:1]).max(initial=0.0) <= 1e-5 * np.abs(rows).max(initial=0.0))


def dead_units(s: Situation, seen: Pass) -> Iterator[Finding]:
    """Rectified units that are 0 for every row."""
    worst: tuple[float, Applied, int] | None = None
    for a in seen.applied:
        if a.name == "relu" and a.result.ndim >= 2 and a.result is not seen.output:
            share, count = _silent(a.result._data)
            if worst is None or share > worst[0]:
                worst = (share, a, count)
    if worst is not None and worst[0] > (0.9 if s.learned else 0.5):
        share, a, count = worst
        text = (
            f"{share:.0%} of the {count} units gave 0 for every one of {len(a.result._data)} rows: no gradient passes."
        )
        yield finding("dead_units", text, a.where, share=share)


def _silent(array: Array) -> tuple[float, int]:
    axis = 1 if array.ndim == 4 else array.ndim - 1
    silent = (array <= 0).all(axis=tuple(i for i in range(array.ndim) if i != axis))
    return float(silent.mean()), silent.size


def saturation(s: Situation, seen: Pass) -> Iterator[Finding]:
    """Hidden sigmoid and tanh units near their bounds, in a network that has not learned."""
    if s.learned:
        return
    worst, place = 0.0, None
    for a in seen.applied:
        if a.name in ("sigmoid", "tanh") and a is not seen.last and a.result.numel() > 1:
            low, high = _RANGES[a.name]
            edge = 0.01 * (high - low)
            share = float(((a.result._data < low + edge) | (a.result._data > high - edge)).mean())
            if share > worst:
                worst, place = share, a
    if place is not None and worst > 0.5:
        text = f"{worst:.0%} of the outputs are within 1 % of the bounds of {place.name}, where its slope is nearly 0."
        yield finding("saturation", text, place.where, share=worst)


def depth(s: Situation, seen: Pass) -> Iterator[Finding]:
    """The gradient's size at the outputs of the layers, from the last to the first."""
    layers = [a for a in seen.weighted if a.gradient > 0]
    if len(layers) < 3 or s.learned:
        return
    first, last = layers[0], layers[-1]
    ratio = first.gradient / last.gradient
    factor = ratio ** (1 / (len(layers) - 1))
    text = (
        f"The gradient's norm is {last.gradient:.2g} at {last.where} and {first.gradient:.2g} at {first.where}, "
        f"{len(layers) - 1} steps before: a factor of {factor:.2g} a step."
    )
    if ratio < 1e-3:
        yield finding("vanishing_gradients", text, first.where, factor=factor)
    elif ratio > 1e3:
        yield finding("exploding_gradients", text, first.where, factor=factor)


def batch_norm_rows(s: Situation, seen: Pass) -> Iterator[Finding]:
    """Batch normalization over one value a channel."""
    yield from single_rows(s)


def single_rows(s: Situation) -> Iterator[Finding]:
    """Batches of one row, and batch normalization of rows that are vectors."""
    sizes = [len(target._data) if target.ndim else 1 for _, target in s.batches]
    norms = [name for name, m in s.model.named_modules() if type(m).__name__ == "BatchNorm1d"]
    small = sizes.count(1)
    if norms and small and s.rows[0][0].ndim == 2:
        text = f"{small} of {len(sizes)} batches have a single row, and {norms[0]} normalizes over the batch."
        yield finding("batch_norm_single_row", text, norms[0], batches=small)


def _last_is(seen: Pass, name: str) -> bool:
    return seen.last is not None and seen.last.name == name


def _place(last: Applied | None) -> str:
    return "output" if last is None else last.where


def _loss(s: Situation, output: Array) -> float | None:
    """The loss of another output, in float64 where it takes it."""
    target = Tensor(s.target[: len(output)])
    try:
        with no_grad(), quiet():
            if target.dtype.kind == "f":
                target = Tensor(target._data.astype(np.float64))
            return float(s.loss.function(Tensor(output), target))
    except (BacklitError, ValueError, TypeError, IndexError):
        return None


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def _sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".") + "."


_RULES: tuple[Callable[[Situation, Pass], Iterator[Finding]], ...] = (
    expects_probabilities, applied_twice, unreachable, no_gradient, symmetry, dead_units, saturation, depth,
)  # fmt: skip
