"""Faults of the loop around the network: the optimizer and its rate, gradients left over, modes, regularization."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from ...graph import enable_grad
from ...numerics import quiet
from ..faults import finding
from ..finding import Finding
from ..health.course import judge_course
from .observed import Pass
from .situation import Score, Situation
from .trials import LONG, STEPS, Trial, affordable, attempt, scaled_rate, without_decay, without_dropout

_RATES_BELOW, _RATES_ABOVE = (0.1, 0.01, 0.001, 1e-4), (10.0, 100.0, 1000.0, 1e4)
_RATES_FAR_ABOVE = (1e5, 1e6)


def loop_faults(s: Situation) -> Iterator[Finding]:
    """Everything that optimizer, modes and experiments show."""
    for rule in _RULES:
        yield from rule(s)


def optimizer_parameters(s: Situation) -> Iterator[Finding]:
    """The optimizer holds none of the model's parameters, or lacks some, or all are frozen."""
    named = dict(s.model.named_parameters())
    trainable = {id(p): name for name, p in named.items() if p.requires_grad}
    if named and not trainable:
        yield finding("frozen_parameters", f"None of the {len(named)} parameters requires a gradient.", "model", 0.97)
        return
    if s.optimizer is None:
        return
    held = {id(p) for group in s.optimizer.param_groups for p in group["params"]}
    missing = [name for key, name in trainable.items() if key not in held]
    frozen = [name for name, p in named.items() if not p.requires_grad]
    if named and len(missing) == len(trainable) and not held & {id(p) for p in named.values()}:
        text = f"The optimizer holds {len(held)} parameters, and none of them belongs to this model."
        yield finding("optimizer_parameters", text, "optimizer")
    elif missing:
        text = (
            f"The optimizer lacks {len(missing)} of the model's {len(trainable)} trainable parameters: {missing[0]}, …"
        )
        yield finding("optimizer_parameters", text, missing[0], 0.5 if s.learned else 0.9)
    elif frozen and not s.learned and len(frozen) >= len(trainable) and _stuck(s):
        text = f"{len(frozen)} of {len(named)} parameters are frozen ({frozen[0]}, …), and the loss stands still."
        yield finding("frozen_parameters", text, frozen[0], 0.8)


def _stuck(s: Situation) -> bool:
    loss = s.curves.column("loss")
    return len(loss) < 3 or loss[-1] > 0.6 * loss[0]


def gradients_not_zeroed(s: Situation) -> Iterator[Finding]:
    """What is left in ``.grad`` is many times the gradient of any batch, and none of the batches' direction."""
    held = None if s.optimizer is None else {id(p) for group in s.optimizer.param_groups for p in group["params"]}
    left = {
        name: p.grad._data
        for name, p in s.model.named_parameters()
        if p.grad is not None and (held is None or id(p) in held)
    }
    if not left or s.broken:
        return
    kept = math.sqrt(sum(float(np.vdot(g, g)) for g in left.values()))
    sizes = _gradient_sizes(s, set(left))
    if not sizes or not math.isfinite(kept) or not max(sizes):
        return
    times = kept / max(sizes)
    if times > 5:
        text = (
            f"The norm of the gradients held by the parameters is {kept:.3g}, {times:.3g} times the largest of "
            f"{len(sizes)} batches ({max(sizes):.3g}): they are sums over many steps."
        )
        yield finding("gradients_not_zeroed", text, ".grad", times=times)


def _gradient_sizes(s: Situation, names: set[str]) -> list[float]:
    """The gradient's norm for each of some batches, at the present weights."""
    model, _ = s.copies()
    model.train()
    chosen = {name: p for name, p in model.named_parameters() if name in names}
    sizes = []
    for inputs, target in s.batches[:16]:
        for p in model.parameters():
            p.grad = None
        try:
            with enable_grad(), quiet():
                s.loss.function(model(*inputs), target).backward()
        except Exception:
            return []
        gradients = [p.grad._data for p in chosen.values() if p.grad is not None]
        sizes.append(math.sqrt(sum(float(np.vdot(g, g)) for g in gradients)))
    return sizes


def modes(s: Situation) -> Iterator[Finding]:
    """Recorded losses that only the wrong mode explains, and batch norms that never counted a batch."""
    yield from _slept(s)
    asleep, awake = s.score, s.training_score
    if asleep is None or awake is None:
        return
    loss = s.curves.column("loss")
    if loss and not s.notes.get("slept") and _nearer(loss[-1], asleep.loss, awake.loss) and _draws(s) and not _flat(s):
        text = (
            f"The last training loss was {loss[-1]:.3g}. In evaluation mode the model has {asleep.loss:.3g}, in "
            f"training mode {awake.loss:.3g} on these rows."
        )
        yield finding("trained_in_eval_mode", text, "model")
    held_out = s.curves.column("val_loss")[-3:]
    right, wrong = s.validation_score, s.careless_score
    if held_out and right is not None and wrong is not None and _nearer(_level(held_out), wrong.loss, right.loss):
        text = (
            f"The last validation loss was {held_out[-1]:.3g}. In evaluation mode the model has {right.loss:.3g}, in "
            f"training mode {wrong.loss:.3g} on these rows."
        )
        yield finding("evaluated_in_train_mode", text, "model")


def _level(values: list[float]) -> float:
    """The mean of the last entries, to calm the noise of single evaluations."""
    return float(np.mean(values))


def _slept(s: Situation) -> Iterator[Finding]:
    """Batch norms with fewer batches counted than epochs recorded."""
    counted = [
        (name, int(m.num_batches_tracked._data))
        for name, m in s.model.named_modules()
        if getattr(m, "num_batches_tracked", None) is not None and getattr(m, "track_running_stats", False)
    ]
    steps = max(_steps(s), len(s.curves.column("loss")))
    if counted and steps >= 4 and counted[0][1] < 0.5 * steps:
        name, count = counted[0]
        s.notes["slept"] = True
        text = f"{name} has counted {count} training batches, while at least {steps} updates were made."
        yield finding("trained_in_eval_mode", text, name)


def _steps(s: Situation) -> int:
    """How many updates the optimizer remembers; 0 where it keeps no count."""
    held = [entry.get("step", 0) for entry in (s.optimizer.state.values() if s.optimizer is not None else ())]
    return max((int(getattr(v, "_data", v)) for v in held), default=0)


def _draws(s: Situation) -> bool:
    """Whether the model has dropout that is switched on in training."""
    return _dropout(s) > 0


def _flat(s: Situation) -> bool:
    """Whether the loss hardly moved, so that no comparison with earlier weights means anything."""
    loss = s.curves.column("loss")
    return len(loss) < 2 or loss[-1] > 0.98 * loss[0] or loss[-1] > 0.85 * s.baseline


def _nearer(recorded: float, wrong: float, right: float) -> bool:
    """Whether a recorded loss is that of the wrong mode, or still further on that side, where the modes differ."""
    if not all(math.isfinite(v) and v > 0 for v in (recorded, wrong, right)):
        return False
    apart, beyond = math.log(wrong / right), math.log(recorded / right)
    return abs(apart) > 0.12 and 0.75 < beyond / apart < 2.5


def dropout(s: Situation) -> Iterator[Finding]:
    """Much dropout, a training loss that is much worse with it, and a network that learns faster without."""
    rate = _dropout(s)
    asleep, awake = s.score, s.training_score
    if rate < 0.6 or asleep is None or awake is None or _good(s, awake):
        return
    text = f"{rate:.0%} of the units are switched off: the training loss is {awake.loss:.3g} with it"
    if s.optimizer is not None and affordable(s) and not s.learned:
        usual, free = attempt(s, scaled_rate(1.0), LONG), attempt(s, without_dropout, LONG)
        if free.gain > usual.gain + 0.05:
            text = f"{text}; {LONG} more steps take {free.gain:.0%} off it without, and {usual.gain:.0%} with dropout."
            yield finding("dropout_too_strong", text, "dropout", rate=rate)
    elif awake.loss > 1.5 * asleep.loss and rate > 0.7:
        yield finding("dropout_too_strong", f"{text}, and {asleep.loss:.3g} without.", "dropout", 0.7, rate=rate)


def _good(s: Situation, score: Score) -> bool:
    """Whether even this score is that of a network that has learned."""
    if score.accuracy is not None and s.classes:
        return score.accuracy - s.majority > 0.7 * (1 - s.majority)
    return score.loss < 0.3 * s.baseline


def _dropout(s: Situation) -> float:
    """The largest share of units that the training pass switched off."""
    seen: Pass = s.notes["pass"]
    return max((float(a.params.get("p", 0.0)) for a in seen.applied if a.name == "dropout"), default=0.0)


def experiments(s: Situation) -> Iterator[Finding]:
    """Other learning rates, and no weight decay, for a few steps, where the network has not learned."""
    if s.optimizer is None or s.learned or not affordable(s) or s.notes["pass"].error is not None:
        return
    diverged = s.broken or any(f.kind in ("diverged", "learning_rate_too_high") for f in judge_course(s.curves))
    if not diverged:
        strong = list(_decay(s))
        yield from strong
        if strong:
            return
    usual = attempt(s, scaled_rate(1.0), fresh=diverged)
    high = _too_high(s, usual, diverged)
    if high is None and not diverged:
        # Units that overshot until they are dead or saturated do not come back: ask how new weights would fare.
        high = _too_high(s, attempt(s, scaled_rate(1.0), fresh=True), True)
    if high is not None:
        yield high
    elif usual.gain < 0.03 and math.isfinite(usual.before):
        higher = {f: attempt(s, scaled_rate(f), fresh=diverged) for f in _RATES_ABOVE}
        best = max(higher, key=lambda f: higher[f].gain)
        if best == _RATES_ABOVE[-1] and 0 < higher[best].gain <= 0.15:  # still too low: far below what is usual
            higher |= {f: attempt(s, scaled_rate(f), fresh=diverged) for f in _RATES_FAR_ABOVE}
            best = max(higher, key=lambda f: higher[f].gain)
        if higher[best].gain > max(0.15, 5 * usual.gain):
            yield finding("learning_rate_too_low", _compared(s, usual, higher[best], best), "optimizer", factor=best)


def _decay(s: Situation) -> Iterator[Finding]:
    """A network that stands still with weight decay and learns without."""
    decay = max((float(group.get("weight_decay", 0.0)) for group in s.optimizer.param_groups), default=0.0)
    if not decay:
        return
    usual, free = (attempt(s, change, LONG, forget=True) for change in (scaled_rate(1.0), without_decay))
    if usual.gain < 0.1 and free.gain > usual.gain + 0.1:
        text = (
            f"weight_decay is {decay:g}. {LONG} more steps change the loss from {usual.before:.3g} to "
            f"{usual.after:.3g} with it, and to {free.after:.3g} without."
        )
        yield finding("weight_decay_too_strong", text, "optimizer", decay=decay)


def _too_high(s: Situation, usual: Trial, fresh: bool) -> Finding | None:
    """Whether lower rates lead somewhere and the present one does not."""
    if not math.isfinite(usual.before) or usual.gain >= 0.02:
        return None
    lower = {f: attempt(s, scaled_rate(f), fresh=fresh) for f in _RATES_BELOW}
    best = max(lower, key=lambda f: lower[f].gain)
    if lower[best].gain <= max(0.05, usual.gain + 0.05) * (2 if fresh else 1):
        return None
    return finding("learning_rate_too_high", _compared(s, usual, lower[best], best), "optimizer", factor=best)


def _compared(s: Situation, usual: Trial, other: Trial, factor: float) -> str:
    rate = float(s.optimizer.param_groups[0]["lr"])
    return (
        f"{STEPS} steps from a loss of {usual.before:.3g} lead to {usual.after:.3g} with lr {rate:g}, and to "
        f"{other.after:.3g} with lr {rate * factor:g}."
    )


def generalization(s: Situation) -> Iterator[Finding]:
    """Held-out rows are answered much worse than training rows."""
    here, held_out = s.score, s.validation_score
    if here is None or held_out is None or s.validation is None or not s.learned:
        return
    count = len(s.validation[1]._data)
    if here.accuracy is not None and held_out.accuracy is not None and s.classes:
        gap = here.accuracy - held_out.accuracy
        error = math.sqrt(max(held_out.accuracy * (1 - held_out.accuracy), 1 / count) / count)
        if gap > max(0.07, 2.5 * error):
            text = f"Training accuracy is {here.accuracy:.1%} and validation accuracy {held_out.accuracy:.1%}."
            yield finding("overfitting", text, "validation", gap=gap)
    elif held_out.loss > 4 * here.loss and held_out.loss > 0.1 * s.baseline:
        text = f"The training loss is {here.loss:.3g} and the validation loss {held_out.loss:.3g}."
        yield finding("overfitting", text, "validation", ratio=held_out.loss / here.loss)


_RULES: tuple[Callable[[Situation], Iterator[Finding]], ...] = (
    optimizer_parameters, gradients_not_zeroed, modes, dropout, experiments, generalization,
)  # fmt: skip
