"""``x[key]`` and its relatives against NumPy and PyTorch, over keys that hypothesis makes up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import backlit as bl
from backlit.errors import OperationError, OverwrittenError

SHAPE = (4, 3, 5)
VALUES = np.random.default_rng(0).normal(size=SHAPE)
few = settings(max_examples=60, deadline=None)


@st.composite
def parts(draw, size, negative_steps=True):
    """One entry of a key, for a dimension of this size."""
    kind = draw(st.sampled_from(["int", "slice", "list", "array", "mask"]))
    positions = st.integers(-size, size - 1)
    if kind == "int":
        return draw(positions)
    if kind == "slice":
        ends = st.none() | st.integers(-size - 2, size + 2)
        steps = st.sampled_from([None, 1, 2, 3, -1, -2] if negative_steps else [None, 1, 2, 3])
        return slice(draw(ends), draw(ends), draw(steps))
    if kind == "mask":
        return np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    if kind == "list":
        return draw(st.lists(positions, min_size=2, max_size=2))
    return np.array(draw(st.lists(st.lists(positions, min_size=2, max_size=2), min_size=3, max_size=3)))


@st.composite
def keys(draw, negative_steps=True):
    """A key for ``SHAPE``: at most one mask, now and then None and an ellipsis."""
    count = draw(st.integers(0, 3))
    key = [draw(parts(n, negative_steps)) for n in SHAPE[:count]]
    masks = [k for k, part in enumerate(key) if isinstance(part, np.ndarray) and part.dtype == bool]
    for k in masks[1:]:
        key[k] = slice(None)
    if masks:  # a mask has its own number of positions, which the others need not broadcast with
        key = [slice(None) if isinstance(p, (list, np.ndarray)) and k != masks[0] else p for k, p in enumerate(key)]
    if draw(st.booleans()):
        key.append(...)
    if draw(st.booleans()):
        key.insert(draw(st.integers(0, len(key))), None)
    return tuple(key)


def integers_first(key):
    """The same element of a NumPy array by PyTorch's rule: integers are applied before index arrays."""
    before = tuple(slice(None) if isinstance(p, (list, np.ndarray)) else p for p in key)
    after = []
    full = list(key)
    if ... not in [p for p in full if p is ...]:
        full.append(...)
    used = sum(p is not None and p is not ... for p in full)
    for part in full:
        if part is ...:
            after += [slice(None)] * (len(SHAPE) - used)
        elif isinstance(part, (list, np.ndarray)):
            after.append(part)
        elif not isinstance(part, int):
            after.append(slice(None))
    return before, tuple(after)


def as_tensors(key):
    return tuple(bl.tensor(p) if isinstance(p, np.ndarray) else p for p in key)


@few
@given(keys())
def test_getitem_equals_numpy_once_integers_are_applied(key):
    before, after = integers_first(key)
    expected = VALUES[before][after]
    for form in (key, as_tensors(key)):
        x = bl.tensor(VALUES, requires_grad=True)
        out = x[form]
        np.testing.assert_array_equal(out.detach().numpy(), expected)
        u = np.random.default_rng(1).normal(size=expected.shape)
        out.backward(bl.tensor(u))
        by_hand = np.zeros(SHAPE)
        places = np.arange(VALUES.size).reshape(SHAPE)[before][after]
        np.add.at(by_hand.reshape(-1), places, u)
        np.testing.assert_allclose(x.grad.numpy(), by_hand, rtol=1e-12, atol=1e-12)


@few
@given(keys(), st.integers(0, 1))
def test_index_put_writes_the_last_value_and_gradients_follow_it(key, spread):
    before, after = integers_first(key)
    places = np.arange(VALUES.size).reshape(SHAPE)[before][after]
    values = np.random.default_rng(2).normal(size=places.shape if not spread else places.shape[-1:])
    expected = VALUES.copy().reshape(-1)
    last = {place: k for k, place in enumerate(places.reshape(-1))}
    wide = np.broadcast_to(values, places.shape).reshape(-1)
    for place, k in last.items():
        expected[place] = wide[k]
    x, v = bl.tensor(VALUES, requires_grad=True), bl.tensor(values, requires_grad=True)
    out = x.index_put(key, v)
    np.testing.assert_array_equal(out.detach().numpy().reshape(-1), expected)
    u = np.random.default_rng(3).normal(size=SHAPE)
    out.backward(bl.tensor(u))
    to_x, to_v = u.reshape(-1).copy(), np.zeros(places.size)
    for place, k in last.items():
        to_x[place], to_v[k] = 0, u.reshape(-1)[place]
    np.testing.assert_allclose(x.grad.numpy().reshape(-1), to_x)
    to_v = to_v.reshape(places.shape)
    if spread and places.ndim > 1:
        to_v = to_v.sum(axis=tuple(range(places.ndim - 1)))
    np.testing.assert_allclose(v.grad.numpy(), to_v.reshape(values.shape), rtol=1e-12, atol=1e-12)


@pytest.mark.peers
@few
@given(keys(negative_steps=False))
def test_getitem_and_setitem_equal_pytorch(key):
    torch = pytest.importorskip("torch")
    theirs = tuple(torch.tensor(p) if isinstance(p, np.ndarray) else p for p in key)
    a, b = bl.tensor(VALUES, requires_grad=True), torch.tensor(VALUES, requires_grad=True)
    ours, wanted = a[key], b[theirs]
    np.testing.assert_array_equal(ours.detach().numpy(), wanted.detach().numpy())
    (ours * ours).sum().backward()
    (wanted * wanted).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy())
    a, b = bl.tensor(VALUES), torch.tensor(VALUES)
    a[key] = 7.0
    b[theirs] = 7.0
    np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_integers_beside_index_arrays_follow_pytorch_not_numpy():
    x = bl.tensor(VALUES)
    rows = np.array([0, 1])
    assert x[0, :, rows].shape == (3, 2)
    assert VALUES[0, :, rows].shape == (2, 3)
    assert x[rows, :, rows].shape == (2, 3)
    assert x[:, rows, rows].shape == (4, 2)


def test_unusual_keys():
    x = bl.tensor(VALUES)
    assert x[True].shape == (1, *SHAPE) and x[False].shape == (0, *SHAPE)
    assert x[bl.tensor(2)].tolist() == VALUES[2].tolist()
    assert np.shares_memory(x[bl.tensor(2)].numpy(), x.numpy())
    assert x[[]].shape == (0, 3, 5)
    assert x[range(2)].shape == (2, 3, 5)
    assert x[VALUES[..., 0] > 0].shape == ((VALUES[..., 0] > 0).sum(), 5)
    assert x[()].shape == SHAPE and x[()] is not x
    assert x[bl.tensor(1) : bl.tensor(3)].shape == (2, 3, 5)
    assert x[np.int64(1), np.array(2)].tolist() == VALUES[1, 2].tolist()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: x[4], r"index 4 .*dimension 0 of size 4"),
        (lambda x: x[1, :, -6], r"index -6 .*dimension 2 of size 5"),
        (lambda x: x[1:, [0, 3]], r"index 3 .*dimension 1 of size 3"),
        (lambda x: x[0, bl.tensor([-4])], r"index -4 .*dimension 1 of size 3"),
        (lambda x: x[0, 0, 0, 0], r"4 indices .*3 dimensions"),
        (lambda x: x[np.ones((4, 2), bool)], r"\(4, 2\) .*\(4, 3, 5\)"),
        (lambda x: x.index_select(1, [0, 3]), r"index 3 .*dimension 1 of size 3"),
        (lambda x: x.index_select(1, [-1]), r"index -1 .*dimension 1 of size 3"),
        (lambda x: x.gather(0, bl.tensor([[[4]]])), r"index 4 .*dimension 0 of size 4"),
        (lambda x: x.take([60]), r"index 60 "),
        (lambda x: x.scatter(2, bl.tensor([[[5]]]), 0.0), r"index 5 .*dimension 2 of size 5"),
        (lambda x: bl.embedding([7], x[0]), r"index 7 .*dimension 0 of size 3"),
        (lambda x: bl.one_hot(bl.tensor([3]), 3), r"index 3 .*size 3"),
    ],
)
def test_out_of_range_names_index_dimension_size_and_line(call, words):
    with pytest.raises(IndexError, match=words) as caught:
        call(bl.tensor(VALUES))
    assert isinstance(caught.value, OperationError)
    assert "test_indexing.py" in str(caught.value)


@pytest.mark.parametrize("key", [1.5, "a", np.array([0.5]), bl.tensor([1], dtype=bl.uint8), (..., ...)])
def test_what_is_not_an_index_is_refused(key):
    with pytest.raises(OperationError, match="index"):
        bl.tensor(VALUES)[key]


def test_an_index_that_is_overwritten_before_backward_is_noticed():
    x = bl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    index = bl.tensor([0, 2])
    y = x[index]
    index[0] = 1
    with pytest.raises(OverwrittenError, match="indices"):
        y.sum().backward()
    array = np.array([0, 2])
    y = x[array]
    array[0] = 1
    with pytest.raises(OverwrittenError):
        y.sum().backward()


def test_iterating():
    assert [row.tolist() for row in bl.tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]
    with pytest.raises(TypeError, match="0-d"):
        list(bl.tensor(1.0))


# -- adding at indices --------------------------------------------------------------------------------------------


@few
@given(
    hnp.arrays(np.int64, hnp.array_shapes(min_dims=1, max_dims=2, max_side=40), elements=st.integers(-6, 5)),
    st.sampled_from([(), (1,), (3,), (40, 40)]),
    st.sampled_from([np.float64, np.float32, np.float16]),
)
def test_gradients_of_look_ups_add_up_by_every_route(index, rest, dtype):
    # widths 1, 3 and 1600 take np.add.at on elements, np.add.at on rows, and the sparse product
    u = np.random.default_rng(0).integers(-3, 4, size=index.shape + rest).astype(dtype)
    x = bl.tensor(np.zeros((6, *rest), dtype), requires_grad=True)
    x[index].backward(bl.tensor(u))
    expected = np.zeros((6, *rest))
    np.add.at(expected, index, u)
    assert x.grad.dtype == dtype
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_nan_in_one_row_does_not_spread_to_others():
    x = bl.tensor(np.zeros((4, 1000)), requires_grad=True)
    u = np.ones((4, 1000))
    u[1] = np.nan
    x[[0, 1, 2, 2]].backward(bl.tensor(u))
    assert np.isnan(x.grad.numpy()).any(axis=1).tolist() == [False, True, False, False]


def test_embedding_leaves_the_padding_row_alone():
    weight = bl.tensor(np.arange(8.0).reshape(4, 2), requires_grad=True)
    out = bl.embedding(bl.tensor([[1, 3], [3, 1]]), weight, padding_idx=-1)
    assert out.tolist() == [[[2.0, 3.0], [6.0, 7.0]], [[6.0, 7.0], [2.0, 3.0]]]
    (g,) = bl.autograd.grad(out.sum(), weight, create_graph=True)
    assert g.tolist() == [[0.0, 0.0], [2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]
    out.sum().backward()
    assert weight.grad.tolist() == g.tolist()


def test_scatter_and_gather_examples():
    index = bl.tensor([[0, 2, 0]])
    src = bl.tensor([[1.0, 2.0, 3.0]])
    assert bl.zeros(1, 3).scatter(1, index, src).tolist() == [[3.0, 0.0, 2.0]]
    assert bl.zeros(1, 3).scatter_add(1, index, src).tolist() == [[4.0, 0.0, 2.0]]
    assert bl.zeros(1, 3).scatter(1, index, 5).tolist() == [[5.0, 0.0, 5.0]]
    assert src.gather(1, index).tolist() == [[1.0, 3.0, 1.0]]
    big = bl.tensor([2**53, 1]).scatter_add(0, bl.tensor([0, 0]), bl.tensor([1, 1]))
    assert big.tolist() == [2**53 + 2, 1]


def test_positions_of_what_is_not_zero():
    x = bl.tensor([[0.0, 2.0], [3.0, 0.0]])
    assert bl.nonzero(x).tolist() == [[0, 1], [1, 0]]
    assert x[x.nonzero(as_tuple=True)].tolist() == [2.0, 3.0]
    assert [p.tolist() for p in bl.where(x > 2)] == [[1], [0]]
    assert bl.one_hot(bl.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_are_added_in_the_same_order_with_and_without_scipy(monkeypatch, dtype):
    from backlit.ops import scatter_sum

    rng = np.random.default_rng(3)
    index = rng.integers(0, 40, 500)
    rows = rng.normal(size=(500, 24)).astype(dtype)
    rows[7, 3], rows[9, 4] = np.inf, np.nan
    sums = []
    for worth in (False, True):
        monkeypatch.setattr(scatter_sum._sparse, "worth", lambda count, worth=worth: worth)
        sums.append(scatter_sum.scatter_sum(rows, (index,), (40, 24), (0,)))
    expected = np.zeros((40, 24), dtype)
    np.add.at(expected, index, rows)
    for found in sums:
        np.testing.assert_array_equal(found, expected)


def test_scipy_is_imported_once_much_was_added():
    from backlit.ops.scatter_sum import _Sparse

    sparse = _Sparse()
    asked = [sparse.worth(_Sparse.WORTH // 4) for _ in range(6)]
    assert asked == [False] * 4 + [True] * 2
