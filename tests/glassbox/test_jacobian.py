"""∂node/∂input: the matrix against finite differences, and structures that are found by asking, not by name."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from random_graphs import random_program

import backlit as bl
from backlit.errors import RecordError
from backlit.glassbox.jacobian import jacobian

F = bl.nn.functional


def draw(*shape):
    return np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)


def leaf(value):
    return bl.tensor(np.asarray(value, np.float64), requires_grad=True)


def of(function, *arrays, wrt=0):
    """The Jacobian of ``function`` by one of its arguments."""
    leaves = [leaf(a) for a in arrays]
    with bl.record() as rec:
        out = function(*leaves)
    return jacobian(rec, rec.operations[-1], leaves[wrt]), out


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
@example(603018)  # values of 36,000, beside which a step of 1e-6 is rounded
def test_every_local_gradient_of_a_random_graph_equals_finite_differences(seed):
    rec = bl.explain(random_program(seed))
    for node in rec.operations:
        for edge in node.inputs:
            if edge.differentiable:
                expected = _differences(node, edge.position)
                np.testing.assert_allclose(edge.local.matrix(), expected, rtol=1e-7, atol=1e-8, err_msg=str(edge))


STEPS = 1e-3, 1e-4, 1e-5, 1e-6


def _differences(node, position):
    """Differences of one operation at its recorded inputs, of the output's shape followed by the input's."""
    values = node.input_values()
    x = np.asarray(values[position])
    found = np.empty((*node.shape, *x.shape))
    for index in np.ndindex(x.shape):

        def at(value, index=index):
            moved = x.copy()
            moved[index] = value
            out = node.definition.again(node.extra, *values[:position], moved, *values[position + 1 :], **node.params)
            return np.asarray(out[0] if node.definition.has_extra else out)

        found[(..., *index)] = _slope(at, x[index])
    return found


def _slope(function, x):
    """The slope at a number: central differences of four steps, of which the two neighbours that agree best count.

    One step for all is not enough: a long one reaches across a kink (``maximum``), a short one drowns in the rounding
    of a large value (an entry of 1 in a sum of 36,000).
    """
    scale = max(1.0, abs(x))
    central = np.array([(function(x + h * scale) - function(x - h * scale)) / (2 * h * scale) for h in STEPS])
    best = np.argmin(np.abs(np.diff(central, axis=0)), axis=0)[None]
    longer, shorter = (np.take_along_axis(central, best + k, 0)[0] for k in (0, 1))
    return (100 * shorter - longer) / 99  # Richardson's extrapolation: what is left of a step's square cancels


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9))
def test_far_jacobians_pull_back_the_gradients_of_the_record(seed):
    rec = bl.explain(random_program(seed))
    root = rec.roots[0]
    for node in rec.nodes:
        if node.upstream is None or node is root:
            continue
        far = jacobian(rec, root, node)
        np.testing.assert_allclose(far.pull(root.seed), node.upstream, rtol=1e-9, atol=1e-12)
        tangent = np.random.default_rng(seed % 1000).normal(size=node.shape)
        np.testing.assert_allclose(far.push(tangent), np.sum(tangent * node.upstream), rtol=1e-8, atol=1e-9)


KINDS = [
    ("identity", "every entry passes", lambda x: x + 1.0, (3,)),
    ("diagonal", "times the identity", lambda x: x * -2.0, (3, 2)),
    ("diagonal", "slopes between 0 and 1", bl.relu, (5,)),
    ("diagonal", "4 slopes", lambda x: bl.tanh(bl.exp(x)), (4,)),
    ("permutation", "6 entries in another order", lambda x: x.T, (2, 3)),
    ("permutation", "another order", lambda x: x.flip(0), (4,)),
    ("selection", "2 of the 6 entries", lambda x: x[:, 1], (2, 3)),
    ("selection", "some of them again", lambda x: x[bl.tensor([0, 0, 2])], (3,)),
    ("selection", "1 of the 4", bl.max, (4,)),
    ("constant", "ones", lambda x: x.sum(), (3, 2)),
    ("constant", "0.25 in every place", lambda x: x.mean(), (4,)),
    ("convolution", "up to 2 outputs", lambda x: x[1:] * 3.0 - x[:-1], (9,)),
    ("triangular", "lower", lambda x: x.cumsum(0), (5,)),
    ("block diagonal", "3 blocks of 4×4", lambda x: bl.softmax(x, -1), (3, 4)),
    ("block diagonal", "4 blocks of 3×3", lambda x: bl.softmax(x.reshape(4, 3), -1), (1, 2, 2, 3)),
    ("low rank", "symmetric, of rank 4, where 5", lambda x: bl.softmax(x, -1), (5,)),
    ("dense", "100 %", lambda x: bl.tensor(draw(4, 4)) @ bl.tanh(bl.tensor(draw(4, 4) + 1) @ x), (4, 1)),
    ("kronecker", "I ⊗ B: 4 equal blocks", lambda x: bl.stack([x[:, 0] * 2 - x[:, 1], x.sum(1)], 1), (4, 2)),
    ("zero", "nothing comes through", lambda x: x * 0.0, (3,)),
]


@pytest.mark.parametrize(("kind", "words", "function", "shape"), KINDS)
def test_structures_are_found(kind, words, function, shape):
    found, _ = of(function, draw(*shape))
    assert found.structure.kind == kind
    assert words in found.words


def test_a_name_is_not_taken_for_an_answer():
    """A product with a diagonal matrix is diagonal, one with a permutation a permutation, a relu of −1 zero."""
    x = draw(3, 1)
    assert of(lambda x: bl.tensor(np.diag([1.0, 2.0, 3.0])) @ x, x)[0].structure.kind == "diagonal"
    assert of(lambda x: bl.tensor(np.eye(3)[[2, 0, 1]]) @ x, x)[0].structure.kind == "permutation"
    assert of(bl.relu, -np.ones(3))[0].structure.kind == "zero"


def test_products_name_their_factor():
    x, w = draw(5, 3), draw(3, 4)
    with bl.record() as rec:
        a, b = leaf(x), leaf(w)
        y = a @ b
        z = F.linear(a, b.T)
    assert y.shape == z.shape
    assert jacobian(rec, "y", "a").words.startswith("Kronecker I ⊗ bᵀ: every one of the 5 rows goes through b")
    assert jacobian(rec, "y", "b").words.startswith("Kronecker a ⊗ I: every one of the 4 columns goes through a")
    assert jacobian(rec, "z", "a").structure.kind == "kronecker"


def test_convolutions_are_toeplitz():
    x, w = draw(2, 3, 12), draw(4, 3, 3)
    for stride in (1, 2):
        found, _ = of(lambda x, w, stride=stride: F.conv1d(x, w, stride=stride), x, w)
        assert found.structure.kind == "convolution" and f"by {stride} shifts" in found.words
    assert of(lambda x: F.conv1d(x, bl.tensor(w)), x[:1])[0].matrix.shape == (1, 4, 10, 1, 3, 12)


def test_large_jacobians_are_probed_not_built():
    n = 300
    found, _ = of(lambda x: bl.relu(x) * 2.0, draw(n, n))
    assert found.matrix is None and found.structure.kind == "diagonal"
    found, _ = of(bl.matmul, draw(n, 64), draw(64, n))
    assert found.matrix is None and "Kronecker I ⊗" in found.words
    found, _ = of(lambda x: bl.softmax(x, -1), draw(n, 30))
    assert found.matrix is None and "block diagonal: 300 blocks of 30×30" in found.words
    np.testing.assert_allclose(found.row((0, 0)).sum(), 0, atol=1e-12)
    assert np.count_nonzero(found.column((7, 1))) == 30


def test_matrix_rows_and_columns_agree():
    found, _ = of(lambda x: bl.tanh(x).sum(0), draw(3, 4))
    assert found.matrix.shape == (4, 3, 4)
    np.testing.assert_allclose(found.row(2), found.matrix[2])
    np.testing.assert_allclose(found.column((1, 2)), found.matrix[:, 1, 2])


def test_pictures():
    found, _ = of(lambda x: bl.relu(x), np.array([1.0, -1.0, 2.0, -3.0]))
    root = ET.fromstring(found.svg())
    assert root.tag.endswith("svg") and len(list(root)) == 2 + 2  # title, frame, two entries that are not zero
    assert "script" not in found.svg() and str(found).splitlines()[2] == "[1, 0, 0, 0]"
    large, _ = of(lambda x: -x.cumsum(0), draw(100))
    assert large.sample.shape == (48, 48)
    assert "48 rows and 48 columns" in str(large) and "−█" in str(large)
    assert re.search(r'fill="#ff....', large.svg())


def test_titles_cannot_break_out_of_the_picture():
    x = leaf([1.0, 2.0])
    rec = bl.explain((x * 2).sum(), names={"<script>alert(1)</script>": x})
    assert "<script" not in jacobian(rec, "mul", x).svg()


def test_what_has_no_jacobian():
    x, y = leaf([1.0]), leaf([2.0])
    with bl.record() as rec:
        a = x * 2
        b = y * 3
    assert a.shape == b.shape
    with pytest.raises(RecordError, match="a does not depend on y along any path that carries gradient"):
        jacobian(rec, "a", "y")
    with pytest.raises(RecordError, match="no element"):
        jacobian(rec, "a", "x").row(5)
    assert jacobian(rec, "a", "a").structure.kind == "identity"
