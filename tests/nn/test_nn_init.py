"""Initial values: bounds, moments, structure, the layers' defaults."""

import math

import numpy as np
import pytest

import backlit as bl
from backlit import nn
from backlit.errors import OperationError, OverwrittenError
from backlit.nn import init


@pytest.fixture(autouse=True)
def _seed():
    bl.manual_seed(0)


def weight(*shape):
    return nn.Parameter(bl.zeros(*shape))


def array(t):
    return t.detach().numpy()


def test_fill_in_place_and_return():
    w = weight(3, 4)
    for fill, value in ((init.ones_, 1.0), (init.zeros_, 0.0), (lambda t: init.constant_(t, 2.5), 2.5)):
        assert fill(w) is w
        assert (array(w) == value).all()
    assert np.array_equal(array(init.eye_(w)), np.eye(3, 4))
    assert w.requires_grad
    assert w.is_leaf


def test_uniform_and_normal_moments():
    w = weight(200, 300)
    values = array(init.uniform_(w, -2.0, 4.0))
    assert values.min() >= -2.0
    assert values.max() < 4.0
    assert abs(values.mean() - 1.0) < 0.03
    values = array(init.normal_(w, 3.0, 0.5))
    assert abs(values.mean() - 3.0) < 0.01
    assert abs(values.std() - 0.5) < 0.01


def test_xavier_and_kaiming_scales():
    w = weight(100, 300)
    for fill, bound in (
        (lambda: init.xavier_uniform_(w, gain=2.0), 2.0 * math.sqrt(6 / 400)),
        (lambda: init.kaiming_uniform_(w, a=math.sqrt(5)), 1 / math.sqrt(300)),
        (lambda: init.kaiming_uniform_(w, nonlinearity="relu", mode="fan_out"), math.sqrt(6 / 100)),
    ):
        values = array(fill())
        assert np.abs(values).max() <= bound * (1 + 1e-6)
        assert np.abs(values).max() > 0.99 * bound
        assert abs(values.std() - bound / math.sqrt(3)) < 0.02 * bound
    for fill, std in (
        (lambda: init.xavier_normal_(w), math.sqrt(2 / 400)),
        (lambda: init.kaiming_normal_(w, nonlinearity="relu"), math.sqrt(2 / 300)),
    ):
        assert abs(array(fill()).std() - std) < 0.02 * std


def test_fans_of_convolution_weights():
    w = weight(64, 32, 3, 3)
    assert abs(array(init.kaiming_normal_(w)).std() - math.sqrt(2 / (32 * 9))) < 0.002
    assert abs(array(init.kaiming_normal_(w, mode="fan_out")).std() - math.sqrt(2 / (64 * 9))) < 0.002


def test_gains():
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("leaky_relu", 1.0) == 1.0
    assert init.calculate_gain("linear") == init.calculate_gain("sigmoid") == 1
    with pytest.raises(OperationError, match=r"'rely' .did you mean 'relu'"):
        init.calculate_gain("rely")


def test_truncated_normal_stays_inside_and_has_the_right_shape():
    from scipy.stats import truncnorm

    w = nn.Parameter(bl.zeros(200, 200, dtype=bl.float64))
    values = array(init.trunc_normal_(w, mean=1.0, std=2.0, a=-1.0, b=2.0))
    assert values.min() >= -1.0
    assert values.max() <= 2.0
    expected = truncnorm(-1.0, 0.5, loc=1.0, scale=2.0)
    assert abs(values.mean() - expected.mean()) < 0.02
    assert abs(values.std() - expected.std()) < 0.02
    far = array(init.trunc_normal_(w, a=9.0, b=10.0))  # a plain inverse distribution function is flat out there
    assert far.min() >= 9.0
    assert far.max() > 9.05
    assert len(np.unique(far)) > 1000
    with pytest.raises(OperationError, match="a < b"):
        init.trunc_normal_(w, a=1.0, b=0.0)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 2, 3)])
def test_orthogonal(shape):
    w = nn.Parameter(bl.zeros(*shape, dtype=bl.float64))
    m = array(init.orthogonal_(w, gain=3.0)).reshape(shape[0], -1)
    product = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    assert np.allclose(product, 9.0 * np.eye(len(product)))


def test_sparse_and_dirac():
    values = array(init.sparse_(weight(10, 6), 0.25))
    assert ((values == 0).sum(axis=0) == 3).all()
    conv = nn.Conv1d(4, 4, 3, padding=1, bias=False, groups=2)
    init.dirac_(conv.weight, groups=2)
    x = bl.rand(2, 4, 5)
    assert np.array_equal(array(conv(x)), x.numpy())


def test_slices_of_parameters_can_be_filled():
    w = weight(4, 2)
    with bl.no_grad():
        init.ones_(w[1:3])
    assert array(w).tolist() == [[0, 0], [1, 1], [1, 1], [0, 0]]


def test_a_pending_backward_notices():
    layer = nn.Linear(2, 2)
    loss = layer(bl.ones(1, 2, requires_grad=True)).sum()
    init.zeros_(layer.weight)
    with pytest.raises(OverwrittenError):
        loss.backward()


def test_seeds_repeat_and_generators_are_taken():
    a = array(nn.Linear(5, 5).weight)
    bl.manual_seed(0)
    assert np.array_equal(a, array(nn.Linear(5, 5).weight))
    draws = [array(init.normal_(weight(3), generator=bl.Generator().manual_seed(3))) for _ in range(2)]
    assert np.array_equal(*draws)


def test_wrong_uses():
    with pytest.raises(OperationError, match=r"test_nn_init.py.*shape \(3,\)"):
        init.xavier_uniform_(weight(3))
    with pytest.raises(OperationError, match="fan_in"):
        init.kaiming_uniform_(weight(3, 3), mode="fan")
    with pytest.raises(OperationError, match="matrix"):
        init.eye_(weight(3))
    with pytest.raises(OperationError, match="read-only"):
        init.zeros_(bl.zeros(1).expand(3))
    with pytest.raises(OperationError, match="negative"):
        init.normal_(weight(3), std=-1)


@pytest.mark.parametrize(
    ("make", "bounds"),
    [
        (lambda: nn.Linear(100, 300), {"weight": 0.1, "bias": 0.1}),
        (lambda: nn.Conv2d(25, 300, 2), {"weight": 0.1, "bias": 0.1}),
        (lambda: nn.Conv2d(50, 300, 2, groups=2), {"weight": 0.1, "bias": 0.1}),
        (lambda: nn.LSTM(50, 100), {"weight_ih_l0": 0.1, "weight_hh_l0": 0.1, "bias_ih_l0": 0.1, "bias_hh_l0": 0.1}),
        (lambda: nn.Bilinear(100, 5, 200), {"weight": 0.1, "bias": 0.1}),
    ],
    ids=["Linear", "Conv2d", "Conv2d in groups", "LSTM", "Bilinear"],
)
def test_layer_defaults_are_pytorchs(make, bounds):
    layer = make()
    for name, bound in bounds.items():
        values = np.abs(array(getattr(layer, name)))
        error = bound / math.sqrt(12 * values.size)  # of the mean of so many uniform numbers
        assert (1 - 8 / values.size) * bound < values.max() <= bound * (1 + 1e-6), name
        assert abs(values.mean() - bound / 2) < 4 * error, name


def test_other_layer_defaults():
    table = array(nn.Embedding(500, 100, padding_idx=3).weight)
    assert abs(np.delete(table, 3, axis=0).std() - 1.0) < 0.02
    assert not table[3].any()
    attention = nn.MultiheadAttention(64, 4)
    assert np.abs(array(attention.in_proj_weight)).max() <= math.sqrt(6 / 256)
    assert not array(attention.in_proj_bias).any()
    assert not array(attention.out_proj.bias).any()
    assert array(nn.PReLU(3).weight).tolist() == [0.25] * 3
    assert nn.Linear(2, 2, dtype=bl.float64).weight.dtype == np.float64
