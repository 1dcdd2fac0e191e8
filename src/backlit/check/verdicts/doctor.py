"""What is wrong with a training, in order of likelihood."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..finding import Finding, Findings
from ..health.course import judge_course
from .observed import observe
from .rules_data import data_faults
from .rules_loop import loop_faults, optimizer_parameters
from .rules_network import network_faults, single_rows
from .run_record import read_run, run_faults
from .situation import Situation, situate, untouched

_CERTAIN = 0.95
"""A cause this sure explains the symptoms, which are then left out."""

_SYMPTOMS = frozenset({
    "underfitting", "unsteady_loss", "learning_rate_too_low", "learning_rate_too_high", "diverged",
    "overfitting", "vanishing_gradients", "dropout_too_strong", "weight_decay_too_strong", "saturation", "dead_units",
    "update_too_large", "update_too_small", "zero_gradient",
})  # fmt: skip

_BROUGHT_BY = {"dead_layer": {"learning_rate_too_high"}}
"""What brings a sure finding about, and so is no symptom of it."""

_EXPLAINS = {
    "label_offset": {"does_not_run"},
    "batch_norm_single_row": {"does_not_run"},
    "dead_layer": {"learning_rate_too_low", "zero_gradient"},
    "dead_units": {"learning_rate_too_low"},
    "saturation": {"learning_rate_too_low", "zero_gradient"},
    # Without dropout the network learns at this very rate.
    "dropout_too_strong": {"learning_rate_too_low", "learning_rate_too_high", "underfitting", "unsteady_loss"},
    "labels_unrelated": {"overfitting"},
    "weight_decay_too_strong": {"underfitting", "learning_rate_too_low"},
    "vanishing_gradients": {"learning_rate_too_low", "underfitting"},
    "exploding_gradients": {"learning_rate_too_low", "update_too_large"},
    "gradients_not_zeroed": {"learning_rate_too_high", "diverged", "unsteady_loss", "dead_units", "dead_layer"},
    "learning_rate_too_high": {"update_too_large"},
    "learning_rate_too_low": {"update_too_small", "underfitting"},
}
"""What a finding accounts for, which is then left out."""


def diagnose(
    model: Any, data: Any, loss: Any, optimizer: Any = None, history: Any = None, validation: Any = None
) -> Findings:
    """Say what is wrong with a training: before it, after it, or where it stands still.

    The rows, one forward and backward pass, the optimizer and the recorded curves are looked at; where the network has
    not learned, a few steps are tried on copies, with other learning rates and without regularization. Nothing that is
    given is changed, random numbers and loaders included. The cost is that of some hundred training steps at most.

    Args:
        model: an ``nn.Module``, in the state that training left it in (gradients included).
        data: what it is trained on: ``(inputs, targets)``, a Dataset, a DataLoader, or a list of batches. The order of
            a loader and of a list is taken for that of training.
        loss: ``loss(output, target)``, or the name of one, as for ``fit``.
        optimizer: the one that updates the model, if there is one yet.
        history: a :class:`~backlit.train.History`, a dict of columns (``loss``, ``val_loss``, ``accuracy`` …), or a
            list of losses; an entry for each epoch (or step).
        validation: held-out data, as for ``data``.

    Returns:
        The findings, likeliest first; none when all is well.

    Raises:
        OperationError: the data are no inputs and targets, or there are none.

    >>> import backlit as bl
    >>> x = bl.randn(64, 3); y = (x[:, 0] > 0).long()
    >>> model = bl.nn.Sequential(bl.nn.Linear(3, 8), bl.nn.ReLU(), bl.nn.Linear(8, 2), bl.nn.Softmax(1))
    >>> diagnose(model, (x, y), bl.nn.CrossEntropyLoss()).kinds
    ['softmax_before_cross_entropy']
    """
    return Findings(told_once(examine(situate(model, data, loss, optimizer, history, validation))))


def examine(s: Situation) -> list[Finding]:
    """Everything found in a situation, unsorted, what follows from other findings included."""
    with untouched():
        s.notes["pass"] = observe(s)
        found = [*data_faults(s)]
        if not any(f.kind == "non_finite_data" for f in found):
            found += [*single_rows(s), *network_faults(s)]
            found += loop_faults(s) if s.notes["pass"].error is None else optimizer_parameters(s)
            found += [f for f in judge_course(s.curves) if not _fine_anyway(s, f)]
    return found


def _fine_anyway(s: Situation, f: Finding) -> bool:
    """Whether the model, asked itself, shows that what a curve suggests does no harm."""
    if f.kind == "overfitting" and s.validation_score is not None:
        return True  # the model's own answers for these rows decide, see rules_loop.generalization
    return f.kind in ("unsteady_loss", "underfitting") and s.learned


def doctor(folder: Any) -> Findings:
    """Say what is wrong with a run of ``backlit train``, from what it left in its folder.

    It may be finished, running, interrupted or failed. Its curves, its layers' statistics and its weights are read; the
    command ``backlit doctor`` also loads the data again and asks :func:`diagnose`.

    Args:
        folder: the path of the run's folder.

    Returns:
        The findings, likeliest first; none when all is well.

    Raises:
        CheckpointError: it is not the folder of a run, or its files are damaged.
    """
    return Findings(told_once(run_faults(read_run(folder))))


def told_once(found: Iterable[Finding]) -> list[Finding]:
    """The surest finding of each kind, without what others explain."""
    best: dict[str, Finding] = {}
    for f in found:
        if f.kind not in best or f.likelihood > best[f.kind].likelihood:
            best[f.kind] = f
    explained = set().union(*(_EXPLAINS.get(kind, set()) for kind in best))
    for f in best.values():
        if f.likelihood >= _CERTAIN and f.kind not in _SYMPTOMS:
            explained |= _SYMPTOMS - _BROUGHT_BY.get(f.kind, set())
    return [f for f in best.values() if f.kind not in explained]
