"""Gradient clipping, parameter vectors, penalties."""

import math

import numpy as np
import pytest

import backlit as bl
from backlit import nn
from backlit.errors import GradientError, OperationError
from backlit.nn import utils


def parameters():
    a, b, frozen = nn.Parameter(bl.zeros(2)), nn.Parameter(bl.zeros(1, 2)), nn.Parameter(bl.zeros(1))
    a.grad, b.grad = bl.tensor([3.0, -4.0]), bl.tensor([[0.0, 12.0]])
    return a, b, frozen


@pytest.mark.parametrize(
    ("p", "norm"), [(2.0, 13.0), (1.0, 19.0), (math.inf, 12.0), (3.0, (27 + 64 + 1728) ** (1 / 3))]
)
def test_norm_clipping(p, norm):
    a, b, frozen = parameters()
    total = utils.clip_grad_norm_([a, b, frozen], 1.0, norm_type=p)
    assert total.item() == pytest.approx(norm)
    assert np.allclose(a.grad.numpy(), np.array([3.0, -4.0]) / norm)
    assert utils.get_total_norm([a.grad, b.grad], p).item() == pytest.approx(1.0)


def test_small_gradients_are_left_alone():
    a, b, _ = parameters()
    utils.clip_grad_norm_(iter([a, b]), 100.0)
    assert a.grad.tolist() == [3.0, -4.0]
    assert utils.clip_grad_norm_([], 1.0).item() == 0.0


def test_norms_beyond_the_range_of_squares():
    a = nn.Parameter(bl.zeros(2))
    for scale in (1e30, 1e-30):
        a.grad = bl.tensor([3.0 * scale, 4.0 * scale])
        assert utils.get_total_norm([a.grad]).item() == pytest.approx(5.0 * scale)


def test_not_finite():
    a, b, _ = parameters()
    a.grad = bl.tensor([math.nan, 1.0])
    with pytest.raises(GradientError, match=r"2.0-norm of the gradients is nan"):
        utils.clip_grad_norm_([a, b], 1.0, error_if_nonfinite=True)
    assert b.grad.tolist() == [[0.0, 12.0]]
    utils.clip_grad_norm_([a, b], 1.0)
    assert np.isnan(b.grad.numpy()).all()


def test_value_clipping():
    a, b, _ = parameters()
    utils.clip_grad_value_([a, b], 3.5)
    assert a.grad.tolist() == [3.0, -3.5]
    assert b.grad.tolist() == [[0.0, 3.5]]
    utils.clip_grad_value_(a, 1)
    assert a.grad.tolist() == [1.0, -1.0]


def test_vectors_round_trip():
    net = nn.Linear(2, 3)
    vector = utils.parameters_to_vector(net.parameters())
    assert vector.shape == (9,)
    assert vector.requires_grad
    utils.vector_to_parameters(bl.arange(9.0), net.parameters())
    assert net.weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert net.bias.tolist() == [6, 7, 8]
    with pytest.raises(OperationError, match=r"9 entries, the vector has shape \(8,\)"):
        utils.vector_to_parameters(bl.zeros(8), net.parameters())


def test_penalties_and_their_gradients():
    net = nn.Linear(2, 1)
    nn.utils.vector_to_parameters(bl.tensor([1.0, -2.0, 5.0]), net.parameters())
    assert nn.l1_penalty(net, 0.1).item() == pytest.approx(0.3)
    assert nn.l2_penalty(net, 0.1).item() == pytest.approx(0.5)
    assert nn.l1_penalty(net, 0.1, include_bias=True).item() == pytest.approx(0.8)
    assert nn.l2_penalty(net.parameters(), 1.0).item() == pytest.approx(30.0)
    (nn.l1_penalty(net, 0.1) + nn.l2_penalty(net, 0.01)).backward()
    assert np.allclose(net.weight.grad.numpy(), [[0.12, -0.14]])
    assert net.bias.grad is None
    with pytest.raises(ValueError, match="no parameters to penalise"):
        nn.l1_penalty(nn.ReLU())
