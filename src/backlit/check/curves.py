"""What the curves of a run show: faults found in losses, accuracies, gradient norms and update sizes alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from .faults import finding
from .finding import Finding

Curve = Sequence[float]


@dataclass(frozen=True)
class Curves:
    """What a run records, epoch by epoch.

    ``columns`` are ``loss``, ``val_loss``, ``accuracy`` and so on; ``epochs`` numbers their entries.
    ``gradient_norm`` and ``update_ratio`` map a layer, in the order of the network, to its curve; ``dead_units`` maps a
    layer to its share of units that were 0 for every row. ``failure`` is why training broke off, ``validation_count``
    how many rows ``val_accuracy`` is a mean over.
    """

    columns: Mapping[str, Curve]
    epochs: Curve = ()
    gradient_norm: Mapping[str, Curve] = field(default_factory=dict)
    update_ratio: Mapping[str, Curve] = field(default_factory=dict)
    dead_units: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""
    validation_count: int = 0

    def column(self, name: str) -> list[float]:
        """A column, empty where it was not recorded."""
        return [float(value) for value in self.columns.get(name, ())]

    def epoch(self, index: int) -> float:
        """The number of an entry's epoch."""
        return self.epochs[index] if len(self.epochs) > index else index + 1

    @property
    def median_ratio(self) -> float:
        """The median update-to-weight ratio of all layers; NaN where none was recorded."""
        ratios = [v for curve in self.update_ratio.values() for v in _finite(curve)]
        return float(np.median(ratios)) if ratios else math.nan

    @property
    def largest_ratio(self) -> float:
        """The largest update-to-weight ratio; 0 where none was recorded."""
        return max((v for curve in self.update_ratio.values() for v in _finite(curve)), default=0.0)


def judge(curves: Curves) -> Iterator[Finding]:
    """The faults that curves show. A divergence explains everything else and is told alone.

    >>> [f.kind for f in judge(Curves({"loss": [1.0, 2.0, 4.0]}))]
    ['rate_too_high']
    """
    diverged = list(divergence(curves))
    if diverged:
        yield from diverged
        return
    causes = [found for rule in _CAUSES for found in rule(curves)]
    yield from causes
    if not causes:
        yield from underfitting(curves)
    yield from overfitting(curves)
    yield from not_converged(curves)


def divergence(curves: Curves) -> Iterator[Finding]:
    """The loss became NaN or infinite, grew instead of falling, or updates were larger than the weights."""
    loss = curves.column("loss")
    if curves.failure:
        yield finding("diverged", curves.failure)
    elif loss and not math.isfinite(loss[-1]):
        bad = next(i for i, value in enumerate(loss) if not math.isfinite(value))
        before = f"after {loss[bad - 1]:.3g}" if bad else "from the start"
        yield finding("diverged", f"The training loss is {loss[bad]} in epoch {curves.epoch(bad):g}, {before}.")
    elif len(loss) >= 3 and loss[0] > 0 and _late(loss) > 2 * loss[0]:
        text = f"The training loss grew from {loss[0]:.3g} to {loss[-1]:.3g} instead of falling."
        yield finding("rate_too_high", text, first=loss[0], last=loss[-1])
    elif curves.largest_ratio > 1 and not _learned(curves):
        ratio = curves.largest_ratio
        text = f"Updates were up to {ratio:.3g} times as large as the weights, where 0.001 is usual."
        yield finding("rate_too_high", text, ratio=ratio)


def unsteady(curves: Curves) -> Iterator[Finding]:
    """A rate that is too high shows in large relative updates together with a loss that jumps up again and again."""
    loss = curves.column("loss")
    if len(loss) < 6:
        return
    rises = [b / a for a, b in pairwise(loss) if b > 1.15 * a]
    ratio = curves.median_ratio
    if len(rises) >= max(3, len(loss) // 5) and loss[-1] > 0.05 * loss[0] and ratio >= 3e-3:
        yield finding(
            "unsteady",
            f"The training loss rose by more than 15 % in {len(rises)} of {len(loss) - 1} epochs; updates are about "
            f"{ratio:.3g} of the weights, where 0.001 is usual.",
        )


def slow(curves: Curves) -> Iterator[Finding]:
    """Tiny relative updates, and a loss that hardly fell."""
    loss, ratio = curves.column("loss"), curves.median_ratio
    if len(loss) >= 3 and ratio < 1e-4 and loss[-1] > 0.5 * loss[0]:
        yield finding(
            "rate_too_low",
            f"Updates are about {ratio:.2g} of the weights, where 0.001 is usual, and the loss only went from "
            f"{loss[0]:.3g} to {loss[-1]:.3g}.",
        )


def dead(curves: Curves) -> Iterator[Finding]:
    """Layers of which many units are silent."""
    silent = {layer: share for layer, share in curves.dead_units.items() if share > 0.3}
    if silent:
        layer, share = max(silent.items(), key=lambda item: item[1])
        yield finding(
            "dead_units",
            f"{share:.0%} of the units of layer {layer} give 0 for every row looked at, so no gradient reaches "
            "their weights.",
            layer,
            share=share,
        )


def depth(curves: Curves) -> Iterator[Finding]:
    """Gradient norms that shrink or grow by orders of magnitude from the last layer to the first."""
    norms = [(layer, float(np.median(_finite(c)))) for layer, c in curves.gradient_norm.items() if _finite(c)]
    if len(norms) < 3:
        return
    (name, first), (end, last) = norms[0], norms[-1]
    sizes = f"The gradient norm of {name} is {first:.3g}, that of {end} {last:.3g}."
    if last > 0 and first < 1e-3 * last:
        yield finding("vanishing_gradients", sizes, name, factor=(first / last) ** (1 / (len(norms) - 1)))
    elif last > 0 and first > 1e4 * last and not _learned(curves):
        yield finding("exploding_gradients", sizes, name, factor=(first / last) ** (1 / (len(norms) - 1)))


def overfitting(curves: Curves) -> Iterator[Finding]:
    """The validation loss turned while the training loss went on falling, or accuracies part."""
    loss, held_out = smooth(curves.column("loss")), smooth(curves.column("val_loss"))
    if len(held_out) < 4 or len(loss) != len(held_out) or not np.isfinite(held_out).all():
        return
    best = int(np.nanargmin(held_out))
    turned = best < 0.85 * len(held_out) and held_out[-1] > 1.1 * held_out[best] and loss[-1] < 0.9 * loss[best]
    accuracy, held_out_accuracy = curves.column("accuracy"), curves.column("val_accuracy")
    gap = accuracy[-1] - held_out_accuracy[-1] if accuracy and held_out_accuracy else 0.0
    chance = 1.0 / math.sqrt(max(curves.validation_count, 1))  # two standard errors of an accuracy, at most
    if (turned and held_out[-1] > 1.5 * loss[-1]) or gap > max(0.05, chance):
        evidence = (
            f"The validation loss was lowest around epoch {curves.epoch(best):g} ({held_out[best]:.3g}) and "
            f"is {held_out[-1]:.3g} at the end, while the training loss fell to {loss[-1]:.3g}."
            if turned
            else f"Training accuracy is {accuracy[-1]:.1%} and validation accuracy {held_out_accuracy[-1]:.1%}."
        )
        yield finding("overfitting", evidence, gap=gap, rise=held_out[-1] / held_out[best])


def underfitting(curves: Curves) -> Iterator[Finding]:
    """A poor training accuracy that no longer moves."""
    accuracy, loss = curves.column("accuracy"), curves.column("loss")
    if len(accuracy) < 5 or len(loss) < 5 or accuracy[-1] >= 0.9:
        return
    before, after = thirds(loss)
    held_out = curves.column("val_accuracy")
    if after > 0.95 * before and (not held_out or accuracy[-1] - held_out[-1] < 0.05):
        yield finding(
            "underfitting",
            f"Training accuracy is only {accuracy[-1]:.1%}, and the training loss hardly moved over the last third "
            f"({before:.3g} to {after:.3g}).",
        )


def not_converged(curves: Curves) -> Iterator[Finding]:
    """The loss was still falling clearly when training ended."""
    held_out = curves.column("val_loss")
    watched = held_out or curves.column("loss")
    if len(watched) < 5 or curves.median_ratio < 1e-4 or not np.isfinite(watched).all():
        return
    before, after = thirds(watched)
    best_late = int(np.argmin(watched)) >= len(watched) - max(1, len(watched) // 10) - 1
    if best_late and after < 0.88 * before and _accuracy_left(curves):
        yield finding(
            "not_converged",
            f"The {'validation' if held_out else 'training'} loss still fell from {before:.3g} to {after:.3g} "
            "over the last third, and its best value is at the end.",
        )


_CAUSES: tuple[Callable[[Curves], Iterator[Finding]], ...] = (unsteady, slow, dead, depth)


def smooth(values: Curve) -> list[float]:
    """The running mean over about a tenth of the curve, to see through the noise of single epochs."""
    width = max(1, len(values) // 10)
    return [float(np.mean(values[max(0, i - width + 1) : i + 1])) for i in range(len(values))]


def thirds(values: Curve) -> tuple[float, float]:
    """The value at the beginning and at the end of the last third, each the mean of neighbours to calm noise."""
    third = max(2, len(values) // 3)
    few = max(1, third // 3)
    return float(np.mean(values[-third : len(values) - third + few])), float(np.mean(values[-few:]))


def _finite(values: Curve) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _late(values: Curve) -> float:
    """The median over the last tenth, so that one bad batch at the end is no divergence."""
    return float(np.median(values[-max(1, len(values) // 10) :]))


def _learned(curves: Curves) -> bool:
    accuracy, loss = curves.column("accuracy"), curves.column("loss")
    if accuracy:
        return accuracy[-1] > 0.9
    return bool(loss) and loss[-1] < 0.5 * loss[0]


def _accuracy_left(curves: Curves) -> bool:
    """Whether there is anything left to win."""
    accuracy = curves.column("val_accuracy") or curves.column("accuracy")
    return not accuracy or accuracy[-1] < 0.995
