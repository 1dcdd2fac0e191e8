"""The faults of data and of whole trainings: what each comes from, and what helps."""

from __future__ import annotations

from typing import Any, NamedTuple

from .finding import Finding


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
    "non_finite_data": Fault(
        "missing values, or a division by 0 or a logarithm while the data were prepared.",
        "fill these values in (with the column's mean, and a column that marks them) or drop the rows.",
        0.99,
    ),
    "not_standardized": Fault(
        "the values are in the units of their source, or were divided once too often.",
        "standardize them with datasets.Standardizer, fitted on the training rows (pixels: divide by 255).",
        0.9,
    ),
    "targets_not_standardized": Fault(
        "they are in the units of their source, so that errors and gradients are large at the start.",
        "standardize them for training, and turn predictions back (datasets.Standardizer.inverse).",
        0.6,
    ),
    "constant_feature": Fault(
        "they were filled with a default, or hold what these rows have in common.",
        "leave them out.",
        0.6,
    ),
    "duplicate_feature": Fault(
        "a column was joined or encoded twice.",
        "keep one of each; copies count double under weight decay.",
        0.6,
    ),
    "different_columns": Fault(
        "the two were prepared in different ways.",
        "prepare both with the same code, fitted on the training rows.",
        0.97,
    ),
    "leakage": Fault(
        "rows were repeated or augmented before the split, or the two sets overlap.",
        "split first, and by what belongs together; then the validation results mean something.",
        0.93,
    ),
    "leaking_normalization": Fault(
        "mean and deviation were computed over training and validation rows together.",
        "fit the scaling on the training rows alone, and apply it to both.",
        0.9,
    ),
    "single_class": Fault(
        "the rows were filtered or sorted before they were split.",
        "shuffle before splitting, and check how the labels are read.",
        0.95,
    ),
    "class_imbalance": Fault(
        "with few rows of a class, ignoring it is the quickest way to a low loss.",
        "weight the loss (weight= of cross_entropy), draw rare classes more often (WeightedRandomSampler), and judge "
        "by the recall of each.",
        0.85,
    ),
    "unshuffled": Fault(
        "the rows are in the order of their targets: batches of like targets pull the network one way after another, "
        "and it forgets what came before.",
        "shuffle the training rows every epoch (DataLoader(shuffle=True)), and split at random.",
        0.9,
    ),
    "contradicting_labels": Fault(
        "inputs and targets were joined wrongly, or the inputs lack what tells the targets apart.",
        "look at these rows; no model can learn them.",
        0.8,
    ),
    "labels_unrelated": Fault(
        "inputs and targets were shuffled or joined apart, or the inputs do not hold what decides the targets.",
        "check how inputs and targets are paired: look at single rows; then look for better inputs.",
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
    "does_not_run": Fault(
        "the model, the loss and the data do not fit together.",
        "make loss(model(x), y) run for one batch first; the message says where it stops.",
        0.97,
    ),
    "broadcast_target": Fault(
        "outputs of shape (n, 1) and targets of shape (n,) are broadcast to (n, n): every output is compared with "
        "every target, and the best answer is the targets' mean.",
        "give both the same shape: target.unsqueeze(1), or output.squeeze(1).",
        0.97,
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
