"""Standardizer, Normalizer and normalize."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backlit.datasets import DataError, Normalizer, Standardizer, digits, moons, normalize

SCALERS = [Standardizer, Normalizer, lambda: Normalizer(-2, 3)]
tables = hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 3)), elements=st.floats(-1e6, 1e6))


@given(tables)
def test_standardized_columns_have_mean_0_and_deviation_1_or_0(x):
    z = Standardizer().fit_transform(x)
    constant = x.min(axis=0) == x.max(axis=0)
    spread = np.ptp(x, axis=0) > 1e-6 * np.abs(x).max(axis=0)
    assert (z[:, constant] == 0).all()
    np.testing.assert_allclose(z[:, spread].mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(z[:, spread].std(axis=0), 1, rtol=1e-8)


@given(tables)
def test_normalized_columns_fill_the_range(x):
    z = Normalizer(-1, 2).fit_transform(x)
    varies = np.ptp(x, axis=0) > 1e-300
    np.testing.assert_allclose(z.min(axis=0), -1, atol=1e-9)
    np.testing.assert_allclose(z[:, varies].max(axis=0), 2, atol=1e-9)


@pytest.mark.parametrize("make", SCALERS)
@given(x=tables)
def test_inverse_undoes_transform(make, x):
    scaler = make()
    np.testing.assert_allclose(scaler.inverse(scaler.fit_transform(x)), x, rtol=1e-9, atol=1e-9 * (1 + np.abs(x).max()))


@pytest.mark.parametrize("make", SCALERS)
def test_statistics_come_from_fit_alone(make):
    rng = np.random.default_rng(0)
    scaler = make().fit(rng.normal(size=(20, 3)))
    before = scaler.state_dict()
    scaler.transform(100 + rng.normal(size=(5, 3)))
    for name, value in scaler.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_agrees_with_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x = np.random.default_rng(0).normal(3, 5, (50, 4))
    np.testing.assert_allclose(
        Standardizer().fit_transform(x), preprocessing.StandardScaler().fit_transform(x), rtol=1e-12
    )
    theirs = preprocessing.MinMaxScaler((-1, 1)).fit_transform(x)
    np.testing.assert_allclose(Normalizer(-1, 1).fit_transform(x), theirs, rtol=1e-12, atol=1e-14)


def test_tables_of_many_blocks_are_scaled_as_a_whole():
    x = np.random.default_rng(0).normal(3, 5, (700, 300)).astype(np.float32)
    wide = x.astype(np.float64)
    z = Standardizer().fit_transform(x)
    np.testing.assert_allclose(z, (wide - wide.mean(axis=0)) / wide.std(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1.0, 1e200])
def test_standard_deviation_neither_overflows_nor_vanishes(size):
    scaler = Standardizer().fit(np.array([[1.0], [3.0]]) * size)
    np.testing.assert_allclose(scaler.scale_, size, rtol=1e-12)


@pytest.mark.parametrize(("scaler", "x"), [(Standardizer(), [1.7e308, 1.6e308]), (Normalizer(), [-1.7e308, 1.7e308])])
def test_statistics_beyond_float64_are_refused(scaler, x):
    with pytest.raises(DataError, match="float64"):
        scaler.fit(x)


def test_a_constant_column_stays_exactly_constant():
    x = np.full((1000, 1), 0.1, np.float32)
    scaler = Standardizer().fit(x)
    assert scaler.scale_ == 1 and (scaler.transform(x) == 0).all()


@pytest.mark.parametrize("make", SCALERS)
@pytest.mark.parametrize(
    ("given_dtype", "result"),
    [
        (np.float32, "float32"),
        (np.float64, "float64"),
        (np.uint8, "float32"),
        (bool, "float32"),
        (np.float16, "float32"),
    ],
)
def test_dtypes_shapes_and_untouched_input(make, given_dtype, result):
    x = (np.arange(24) % 5).astype(given_dtype).reshape(4, 2, 3)
    before = x.copy()
    z = make().fit_transform(x)
    assert z.shape == x.shape and z.dtype.name == result
    np.testing.assert_array_equal(x, before)
    assert make().fit_transform(x[:, 0, 0]).shape == (4,)


@pytest.mark.parametrize("make", SCALERS)
def test_nan_passes_through_transform(make):
    z = make().fit([[0.0], [1.0]]).transform([[np.nan], [0.0]])
    assert np.isnan(z[0, 0]) and np.isfinite(z[1, 0])


@pytest.mark.parametrize("make", SCALERS)
def test_state_goes_to_another_scaler(make):
    x = np.random.default_rng(0).normal(size=(9, 2))
    scaler = make().fit(x)
    state = scaler.state_dict()
    other = type(scaler)()
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.transform(x), scaler.transform(x))
    assert repr(other) == repr(make()).replace("low=-2, high=3", "low=-2.0, high=3.0")
    assert all(type(value) is np.ndarray and value.dtype == np.float64 for value in state.values())
    state["scale_"][:] = 7
    assert (scaler.scale_ != 7).all()


@pytest.mark.parametrize("make", SCALERS)
def test_faults(make):
    scaler = make()
    for method in (scaler.transform, scaler.inverse):
        with pytest.raises(DataError, match=r"call fit\(x_train\) first"):
            method(np.zeros((2, 2)))
    with pytest.raises(DataError, match="no statistics yet"):
        scaler.state_dict()
    for bad, words in [
        (np.zeros((0, 2)), "at least one row"),
        (3.0, "at least one row"),
        ([["a"]], "real numbers"),
        ([[1j]], "real numbers"),
        (np.ones((2, 2), np.longdouble), "at most 64 bits"),
        ([[1.0, 2.0], [3.0, np.nan]], r"holds nan at \(1, 1\)"),
        ([[np.inf]], r"holds inf at \(0, 0\)"),
    ]:
        with pytest.raises(DataError, match=words):
            make().fit(bad)
    scaler.fit(np.zeros((3, 2)))
    with pytest.raises(DataError, match=r"shape \(2, 3\) and fit saw rows of shape \(2,\)"):
        scaler.transform(np.zeros((2, 3)))
    for change in (
        {"extra": 1.0},
        {"scale_": np.zeros(2)},
        {"scale_": np.ones(3)},
        {"scale_": [np.nan, 1]},
        {"scale_": ["a"]},
    ):
        with pytest.raises(DataError):
            make().load_state_dict({**scaler.state_dict(), **change})


def test_the_range_of_a_normalizer():
    for low, high in [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)]:
        with pytest.raises(DataError, match="the range is"):
            Normalizer(low, high)
    state = Normalizer().fit([[1.0]]).state_dict()
    for change in ({"low": 5.0}, {"low": [0.0], "high": [1.0]}):
        with pytest.raises(DataError, match="is damaged"):
            Normalizer().load_state_dict({**state, **change})


def test_normalize_uses_the_training_part_and_keeps_the_rest():
    data = moons(200)
    scaler = Standardizer()
    result = normalize(data, scaler)
    np.testing.assert_array_equal(result.x_test, scaler.transform(data.x_test))
    assert result.y_train is data.y_train and result.x_train.dtype == np.float32
    images = normalize(digits(), Normalizer())
    assert images.x_train.shape == (1438, 64) and images.x_train.max() == 1 and images.pixel_max is None
