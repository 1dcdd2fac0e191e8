"""Normalisations: what comes out, what running statistics become, what is kept, errors, and PyTorch."""

import numpy as np
import pytest

import backlit as bl
from backlit.errors import OperationError


def leaf(array):
    return None if array is None else bl.tensor(array, requires_grad=True)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(2.0, 3.0, size=shape)


def test_groups_come_out_with_mean_zero_and_variance_one():
    x = draw(6, 4, 5)
    cases = [
        (bl.layer_norm(x, (4, 5), eps=0.0), (1, 2)),
        (bl.batch_norm(x, None, None, training=True, eps=0.0), (0, 2)),
        (bl.instance_norm(x, eps=0.0), (2,)),
        (bl.group_norm(x, 2, eps=0.0).reshape(6, 2, 10), (2,)),
    ]
    for y, axes in cases:
        assert np.allclose(y.mean(axis=axes), 0, atol=1e-12)
        assert np.allclose(y.var(axis=axes), 1)
    assert np.allclose((bl.rms_norm(x, 5, eps=0.0) ** 2).mean(axis=-1), 1)


def test_a_large_offset_does_not_spoil_the_variance():
    x = (1e4 + np.arange(8.0)).astype(np.float32)
    y = bl.layer_norm(bl.tensor(x), 8).numpy()
    assert np.allclose(y, (np.arange(8) - 3.5) / np.arange(8).std(), atol=1e-4)


def test_gradients_have_no_part_along_shifts_and_scalings():
    x = leaf(draw(3, 8))
    y = bl.layer_norm(x, 8, eps=0.0)
    y.backward(bl.tensor(draw(3, 8, seed=1)))
    assert np.allclose(x.grad.numpy().sum(axis=1), 0, atol=1e-12)
    assert np.allclose((x.grad.numpy() * x.detach().numpy()).sum(axis=1), 0, atol=1e-12)


def test_running_statistics_move_in_place_and_are_used_outside_training():
    mean, var = bl.zeros(3), bl.ones(3)
    x = draw(5, 3, 4).astype(np.float32)
    bl.batch_norm(bl.tensor(x), mean, var, training=True, momentum=0.25)
    assert np.allclose(mean.numpy(), 0.25 * x.mean(axis=(0, 2)), rtol=1e-5)
    assert np.allclose(var.numpy(), 0.75 + 0.25 * x.var(axis=(0, 2), ddof=1), rtol=1e-5)
    before = mean.tolist(), var.tolist()
    y = bl.batch_norm(bl.tensor(x), mean, var)
    assert (mean.tolist(), var.tolist()) == before
    expected = (x - mean.numpy()[:, None]) / np.sqrt(var.numpy()[:, None] + 1e-5)
    assert np.allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_two_training_passes_before_backward():
    mean, var = bl.zeros(3), bl.ones(3)
    x = leaf(draw(5, 3))
    first = bl.batch_norm(x, mean, var, training=True)
    second = bl.batch_norm(x, mean, var, training=True)
    (first * second).sum().backward()  # the statistics saved by the first are not the running ones, which moved since
    assert x.grad is not None


def test_only_input_weight_and_statistics_are_kept():
    x, w, b = leaf(draw(6, 4)), leaf(draw(4)), leaf(draw(4))
    node = bl.layer_norm(x, 4, w, b).grad_fn
    assert {id(v) for v in node.saved if v is not None} == {id(x), id(w)}
    assert sum(a.size for a in node.extra) == 12
    node = bl.batch_norm(x, None, None, w, b, training=True).grad_fn
    assert sorted(v._data.size for v in node.saved if v is not None) == [4, 8, 24]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bl.layer_norm(bl.ones(2, 3), 4), "last dimensions"),
        (lambda: bl.layer_norm(bl.ones(2, 3), 3, bl.ones(2)), "must have the shape"),
        (lambda: bl.layer_norm(bl.ones(2, 3).to(bl.int64), 3), "convert it"),
        (lambda: bl.rms_norm(bl.ones(2, 3), (2, 2)), "last dimensions"),
        (lambda: bl.group_norm(bl.ones(2, 3), 2), "2 groups divide"),
        (lambda: bl.group_norm(bl.ones(2, 4), 2, bl.ones(2)), "weight has shape"),
        (lambda: bl.batch_norm(bl.ones(1, 3), None, None, training=True), "more than one value"),
        (lambda: bl.batch_norm(bl.ones(2, 3), None, None), "running_mean and running_var are needed"),
        (lambda: bl.batch_norm(bl.ones(2, 3), bl.ones(2), bl.ones(2)), "running_mean has shape"),
        (lambda: bl.batch_norm(bl.ones(3), None, None, training=True), "needs shape"),
        (lambda: bl.instance_norm(bl.ones(2, 3, 1)), "more than one value"),
    ],
)
def test_errors(call, message):
    with pytest.raises(OperationError, match=message) as caught:
        call()
    assert "at test_ops_normalization.py:" in str(caught.value)


def _compare(ours, theirs, arrays, dtype):
    torch = pytest.importorskip("torch")
    arrays = [None if a is None else a.astype(dtype) for a in arrays]
    mine = [leaf(a) for a in arrays]
    peers = [None if a is None else torch.tensor(a, requires_grad=True) for a in arrays]
    out, expected = ours(*mine), theirs(*peers)
    cotangent = draw(*out.shape, seed=9).astype(dtype)
    out.backward(bl.tensor(cotangent))
    expected.backward(torch.tensor(cotangent))
    rtol, atol = (1e-9, 1e-9) if dtype == "float64" else (1e-3, 1e-3)
    pairs = [(out.detach(), expected.detach())]
    pairs += [(m.grad, p.grad) for m, p in zip(mine, peers, strict=True) if m is not None]
    for m, p in pairs:
        assert m.dtype == np.dtype(dtype)
        np.testing.assert_allclose(m.numpy(), p.numpy(), rtol=rtol, atol=atol)


AFFINE = [(True, True), (True, False), (False, True), (False, False)]


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("weight", "bias"), AFFINE)
def test_equal_pytorch(weight, bias, dtype):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional

    def parameters(*shape):
        return draw(*shape, seed=1) if weight else None, draw(*shape, seed=2) if bias else None

    for shape in ((5,), (3, 5)):
        x = draw(4, 3, 5)
        _compare(
            lambda x, w, b, s=shape: bl.layer_norm(x, s, w, b, 1e-3),
            lambda x, w, b, s=shape: functional.layer_norm(x, s, w, b, 1e-3),
            (x, *parameters(*shape)),
            dtype,
        )
        _compare(
            lambda x, w, s=shape: bl.rms_norm(x, s, w),
            lambda x, w, s=shape: functional.rms_norm(x, s, w),
            (x, parameters(*shape)[0]),
            dtype,
        )
    if bias and not weight:
        return  # PyTorch's own backward fails for a group norm with a bias and no weight
    for groups in (1, 2, 4):
        _compare(
            lambda x, w, b, g=groups: bl.group_norm(x, g, w, b),
            lambda x, w, b, g=groups: functional.group_norm(x, g, w, b),
            (draw(3, 4, 2, 3), *parameters(4)),
            dtype,
        )
    _compare(
        lambda x, w, b: bl.instance_norm(x, None, None, w, b),
        lambda x, w, b: functional.instance_norm(x, None, None, w, b),
        (draw(3, 4, 6), *parameters(4)),
        dtype,
    )


@pytest.mark.peers
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(6, 4), (5, 4, 3), (3, 4, 2, 3)])
@pytest.mark.parametrize(("weight", "bias"), AFFINE)
def test_batch_norm_equals_pytorch(weight, bias, shape, training):
    torch = pytest.importorskip("torch")
    collected = [draw(4, seed=3), np.abs(draw(4, seed=4)) + 0.5]
    mine, peers = [bl.tensor(c) for c in collected], [torch.tensor(c) for c in collected]
    _compare(
        lambda x, w, b: bl.batch_norm(x, *mine, w, b, training, 0.3, 1e-2),
        lambda x, w, b: torch.nn.functional.batch_norm(x, *peers, w, b, training, 0.3, 1e-2),
        (draw(*shape), draw(4, seed=1) if weight else None, draw(4, seed=2) if bias else None),
        "float64",
    )
    for m, p in zip(mine, peers, strict=True):
        np.testing.assert_allclose(m.numpy(), p.numpy(), rtol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("use_input_stats", [True, False])
def test_instance_norm_running_statistics_equal_pytorch(use_input_stats):
    torch = pytest.importorskip("torch")
    x, mean, var = draw(3, 4, 6), draw(4, seed=3), np.abs(draw(4, seed=4)) + 0.5
    mine, peers = [bl.tensor(mean), bl.tensor(var)], [torch.tensor(mean), torch.tensor(var)]
    out = bl.instance_norm(bl.tensor(x), *mine, None, None, use_input_stats)
    expected = torch.nn.functional.instance_norm(torch.tensor(x), *peers, None, None, use_input_stats)
    for m, p in zip([out, *mine], [expected, *peers], strict=True):
        np.testing.assert_allclose(m.numpy(), p.numpy(), rtol=1e-10, atol=1e-12)
