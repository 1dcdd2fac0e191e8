"""Attention: by hand, masks, rows without keys, what is kept, errors, and PyTorch."""

import sys

import numpy as np
import pytest

import backlit as bl
from backlit.errors import OperationError

attention = bl.scaled_dot_product_attention


def leaf(array):
    return bl.tensor(array, requires_grad=True)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_equal_keys_average_the_values():
    out = attention(draw(3, 2), np.ones((4, 2)), np.arange(8.0).reshape(4, 2))
    assert np.allclose(out, [[3.0, 4.0]] * 3)


def test_large_scores_do_not_overflow():
    out = attention(np.full((1, 1), 1e4), np.array([[1.0], [-1.0]]), np.array([[5.0], [7.0]]))
    assert out.tolist() == [[5.0]]


@pytest.mark.parametrize("kind", ["boolean", "additive"])
def test_a_query_without_keys_gives_zeros_and_passes_no_gradient(kind):
    mask = np.array([[True, False], [False, False]])
    if kind == "additive":
        mask = np.where(mask, 0.0, -np.inf)
    q, k, v = leaf(draw(2, 3)), leaf(draw(2, 3, seed=1)), leaf(draw(2, 3, seed=2))
    out = attention(q, k, v, bl.tensor(mask))
    assert out.detach().numpy()[1].tolist() == [0.0, 0.0, 0.0]
    assert np.allclose(out.detach().numpy()[0], v.detach().numpy()[0])
    out.sum().backward()
    for t in (q, k, v):
        assert np.isfinite(t.grad.numpy()).all()
    assert q.grad.numpy()[1].tolist() == [0.0, 0.0, 0.0]


def test_probabilities_are_kept_only_where_they_are_small():
    def extra(keys, **options):
        q, k, v = leaf(draw(2, 5, 3)), leaf(draw(2, keys, 3, seed=1)), leaf(draw(2, keys, 3, seed=2))
        node = attention(q, k, v, **options).grad_fn
        assert {id(value) for value in node.saved if value is not None} == {id(q), id(k), id(v)}
        return node.extra

    weights, top, kept = extra(4)
    assert weights.shape == (2, 5, 4)
    assert top is kept is None
    weights, top, kept = extra(5)
    assert top.shape == (2, 5, 1)
    assert weights is kept is None
    weights, top, kept = extra(5, dropout_p=0.5)
    assert weights.shape == kept.shape == (2, 5, 5)
    assert kept.dtype == np.bool_


@pytest.mark.parametrize("block", [1, 60, 1 << 17])
@pytest.mark.parametrize("mask", [None, (6, 5), (3, 1, 6, 5), (1, 5), (5,)])
def test_heads_in_blocks_equal_all_at_once(monkeypatch, block, mask):
    """Blocks of one head, of two and of all; against softmax and matrix products, with leading dimensions stretched."""
    monkeypatch.setattr(sys.modules[attention.__module__], "_BLOCK", block)
    arrays = [draw(3, 2, 6, 2), draw(2, 5, 2, seed=1), draw(1, 2, 5, 2, seed=2)]
    if mask is not None:
        arrays.append(draw(*mask, seed=3))
    ours, plain = ([leaf(a) for a in arrays] for _ in range(2))
    upstream = bl.tensor(draw(3, 2, 6, 2, seed=4))
    attention(*ours).backward(upstream)
    scores = plain[0] @ plain[1].mT / 2**0.5
    (bl.softmax(scores if mask is None else scores + plain[3], -1) @ plain[2]).backward(upstream)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_the_causal_mask_is_made_once_each_way_for_all_blocks(monkeypatch):
    module = sys.modules[attention.__module__]
    monkeypatch.setattr(module, "_BLOCK", 1)
    made, original = [], np.arange
    monkeypatch.setattr(module.np, "arange", lambda *given: made.append(given) or original(*given))
    q, k, v = (leaf(draw(4, 3, 6, 2, seed=i)) for i in range(3))
    attention(q, k, v, is_causal=True).sum().backward()
    assert made.count((6,)) == 4  # queries and keys, forward and backward


def test_dropout_thins_the_weights_without_bias():
    n = 4000
    v = np.eye(4)
    out = attention(np.zeros((n, 2)), np.zeros((4, 2)), v, dropout_p=0.25, generator=bl.Generator().manual_seed(0))
    assert set(np.unique(out.round(12))) == {0.0, round(0.25 / 0.75, 12)}
    assert abs(out.mean() - 0.25) < 0.01


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((3, 4), (5, 3), (5, 4)), {}, "needs query"),
        (((3, 4), (5, 4), (6, 4)), {}, "needs query"),
        (((4,), (5, 4), (5, 4)), {}, "needs query"),
        (((2, 3, 4), (3, 5, 4), (3, 5, 4)), {}, "must broadcast"),
        (((3, 4), (5, 4), (5, 4)), {"attn_mask": bl.ones(3, 4)}, "must broadcast"),
        (((3, 4), (5, 4), (5, 4)), {"attn_mask": bl.ones(2, 3, 5)}, "must broadcast"),
        (((3, 4), (5, 4), (5, 4)), {"attn_mask": bl.ones(3, 5).to(bl.int64)}, "boolean or floating"),
        (((3, 4), (5, 4), (5, 4)), {"attn_mask": bl.ones(3, 5), "is_causal": True}, "is_causal"),
        (((3, 4), (5, 4), (5, 4)), {"dropout_p": 1.5}, "probability"),
        (((3, 2, 4), (2, 5, 4), (2, 5, 4)), {"enable_gqa": True}, "heads"),
    ],
)
def test_errors(shapes, options, message):
    with pytest.raises(OperationError, match=message) as caught:
        attention(*[bl.ones(s) for s in shapes], **options)
    assert str(caught.value).startswith("scaled_dot_product_attention at test_ops_attention.py:")


def test_dtypes_must_agree():
    with pytest.raises(OperationError, match="one floating dtype"):
        attention(bl.ones(3, 4), bl.ones(3, 4).to(bl.float64), bl.ones(3, 4))


some = draw(3, 5, seed=7) > 0
some[1] = False
CASES = {
    "plain": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.7},
    "boolean": {"attn_mask": some},
    "additive": {"attn_mask": draw(2, 1, 3, 5, seed=8)},
    "blocking": {"attn_mask": np.where(some, 0.0, -np.inf)},
}


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("gqa", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_equals_pytorch(case, gqa, dtype):
    torch = pytest.importorskip("torch")
    heads = 2 if gqa else 4
    arrays = [draw(2, 4, 3, 6).astype(dtype)]
    arrays += [draw(2, heads, 5, 6, seed=1).astype(dtype), draw(2, heads, 5, 2, seed=2).astype(dtype)]
    options = dict(CASES[case], enable_gqa=gqa)
    mask = options.pop("attn_mask", None)
    mine, peers = [leaf(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    masks = (None, None)
    if mask is not None:
        mask = mask if mask.dtype == np.bool_ else mask.astype(dtype)
        masks = (bl.tensor(mask), torch.tensor(mask))
        if case == "additive":
            masks = (leaf(mask), torch.tensor(mask, requires_grad=True))
            mine.append(masks[0])
            peers.append(masks[1])
    out = attention(*mine[:3], masks[0], **options)
    expected = torch.nn.functional.scaled_dot_product_attention(*peers[:3], masks[1], **options)
    cotangent = draw(*out.shape, seed=3).astype(dtype)
    out.backward(bl.tensor(cotangent))
    expected.backward(torch.tensor(cotangent))
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    pairs = [(out.detach(), expected.detach()), *[(m.grad, p.grad) for m, p in zip(mine, peers, strict=True)]]
    for m, p in pairs:
        assert m.dtype == np.dtype(dtype)
        np.testing.assert_allclose(m.numpy(), p.numpy(), rtol=tolerance * 10, atol=tolerance)
