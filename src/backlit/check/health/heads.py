"""Whether the last layer and the loss fit together: which loss it is, told by its value, and what it is fed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...tensor import Tensor
from ..finding import Finding

Array = NDArray[np.float64]

_BOUNDED = {"relu": (0.0, np.inf), "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softmax": (0.0, 1.0)}


def kind_of_loss(value: float, output: Any, target: Any) -> str | None:
    """The name of the loss that has this value for these outputs and targets, or None where no known one has.

    ``nll`` is the negative mean of the outputs at the labels; ``bce`` takes probabilities, ``bce_with_logits`` logits.
    """
    if not isinstance(output, Tensor):
        return None
    z, t = np.asarray(output._data, np.float64), np.asarray(target._data)
    with np.errstate(all="ignore"):
        for name, compute in _candidates(z, t):
            expected = compute()
            if np.isfinite(expected) and abs(expected - value) <= 1e-4 + 1e-3 * abs(value):
                return name
    return None


def class_rows(output: Any, target: Any) -> tuple[Array, NDArray[np.int64]] | None:
    """Scores (rows, classes) and labels (rows), where a target holds class numbers; None where it does not."""
    if not isinstance(output, Tensor):
        return None
    return _class_rows(np.asarray(output._data, np.float64), np.asarray(target._data))


def _class_rows(z: Array, t: NDArray[Any]) -> tuple[Array, NDArray[np.int64]] | None:
    if t.dtype.kind not in "iu" or z.ndim < 2 or t.shape != (z.shape[0], *z.shape[2:]):
        return None
    scores = np.moveaxis(z, 1, -1).reshape(-1, z.shape[1])
    labels = t.reshape(-1).astype(np.int64)
    kept = (labels >= 0) & (labels < scores.shape[1])  # ignored labels are negative
    return scores[kept], labels[kept]


def _candidates(z: Array, t: NDArray[Any]) -> Iterator[tuple[str, Callable[[], float]]]:
    classes = _class_rows(z, t)
    if classes is not None and t.max(initial=0) < z.shape[1]:
        scores, labels = classes
        picked = scores[np.arange(len(labels)), labels]
        yield "nll", lambda: -picked.mean()
        yield "cross_entropy", lambda: (_log_sum_exp(scores) - picked).mean()
    if z.size == t.size:
        y = t.reshape(z.shape).astype(np.float64)
        yield "mse", lambda: ((z - y) ** 2).mean()
        yield "l1", lambda: np.abs(z - y).mean()
        yield "bce_with_logits", lambda: (np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))).mean()
        yield "bce", lambda: -(y * np.log(z) + (1 - y) * np.log1p(-z)).mean()


def _log_sum_exp(scores: Array) -> Array:
    top = scores.max(axis=1)
    return top + np.log(np.exp(scores - top[:, None]).sum(axis=1))


def mismatches(kind: str | None, output: Any, target: Any) -> Iterator[Finding]:
    """Outputs that the loss is not made for."""
    if kind is None:
        return
    rows = class_rows(output, target)
    if rows is not None and kind in ("cross_entropy", "nll"):
        yield from _classes(kind, rows[0])
    z, t = np.asarray(output._data, np.float64), np.asarray(target._data)
    if kind == "bce_with_logits" and _last_operation(output) == "sigmoid":
        yield Finding(
            "sigmoid_before_bce_with_logits",
            f"The outputs come from a sigmoid (they lie between {z.min():.2g} and {z.max():.2g}), "
            "and the loss applies a sigmoid to them again.",
            "the loss takes logits, and the model gives probabilities.",
            "remove the sigmoid from the model, or use binary_cross_entropy (BCELoss).",
            likelihood=0.95,
        )
    if kind in ("mse", "l1"):
        yield from _regression(output, z, t)


def _classes(kind: str, scores: Array) -> Iterator[Finding]:
    if scores.shape[1] == 1:
        yield Finding(
            "one_class_output",
            "The model has one output, so the cross-entropy over one class is 0 whatever it says.",
            "a two-class problem was given a single output, which needs another loss.",
            "use binary_cross_entropy_with_logits, or give the model two outputs.",
            likelihood=0.97,
        )
        return
    probabilities = bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1.0, atol=1e-3))
    logarithms = bool((scores <= 1e-6).all() and np.allclose(_log_sum_exp(scores), 0.0, atol=1e-3))
    if kind == "cross_entropy" and probabilities:
        best = float(np.log1p((scores.shape[1] - 1) / np.e))
        yield Finding(
            "softmax_before_cross_entropy",
            "The outputs are probabilities (every row adds up to 1), and cross_entropy applies a softmax to them "
            f"again, so the loss cannot fall below {best:.3g} and its gradients are small.",
            "the loss takes logits, and the model ends in a softmax.",
            "remove the softmax from the model; predictions can apply it afterwards.",
            likelihood=0.96,
            data={"lowest_loss": best},
        )
    if kind == "nll" and not logarithms:
        given = "probabilities" if probabilities else "logits"
        yield Finding(
            "wrong_loss_for_logits",
            f"nll_loss takes logarithms of probabilities and was given {given}, so it has no lower bound"
            + (" but -1." if probabilities else " and the outputs just grow."),
            "log_softmax is missing between the model and the loss.",
            "use cross_entropy, or end the model in log_softmax.",
            likelihood=0.96,
        )


def _regression(output: Any, z: Array, t: NDArray[Any]) -> Iterator[Finding]:
    last = _last_operation(output)
    low, high = _BOUNDED.get(last, (-np.inf, np.inf))
    outside = float(np.mean((t < low) | (t > high))) if t.size else 0.0
    if outside > 0.01:
        yield Finding(
            "output_range",
            f"{outside:.0%} of the targets lie outside what the last operation ({last}) can give, {low:g} to {high:g}.",
            "the model ends in an activation that its targets do not fit.",
            "remove the last activation, or scale the targets into its range.",
            likelihood=0.95,
            data={"outside": outside},
        )
    classes = np.unique(t) if t.dtype.kind in "iu" else np.zeros(0)
    if len(classes) > 2 and z.shape[-1:] == (1,):
        yield Finding(
            "regression_on_class_numbers",
            f"The targets are whole numbers ({len(classes)} different ones), and the loss takes them as quantities.",
            "class numbers have no order or distance, so that class 3 is not between classes 2 and 4.",
            f"for classes, use {int(classes[-1]) + 1} outputs and cross_entropy; for counts, pass floats.",
            likelihood=0.5,
        )


def _last_operation(output: Any) -> str:
    """The operation that made the outputs, looked up through changes of shape."""
    node = output._node
    while node is not None and node.op.name in ("reshape", "view", "squeeze", "unsqueeze", "flatten", "select"):
        node = node.edges[0] if hasattr(node.edges[0], "op") else None
    return "" if node is None else node.op.name
