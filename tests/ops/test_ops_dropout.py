"""Dropout: which entries go, what the others become, edge probabilities, writing in place, whole channels."""

import numpy as np
import pytest

import backlit as bl
from backlit import func
from backlit.autograd import grad
from backlit.errors import OperationError


def seeded(seed=0):
    return bl.Generator().manual_seed(seed)


def test_the_gradient_goes_where_entries_were_kept():
    x = bl.ones(1000, requires_grad=True)
    y = bl.dropout(x, 0.25, generator=seeded())
    y.sum().backward()
    assert np.array_equal(y.detach().numpy(), x.grad.numpy())
    assert set(np.unique(x.grad.numpy())) == {np.float32(0), np.float32(1 / 0.75)}
    assert 0.7 < (x.grad.numpy() > 0).mean() < 0.8
    assert y.dtype == bl.float32


def test_the_mask_is_kept_as_one_byte_an_entry():
    node = bl.dropout(bl.ones(4, 6, requires_grad=True)).grad_fn
    assert node.extra.dtype == np.bool_
    assert node.extra.shape == (4, 6)
    assert all(value is None for value in node.saved)


def test_forward_mode_and_second_derivatives_use_the_same_mask():
    x = bl.rand(50, requires_grad=True)
    y = bl.dropout(x * x, generator=seeded(1))
    (first,) = grad(y.sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x)
    assert np.array_equal(second.numpy() == 0, y.detach().numpy() == 0)
    out, tangent = func.jvp(lambda x: bl.dropout(x, generator=seeded(1)), (x.detach(),), (bl.ones(50),))
    assert np.array_equal(tangent.numpy() == 0, out.numpy() == 0)
    assert set(tangent.tolist()) == {0.0, 2.0}


def test_nothing_happens_outside_training_or_at_zero():
    x = bl.ones(3, requires_grad=True)
    state = bl.get_rng_state().tolist()
    assert bl.dropout(x, 0.5, training=False) is x
    assert bl.dropout(x, 0.0) is x
    assert bl.get_rng_state().tolist() == state


def test_everything_is_dropped_at_one():
    x = bl.tensor([1.0, float("nan"), 3.0], requires_grad=True)
    y = bl.dropout(x, 1.0)
    y.sum().backward()
    assert np.array_equal(y.detach().numpy(), [0, np.nan, 0], equal_nan=True)
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_in_place():
    x = bl.ones(100)
    assert bl.dropout(x, 0.5, inplace=True, generator=seeded(2)) is x
    assert set(x.tolist()) == {0.0, 2.0}
    w = bl.ones(100, requires_grad=True)
    h = w * 3.0
    bl.dropout(h, 0.5, inplace=True, generator=seeded(2))
    h.sum().backward()
    assert set(w.grad.tolist()) == {0.0, 6.0}


@pytest.mark.parametrize(
    ("layer", "shape", "kept"),
    [
        (bl.dropout1d, (20, 8, 5), (20, 8)),
        (bl.dropout1d, (80, 5), (80,)),
        (bl.dropout2d, (20, 8, 2, 3), (20, 8)),
        (bl.dropout2d, (20, 8, 3), (20, 8)),
        (bl.dropout3d, (20, 8, 1, 2, 3), (20, 8)),
        (bl.dropout3d, (80, 1, 2, 3), (80,)),
    ],
)
def test_channels_share_their_fate(layer, shape, kept):
    y = layer(bl.ones(shape), 0.5, generator=seeded(3)).numpy().reshape(*kept, -1)
    assert (y == y[..., :1]).all()
    assert 0.2 < (y[..., 0] == 0).mean() < 0.8


def test_errors():
    for p in (-0.1, 1.5, float("nan"), "half"):
        with pytest.raises(OperationError, match=r"dropout at test_ops_dropout\.py.*probability"):
            bl.dropout(bl.ones(3), p)
    with pytest.raises(OperationError, match="int64"):
        bl.dropout(bl.ones(3).to(bl.int64))
    with pytest.raises(OperationError, match="3 or 4 dimensions"):
        bl.dropout2d(bl.ones(3, 3))
