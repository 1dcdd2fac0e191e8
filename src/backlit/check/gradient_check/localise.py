"""Which operation is to blame: every recorded one is repeated by itself and its rule compared with differences."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...autograd import grad
from ...containers import flatten
from ...errors import OverwrittenError
from ...graph import enable_grad, scope_path
from ...source import describe
from ...tensor import Tensor, constant
from .causes import Cause, Evidence, broadcasts, name_cause
from .leaf import Entry, LeafCheck, Settings
from .subject import Subject, double_copy
from .tape import Handed, Step, Tape, record

_SHAPES = re.compile(r"gradient of shape (\([\d, ]*\)) for input \d+, which has shape (\([\d, ]*\))")
_RESHAPED = re.compile(r"cannot reshape array of size (\d+) into shape (\([\d, ]*\))")
REPEATS = 3
"""An operation on one line (in a loop, say) is looked at so many times at most."""


@dataclass(frozen=True)
class Culprit:
    """An operation whose rule is wrong: its name, the user's line, the input concerned, the worst entry, the cause."""

    operation: str
    place: str
    module: str
    input: str
    cause: Cause
    worst: Entry | None = None
    wrong_rule: bool = False
    """Whether the operation's own rule is wrong, and not what it was given."""
    rule_at: str = ""
    """Where the rule of an own node is written."""

    def __str__(self) -> str:
        inside = f" in {self.module}" if self.module else ""
        place = f", applied{inside} at {self.place}" if self.place else ""
        rule = f"the rule of {self.operation} for {self.input}" if self.wrong_rule else self.operation
        return rule + place + (f"; its rule is at {self.rule_at}" if self.rule_at else "")


def localise(subject: Subject, suspects: Sequence[int], settings: Settings) -> list[Culprit]:
    """The operations behind wrong gradients of the leaves ``suspects``, in the order in which they were applied.

    First come operations whose rule disagrees with differences of their own forward rule; without one, values that were
    overwritten after they were saved, and places where the history of a value is lost.
    """
    tape, handed, error = record(subject)
    if isinstance(error, OverwrittenError):
        return [Culprit("a write in place", "", "", "", Cause("stale", f"stale in-place value: {error}"))]
    wrong = wrong_rules(tape, replace(settings, whole=150, entries=64, directions=2, atol=None))
    if wrong:
        return wrong
    stale = [found for step in tape.steps if (found := _stale(step, handed)) is not None]
    if stale:
        return stale
    cut = _cut(subject, suspects, tape)
    if cut is not None:
        return [cut]
    if error is not None:
        return [Culprit("the backward pass", "", "", "", Cause("error", f"{type(error).__name__}: {error}"))]
    return []


def wrong_rules(tape: Tape, settings: Settings) -> list[Culprit]:
    """The recorded operations whose rules disagree with differences, one an operation, line and input."""
    seen: Counter[Any] = Counter()
    found: dict[Any, Culprit] = {}
    for step in tape.steps:
        if step.node is None or not step.positions:
            continue
        key = (step.op.name, step.mark)
        seen[key] += 1
        if seen[key] <= REPEATS:
            for culprit in check_step(step, settings):
                found.setdefault((*key, culprit.input), culprit)
    return list(found.values())


def check_step(step: Step, settings: Settings) -> list[Culprit]:
    """Compare the rule of one recorded operation with differences of its forward rule, for each of its inputs.

    Where some inputs were made out of others without a record, the rule is right if it is so with or without them.
    """
    plain = _check_step(step, settings, feed=False)
    return _check_step(step, settings, feed=True) if plain and step.fed else plain


def _check_step(step: Step, settings: Settings, feed: bool) -> list[Culprit]:
    positions = step.positions
    leaves = [double_copy(constant(step.copies[i])) for i in positions]
    names = [step.input_name(i) for i in positions]
    local = Subject(lambda xs: step.repeat(xs, positions, feed), leaves, names, seed=settings.seed)
    try:
        gradients = local.backward()
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        return [_culprit(step, "its inputs", _refusal(error), wrong_rule=True)]
    culprits = []
    for k, gradient in enumerate(gradients):
        if not leaves[k]._data.size:
            continue
        cause, worst = _judged(local, k, gradient, settings)
        if cause is not None:
            culprits.append(_culprit(step, names[k], cause, worst, wrong_rule=True))
    return culprits


def _refusal(error: Exception) -> Cause:
    """A rule that raised: of the shape it returned, or while it ran."""
    shapes = _SHAPES.search(str(error))
    if shapes is not None:
        given, wanted = (ast.literal_eval(text) for text in shapes.groups())
        return name_cause(Evidence(np.zeros(given), np.zeros(wanted)))
    reshaped = _RESHAPED.search(str(error))
    if reshaped is not None:
        size, shape = (ast.literal_eval(text) for text in reshaped.groups())
        wanted = int(np.prod(shape))
        if wanted and size > wanted and size % wanted == 0:
            why = "is the sum over the axes along which an input was broadcast missing?"
            return Cause("missing-sum", f"the rule raised {type(error).__name__}: {error}; {why}")
    return Cause("error", f"the rule raised {type(error).__name__}: {error}")


def _judged(local: Subject, k: int, gradient: Any, settings: Settings) -> tuple[Cause | None, Entry | None]:
    """What is wrong with the gradient of one leaf, or None."""
    shape = local.leaves[k].shape
    rightly_shaped = gradient is not None and gradient.shape == shape
    check = LeafCheck(local, k, gradient if rightly_shaped else np.zeros(shape), settings)
    if rightly_shaped:
        result = check.run()
        if result.ok:
            return None, None
    else:
        check.check_entries(list(np.ndindex(shape))[: settings.whole])
        result = check.result
        if gradient is None and result.ok:
            return None, None  # nothing arrives, and nothing should
    return name_cause(evidence(local, k, gradient, result.numeric(shape))), result.worst


def evidence(subject: Subject, k: int, gradient: Any, numeric: NDArray[Any]) -> Evidence:
    """Everything by which the cause of a wrong gradient may be known."""
    with enable_grad():
        outs = subject.outputs(subject.leaves)
    values = {name: leaf._data for name, leaf in zip(subject.names, subject.leaves, strict=True)}
    shapes = [*dict.fromkeys([x.shape for x in subject.leaves] + [o.shape for o in outs])]
    doubled = upstream = None
    if len(outs) == 1:
        values["the output"] = outs[0]._data
        upstream = subject.cotangents[0]
        if gradient is not None and outs[0].requires_grad:
            doubled = _pulled(outs[0], subject.leaves[k], 2 * upstream)
    return Evidence(gradient, numeric, upstream, values, shapes, doubled, _spread(subject, k, outs))


def _spread(subject: Subject, k: int, outs: list[Tensor]) -> NDArray[Any] | None:
    """The gradient of a leaf that was stretched to the output's shape beforehand.

    By the rule, or by differences where the rule cannot take it so.
    """
    leaf = subject.leaves[k]
    if len(outs) != 1 or leaf.shape == outs[0].shape or not broadcasts(leaf.shape, outs[0].shape):
        return None
    wide = double_copy(constant(np.broadcast_to(leaf._data, outs[0].shape)))
    leaves = [wide if i == k else x for i, x in enumerate(subject.leaves)]
    try:
        with enable_grad():
            (out,) = subject.outputs(leaves)
        if out.shape != outs[0].shape:
            return None
        pulled = _pulled(out, wide, subject.cotangents[0])
        return _by_differences(subject, leaves, k) if pulled is None else pulled
    except (RuntimeError, ValueError, TypeError, IndexError):
        return None


def _by_differences(subject: Subject, leaves: list[Tensor], k: int) -> NDArray[Any] | None:
    """The gradient of one of ``leaves``, which are taken in the place of the subject's, where it is small."""
    shape, settings = leaves[k].shape, Settings()
    if leaves[k]._data.size > settings.whole:
        return None
    other = Subject(subject.run, leaves, subject.names, cotangents=subject.cotangents, state=subject.state)
    check = LeafCheck(other, k, np.zeros(shape), settings)
    check.check_entries(list(np.ndindex(shape)))
    return check.result.numeric(shape)


def _pulled(out: Tensor, leaf: Tensor, upstream: NDArray[Any]) -> NDArray[Any] | None:
    try:
        (pulled,) = grad([out], [leaf], [constant(np.asarray(upstream, out.dtype))], allow_unused=True)
    except (RuntimeError, ValueError, TypeError, IndexError):
        return None
    return None if pulled is None else pulled._data


def _stale(step: Step, handed: Handed) -> Culprit | None:
    """An operation that handed down something else in the backward pass than it does when it is repeated now."""
    met = handed.by_node.get(step.node) if step.node is not None else None
    if met is None or not step.positions:
        return None
    upstream, given = met
    leaves = [constant(step.copies[i].copy()).requires_grad_() for i in step.positions]
    outs = flatten(step.repeat(leaves, step.positions))[0]
    chosen = [(outs[i], constant(g)) for i, g in upstream.items() if outs[i].requires_grad and outs[i].shape == g.shape]
    if not chosen:
        return None
    again = grad([o for o, _ in chosen], leaves, [g for _, g in chosen], materialize_grads=True)
    for position, fresh in zip(step.positions, again, strict=True):
        before = given[position]
        if before is None or fresh is None or np.allclose(before, fresh._data, rtol=1e-6, atol=0, equal_nan=True):
            continue
        if step.own is None and step.op.has_extra:
            continue  # it may have drawn other numbers
        return _culprit(step, step.input_name(position), _staleness(step))
    return None


def _staleness(step: Step) -> Cause:
    changed = step.overwritten()
    if changed is None:
        return Cause("stale", "the rule used other values than those of the forward pass: it keeps state of its own")
    storage = getattr(step.inputs[changed], "_storage", None)
    writer = getattr(storage, "writer", None)
    where = f" at {describe(writer)}" if isinstance(writer, tuple) else ""
    return Cause(
        "stale",
        f"stale in-place value: {step.input_name(changed)} was overwritten{where} after the forward pass, and the rule "
        "used what was written. Keep values with ctx.save_for_backward, or write to a copy",
    )


def _cut(subject: Subject, suspects: Sequence[int], before: Tape) -> Culprit | None:
    """The first operation that takes a value which depends on a leaf but carries no history of it."""
    for k in suspects:
        leaf = subject.leaves[k]
        rng = np.random.default_rng(k)
        kept = leaf._data.copy()
        leaf._data[...] += 1e-3 * (1 + np.abs(kept)) * rng.uniform(0.5, 1.0, kept.shape)
        try:
            with Tape() as after, enable_grad():
                subject.outputs(subject.leaves)
        finally:
            leaf._data[...] = kept
        if [s.op for s in before.steps] == [s.op for s in after.steps]:
            culprit = _loss_of_history(before, after)
            if culprit is not None:
                return culprit
    return None


def _loss_of_history(before: Tape, after: Tape) -> Culprit | None:
    pairs = list(zip(before.steps, after.steps, strict=True))
    made = {id(step.result._data): step for step in before.steps if step.node is None}
    for one, other in pairs:
        if one.node is None:
            continue
        for i, (a, b) in enumerate(zip(one.copies, other.copies, strict=True)):
            constant_now = not one.tracked[i] and i not in one.fed and _is_number(a)
            if constant_now and not np.array_equal(a, b, equal_nan=True):
                origin = made.get(id(getattr(one.inputs[i], "_data", None)))
                how = (
                    f"it was computed at {origin.place}"
                    if origin
                    else "detached, or turned into a plain number or array"
                )
                text = f"{one.input_name(i)} depends on the input but carries no history ({how})"
                return _culprit(one, one.input_name(i), Cause("detached", text))
    for one, other in pairs:
        changed = not np.array_equal(one.value, other.value, equal_nan=one.value.dtype.kind == "f")
        if one.node is None and changed and any(one.tracked):
            what = "has no gradient" if not one.op.differentiable else "was computed where nothing is recorded"
            return _culprit(one, "its input", Cause("detached", f"the result of {one.op.name} {what}"))
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")


def _culprit(step: Step, which: str, cause: Cause, worst: Entry | None = None, wrong_rule: bool = False) -> Culprit:
    rule_at = step.rule_place if wrong_rule else ""
    return Culprit(step.op.name, step.place, scope_path(step.scope), which, cause, worst, wrong_rule, rule_at)
