"""Moons, spirals and how rows are split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlit.datasets import DataError, moons, spirals
from backlit.datasets.split import split_by_class, split_rows


@pytest.mark.parametrize("n", [2, 7, 100])
def test_moons_without_noise_lie_on_two_half_circles(n):
    data = moons(n, noise=0, test_fraction=0)
    (upper, lower) = (data.x_train[data.y_train == label] for label in (0, 1))
    assert (len(upper), len(lower)) == (n // 2, n - n // 2)
    np.testing.assert_allclose(np.hypot(*upper.T), 1, rtol=1e-6)
    np.testing.assert_allclose(np.hypot(1 - lower[:, 0], 0.5 - lower[:, 1]), 1, rtol=1e-6)
    assert (upper[:, 1] >= -1e-6).all() and (lower[:, 1] <= 0.5 + 1e-6).all()


def test_moons_are_those_of_scikit_learn():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    points, labels = sklearn_datasets.make_moons(51, shuffle=False)
    data = moons(51, noise=0, test_fraction=0)
    ours = np.column_stack([data.x_train, data.y_train])
    theirs = np.column_stack([points, labels]).astype(np.float32)
    np.testing.assert_allclose(
        ours[np.lexsort(ours.T[::-1].round(5))], theirs[np.lexsort(theirs.T[::-1].round(5))], atol=1e-6
    )


def test_spirals_without_noise_follow_the_formula():
    data = spirals(50, 3, noise=0, test_fraction=0)
    radius = np.hypot(*data.x_train.T)
    expected = 4 * data.y_train + 4 * radius
    np.testing.assert_allclose(radius * np.sin(expected), data.x_train[:, 0], atol=1e-5)
    np.testing.assert_allclose(radius * np.cos(expected), data.x_train[:, 1], atol=1e-5)
    np.testing.assert_allclose(np.sort(radius[data.y_train == 2]), np.linspace(0, 1, 50), atol=1e-6)


@pytest.mark.parametrize("make", [moons, spirals])
def test_the_seed_decides_everything(make):
    first, again, other = make(seed=3), make(seed=3), make(seed=4)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.x_train, other.x_train)
    assert first.x_train.dtype == np.float32 and first.y_train.dtype == np.int64
    assert first.feature_names == ("x", "y") and first.scaled() is first


def test_noise_has_the_standard_deviation_asked_for():
    clean, noisy = moons(20000, noise=0, test_fraction=0), moons(20000, noise=0.3, test_fraction=0)
    spread = noisy.x_train.var(axis=0) - clean.x_train.var(axis=0)
    np.testing.assert_allclose(spread, 0.09, atol=0.01)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: moons(1), "n is 1"),
        (lambda: moons(2.5), "whole number"),
        (lambda: moons(noise=-1), "noise is -1"),
        (lambda: moons(noise=float("nan")), "noise is nan"),
        (lambda: moons(test_fraction=1), "test_fraction is 1"),
        (lambda: moons(test_fraction=float("nan")), "test_fraction is nan"),
        (lambda: spirals(0), "points_per_class is 0"),
        (lambda: spirals(classes=1), "classes is 1"),
    ],
)
def test_arguments_outside_their_range(make, words):
    with pytest.raises(DataError, match=words):
        make()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0, 1, exclude_max=True))
def test_a_split_by_class_is_a_fair_partition(labels, fraction):
    labels = np.array(labels)
    train, test = split_by_class(labels, fraction, np.random.default_rng(0))
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert set(labels[train]) == set(labels)
    for label in np.unique(labels):
        share = fraction * (labels == label).sum()
        assert np.floor(share) - 1 <= (labels[test] == label).sum() <= np.floor(share) + 1


@given(st.integers(0, 50), st.floats(0, 1, exclude_max=True))
def test_a_plain_split_is_a_partition(count, fraction):
    train, test = split_rows(count, fraction, np.random.default_rng(0))
    assert sorted([*train, *test]) == list(range(count))
    assert count == 0 or len(train) >= 1
