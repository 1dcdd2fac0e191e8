"""Class labels as losses take them: checked, flattened, with the weight that each position has."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .elementwise import operand
from .reduction import kept_shape


class Labels:
    """Class indices of M positions.

    ``labels`` (M,) holds indices that exist (0 where ignored), ``valid`` which positions count (None:
    all), ``share`` (M,) each position's weight, 0 where ignored (None: all 1), ``total`` the sum of the weights.
    """

    __slots__ = ("labels", "share", "total", "valid")

    def __init__(
        self, name: str, target: Any, classes: int, weight: Any, dtype: Any, ignore_index: int | None = None
    ) -> None:
        labels = target.reshape(-1)
        if labels.dtype != np.int64:
            labels = labels.astype(np.int64)
        self.valid = self.share = None
        # One pass finds indices on either side: negative ones are huge when read as unsigned.
        outside = np.maximum.reduce(labels.view(np.uint64), initial=0) >= classes
        if outside or (ignore_index is not None and 0 <= ignore_index < classes):
            valid = labels != ignore_index
            if not valid.all():
                labels = np.where(valid, labels, 0)
                self.valid, self.share = valid, valid.astype(dtype)
            if outside:
                _check_range(name, labels, classes)
        if weight is not None:
            share = weight[labels]
            self.share = share if self.share is None else self.share * share
        self.labels = labels
        self.total = len(labels) if self.share is None else self.share.sum()

    def only_valid(self, values: Any) -> Any:
        """Values with 0 at the positions that are ignored, whatever was there."""
        return values if self.valid is None else np.where(self.valid, values, values.dtype.type(0))


def _check_range(name: str, labels: Any, classes: int) -> None:
    wrong = (labels < 0) | (labels >= classes)
    if not wrong.any():
        return
    place = int(np.argmax(wrong))
    value = int(labels[place])
    advice = ""
    if labels.min() >= 1 and labels.max() == classes:
        advice = " The labels seem to start at 1: subtract 1."
    elif value < 0 and name in ("cross_entropy", "nll_loss"):
        advice = f" To leave such positions out, pass ignore_index={value}."
    raise OperationError(
        f"{name} at {describe(mark())}: class index {value} (position {place} of the target) is not between 0 and "
        f"{classes - 1}: there are {classes} classes.{advice}"
    )


def check_labels(name: str, x: Any, target: Any) -> None:
    """Check that class indices have a whole-number dtype and one index for each row of scores (N, C, …) or (C,).

    Raises:
        OperationError: they do not.
    """
    wanted = (*x.shape[:1], *x.shape[2:]) if x.ndim > 1 else ()
    if target.dtype.kind in "iu" and target.shape == wanted and x.ndim:
        return
    shapes = (
        f"{name} at {describe(mark())}: scores {tuple(x.shape)}, target {tuple(target.shape)} {target.dtype.name}: "
    )
    if x.ndim == 0:
        raise OperationError(shapes + "scores need a class dimension, as in (N, C).")
    if target.dtype.kind not in "iu":
        raise OperationError(
            shapes
            + f"class indices must be integers of shape {wanted}; convert them with .long()"
            + (", or give probabilities of the scores' shape." if name == "cross_entropy" else ".")
        )
    if target.shape == x.shape:
        raise OperationError(
            shapes
            + "class indices have no class dimension. If these are one-hot rows, take target.argmax(1)"
            + (", or give them as probabilities, target.float()." if name == "cross_entropy" else ".")
        )
    advice = (
        f" Use target.reshape({', '.join(map(str, wanted))})." if math.prod(target.shape) == math.prod(wanted) else ""
    )
    raise OperationError(shapes + f"class indices must have shape {wanted}, one for each position.{advice}")


def check_weight(name: str, x: Any, weight: Any) -> Any:
    """Class weights in the scores' dtype.

    Raises:
        OperationError: there is not one for each class.
    """
    weight = operand(weight)
    classes = x.shape[class_axis(x)]
    if weight.shape != (classes,):
        raise OperationError(
            f"{name} at {describe(mark())}: weight has shape {tuple(weight.shape)}; there are {classes} classes, "
            f"so it must have shape ({classes},)."
        )
    return weight if weight.dtype == x.dtype else weight.astype(x.dtype)


def to_rows(x: Any) -> Any:
    """Scores (N, C, d₁, …) or (C,) as rows (M, C), one for each position."""
    if x.ndim == 2:
        return x
    classes = x.shape[class_axis(x)]
    moved = np.moveaxis(x, 1, -1) if x.ndim > 2 else x
    return moved.reshape((moved.size // max(1, classes), classes))


def from_rows(rows: Any, shape: tuple[int, ...]) -> Any:
    """The inverse of :func:`to_rows`."""
    if len(shape) <= 2:
        return rows.reshape(shape)
    return np.moveaxis(rows.reshape((shape[0], *shape[2:], shape[1])), -1, 1)


def class_axis(x: Any) -> int:
    """Which dimension of scores (N, C, d₁, …) or (C,) is the classes'."""
    return 1 if x.ndim > 1 else 0


def over_classes(ctx: Any, g: Any, x: Any) -> Any:
    """The upstream gradient of a class loss, ready to be stretched over the scores' classes."""
    return g if ctx.params["reduction"] != "none" else g.reshape(kept_shape(x.shape, class_axis(x)))


@lru_cache(maxsize=8)
def _kept_positions(n: int) -> Any:
    found = np.arange(n)
    found.flags.writeable = False
    return found


def positions(n: int) -> Any:
    """0, 1, … n − 1, remembered for small n."""
    return _kept_positions(n) if n <= 4096 else np.arange(n)
