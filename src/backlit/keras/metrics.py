"""Metrics by Keras's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..train import metrics as own
from .names import look_up


def _accuracy(name: str) -> Callable[[], Any]:
    """``"accuracy"`` itself is left to the training loop, which knows whether one output tells two classes apart."""
    return lambda: "accuracy" if name == "accuracy" else own.Accuracy(name)


METRICS: dict[str, Callable[[], Any]] = {
    "accuracy": _accuracy("accuracy"),
    "acc": _accuracy("accuracy"),
    "sparse_categorical_accuracy": _accuracy("sparse_categorical_accuracy"),
    "categorical_accuracy": _accuracy("categorical_accuracy"),
    "binary_accuracy": lambda: "binary_accuracy",
    "top_k_categorical_accuracy": lambda: own.TopKAccuracy(5, "top_k_categorical_accuracy"),
    "sparse_top_k_categorical_accuracy": lambda: own.TopKAccuracy(5, "sparse_top_k_categorical_accuracy"),
    "mse": lambda: own.MeanSquaredError("mse"),
    "mean_squared_error": lambda: own.MeanSquaredError("mean_squared_error"),
    "mae": lambda: own.MeanAbsoluteError("mae"),
    "mean_absolute_error": lambda: own.MeanAbsoluteError("mean_absolute_error"),
}


def resolve_metrics(given: Iterable[Any]) -> list[Any]:
    """Metrics for the training loop."""
    return [m if isinstance(m, own.Metric) else look_up("metric", m, METRICS)() for m in given]
