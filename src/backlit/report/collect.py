"""Asking a trained network everything that its report says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..check import FlowReport, check_network
from ..check import flow as check_flow
from ..datasets import Data
from ..graph import no_grad
from ..tensor import Tensor
from ..train import predict
from ..train.evaluation import keeping_modes
from .record import CheckedParameter, LayerFlow, Mistake, Regions

Array = NDArray[Any]

CHECK_ROWS, CHECK_CANDIDATES, CHECK_ENTRIES = 8, 256, 12
MISTAKES, FEATURES_SHOWN = 24, 8
GRID = 160
POINTS_SHOWN = 1200
PROBED_ROWS = 512


@dataclass(frozen=True)
class Subject:
    """A trained network and its data: ``train`` and ``test`` are (x, y) as the network and the loss take them,
    ``to_input`` brings rows in the units of the source there, ``to_target`` outputs of a regression back."""

    model: Any
    loss: Callable[[Any, Any], Tensor]
    data: Data
    train: tuple[Array, Array]
    test: tuple[Array, Array]
    to_input: Callable[[Array], Array]
    to_target: Callable[[Array], Array]


def probabilities(scores: Array) -> NDArray[np.float64]:
    """Softmax over the last dimension, of rows of scores."""
    shifted = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def outputs(subject: Subject, x: Array) -> Array:
    """The network's outputs, in evaluation mode."""
    return predict(subject.model, x)._data if len(x) else np.zeros((0, 1), np.float32)


def confusion(truth: Array, said: Array, classes: int) -> NDArray[np.int64]:
    """``counts[i, j]``: rows of class i that were called j."""
    return np.bincount(truth * classes + said, minlength=classes * classes).reshape(classes, classes)


def flow(statistics: Any) -> tuple[LayerFlow, ...]:
    """The layers of a :class:`~backlit.check.Flow`."""
    return tuple(
        LayerFlow(layer, list(norms), list(statistics.update_ratio[layer]), list(statistics.output_std.get(layer, [])))
        for layer, norms in statistics.gradient_norm.items()
    )


def checks(subject: Subject, seed: int = 0) -> tuple[CheckedParameter, ...]:
    """The gradient check, on the training rows with the largest losses: elsewhere a trained network's gradient is so
    small that differences show rounding only."""
    x, y = subject.train[0][:CHECK_CANDIDATES], subject.train[1][:CHECK_CANDIDATES]
    scores = outputs(subject, x)
    with no_grad():
        losses = [float(subject.loss(Tensor(scores[i : i + 1]), Tensor(y[i : i + 1]))) for i in range(len(x))]
    worst = np.argsort(losses)[-CHECK_ROWS:]
    found = check_network(subject.model, subject.loss, x[worst], y[worst], entries=CHECK_ENTRIES, seed=seed)
    return tuple(
        CheckedParameter(
            p.name, p.shape, p.comparison.checked, p.comparison.kinks, p.comparison.relative, p.comparison.analytic,
            p.comparison.numeric,
        )
        for p in found
    )  # fmt: skip


def mistakes(subject: Subject, scores: Array) -> tuple[tuple[Mistake, ...], int]:
    """Wrong test rows, the surest first, and how many there are in all."""
    data, sure = subject.data, probabilities(scores)
    said = sure.argmax(axis=1)
    wrong = np.flatnonzero(said != data.y_test)
    wrong = wrong[np.argsort(-sure[wrong, said[wrong]], kind="stable")]
    shown = [_mistake(data, int(i), int(said[i]), float(sure[i, said[i]])) for i in wrong[:MISTAKES]]
    return tuple(shown), len(wrong)


def _mistake(data: Data, row: int, said: int, confidence: float) -> Mistake:
    assert data.classes is not None
    names = data.classes[int(data.y_test[row])], data.classes[said]
    if data.image_shape is not None:
        scale = 255.0 / (data.pixel_max or 1)
        return Mistake(*names, confidence, image=(data.x_test[row].reshape(data.image_shape) * scale).astype(np.uint8))
    values = zip(data.feature_names or (), data.x_test[row].tolist(), strict=False)
    return Mistake(*names, confidence, features=tuple(values)[:FEATURES_SHOWN])


def regions(subject: Subject) -> Regions | None:
    """The plane as the network sees it, where the features are two numbers."""
    data = subject.data
    if data.classes is None or data.image_shape is not None or data.x_train.shape[1] != 2:
        return None
    points = np.concatenate([data.x_train, data.x_test]).astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, 0.08 * (high - low), 0.5)
    (x0, y0), (x1, y1) = low - margin, high + margin
    xs, ys = np.linspace(x0, x1, GRID), np.linspace(y0, y1, GRID)
    plane = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32)
    sure = probabilities(outputs(subject, subject.to_input(plane).astype(np.float32)))
    chance = 1.0 / sure.shape[1]
    keep = np.random.default_rng(0).permutation(len(points))[:POINTS_SHOWN]
    return Regions(
        classes=sure.argmax(axis=1).reshape(GRID, GRID),
        confidence=((sure.max(axis=1) - chance) / (1 - chance)).reshape(GRID, GRID),
        extent=(float(x0), float(x1), float(y0), float(y1)),
        points=points[keep],
        labels=np.concatenate([data.y_train, data.y_test])[keep],
        test=(np.arange(len(points)) >= len(data.x_train))[keep],
        axes=(data.feature_names or ("x", "y"))[:2],  # type: ignore[arg-type]
    )


def health(subject: Subject) -> FlowReport:
    """What some training rows do in each layer, in evaluation mode: dropout would look like dead units."""
    x, y = subject.train[0][:PROBED_ROWS], subject.train[1][:PROBED_ROWS]
    with keeping_modes(subject.model):
        subject.model.eval()
        return check_flow(subject.model, (x, y), subject.loss)


def pairs(subject: Subject, scores: Array) -> NDArray[np.float64]:
    """(true, predicted) for every test row of a regression, in the units of the source."""
    return np.stack(
        [subject.data.y_test.astype(np.float64), subject.to_target(scores)[:, 0].astype(np.float64)], axis=1
    )
