"""Data: each fault its verdict; sound data, and data that only look odd, none."""

import numpy as np
import pytest

import backlit as bl
from backlit import check
from backlit.check.rows.shared import equal_rows, near_rows
from backlit.datasets import digits, moons, spirals
from backlit.errors import OperationError
from backlit.utils.data import DataLoader, TensorDataset


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] > 0).astype(np.int64)


def kinds(*data, **options):
    return check.data(data, **options).kinds


@pytest.mark.parametrize("make", [lambda: digits().scaled(), moons, spirals])
def test_sound_sets(make):
    assert check.data(make()).kinds == []


def test_every_form_of_data(table):
    x, y = table
    dataset = TensorDataset(bl.tensor(x * 100), bl.tensor(y))
    for data in ((x * 100, y), (bl.tensor(x * 100), bl.tensor(y)), dataset, DataLoader(dataset, 32)):
        assert check.data(data).kinds == ["not_standardized"]
    with pytest.raises(OperationError, match=r"have 400 and 399 rows"):
        check.data((x, y[:-1]))
    with pytest.raises(OperationError, match="int"):
        check.data(3)


def test_not_finite(table):
    x, y = table
    x[[7, 9], 2] = np.nan
    found = check.data((x, y))
    assert found.kinds == ["non_finite_data"]
    assert found[0].where == "column 2" and found[0].data["rows"] == [7, 9]


def test_not_standardized(table):
    x, y = table
    found = check.data((x * np.array([1, 1, 1, 300, 1], np.float32), y))
    assert found.kinds == ["not_standardized"] and found[0].where == "column 3"
    assert kinds(x + np.array([0, 0, 0, 0, 2000], np.float32), y) == ["not_standardized"]
    assert kinds(x * 1e-4, y) == ["not_standardized"]
    assert check.data(digits()).kinds == ["not_standardized"]  # raw pixels
    target = x[:, :1] * 500
    assert kinds(x, target) == ["targets_not_standardized"]


def test_columns(table):
    x, y = table
    constant = np.concatenate([x, np.ones((400, 1), np.float32)], axis=1)
    assert check.data((constant, y))[0].data["columns"] == [5] and kinds(constant, y) == ["constant_feature"]
    twice = np.concatenate([x, x[:, 2:3]], axis=1)
    assert check.data((twice, y))[0].data["pairs"] == [(2, 5)] and kinds(twice, y) == ["duplicate_feature"]


def test_balance(table):
    x, _ = table
    rare = (x[:, 0] > 2.0).astype(np.int64)
    assert kinds(x, rare) == ["class_imbalance"]
    assert kinds(x, np.zeros(400, np.int64)) == ["single_class"]


def test_order(table):
    x, y = table
    order = np.argsort(y, kind="stable")
    assert kinds(x[order], y[order]) == ["unshuffled"]
    shuffled = DataLoader(TensorDataset(bl.tensor(x[order]), bl.tensor(y[order])), 50, shuffle=True)
    assert check.data(shuffled).kinds == []


def test_unrelated_labels(table):
    x, y = table
    rng = np.random.default_rng(1)
    assert kinds(x, rng.permutation(y)) == ["labels_unrelated"]
    assert kinds(x, rng.permutation(x[:, 0])) == ["labels_unrelated"]
    parity = (np.prod(np.sign(x[:, :2]), axis=1) > 0).astype(np.int64)  # no column alone tells it, neighbours do
    assert kinds(x, parity) == []


def test_contradicting_labels():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    x, y = np.concatenate([x, x[:30]]), np.concatenate([y, 1 - y[:30]])
    assert kinds(x, y) == ["contradicting_labels"]


def test_leakage(table):
    x, y = table
    rng = np.random.default_rng(1)
    fresh = rng.normal(size=(100, 5)).astype(np.float32)
    assert kinds(x, y, validation=(fresh, y[:100])) == []
    leaked = np.concatenate([fresh, x[50:80]])
    found = check.data((x, y), validation=(leaked, y[:130]))
    assert found.kinds == ["leakage"] and found[0].data["exact"]
    assert found[0].data["pairs"] == [[50 + i, 100 + i] for i in range(30)]
    noisy = leaked + rng.normal(size=leaked.shape).astype(np.float32) * 1e-4
    found = check.data((x, y), validation=(noisy, y[:130]))
    assert found.kinds == ["leakage"] and not found[0].data["exact"] and len(found[0].data["pairs"]) == 30
    assert kinds(x, y, validation=(fresh[:, :3], y[:100])) == ["different_columns"]


def test_tables_of_yes_and_no_repeat_by_chance():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (500, 6)).astype(np.float32)
    y = (x[:, 0] * x[:, 1]).astype(np.int64)
    assert kinds(x[:400], y[:400], validation=(x[400:], y[400:])) == []


def test_near_rows_are_found_and_only_they():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(2000, 30))
    second = np.concatenate([rng.normal(size=(500, 30)), first[:200] + 3e-4 * rng.normal(size=(200, 30))])
    pairs = near_rows(first, second)
    assert {tuple(p) for p in pairs.tolist()} <= {(i, 500 + i) for i in range(200)} and len(pairs) >= 199
    assert len(equal_rows(first, second)) == 0
    assert equal_rows(np.array([[0.0], [1.0]]), np.array([[-0.0]])).tolist() == [[0, 0]]


def test_scaling_fitted_on_both_sets():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4)) * [1, 2, 3, 4] + 1
    y = (x[:, 0] > 1).astype(np.int64)
    together, alone = (x - x.mean(axis=0)) / x.std(axis=0), (x - x[:400].mean(axis=0)) / x[:400].std(axis=0)
    assert kinds(together[:400], y[:400], validation=(together[400:], y[400:])) == ["leaking_normalization"]
    assert kinds(alone[:400], y[:400], validation=(alone[400:], y[400:])) == []


@pytest.mark.parametrize("form", [lambda x, y: (x, y), lambda x, y: DataLoader(TensorDataset(x, y), 40)])
def test_the_doctor_says_of_rows_what_this_check_says(table, form):
    x, y = table
    x = np.concatenate([x, x[:, :1], np.full((400, 1), 300, np.float32)], axis=1)
    held_out = (x[:50], y[:50])
    model = bl.nn.Sequential(bl.nn.Linear(7, 8), bl.nn.ReLU(), bl.nn.Linear(8, 2))
    told = {f.kind: f for f in check.diagnose(model, form(x, y), "cross_entropy", validation=held_out)}
    found = check.data((x, y), validation=held_out)
    assert set(found.kinds) == {"not_standardized", "constant_feature", "duplicate_feature", "leakage"}
    for f in found:
        assert (told[f.kind].evidence, told[f.kind].cause, told[f.kind].data) == (f.evidence, f.cause, f.data)


def test_rows_keep_their_numbers_where_not_all_are_looked_at(table):
    x, y = (np.tile(part, (70, 1)[: part.ndim]) for part in table)
    x[28_000 - 1, 3] = np.nan
    assert len(x) == 28_000 and check.data((x, y))[0].data["rows"] == [28_000 - 1]
    x, y = table
    x[7, 1] = np.nan
    model = bl.nn.Linear(5, 2)
    assert check.diagnose(model, (x, y), "cross_entropy")[0].data["rows"] == [7]


def test_quantities_in_order():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = (x[:, 0] - x[:, 1]).astype(np.float32)
    assert kinds(x, y) == []
    order = np.argsort(y)
    found = check.data((x[order], y[order]))
    assert found.kinds == ["unshuffled"]
    assert "of 32 neighbouring rows" in found[0].evidence
    assert kinds(x[order][:20], y[order][:20]) == []


def test_text_is_no_number_but_names_of_classes_are_labels(table):
    x, y = table
    with pytest.raises(OperationError, match="turn them into numbers"):
        check.data((x.astype(str), y))
    assert kinds(x, np.array(["no", "yes"])[y]) == []
    assert kinds(x[np.argsort(y)], np.array(["no", "yes"])[np.sort(y)]) == ["unshuffled"]
