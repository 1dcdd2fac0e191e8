"""How good a model is, computed batch by batch.

A metric is fed with :meth:`Metric.update` and asked with :meth:`Metric.compute`; the result is that of all samples at
once, whatever the batches were. Outputs and targets are tensors or arrays with one row a sample. Classes are given by
the row's largest output, by a class number, or, as a target, by a row of probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..errors import OperationError
from ..tensor import Tensor

Array = np.ndarray


class Metric:
    """Base of metrics. Subclasses define ``start``, ``add`` (on arrays) and ``compute``.

    Whatever ``start`` puts on the object is the metric's state: numbers and arrays, which checkpoints save.
    """

    name: str = ""
    better: ClassVar[str] = "max"
    """Whether a good value is large (``"max"``) or small (``"min"``)."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or type(self).name
        before = set(vars(self))
        self.start()
        self._state = tuple(sorted(set(vars(self)) - before - {"_state"}))

    def start(self) -> None:
        """Set the state of having seen nothing."""
        raise NotImplementedError(f"{type(self).__name__} must define start().")

    def add(self, output: Array, target: Array) -> None:
        """Take one batch in."""
        raise NotImplementedError(f"{type(self).__name__} must define add(output, target).")

    def compute(self) -> Any:
        """The value over everything seen since the last reset; NaN before anything was."""
        raise NotImplementedError(f"{type(self).__name__} must define compute().")

    def update(self, output: Any, target: Any) -> None:
        """Take in one batch of outputs and targets."""
        self.add(_array(output), _array(target))

    def reset(self) -> None:
        """Forget everything."""
        self.start()

    def state_dict(self) -> dict[str, Any]:
        """What the metric has seen, as numbers and arrays."""
        return {key: getattr(self, key) for key in self._state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        for key in self._state:
            setattr(self, key, state[key])

    def __call__(self, output: Any, target: Any) -> Any:
        """The value of one batch by itself."""
        self.reset()
        self.update(output, target)
        return self.compute()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Share(Metric):
    """The share of samples that count as right."""

    def start(self) -> None:
        self.right = 0
        self.count = 0

    def compute(self) -> float:
        return self.right / self.count if self.count else float("nan")


class Accuracy(_Share):
    """The share of samples whose class is predicted right: ``mean(argmax(output, 1) == target)``.

    Outputs are (N, C, …) with targets of class numbers (N, …) or probabilities (N, C, …).
    """

    name = "accuracy"

    def add(self, output: Array, target: Array) -> None:
        expected = _classes(target, like=output)
        self.right += int(np.count_nonzero(_paired(_classes(output), expected) == expected))
        self.count += expected.size


class BinaryAccuracy(_Share):
    """The share of outputs on the right side of ``threshold``: 0 for logits and margins, 0.5 for probabilities.

    Targets are 0 and 1, or −1 and 1, in the outputs' shape; a last dimension of 1 may be left out.
    """

    name = "binary_accuracy"

    def __init__(self, threshold: float = 0.5, name: str | None = None) -> None:
        self.threshold = threshold
        super().__init__(name)

    def add(self, output: Array, target: Array) -> None:
        expected = target > 0
        self.right += int(np.count_nonzero((_paired(output, expected) > self.threshold) == expected))
        self.count += expected.size


class TopKAccuracy(_Share):
    """The share of samples whose class is among the ``k`` largest outputs. Outputs (N, C), targets (N,) or (N, C)."""

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        self.k = k
        super().__init__(name or f"top_{k}_accuracy")

    def add(self, output: Array, target: Array) -> None:
        expected = _classes(target, like=output)
        if output.ndim != 2 or not 1 <= self.k <= output.shape[1]:
            raise OperationError(f"{self.name}: needs outputs (N, C) with C of at least {self.k}, got {output.shape}.")
        best = np.argpartition(output, -self.k, axis=1)[:, -self.k :]
        self.right += int(np.count_nonzero((best == expected[:, None]).any(axis=1)))
        self.count += expected.size


class _MeanError(Metric):
    """The mean over all elements of a function of output − target."""

    better = "min"
    error: ClassVar[Any]
    """The function."""

    def start(self) -> None:
        self.total = 0.0
        self.count = 0

    def add(self, output: Array, target: Array) -> None:
        difference = _paired(output, target).astype(np.float64) - target
        self.total += float(type(self).error(difference).sum())
        self.count += difference.size

    def compute(self) -> float:
        return self.total / self.count if self.count else float("nan")


class MeanAbsoluteError(_MeanError):
    """``mean(|output − target|)`` over all elements."""

    name = "mae"
    error = np.abs


class MeanSquaredError(_MeanError):
    """``mean((output − target)²)`` over all elements."""

    name = "mse"
    error = np.square


class R2(Metric):
    """The share of the targets' variance that is explained: ``1 − Σ(y − ŷ)² / Σ(y − mean(y))²``, averaged over columns.

    A column of equal targets counts as 1 where it is predicted exactly and as 0 otherwise. Sums of squares about the
    mean are merged by Chan, Golub and LeVeque's update (1983), which keeps its digits when the mean is large.
    """

    name = "r2"

    def start(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self.spread: Any = 0.0
        self.residual: Any = 0.0

    def add(self, output: Array, target: Array) -> None:
        if not len(target):
            return
        y = target.reshape(len(target), -1).astype(np.float64)
        mean, total = y.mean(axis=0), self.count + len(y)
        shift = mean - self.mean
        self.spread = self.spread + ((y - mean) ** 2).sum(axis=0) + shift**2 * (self.count * len(y) / total)
        self.mean = self.mean + shift * (len(y) / total)
        self.residual = self.residual + ((y - _paired(output, target).reshape(y.shape)) ** 2).sum(axis=0)
        self.count = total

    def compute(self) -> float:
        if self.count < 2:
            return float("nan")
        constant = self.spread == 0
        unexplained = np.where(constant, self.residual != 0, self.residual / np.where(constant, 1, self.spread))
        return float(np.mean(1 - unexplained))


class ConfusionMatrix(Metric):
    """How often each true class (row) was predicted as each class (column), an int64 array (C, C).

    Args:
        classes: the number of classes; found from outputs (N, C), or from the largest class number, if left out.
    """

    name = "confusion_matrix"

    def __init__(self, classes: int | None = None, name: str | None = None) -> None:
        self.classes = classes
        super().__init__(name)

    def start(self) -> None:
        self.matrix = np.zeros((self.classes or 0,) * 2, np.int64)

    def add(self, output: Array, target: Array) -> None:
        true = _classes(target, like=output).ravel()
        predicted = _classes(output).reshape(true.shape)
        columns = output.shape[1] if output.ndim > 1 and output.dtype.kind == "f" else 0
        largest = max(int(true.max()), int(predicted.max())) + 1 if true.size else 0
        if true.size and (min(true.min(), predicted.min()) < 0 or (self.classes and largest > self.classes)):
            raise OperationError(f"{self.name}: class numbers must lie in 0..{(self.classes or largest) - 1}.")
        size = max(len(self.matrix), columns if self.classes is None else 0, largest)
        counts = np.bincount(true * size + predicted, minlength=size * size).reshape(size, size)
        grown = size - len(self.matrix)
        self.matrix = counts + (np.pad(self.matrix, (0, grown)) if grown else self.matrix)

    def compute(self) -> Any:
        return self.matrix.copy()


class _Macro(ConfusionMatrix):
    """A score of each class, averaged over the classes that occur as target or prediction; 0/0 counts as 0."""

    def compute(self) -> float:
        right = np.diag(self.matrix).astype(np.float64)
        predicted, true = self.matrix.sum(axis=0), self.matrix.sum(axis=1)
        occurs = predicted + true > 0
        if not occurs.any():
            return float("nan")
        return float(self.score(right, predicted, true)[occurs].mean())

    def score(self, right: Array, predicted: Array, true: Array) -> Array:
        """The score of each class from counts."""
        raise NotImplementedError


class Precision(_Macro):
    """The share of the predictions of a class that are right, averaged over classes."""

    name = "precision"

    def score(self, right: Array, predicted: Array, true: Array) -> Array:
        return right / np.maximum(predicted, 1)


class Recall(_Macro):
    """The share of a class that is found, averaged over classes."""

    name = "recall"

    def score(self, right: Array, predicted: Array, true: Array) -> Array:
        return right / np.maximum(true, 1)


class F1(_Macro):
    """``2 · precision · recall / (precision + recall)`` of each class, averaged over classes."""

    name = "f1"

    def score(self, right: Array, predicted: Array, true: Array) -> Array:
        return 2 * right / np.maximum(predicted + true, 1)


METRICS: dict[str, Callable[[], Metric]] = {
    "accuracy": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "top_5_accuracy": TopKAccuracy,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": lambda: MeanAbsoluteError("mean_absolute_error"),
    "mse": MeanSquaredError,
    "mean_squared_error": lambda: MeanSquaredError("mean_squared_error"),
    "r2": R2,
    "precision": Precision,
    "recall": Recall,
    "f1": F1,
}
"""What a metric is called where it is chosen by name."""


def accuracy(output: Any, target: Any) -> float:
    """The share of samples whose class is predicted right; see :class:`Accuracy`.

    >>> accuracy(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]))
    0.5
    """
    return Accuracy()(output, target)


def binary_accuracy(output: Any, target: Any, threshold: float = 0.5) -> float:
    """The share of outputs on the right side of the threshold; see :class:`BinaryAccuracy`."""
    return BinaryAccuracy(threshold)(output, target)


def top_k_accuracy(output: Any, target: Any, k: int = 5) -> float:
    """The share of samples whose class is among the k largest outputs; see :class:`TopKAccuracy`."""
    return TopKAccuracy(k)(output, target)


def mean_absolute_error(output: Any, target: Any) -> float:
    """``mean(|output − target|)``."""
    return MeanAbsoluteError()(output, target)


def mean_squared_error(output: Any, target: Any) -> float:
    """``mean((output − target)²)``."""
    return MeanSquaredError()(output, target)


def r2_score(output: Any, target: Any) -> float:
    """The share of the targets' variance that is explained; see :class:`R2`."""
    return R2()(output, target)


def precision(output: Any, target: Any) -> float:
    """Macro-averaged precision; see :class:`Precision`."""
    return Precision()(output, target)


def recall(output: Any, target: Any) -> float:
    """Macro-averaged recall; see :class:`Recall`."""
    return Recall()(output, target)


def f1_score(output: Any, target: Any) -> float:
    """Macro-averaged F1; see :class:`F1`."""
    return F1()(output, target)


def confusion_matrix(output: Any, target: Any, classes: int | None = None) -> Array:
    """How often each true class (row) was predicted as each class (column); see :class:`ConfusionMatrix`.

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]))
    array([[1, 1],
           [0, 1]])
    """
    return ConfusionMatrix(classes)(output, target)


def _array(value: Any) -> Array:
    return value._data if isinstance(value, Tensor) else np.asarray(value)


def _classes(values: Array, like: Array | None = None) -> Array:
    """Class numbers: the largest entry along dimension 1 of scores, or the numbers themselves.

    Targets are scores where they have as many dimensions as the outputs (``like``) and those are scores.
    """
    scores = values.ndim > 1 and (values.dtype.kind == "f" if like is None else values.ndim == like.ndim > 1)
    if scores and like is not None and like.dtype.kind != "f":
        scores = False
    return values.argmax(axis=1) if scores else values.astype(np.int64, copy=False)


def _paired(output: Array, target: Array) -> Array:
    """The output in the target's shape, where they differ only by dimensions of 1; broadcasting would hide mistakes."""
    if output.shape == target.shape:
        return output
    if [n for n in output.shape if n != 1] != [n for n in target.shape if n != 1]:
        raise OperationError(f"metric: outputs {output.shape} and targets {target.shape} do not match, row by row.")
    return output.reshape(target.shape)
