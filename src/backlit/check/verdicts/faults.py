"""The faults that only a whole training shows: what each comes from, and what helps."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..finding import Finding


class Fault(NamedTuple):
    """A kind of fault: the likely cause, a remedy, and how sure a check that finds it is."""

    cause: str
    remedy: str
    likelihood: float


def finding(kind: str, evidence: str, where: str = "", likelihood: float | None = None, **data: Any) -> Finding:
    """A :class:`Finding` of a known kind, with the evidence of this case.

    >>> finding("unshuffled", "All rows of a batch have one label.").kind
    'unshuffled'
    """
    fault = FAULTS[kind]
    sure = fault.likelihood if likelihood is None else likelihood
    return Finding(kind, evidence, fault.cause, fault.remedy, where, sure, data)


FAULTS: dict[str, Fault] = {
    # -- the data ---------------------------------------------------------------------------------------------------
    "class_imbalance": Fault(
        "with few rows of a class, ignoring it is the quickest way to a low loss.",
        "weight the loss by class, or sample the rare classes more often (WeightedRandomSampler).",
        0.85,
    ),
    "leaking_normalization": Fault(
        "mean and deviation were computed over training and validation rows together.",
        "fit the scaling on the training rows alone, and apply it to both.",
        0.9,
    ),
    "unshuffled": Fault(
        "batches of like targets pull the network one way after another, and it forgets what came before.",
        "shuffle the training rows every epoch (DataLoader(shuffle=True)).",
        0.9,
    ),
    "labels_unrelated": Fault(
        "inputs and labels were shuffled or joined apart, so only memorizing is left.",
        "check how inputs and labels are paired: look at single rows.",
        0.9,
    ),
    "label_offset": Fault(
        "labels count from 1, while class indices count from 0.",
        "subtract 1 from the labels.",
        0.97,
    ),
    # -- the loss ---------------------------------------------------------------------------------------------------
    "wrong_loss_for_logits": Fault(
        "the model's output is any number, while this loss is defined for probabilities or their logarithms.",
        "use the loss for scores: cross_entropy or binary_cross_entropy_with_logits.",
        0.96,
    ),
    # -- the loop ---------------------------------------------------------------------------------------------------
    "optimizer_parameters": Fault(
        "the optimizer was made before the model was replaced, or of a part of it only.",
        "make the optimizer of model.parameters() after the model is complete.",
        0.98,
    ),
    "frozen_parameters": Fault(
        "requires_grad was switched off, so training cannot change them.",
        "call requires_grad_(True) on what should learn.",
        0.9,
    ),
    "gradients_not_zeroed": Fault(
        "backward() adds to .grad; without zero_grad() each update uses the sum of all batches so far.",
        "call optimizer.zero_grad() before each backward().",
        0.93,
    ),
    "trained_in_eval_mode": Fault(
        "model.eval() was called, perhaps for validation, and model.train() not after it, so dropout slept.",
        "call model.train() at the start of each training epoch.",
        0.92,
    ),
    "evaluated_in_train_mode": Fault(
        "validation ran with dropout or batch statistics switched on.",
        "call model.eval() before validation and model.train() after it.",
        0.9,
    ),
    "batch_norm_single_row": Fault(
        "the statistics of one value say nothing: its deviation from its own mean is 0.",
        "use larger batches (drop_last=True for a last batch of one row), or LayerNorm or GroupNorm.",
        0.97,
    ),
    # -- the network ------------------------------------------------------------------------------------------------
    "dropout_too_strong": Fault(
        "so many units are switched off that too little of the signal comes through.",
        "use 0.1 to 0.5.",
        0.85,
    ),
    "wrong_gradients": Fault(
        "an operation's gradient rule is wrong, most likely one of your own.",
        "look at the operations of this layer first; a custom one may have a wrong gradient rule.",
        0.98,
    ),
    "overfitting": Fault(
        "the network learns the training rows by heart.",
        "more or augmented data, dropout 0.2, weight decay 0.01, a smaller network, or early stopping.",
        0.75,
    ),
    # -- the optimizer ----------------------------------------------------------------------------------------------
    "learning_rate_too_high": Fault(
        "updates overshoot the minimum.",
        "lower the learning rate.",
        0.91,
    ),
    "learning_rate_too_low": Fault(
        "updates are too small to get anywhere.",
        "raise the learning rate.",
        0.85,
    ),
    "diverged": Fault(
        "updates overshot until numbers overflowed.",
        "lower the learning rate to a tenth, or limit the gradient norm.",
        0.9,
    ),
    "weight_decay_too_strong": Fault(
        "it pulls the weights back as fast as the data push them.",
        "lower weight_decay, to 0.0001 for example.",
        0.9,
    ),
}
