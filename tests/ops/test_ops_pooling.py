"""Pooling: who wins, where gradients go, NaN and infinities, errors, and PyTorch over all options."""

import itertools

import numpy as np
import pytest

import backlit as bl
from backlit.errors import OperationError

NAN, INF = float("nan"), float("inf")


def leaf(array):
    return bl.tensor(array, requires_grad=True)


def test_the_first_of_equal_values_gets_the_whole_gradient():
    x = leaf(np.array([[[2.0, 2.0], [2.0, 2.0]]]))
    y = bl.max_pool2d(x, 2)
    y.backward(bl.tensor([[[3.0]]]).to(bl.float64))
    assert x.grad.tolist() == [[[3.0, 0.0], [0.0, 0.0]]]


def test_nan_wins_and_infinite_gradients_stay_where_they_belong():
    x = leaf(np.array([[[1.0, NAN, 3.0, 4.0]]]))
    y = bl.max_pool1d(x, 2)
    assert np.array_equal(y.detach().numpy(), [[[NAN, 4.0]]], equal_nan=True)
    y.backward(bl.tensor(np.array([[[INF, 1.0]]])))
    assert x.grad.tolist() == [[[0.0, INF, 0.0, 1.0]]]


def test_padding_never_wins_even_against_minus_infinity():
    x = leaf(np.full((1, 3, 3), -INF))
    y, places = bl.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)
    assert y.detach().tolist() == [[[-INF, -INF], [-INF, -INF]]]
    assert places.tolist() == [[[0, 1], [3, 4]]]
    y.backward(bl.ones(1, 2, 2).to(bl.float64))
    assert x.grad.numpy().sum() == 4


def test_a_single_sample_equals_a_batch_of_one():
    x = np.random.default_rng(2).normal(size=(2, 5, 4))
    for pool in (bl.max_pool2d, bl.avg_pool2d):
        assert np.array_equal(pool(x, 2, 3, (1, 0)), pool(x[None], 2, 3, (1, 0))[0])


def test_whole_numbers_can_be_pooled():
    assert bl.max_pool2d(np.array([[[3, -7], [-9, 1]]]), 2, padding=1).tolist() == [[[3, -7], [-9, 1]]]


def test_large_kernels_need_more_than_a_byte():
    x = np.zeros((1, 20, 20))
    x[0, 17, 19] = 1
    _, places = bl.max_pool2d(x, 20, return_indices=True)
    assert places.item() == 17 * 20 + 19


def test_winners_take_one_byte_an_output_and_the_input_is_not_kept():
    node = bl.max_pool2d(leaf(np.ones((2, 3, 8, 8))), 2).grad_fn
    assert node.extra.dtype == np.uint8
    assert node.extra.shape == (2, 3, 4, 4)
    assert all(value is None for value in node.saved)


def test_a_nan_is_averaged_only_into_its_own_windows():
    x = np.ones((1, 5, 5))
    x[0, 0, 0] = NAN
    assert np.isnan(bl.adaptive_avg_pool2d(x, 3)).sum() == 1
    assert np.isnan(bl.avg_pool2d(x, 2, stride=1)).sum() == 1


@pytest.mark.parametrize(
    ("pool", "x", "arguments", "message"),
    [
        (bl.max_pool2d, (4, 4), (2,), "needs an input of shape"),
        (bl.max_pool2d, (1, 4, 4), (5,), "larger than the input"),
        (bl.max_pool2d, (1, 4, 4), (2, 1, 2), "at most half"),
        (bl.max_pool2d, (1, 4, 4), (0,), "kernel_size must be"),
        (bl.max_pool2d, (1, 4, 4), ((2, 2, 2),), "or 2 of them"),
        (bl.max_pool1d, (1, 1), (2, 1, 2, 3), "see nothing"),
        (bl.max_pool1d, (0, 4), (2,), "only the batch may be empty"),
        (bl.avg_pool2d, (1, 4, 4), (2, 1, 2), "at most half"),
        (bl.avg_pool2d, (1, 4, 4), (2, 1, 0, False, True, 0), "divisor_override"),
        (bl.adaptive_avg_pool2d, (1, 4, 4), ((2, 2, 2),), "output_size"),
        (bl.adaptive_avg_pool2d, (4, 4), (2,), "needs an input of shape"),
    ],
)
def test_errors(pool, x, arguments, message):
    with pytest.raises(OperationError, match=message) as caught:
        pool(bl.ones(x), *arguments)
    assert str(caught.value).startswith(f"{pool.__name__} at test_ops_pooling.py:")


def _compare(ours, theirs, x, dtype, message):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    mine, peer = leaf(x.astype(dtype)), torch.tensor(x.astype(dtype), requires_grad=True)
    out, expected = ours(mine), theirs(peer)
    if isinstance(out, tuple):
        assert np.array_equal(out[1].numpy(), expected[1].numpy()), message
        assert out[1].dtype == np.int64
        out, expected = out[0], expected[0]
    rtol = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=rtol, atol=rtol, err_msg=message)
    cotangent = rng.normal(size=out.shape).astype(dtype)
    out.backward(bl.tensor(cotangent))
    expected.backward(torch.tensor(cotangent))
    assert mine.grad.dtype == np.dtype(dtype)
    np.testing.assert_allclose(mine.grad.numpy(), peer.grad.numpy(), rtol=rtol, atol=rtol, err_msg=message)


def _some(*options):
    """Sixty of all combinations: each value, and nearly each pair of values, occurs."""
    combinations = list(itertools.product(*options))
    chosen = np.random.default_rng(0).choice(len(combinations), 60, replace=False)
    return [combinations[i] for i in sorted(chosen)]


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_max_pool2d_equals_pytorch(dtype):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(6).integers(0, 9, size=(2, 3, 9, 8)) * 1.0  # many equal values
    x[0, 0, 3, 2:5] = NAN
    x[1, 1, :4, :4] = -INF
    for settings in _some((2, 3, (3, 2)), (None, 1, (2, 3)), (0, 1), (1, 2), (False, True), (False, True)):
        _compare(
            lambda t, a=settings: bl.max_pool2d(t, *a),
            lambda t, a=settings: torch.nn.functional.max_pool2d(
                t, a[0], a[1], a[2], a[3], ceil_mode=a[4], return_indices=a[5]
            ),
            x,
            dtype,
            str(settings),
        )


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_avg_pool2d_equals_pytorch(dtype):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(7).normal(size=(2, 3, 9, 8))
    for settings in _some((2, 3, (3, 2), 7), (None, 1, (2, 3)), (0, 1), (False, True), (False, True), (None, 5)):
        _compare(
            lambda t, a=settings: bl.avg_pool2d(t, *a),
            lambda t, a=settings: torch.nn.functional.avg_pool2d(t, *a),
            x,
            dtype,
            str(settings),
        )


@pytest.mark.peers
def test_adaptive_and_other_ranks_equal_pytorch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    rng = np.random.default_rng(8)
    for size in (1, 3, 7, (2, 5), (None, 1), (14, 9)):
        _compare(
            lambda t, a=size: bl.adaptive_avg_pool2d(t, a),
            lambda t, a=size: functional.adaptive_avg_pool2d(t, a),
            rng.normal(size=(2, 3, 7, 9)),
            "float64",
            str(size),
        )
    x1, x3 = rng.normal(size=(2, 3, 11)), rng.normal(size=(2, 2, 6, 5, 7))
    for settings in itertools.product((2, 3), (None, 1), (0, 1)):
        pairs = [
            (bl.max_pool1d, functional.max_pool1d, x1),
            (bl.avg_pool1d, functional.avg_pool1d, x1),
            (bl.max_pool3d, functional.max_pool3d, x3),
            (bl.avg_pool3d, functional.avg_pool3d, x3),
        ]
        for ours, theirs, x in pairs:
            _compare(
                lambda t, f=ours, a=settings: f(t, *a),
                lambda t, f=theirs, a=settings: f(t, *a),
                x,
                "float64",
                f"{ours.__name__}{settings}",
            )
