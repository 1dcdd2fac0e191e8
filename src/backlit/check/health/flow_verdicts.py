"""What layer statistics mean: which numbers are no accident, what causes them, and what helps.

The limits are set so that sound networks, fresh or trained, stay far from them; each rule says what it is guarding
against.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from ..finding import Finding, listed
from .probe import LayerFlow
from .through_time import TimeFlow, judge_time

SATURATED = 0.7
"""Trained sigmoid and tanh layers often have a third of their entries on the flat parts; most of them is too many."""

VANISHED = 1e-3
"""First gradient norm over the last. Sound plain networks of ten layers keep about a hundredth."""

LARGE_UPDATE, SMALL_UPDATE = 0.5, 1e-7
"""One step of a sound run changes weights by about a thousandth; Adam's first steps by up to a tenth."""


def judge(
    layers: list[LayerFlow],
    *,
    unreached: Iterable[str] = (),
    twins: Mapping[str, int] | None = None,
    time: Iterable[TimeFlow] = (),
) -> Iterator[Finding]:
    """The faults that the statistics of one batch show.

    Args:
        layers: in the order of the forward pass.
        unreached: parameters that got no gradient at all.
        twins: layers whose units are all alike, with their number of units.
        time: the recurrences.
    """
    broken = list(_not_finite(layers))
    yield from broken
    if broken:
        return
    yield from _unreached(layers, list(unreached))
    yield from _twins(twins or {})
    dead = [] if twins else list(_dead(layers))
    saturated = list(_saturated(layers))
    yield from dead
    yield from saturated
    blocked = bool(twins) or any(f.kind == "dead_layer" for f in dead)
    if not blocked:
        depth = list(_depth(layers, explained=bool(saturated or dead)))
        yield from depth or _no_gradient(layers)
        yield from judge_time(time)
    yield from _updates(layers, blocked=blocked)


def _not_finite(layers: list[LayerFlow]) -> Iterator[Finding]:
    bad = next((layer for layer in layers if not layer.finite), None)
    if bad is not None:
        yield Finding(
            "non_finite_activations",
            f"The output of this layer ({bad.kind}) holds NaN or infinity, and it is the first that does.",
            "its input or its weights are not finite, or the values grew until they overflowed.",
            "check the batch with check.data, and the weights; a lower learning rate if training made them so.",
            where=label(bad),
            likelihood=0.98,
        )
        return
    bad = next((layer for layer in reversed(layers) if not layer.gradient_finite), None)
    if bad is not None:
        yield Finding(
            "non_finite_gradients",
            "The gradient at the output of this layer holds NaN or infinity, though all activations are finite.",
            "an operation behind it has an infinite slope at the values it met (sqrt or a norm at 0, log of 0).",
            "run the step under autograd.detect_anomaly(), which names the operation and the values.",
            where=label(bad),
            likelihood=0.97,
        )


def _unreached(layers: list[LayerFlow], names: list[str]) -> Iterator[Finding]:
    used = {layer.name for layer in layers}
    cut = [name for name in names if name.rpartition(".")[0] in used]
    idle = [name for name in names if name.rpartition(".")[0] not in used]
    if cut:
        yield Finding(
            "detached",
            f"{len(cut)} parameters took part in the forward pass and got no gradient: {listed(cut)}.",
            "the path from the loss back to them is cut, by detach(), no_grad(), .data, or by going through NumPy.",
            "remove what cuts the path; if these layers are meant to stay as they are, set requires_grad_(False).",
            where=cut[0].rpartition(".")[0],
            likelihood=0.95,
            data={"parameters": cut},
        )
    if idle:
        yield Finding(
            "unused_parameters",
            f"{len(idle)} parameters had no part in the forward pass: {listed(idle)}.",
            "forward() does not call the modules that hold them.",
            "call them, or remove them from the model.",
            where=idle[0].rpartition(".")[0],
            likelihood=0.7,
            data={"parameters": idle},
        )


def _twins(twins: Mapping[str, int]) -> Iterator[Finding]:
    if twins:
        name, units = next(iter(twins.items()))
        yield Finding(
            "symmetric_units",
            f"All {units} units have the same weights and get the same gradient"
            + (f"; so it is in {len(twins)} layers ({listed(list(twins))})." if len(twins) > 1 else "."),
            "the weights were set to one value (such as zero), so the units can never become different.",
            "initialise the weights at random, for example with nn.init.kaiming_uniform_.",
            where=name or "model",
            likelihood=0.96,
            data={"units": dict(twins)},
        )


def dead_limit(rows: int) -> float:
    """The share of dead units that cannot be chance: few rows leave many a sound unit silent."""
    return 0.4 if rows >= 256 else 0.6 if rows >= 32 else 0.9


def _dead(layers: list[LayerFlow]) -> Iterator[Finding]:
    """The first layer with too many dead units; those behind it get constants, and follow from it."""
    sick = [x for x in layers if x.units and not x.is_output and len(x.dead) / x.units > dead_limit(x.rows)]
    if not sick:
        return
    layer = next((x for x in sick if len(x.dead) == x.units), sick[0])
    share = len(layer.dead) / layer.units
    whole = share == 1.0
    which = "" if whole else f" (units {listed([str(unit) for unit in layer.dead])})"
    others = f" So it is in {len(sick)} layers ({listed([label(x) for x in sick])})." if len(sick) > 1 else ""
    yield Finding(
        "dead_layer" if whole else "dead_units",
        f"{'All' if whole else len(layer.dead)} of the {layer.units} units give 0 for every one of {layer.rows} inputs"
        f"{which}, so no gradient reaches their weights.{others}",
        "their biases were pushed far below zero, by a learning rate that is too high or by initialisation.",
        "start anew with a lower learning rate and biases of zero, or use leaky_relu or gelu.",
        where=label(layer),
        likelihood=0.97 if whole else 0.88,
        data={"units": {label(x): list(x.dead) for x in sick}, "share": share, "rows": layer.rows},
    )


def _saturated(layers: list[LayerFlow]) -> Iterator[Finding]:
    flat = [x for x in layers if x.saturated is not None and not x.is_output and x.saturated > SATURATED]
    if flat:
        worst = max(flat, key=lambda layer: layer.saturated or 0.0)
        yield Finding(
            "saturation",
            f"{worst.saturated:.0%} of the outputs of this {worst.kind} lie where its slope is below 5 % of the "
            f"largest, so hardly any gradient passes"
            + (f"; so it is in {len(flat)} layers ({listed([x.name for x in flat])})." if len(flat) > 1 else "."),
            "its inputs are too large: weights initialised or grown too large, or data that are not standardized.",
            "standardize the inputs, initialise with nn.init.xavier_uniform_, or put a normalization in front of it.",
            where=label(worst),
            likelihood=0.9,
            data={layer.name: layer.saturated for layer in flat},
        )


def _depth(layers: list[LayerFlow], *, explained: bool) -> Iterator[Finding]:
    chain = [x for x in layers if x.has_weights and x.gradient_norm > 0]
    if len(chain) >= 3:
        yield from judge_depth({x.name: x.gradient_norm for x in chain}, explained=explained)


def judge_depth(norms: Mapping[str, float], *, explained: bool = False, of: str = "output") -> Iterator[Finding]:
    """Vanishing or exploding gradients, from a norm for each layer in the order of the forward pass.

    Args:
        norms: layer → norm of the gradient; three layers or more.
        explained: whether another finding already says why.
        of: what the norms are of, for the sentence.
    """
    names, values = list(norms), list(norms.values())
    whole = values[0] / values[-1] if values[-1] else math.nan
    if VANISHED <= whole <= 1 / VANISHED or math.isnan(whole):
        return
    factor = whole ** (1 / (len(values) - 1))
    vanishing = whole < 1
    yield Finding(
        "vanishing_gradients" if vanishing else "exploding_gradients",
        f"On its way back from {names[-1] or 'model'} to {names[0] or 'model'} the gradient (its norm at each layer's "
        f"{of}) {'shrinks' if vanishing else 'grows'} from {values[-1]:.2g} to {values[0]:.2g}, by a factor of "
        f"{factor:.2g} a layer over {len(values) - 1} layers.",
        "activations with small slopes (sigmoid, tanh) or weights that are too small, layer after layer."
        if vanishing
        else "weights that are too large, layer after layer.",
        "use relu or gelu with kaiming initialisation, residual connections or normalization, or fewer layers."
        if vanishing
        else "initialise with smaller weights (nn.init.kaiming_uniform_), normalize, or clip the gradient norm.",
        where=names[0] or "model",
        likelihood=0.6 if explained else 0.85,
        data={"factor": factor, "norms": dict(norms)},
    )


def _no_gradient(layers: list[LayerFlow]) -> Iterator[Finding]:
    """Layers whose gradient is exactly zero. Behind a layer that starts at zero it is so for one step only."""
    asleep = [x for x in layers if x.has_weights and x.weight_norm > 0 and x.weight_gradient == x.gradient_norm == 0]
    starting = any(x.has_weights and x.starts_at_zero and x.weight_gradient > 0 for x in layers)
    if asleep and not starting:
        yield Finding(
            "zero_gradient",
            f"The gradient is exactly 0 in {len(asleep)} layers: {listed([x.name or 'model' for x in asleep])}.",
            "something between them and the loss is constant: a saturated or clamped output, or a mask that hides all.",
            "look at the loss and at the last layers; the gradient must not be rounded to zero there.",
            where=label(asleep[-1]),
            likelihood=0.85,
        )


def _updates(layers: list[LayerFlow], *, blocked: bool) -> Iterator[Finding]:
    known = [layer for layer in layers if layer.update_ratio >= 0]
    if not known:
        return
    worst = max(known, key=lambda layer: layer.update_ratio)
    if worst.update_ratio > LARGE_UPDATE:
        yield Finding(
            "update_too_large",
            f"One step changes the weights by {worst.update_ratio:.2g} of their size, where about 0.001 is usual.",
            "the learning rate is too high for this layer's weights and gradients.",
            "lower the learning rate (check.lr_range suggests one), or clip the gradient norm.",
            where=label(worst),
            likelihood=0.85,
            data={layer.name: layer.update_ratio for layer in known},
        )
    elif 0 < worst.update_ratio < SMALL_UPDATE and not blocked:
        yield Finding(
            "update_too_small",
            f"One step changes no layer's weights by more than {worst.update_ratio:.2g} of their size, "
            "where about 0.001 is usual.",
            "the learning rate is too low, or the loss is scaled down.",
            "raise the learning rate (check.lr_range suggests one).",
            where=label(worst),
            likelihood=0.8,
            data={layer.name: layer.update_ratio for layer in known},
        )


def label(layer: LayerFlow) -> str:
    """The layer's name; a model that is one layer has none of its own."""
    return layer.name or "model"
