"""The faults that training can have, in one place: what each is called, what it comes from, and what helps."""

from __future__ import annotations

from typing import Any, NamedTuple

from .finding import Finding


class Fault(NamedTuple):
    """A kind of fault: its title, the likely cause, a remedy, how sure a check that finds it is, and the options of
    ``backlit train`` that help, if there are any."""

    title: str
    cause: str
    remedy: str
    likelihood: float
    options: str = ""


def finding(kind: str, evidence: str, where: str = "", likelihood: float | None = None, **data: Any) -> Finding:
    """A :class:`Finding` of a known kind, with the evidence of this case.

    >>> finding("dead_units", "80 % of 64 units gave 0.", "relu1").kind
    'dead_units'
    """
    fault = FAULTS[kind]
    sure = fault.likelihood if likelihood is None else likelihood
    return Finding(kind, evidence, fault.cause, fault.remedy, where, sure, data)


FAULTS: dict[str, Fault] = {
    # -- the data ---------------------------------------------------------------------------------------------------
    "non_finite_data": Fault(
        "The data hold NaN or infinity",
        "Missing or broken values reached the network, and one of them spoils every weight.",
        "Drop these rows or fill the values in before training.",
        0.99,
    ),
    "not_standardized": Fault(
        "The inputs are not standardized",
        "Large or very unequal features make the loss steep in some directions and flat in others.",
        "Standardize each feature with the training rows' mean and deviation (datasets.Standardizer).",
        0.92,
    ),
    "constant_feature": Fault(
        "A feature is constant",
        "A column without variation carries no information; it only adds to the bias.",
        "Drop the column, or look for what went wrong when it was made.",
        0.7,
    ),
    "duplicate_feature": Fault(
        "Features are duplicates",
        "Equal columns share one weight between them and make the problem ill-conditioned.",
        "Keep one of them.",
        0.7,
    ),
    "class_imbalance": Fault(
        "The network predicts the majority only",
        "With few rows of a class, ignoring it is the quickest way to a low loss.",
        "Weight the loss by class, or sample the rare classes more often (WeightedRandomSampler).",
        0.85,
    ),
    "rare_class": Fault(
        "A rare class is neglected",
        "It has few rows, so that getting it wrong costs little.",
        "Collect more rows of the rare class, or repeat them in the training file.",
        0.5,
    ),
    "leakage": Fault(
        "Validation rows are among the training rows",
        "The data were split after rows were repeated, or not split at all; validation then measures memory.",
        "Remove repeated rows first, then split.",
        0.96,
    ),
    "leaking_normalization": Fault(
        "The normalization knows the validation rows",
        "Mean and deviation were computed over training and validation rows together.",
        "Fit the scaling on the training rows alone, and apply it to both.",
        0.9,
    ),
    "unshuffled": Fault(
        "The rows come in the order of their targets",
        "Batches of like targets pull the network one way after another, and it forgets what came before.",
        "Shuffle the training rows every epoch (DataLoader(shuffle=True)).",
        0.9,
    ),
    "labels_unrelated": Fault(
        "The labels have nothing to do with the inputs",
        "Inputs and labels were shuffled or joined apart, so only memorizing is left.",
        "Check how inputs and labels are paired: look at single rows.",
        0.9,
    ),
    "label_offset": Fault(
        "Class labels do not start at 0",
        "Labels count from 1, while class indices count from 0.",
        "Subtract 1 from the labels.",
        0.97,
    ),
    # -- the loss ---------------------------------------------------------------------------------------------------
    "double_softmax": Fault(
        "Softmax is applied twice",
        "Cross-entropy applies softmax itself; on probabilities it is nearly flat and cannot come near 0.",
        "Give the loss the scores without softmax (or use nll_loss on log-probabilities).",
        0.97,
    ),
    "double_sigmoid": Fault(
        "Sigmoid is applied twice",
        "binary_cross_entropy_with_logits applies sigmoid itself; on probabilities it cannot come near 0.",
        "Leave the model's last sigmoid out, or use binary_cross_entropy.",
        0.97,
    ),
    "loss_expects_probabilities": Fault(
        "The loss expects probabilities and gets scores",
        "The model's output is any number, while this loss is defined for probabilities or their logarithms.",
        "Use the loss for scores: cross_entropy or binary_cross_entropy_with_logits.",
        0.96,
    ),
    "unreachable_targets": Fault(
        "The output cannot reach the targets",
        "The last activation bounds the output, and targets lie outside.",
        "Leave the last activation out, or scale the targets into its range.",
        0.9,
    ),
    # -- the loop ---------------------------------------------------------------------------------------------------
    "no_gradient": Fault(
        "Parameters get no gradient",
        "The path from the loss to them is cut: detach(), no_grad(), .item() or numpy() in between, or they are unused.",
        "Take the cut out, or freeze the parameters if that is what you want.",
        0.97,
    ),
    "optimizer_parameters": Fault(
        "The optimizer updates other parameters",
        "The optimizer was made before the model was replaced, or of a part of it only.",
        "Make the optimizer of model.parameters() after the model is complete.",
        0.98,
    ),
    "frozen_parameters": Fault(
        "Parameters are frozen",
        "requires_grad was switched off, so training cannot change them.",
        "Call requires_grad_(True) on what should learn.",
        0.9,
    ),
    "gradients_not_zeroed": Fault(
        "Gradients are never set to zero",
        "backward() adds to .grad; without zero_grad() each update uses the sum of all batches so far.",
        "Call optimizer.zero_grad() before each backward().",
        0.93,
    ),
    "trained_in_eval_mode": Fault(
        "The model was trained in evaluation mode",
        "model.eval() was called, perhaps for validation, and model.train() not afterwards; dropout and batch norm slept.",
        "Call model.train() at the start of each training epoch.",
        0.92,
    ),
    "evaluated_in_train_mode": Fault(
        "The model was evaluated in training mode",
        "Validation ran with dropout or batch statistics switched on.",
        "Call model.eval() before validation and model.train() after it.",
        0.9,
    ),
    "batch_norm_single_row": Fault(
        "Batch normalization of single rows",
        "The statistics of one value say nothing: its deviation from its own mean is 0.",
        "Use larger batches (drop_last=True for a last batch of one row), or LayerNorm or GroupNorm.",
        0.97,
    ),
    # -- the network ------------------------------------------------------------------------------------------------
    "symmetry": Fault(
        "All units of a layer are equal",
        "Weights that start equal get equal gradients and stay equal, so the layer acts as a single unit.",
        "Initialize weights at random (reset_parameters(), nn.init.kaiming_uniform_); zeros are for biases.",
        0.97,
    ),
    "dead_units": Fault(
        "Many units are dead",
        "Their inputs are negative for every row, often after a step that was too large or with a very negative bias.",
        "Lower the learning rate, start biases at 0, or use leaky_relu or gelu.",
        0.9,
        "--lr or --activation leaky_relu",
    ),
    "saturation": Fault(
        "An activation is saturated",
        "Its inputs are so large that its slope, and with it the gradient, is nearly 0.",
        "Smaller initial weights (xavier_uniform_), standardized inputs, a lower learning rate, or relu.",
        0.88,
        "--activation relu",
    ),
    "vanishing_gradients": Fault(
        "The gradient vanishes on its way back",
        "Each layer shrinks it, as sigmoid and tanh do with slopes below 1, so the first layers hardly learn.",
        "Use relu with kaiming initialization, batch or layer norm, residual connections, or fewer layers.",
        0.86,
        "--activation relu, or fewer --layers",
    ),
    "exploding_gradients": Fault(
        "The gradient explodes on its way back",
        "Each layer or time step enlarges it.",
        "Clip the gradient norm, start with smaller weights (orthogonal_, kaiming), or add normalization.",
        0.9,
        "--clip 1",
    ),
    "dropout_too_strong": Fault(
        "Dropout is too strong",
        "So many units are switched off that too little of the signal comes through.",
        "Use 0.1 to 0.5.",
        0.85,
        "--dropout 0.2",
    ),
    "wrong_gradients": Fault(
        "The gradient check failed",
        "An operation's gradient rule is wrong, most likely one of your own.",
        "Look at the operations of this layer first; a custom one may have a wrong gradient rule.",
        0.98,
    ),
    # -- the optimizer and the curves -------------------------------------------------------------------------------
    "diverged": Fault(
        "The training diverged",
        "Updates overshot until numbers overflowed.",
        "Lower the learning rate to a tenth, or limit the gradient norm.",
        0.9,
        "--lr, or --clip 1",
    ),
    "rate_too_high": Fault(
        "The learning rate is too high",
        "Updates overshoot the minimum.",
        "Lower the learning rate to a tenth.",
        0.91,
        "--lr",
    ),
    "unsteady": Fault(
        "The learning rate may be too high",
        "Updates overshoot in some directions.",
        "Divide the learning rate by 3, or use larger batches.",
        0.6,
        "--lr, --batch-size",
    ),
    "rate_too_low": Fault(
        "The learning rate is too low",
        "Updates are too small to get anywhere.",
        "Multiply the learning rate by 10.",
        0.85,
        "--lr",
    ),
    "weight_decay_too_strong": Fault(
        "Weight decay is too strong",
        "It pulls the weights back as fast as the data push them.",
        "Lower weight_decay, to 0.0001 for example.",
        0.9,
        "--weight-decay",
    ),
    "overfitting": Fault(
        "It overfits",
        "The network learns the training rows by heart.",
        "More rows, dropout, weight decay, a smaller network, or early stopping.",
        0.75,
        "--dropout 0.2, --weight-decay 0.01, --early-stopping 5",
    ),
    "underfitting": Fault(
        "It underfits",
        "The network is too small, or held back by regularization.",
        "A wider or deeper network, less regularization, or another activation.",
        0.4,
        "--layers",
    ),
    "not_converged": Fault(
        "It has not converged yet",
        "Training ended while the loss was still falling.",
        "Train longer, or raise the learning rate.",
        0.35,
        "--epochs",
    ),
}
