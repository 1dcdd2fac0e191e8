"""Metrics: values by hand, batches that do not matter, mistakes that broadcasting would hide."""

import math

import numpy as np
import pytest

import backlit as bl
from backlit.errors import OperationError
from backlit.train.metrics import (
    F1,
    METRICS,
    R2,
    Accuracy,
    BinaryAccuracy,
    ConfusionMatrix,
    MeanAbsoluteError,
    MeanSquaredError,
    Precision,
    Recall,
    TopKAccuracy,
    accuracy,
    binary_accuracy,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    mean_squared_error,
    precision,
    r2_score,
    recall,
    top_k_accuracy,
)

rng = np.random.default_rng(0)
SCORES = rng.standard_normal((50, 6)).astype(np.float32)
LABELS = rng.integers(0, 6, 50)
VALUES, TARGETS = rng.standard_normal((50, 3)), rng.standard_normal((50, 3))
SIGNS = rng.integers(0, 2, 50)

CASES = [
    (Accuracy, SCORES, LABELS),
    (lambda: TopKAccuracy(3), SCORES, LABELS),
    (Precision, SCORES, LABELS),
    (Recall, SCORES, LABELS),
    (F1, SCORES, LABELS),
    (ConfusionMatrix, SCORES, LABELS),
    (lambda: BinaryAccuracy(0.0), VALUES[:, :1], SIGNS),
    (MeanAbsoluteError, VALUES, TARGETS),
    (MeanSquaredError, VALUES, TARGETS),
    (R2, VALUES, TARGETS),
]


@pytest.mark.parametrize("make, output, target", CASES)
@pytest.mark.parametrize("cuts", [[25], [1, 2, 40], [0, 50]])
def test_batches_do_not_matter_nor_does_a_saved_state(make, output, target, cuts):
    whole, pieces, resumed = make(), make(), make()
    expected = whole(output, target)
    for part, labels in zip(np.split(output, cuts), np.split(target, cuts), strict=True):
        pieces.update(bl.tensor(part), bl.tensor(labels))
        resumed.load_state_dict(pieces.state_dict())
    np.testing.assert_allclose(pieces.compute(), expected, rtol=1e-12)
    np.testing.assert_array_equal(resumed.compute(), pieces.compute())
    pieces.reset()
    assert np.all(np.isnan(pieces.compute()) if make is not ConfusionMatrix else pieces.compute().size == 0)


def test_accuracy_of_classes_scores_and_pixels():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert accuracy(scores, np.array([1, 0, 0])) == pytest.approx(2 / 3)
    assert accuracy(scores, np.array([[0.0, 1.0], [1.0, 0.0], [0.6, 0.4]])) == pytest.approx(2 / 3)
    assert accuracy(scores.argmax(1), np.array([1, 0, 0])) == pytest.approx(2 / 3)
    assert accuracy(rng.standard_normal((2, 3, 4, 5)), np.zeros((2, 4, 5), int)) <= 1


def test_top_k_is_accuracy_at_1_and_certain_at_c():
    assert top_k_accuracy(SCORES, LABELS, 1) == accuracy(SCORES, LABELS)
    assert top_k_accuracy(SCORES, LABELS, 6) == 1.0
    assert top_k_accuracy(np.array([[3.0, 2.0, 1.0]]), np.array([1]), 2) == 1.0
    with pytest.raises(OperationError, match="top_7_accuracy"):
        top_k_accuracy(SCORES, LABELS, 7)


def test_binary_accuracy_of_either_kind_of_target():
    assert binary_accuracy(np.array([0.2, 0.7, 0.6]), np.array([0, 1, 0])) == pytest.approx(2 / 3)
    assert binary_accuracy(np.array([[-1.0], [2.0]]), np.array([-1, 1]), threshold=0.0) == 1.0


def test_errors_by_hand():
    output, target = np.array([1.0, 2.0, 4.0]), np.array([1.0, 4.0, 1.0])
    assert mean_absolute_error(output, target) == pytest.approx(5 / 3)
    assert mean_squared_error(output, target) == pytest.approx(13 / 3)
    assert r2_score(output, target) == pytest.approx(1 - 13 / 6)
    assert mean_squared_error(output[:, None], target) == pytest.approx(13 / 3)


def test_r2_at_constant_targets_and_large_means():
    assert r2_score(np.array([2.0, 2.0]), np.array([2.0, 2.0])) == 1.0
    assert r2_score(np.array([2.0, 3.0]), np.array([2.0, 2.0])) == 0.0
    assert math.isnan(r2_score(np.array([2.0]), np.array([2.0])))
    metric, reference = R2(), r2_score(VALUES, TARGETS)
    for i in range(0, 50, 10):
        metric.update(VALUES[i : i + 10] + 1e8, TARGETS[i : i + 10] + 1e8)
    assert metric.compute() == pytest.approx(reference, abs=1e-6)


def test_scores_of_classes_by_hand():
    predicted, true = np.array([0, 0, 1, 1, 1, 3]), np.array([0, 1, 1, 1, 2, 3])
    np.testing.assert_array_equal(
        confusion_matrix(predicted, true), [[1, 0, 0, 0], [1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    )
    assert precision(predicted, true) == pytest.approx((1 / 2 + 2 / 3 + 0 + 1) / 4)
    assert recall(predicted, true) == pytest.approx((1 + 2 / 3 + 0 + 1) / 4)
    assert f1_score(predicted, true) == pytest.approx((2 / 3 + 2 / 3 + 0 + 1) / 4)
    assert precision(np.array([5, 5]), np.array([5, 5])) == 1.0  # classes that never occur do not count


def test_confusion_matrix_sizes():
    assert confusion_matrix(SCORES, LABELS).shape == (6, 6)
    assert confusion_matrix(SCORES, LABELS).sum() == 50
    assert confusion_matrix(np.array([0]), np.array([1]), classes=4).shape == (4, 4)
    growing = ConfusionMatrix()
    growing.update(np.array([0]), np.array([0]))
    growing.update(np.array([2]), np.array([1]))
    assert growing.compute().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    for bad in (np.array([4]), np.array([-1])):
        with pytest.raises(OperationError, match="class numbers"):
            confusion_matrix(np.array([0]), bad, classes=4)


@pytest.mark.parametrize("make", [MeanSquaredError, MeanAbsoluteError, lambda: BinaryAccuracy(0.0)])
def test_shapes_that_would_broadcast_are_refused(make):
    with pytest.raises(OperationError, match="do not match"):
        make()(np.ones((4, 3)), np.ones(4))
    with pytest.raises(OperationError, match="do not match"):
        make()(np.ones((4, 1)), np.ones(3))


def test_every_name_makes_a_metric_of_that_name():
    for name, make in METRICS.items():
        assert make().name == name


@pytest.mark.peers
def test_scores_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    found = SCORES.argmax(1)
    assert precision(SCORES, LABELS) == pytest.approx(metrics.precision_score(LABELS, found, average="macro"))
    assert recall(SCORES, LABELS) == pytest.approx(metrics.recall_score(LABELS, found, average="macro"))
    assert f1_score(SCORES, LABELS) == pytest.approx(metrics.f1_score(LABELS, found, average="macro"))
    assert r2_score(VALUES, TARGETS) == pytest.approx(metrics.r2_score(TARGETS, VALUES))
    np.testing.assert_array_equal(confusion_matrix(SCORES, LABELS), metrics.confusion_matrix(LABELS, found))
    assert top_k_accuracy(SCORES, LABELS, 3) == pytest.approx(metrics.top_k_accuracy_score(LABELS, SCORES, k=3))
