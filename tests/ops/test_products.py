"""einsum and the matrix products against NumPy, and what they say about shapes that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backlit as bl
from backlit.errors import OperationError


def drawn(rng, *shape):
    return rng.normal(size=shape)


@st.composite
def expressions(draw):
    """An einsum expression with repeated letters, ellipses and stretched dimensions, and its operands' shapes."""
    letters = "abcde"
    sizes = {c: draw(st.integers(1, 3)) for c in letters}
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 4))):
        term = draw(st.lists(st.sampled_from(letters), min_size=1, max_size=3))
        shape = [sizes[c] for c in term]
        if draw(st.booleans()):
            place = draw(st.integers(0, len(term)))
            extra = draw(st.sampled_from([(), (2,), (3, 2), (1, 2), (3, 1)]))
            term.insert(place, "...")
            shape[place:place] = extra
        terms.append("".join(term))
        shapes.append(shape)
    used = sorted(set("".join(terms)) - {"."})
    result = "".join(draw(st.lists(st.sampled_from(used), unique=True, max_size=3)))
    spread = "..." if any("..." in t for t in terms) else ""
    return f"{','.join(terms)}->{spread}{result}", shapes


@settings(max_examples=80, deadline=None)
@given(expressions())
def test_einsum_and_its_gradients_equal_numpy(expression):
    equation, shapes = expression
    rng = np.random.default_rng(0)
    arrays = [drawn(rng, *shape) for shape in shapes]
    expected = np.einsum(equation, *arrays)
    xs = [bl.tensor(a, requires_grad=True) for a in arrays]
    out = bl.einsum(equation, *xs)
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-10, atol=1e-10)
    u = rng.normal(size=expected.shape)
    out.backward(bl.tensor(u))
    for k, (x, a) in enumerate(zip(xs, arrays, strict=True)):
        direction = rng.normal(size=a.shape)  # an expression is linear in each operand
        moved = np.einsum(equation, *arrays[:k], direction, *arrays[k + 1 :])
        np.testing.assert_allclose(np.vdot(x.grad.numpy(), direction), np.vdot(u, moved), rtol=1e-9, atol=1e-9)


def test_einsum_forms():
    rng = np.random.default_rng(0)
    a, b = drawn(rng, 2, 3), drawn(rng, 3, 4)
    x, y = bl.tensor(a), bl.tensor(b)
    for out in (
        bl.einsum("ij,jk->ik", x, y),
        bl.einsum(" i j , j k ", x, y),
        bl.einsum("ij,jk->ik", [x, y]),
        bl.einsum(x, [0, 1], y, [1, 2], [0, 2]),
        bl.einsum(x, [..., 1], y, [1, 2]),
    ):
        np.testing.assert_allclose(out.numpy(), a @ b)
    np.testing.assert_allclose(bl.einsum("ba", x).numpy(), a.T)
    np.testing.assert_allclose(np.einsum("ij,jk->ik", x, y).numpy(), a @ b)


def test_many_operands_are_contracted_in_a_good_order():
    vector = bl.tensor(np.ones(300), requires_grad=True)
    matrices = [bl.tensor(np.full((300, 300), 1 / 300)) for _ in range(4)]
    out = bl.einsum("ab,bc,cd,de,e->a", *matrices, vector)  # from the left: 300⁴ products; from the right: 4 · 300²
    out.sum().backward()
    np.testing.assert_allclose(out.detach().numpy(), 1.0)
    np.testing.assert_allclose(vector.grad.numpy(), 1.0)


@pytest.mark.parametrize(
    ("equation", "shapes", "words"),
    [
        ("ij,jk", [(2, 3), (4, 2)], r"'j' is both 3 and 4 long.*\(2, 3\) and \(4, 2\)"),
        ("ijk", [(2, 3)], r"operand 0 has 2 dimensions.*names 3"),
        ("ij,jk", [(2, 3)], r"2 operands, 1 were given"),
        ("i1", [(2, 3)], r"cannot read"),
        ("ij->ii", [(2, 3)], r"occur once"),
        ("ij->k", [(2, 3)], r"occur once"),
        ("..ij", [(2, 3)], r"cannot read"),
        ("ii", [(2, 3)], r"both 2 and 3|unequal"),
    ],
)
def test_einsum_says_what_does_not_fit(equation, shapes, words):
    with pytest.raises(OperationError, match=words) as caught:
        bl.einsum(equation, *[bl.zeros(shape) for shape in shapes])
    assert "test_products.py" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a, v: a @ a, r"matmul .*\(2, 3\) and \(2, 3\).*\(3\).*\(2\)"),
        (lambda a, v: bl.mm(a, v), r"mm .*\(2, 3\) and \(3,\)"),
        (lambda a, v: bl.bmm(a, a), r"bmm .*3 and 3 dimensions"),
        (lambda a, v: bl.dot(v, bl.zeros(4)), r"dot .*3 and 4"),
        (lambda a, v: bl.tensordot(a, a, 1), r"tensordot .*\(2, 3\).*\(2, 3\)"),
        (lambda a, v: bl.addmm(bl.zeros(5), a, a.mT), r"addmm .*\(5,\).*\(2, 2\)"),
        (lambda a, v: bl.linear(v, bl.zeros(2, 4)), r"linear .*\(3,\).*\(2, 4\)"),
        (lambda a, v: bl.tensor(2.0) @ v, r"at least one dimension"),
    ],
)
def test_products_name_both_shapes(call, words):
    with pytest.raises(OperationError, match=words) as caught:
        call(bl.zeros(2, 3), bl.zeros(3))
    assert "test_products.py" in str(caught.value)


LAYOUTS = {
    "contiguous": lambda a: a,
    "transposed": lambda a: np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2),
    "stepped": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "reversed": lambda a: np.ascontiguousarray(a[..., ::-1, ::-1])[..., ::-1, ::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(
    ("left", "right"), [((4, 5), (5, 3)), ((2, 4, 5), (5, 3)), ((4, 5), (2, 5, 3)), ((2, 4, 0), (0, 3))]
)
def test_matmul_takes_every_layout(layout, left, right):
    rng = np.random.default_rng(0)
    a, b = layout(drawn(rng, *left)), layout(drawn(rng, *right))
    x, y = bl.Tensor(a).requires_grad_(), bl.Tensor(b).requires_grad_()
    out = x @ y
    np.testing.assert_allclose(out.detach().numpy(), np.matmul(a, b), rtol=1e-12)
    u = rng.normal(size=out.shape)
    out.backward(bl.tensor(u))
    batch = out.shape[:-2]
    full_a, full_b = (np.broadcast_to(m, (*batch, *m.shape[-2:])) for m in (a, b))
    to_a, to_b = np.matmul(u, full_b.mT), np.matmul(full_a.mT, u)
    np.testing.assert_allclose(x.grad.numpy(), to_a.sum(0) if a.ndim < out.ndim else to_a)
    np.testing.assert_allclose(y.grad.numpy(), to_b.sum(0) if b.ndim < out.ndim else to_b)


def test_addmm_does_not_look_at_what_beta_zero_drops():
    a = bl.ones(2, 2)
    assert bl.addmm(bl.full((2, 2), float("nan")), a, a, beta=0).tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert bl.addmm(bl.ones(2), a, a, beta=2, alpha=0.5).tolist() == [[3.0, 3.0], [3.0, 3.0]]


F = bl.nn.functional


@pytest.mark.parametrize(
    ("function", "shape", "weight"),
    [
        *((F.linear, shape, (5, 4)) for shape in ((4,), (2, 4), (2, 3, 4))),
        (F.conv1d, (2, 4, 3), (5, 4, 1)),
        (F.conv2d, (4, 3, 3), (5, 4, 1, 1)),
        (F.conv_transpose1d, (2, 4, 3), (4, 5, 1)),
    ],
)
def test_a_bias_of_another_dtype_promotes_an_affine_map(function, shape, weight):
    """Matrices and convolutions took the bias in place and stayed float32, where vectors became float64."""
    x, w = bl.ones(*shape, requires_grad=True), bl.ones(*weight, requires_grad=True)
    b = bl.full((5,), 1 / 3, dtype=bl.float64).requires_grad_()
    y = function(x, w, b)
    assert y.dtype == bl.float64
    np.testing.assert_array_equal(y.detach().numpy(), np.full(y.shape, 4 + 1 / 3))
    y.sum().backward()
    assert (x.grad.dtype, w.grad.dtype, b.grad.dtype) == (bl.float32, bl.float32, bl.float64)
    np.testing.assert_array_equal(x.grad.numpy(), np.full(shape, 5.0))
    compiled = bl.compile(function)
    for _ in range(3):
        np.testing.assert_allclose(compiled(x, w, b).detach().numpy(), y.detach().numpy(), rtol=1e-14)


@pytest.mark.parametrize(
    ("function", "shape", "weight"),
    [(F.linear, (2, 4), (5, 4)), (F.linear, (4,), (5, 4)), (F.conv1d, (2, 4, 3), (5, 4, 1))],
)
def test_whole_numbers_take_no_bias_that_is_none(function, shape, weight):
    x, w = bl.ones(*shape, dtype=bl.int64), bl.ones(*weight, dtype=bl.int64)
    assert function(x, w, bl.ones(5, dtype=bl.int64)).dtype == bl.int64
    with pytest.raises(OperationError, match="float64"):
        function(x, w, bl.ones(5, dtype=bl.float64))
