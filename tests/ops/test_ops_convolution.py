"""Convolutions: small cases by hand, third derivatives, batches that take several blocks, errors, and PyTorch."""

import itertools

import numpy as np
import pytest

import backlit as bl
from backlit.autograd import grad
from backlit.errors import OperationError
from backlit.ops import windows


def leaf(array):
    return bl.tensor(array, requires_grad=True)


def test_an_impulse_shows_the_kernel_unflipped():
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1
    w = np.arange(9.0).reshape(1, 1, 3, 3)
    assert np.array_equal(bl.conv2d(x, w, padding=1), w[:, :, ::-1, ::-1])
    assert np.array_equal(bl.conv_transpose2d(x, w, padding=1), w)


def test_only_input_and_weight_are_saved():
    x, w, b = leaf(np.ones((2, 3, 4, 4))), leaf(np.ones((2, 3, 3, 3))), leaf(np.ones(2))
    node = bl.conv2d(x, w, b).grad_fn
    kept = [value for value in node.saved if value is not None]
    assert {id(value) for value in kept} == {id(x), id(w)}
    only = bl.conv2d(x.detach(), w, b).grad_fn.saved  # the weight is not needed for its own gradient
    assert [value.shape for value in only] == [x.shape]


@pytest.mark.parametrize("layer", [bl.conv2d, bl.conv_transpose2d])
def test_third_derivatives_are_differences_of_second_ones(layer):
    rng = np.random.default_rng(0)
    x, w, v, u = (rng.normal(size=s) for s in ((1, 2, 4, 4), (2, 2, 2, 2), (1, 2, 4, 4), (2, 2, 2, 2)))

    def second(x_array, create_graph):
        a, b = leaf(x_array), leaf(w)
        loss = (layer(a, b, stride=2, padding=1) ** 3).sum()
        (first,) = grad(loss, b, create_graph=True)
        (mixed,) = grad((first * bl.tensor(u)).sum(), a, create_graph=create_graph)
        return a, mixed

    a, mixed = second(x, True)
    (third,) = grad(mixed, a, bl.tensor(v))
    h = 1e-5
    difference = (second(x + h * v, False)[1].numpy() - second(x - h * v, False)[1].numpy()) / (2 * h)
    assert np.allclose(third.numpy(), difference, rtol=1e-6, atol=1e-6)


def test_batches_of_several_blocks_equal_one_block(monkeypatch):
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(7, 4, 6, 5)), rng.normal(size=(6, 2, 3, 2))

    def everything():
        a, b = leaf(x), leaf(w)
        y = bl.conv2d(a, b, stride=(2, 1), padding=1, groups=2)
        (y * y).sum().backward()
        return y.detach().numpy(), a.grad.numpy(), b.grad.numpy()

    whole = everything()
    monkeypatch.setattr(windows, "BLOCK", 2 * 4 * 6 * 18)
    for one, several in zip(whole, everything(), strict=True):
        assert np.allclose(one, several, rtol=1e-13)


def test_nan_in_one_sample_stays_there():
    x = np.ones((2, 1, 4, 4))
    x[0, 0, 0, 0] = np.nan
    y = bl.conv2d(x, np.ones((1, 1, 2, 2)))
    assert np.isnan(y[0, 0, 0, 0])
    assert np.isfinite(y[1]).all()
    assert np.isnan(y).sum() == 1


@pytest.mark.parametrize(
    ("x", "w", "options", "message"),
    [
        ((2, 4, 4), (1, 1, 2, 2, 2), {}, "4 dimensions; got"),
        ((2, 2, 4, 4), (1, 3, 2, 2), {}, "input has 2 channels"),
        ((2, 4, 4, 4), (3, 2, 2, 2), {"groups": 2}, "groups=2 must divide"),
        ((2, 2, 4, 4), (1, 2, 5, 5), {}, "larger than the input"),
        ((2, 2, 4, 4), (1, 2, 3, 3), {"dilation": 2}, "with dilation"),
        ((2, 2, 4, 4), (1, 2, 2, 2), {"stride": 0}, "stride must be a whole number of at least 1"),
        ((2, 2, 4, 4), (1, 2, 2, 2), {"padding": -1}, "padding must be"),
        ((2, 2, 4, 4), (1, 2, 2, 2), {"padding": (1, 1, 1)}, "or 2 of them"),
        ((2, 2, 4, 4), (1, 2, 2, 2), {"padding": "same", "stride": 2}, "stride 1 only"),
        ((2, 2, 4, 4), (1, 2, 2, 2), {"padding": "full"}, "'valid', or 'same'"),
        ((2, 2, 4, 4), (1, 2, 2, 2), {"groups": 0}, "groups must be"),
        ((2, 2, 4, 4), (1, 2, 2, 2), {"bias": bl.ones(2)}, "bias"),
    ],
)
def test_errors_name_the_operation_and_the_line(x, w, options, message):
    with pytest.raises(OperationError, match=message) as caught:
        bl.conv2d(bl.ones(x), bl.ones(w), **options)
    assert str(caught.value).startswith("conv2d at test_ops_convolution.py:")


def test_transposed_errors():
    with pytest.raises(OperationError, match="output_padding"):
        bl.conv_transpose2d(bl.ones(1, 1, 2, 2), bl.ones(1, 1, 2, 2), stride=2, output_padding=2)
    with pytest.raises(OperationError, match="gives no output"):
        bl.conv_transpose2d(bl.ones(1, 1, 1, 1), bl.ones(1, 1, 2, 2), padding=1)


OPTIONS = {"stride": (1, 2, (2, 1)), "padding": (0, 1, (0, 2)), "dilation": (1, (1, 2)), "groups": (1, 2, 4)}


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("transposed", [False, True])
def test_equals_pytorch(transposed, dtype):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    theirs, ours = (functional.conv_transpose2d, bl.conv_transpose2d) if transposed else (functional.conv2d, bl.conv2d)
    rng = np.random.default_rng(3)
    rtol = 1e-11 if dtype == "float64" else 1e-4
    for values in itertools.product(*OPTIONS.values()):
        options = dict(zip(OPTIONS, values, strict=True))
        groups = options["groups"]
        shape = (4, 8 // groups, 3, 2) if transposed else (8, 4 // groups, 3, 2)
        arrays = [rng.normal(size=s).astype(dtype) for s in ((2, 4, 7, 6), shape, (8,))]
        mine, peers = [leaf(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
        out, expected = ours(*mine, **options), theirs(*peers, **options)
        assert out.shape == tuple(expected.shape)
        assert out.dtype == np.dtype(dtype)
        cotangent = rng.normal(size=out.shape).astype(dtype)
        out.backward(bl.tensor(cotangent))
        expected.backward(torch.tensor(cotangent))
        pairs = [(out.detach(), expected.detach()), *[(m.grad, p.grad) for m, p in zip(mine, peers, strict=True)]]
        for m, p in pairs:
            np.testing.assert_allclose(m.numpy(), p.numpy(), rtol=rtol, atol=rtol * 10, err_msg=str(options))


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (4, 2), (3, 3)])
def test_same_padding_equals_pytorch(kernel):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    x, w = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(2, 3, *kernel))
    for dilation in (1, 2):
        expected = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(w), padding="same", dilation=dilation)
        np.testing.assert_allclose(bl.conv2d(x, w, padding="same", dilation=dilation), expected.numpy(), rtol=1e-10)
