"""Losses: numerical care, options against PyTorch, and the mistakes users make with shapes, labels and ranges."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest

import backlit as bl
from backlit.errors import OperationError

INF = math.inf


def gradient(f, values, dtype=np.float32):
    x = bl.tensor(np.array(values, dtype), requires_grad=True)
    y = f(x)
    y.sum().backward()
    return y.detach().numpy(), x.grad.numpy()


# -- cross-entropy ------------------------------------------------------------------------------------------------


def test_gradient_is_softmax_minus_one_hot():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    y = np.array([0, 2, 1, 1])
    _, g = gradient(lambda t: bl.cross_entropy(t, bl.tensor(y), reduction="sum"), x)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(g, p - np.eye(3)[y], rtol=1e-5, atol=1e-6)


def test_confident_scores_do_not_overflow():
    loss, g = gradient(lambda x: bl.cross_entropy(x, bl.tensor([0, 1])), [[1e4, -1e4], [1e4, -1e4]])
    assert loss == 1e4
    np.testing.assert_array_equal(g, [[0.0, 0.0], [0.5, -0.5]])


def test_ignored_positions_count_for_nothing_even_when_they_are_nan():
    x = [[1.0, 2.0], [math.nan, 0.0], [0.5, 0.5]]
    loss, g = gradient(lambda t: bl.cross_entropy(t, bl.tensor([1, -100, 0])), x)
    alone, _ = gradient(lambda t: bl.cross_entropy(t, bl.tensor([1, 0])), [x[0], x[2]])
    assert loss == alone and (g[1] == 0).all() and np.isfinite(g).all()
    assert math.isnan(bl.cross_entropy(bl.zeros(2, 3), bl.tensor([-100, -100])).item())


@pytest.mark.parametrize("target", [[0, 1, 2, 3, 0], [0, -100, 2, 2, 1]])
@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.2}, {"weight": [1.0, 2.0, 0.5, 3.0], "label_smoothing": 0.2}]
)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_scores_too_many_to_keep_are_worked_through_in_blocks(monkeypatch, target, options, reduction):
    x = np.random.default_rng(0).normal(size=(5, 4))

    def loss(t):
        return bl.cross_entropy(t, bl.tensor(target), reduction=reduction, **options)

    whole = gradient(loss, x, np.float64)
    module = sys.modules[bl.cross_entropy.__module__]
    monkeypatch.setattr(module, "_KEPT", 0)
    monkeypatch.setattr(module, "_BLOCK", 8)
    for ours, expected in zip(gradient(loss, x, np.float64), whole, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-14, atol=1e-15)


def test_backward_twice_gives_the_same():
    x = bl.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    loss = bl.cross_entropy(x, bl.tensor([0]))
    loss.backward(retain_graph=True)
    first = x.grad.numpy().copy()
    x.grad = None
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), first)


@pytest.mark.parametrize(
    ("x", "target", "complaint"),
    [
        ((2, 3), [0, 3], "class index 3 \\(position 1 of the target\\) is not between 0 and 2: there are 3 classes"),
        ((3, 3), [1, 2, 3], "start at 1: subtract 1"),
        ((2, 3), [0, -1], "pass ignore_index=-1"),
        ((2, 3), [0.0, 1.0], "must be integers of shape \\(2,\\); convert them with .long\\(\\)"),
        ((2, 3), [True, False], "must be integers"),
        ((2, 3), [[1, 0, 0], [0, 1, 0]], "one-hot"),
        ((2, 3), [[1], [0]], "target.reshape\\(2\\)"),
        ((2, 3), [1, 0, 2], "must have shape \\(2,\\)"),
        ((), 0, "class dimension"),
        ((3,), [0], "must have shape \\(\\)"),
    ],
)
def test_targets_that_do_not_fit(x, target, complaint):
    with pytest.raises(OperationError, match=complaint) as caught:
        bl.cross_entropy(bl.zeros(x), bl.tensor(target))
    assert "test_losses.py" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"weight": bl.ones(2)}, "there are 3 classes"),
        ({"reduction": "avg"}, "mean, sum, none"),
        ({"label_smoothing": 1.5}, "label_smoothing"),
    ],
)
def test_options_that_do_not_fit(options, complaint):
    with pytest.raises(OperationError, match=complaint):
        bl.cross_entropy(bl.zeros(2, 3), bl.tensor([0, 1]), **options)


def test_older_reduction_arguments():
    x, y = bl.tensor([1.0, 3.0]), bl.zeros(2)
    assert bl.mse_loss(x, y, size_average=False).item() == 10.0
    assert bl.mse_loss(x, y, reduce=False).tolist() == [1.0, 9.0]
    assert bl.mse_loss(x, y, size_average=True).item() == 5.0


# -- pointwise losses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [bl.mse_loss, bl.l1_loss, bl.huber_loss, bl.smooth_l1_loss, bl.hinge_loss, bl.kl_div])
def test_shapes_are_not_broadcast(loss):
    with pytest.raises(OperationError, match=r"target.reshape\(4, 1\)") as caught:
        loss(bl.ones(4, 1), bl.ones(4))
    assert "test_losses.py" in str(caught.value)
    with pytest.raises(OperationError, match=r"target.expand\(4, 3\)"):
        loss(bl.ones(4, 3), bl.ones(3))
    with pytest.raises(OperationError, match="must be equal"):
        loss(bl.ones(4, 3), bl.ones(5))


def test_losses_need_floats():
    with pytest.raises(OperationError, match=r"int64; use .float"):
        bl.mse_loss(bl.tensor([1]), bl.tensor([2]))
    assert bl.mse_loss(bl.tensor([1.0]), bl.tensor([3])).item() == 4.0


def test_bce_with_logits_at_extremes():
    x = [1e4, -1e4, 1e4, -1e4, 0.0]
    t = bl.tensor([1.0, 0.0, 0.0, 1.0, 1.0])
    loss, g = gradient(lambda x: bl.binary_cross_entropy_with_logits(x, t, reduction="none"), x)
    np.testing.assert_allclose(loss, [0.0, 0.0, 1e4, 1e4, math.log(2)], rtol=1e-6)
    np.testing.assert_array_equal(g, [0.0, 0.0, 1.0, -1.0, -0.5])
    tiny, _ = gradient(lambda x: bl.binary_cross_entropy_with_logits(x, bl.ones(1)), [40.0])
    assert tiny == np.float32(math.exp(-40.0))


def test_bce_of_certain_probabilities_is_finite():
    loss, g = gradient(lambda x: bl.binary_cross_entropy(x, bl.tensor([1.0, 1.0]), reduction="none"), [0.0, 1.0])
    np.testing.assert_array_equal(loss, [100.0, 0.0])
    assert np.isfinite(g).all()
    with pytest.raises(OperationError, match=r"range from -0.5 to 2.*binary_cross_entropy_with_logits"):
        bl.binary_cross_entropy(bl.tensor([-0.5, 2.0]), bl.zeros(2))


def test_divergence_at_zero_probability_and_by_batch():
    x = bl.log_softmax(bl.zeros(2, 4), 1)
    target = bl.tensor([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    assert bl.kl_div(x, target, reduction="batchmean").item() == pytest.approx(math.log(4) / 2)


def test_means_of_nothing_are_nan():
    empty = bl.zeros(0, 3)
    for loss in (bl.mse_loss, bl.l1_loss, bl.binary_cross_entropy_with_logits):
        assert math.isnan(loss(empty, empty).item())
    assert math.isnan(bl.cross_entropy(empty, bl.zeros(0, dtype=bl.int64)).item())


def test_parameters_are_checked():
    x = bl.zeros(2)
    with pytest.raises(OperationError, match="beta=-1"):
        bl.smooth_l1_loss(x, x, beta=-1)
    with pytest.raises(OperationError, match="delta=0"):
        bl.huber_loss(x, x, delta=0)
    with pytest.raises(OperationError, match="p=3"):
        bl.multi_margin_loss(bl.zeros(2, 3), bl.tensor([0, 1]), p=3)
    with pytest.raises(OperationError, match=r"pos_weight has shape \(3,\)"):
        bl.binary_cross_entropy_with_logits(x, x, pos_weight=bl.ones(3))
    with pytest.raises(OperationError, match=r"weight has shape \(3,\)"):
        bl.mse_loss(x, x, weight=bl.ones(3))


# -- margins ------------------------------------------------------------------------------------------------------


def test_hinge_loss_by_hand():
    loss, g = gradient(lambda s: bl.hinge_loss(s, bl.tensor([1, 1, -1])), [2.0, 0.5, 0.5])
    assert loss == np.float32(2 / 3)
    np.testing.assert_allclose(g, [0.0, -1 / 3, 1 / 3], rtol=1e-6)
    with pytest.raises(OperationError, match=r"0 is among them.*2 \* target - 1"):
        bl.hinge_loss(bl.zeros(2), bl.tensor([0, 1]))


def test_multiclass_hinge_by_hand():
    # Scores 3.2, 5.1, −1.7 with the first class right: max(0, 5.1 − 3.2 + 1) + max(0, −1.7 − 3.2 + 1) = 2.9.
    loss, g = gradient(lambda s: bl.multi_margin_loss(s, bl.tensor([0])) * 3.0, [[3.2, 5.1, -1.7]])
    assert loss == pytest.approx(2.9, rel=1e-6)
    np.testing.assert_allclose(g, [[-1.0, 1.0, 0.0]], rtol=1e-6)


# -- against PyTorch ----------------------------------------------------------------------------------------------


def compared(name, arguments, options):
    """Value and gradients of a loss here and in PyTorch, on float64 arrays (differentiated) and others."""
    torch = pytest.importorskip("torch")
    outcomes = []
    for module, functional in ((bl, bl), (torch, torch.nn.functional)):
        made = [module.tensor(a, requires_grad=a.dtype == np.float64) for a in arguments]
        given = {k: module.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        out = getattr(functional, name)(*made, **given)
        weights = np.cos(np.arange(math.prod(out.shape))).reshape(tuple(out.shape))
        (out * module.tensor(weights)).sum().backward()
        outcomes.append([out.detach().numpy(), *[m.grad.numpy() for m in made if m.requires_grad]])
    for ours, theirs in zip(*outcomes, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12, equal_nan=True)


SHAPES = [(4, 3), (3,), (2, 3, 4), (2, 3, 2, 2)]
REDUCTIONS = ["mean", "sum", "none"]


@pytest.mark.peers
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", ["cross_entropy", "nll_loss", "probabilities"])
def test_class_losses_as_in_torch(shape, reduction, kind):
    rng = np.random.default_rng(5)
    x, weight = rng.normal(size=shape), rng.uniform(0.5, 2.0, 3)
    labels = rng.integers(0, 3, (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    soft = rng.uniform(size=shape)
    for weighted, smoothing, ignore in itertools.product([False, True], [0.0, 0.3], [-100, 1]):
        options = {"reduction": reduction}
        if weighted:
            options["weight"] = weight
        if kind != "nll_loss":
            options["label_smoothing"] = smoothing
        if kind == "probabilities":
            compared("cross_entropy", [x, soft], options)
        else:
            compared(kind, [x, labels], {**options, "ignore_index": ignore})


@pytest.mark.peers
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mse_loss", {}), ("mse_loss", {"weight": 1}), ("l1_loss", {}), ("l1_loss", {"weight": 1}),
        ("smooth_l1_loss", {"beta": 0.5}), ("smooth_l1_loss", {"beta": 0.0}),
        ("huber_loss", {"delta": 0.5}), ("huber_loss", {"delta": 0.5, "weight": 1}),
        ("kl_div", {"log_target": False}), ("kl_div", {"log_target": True}),
        ("binary_cross_entropy_with_logits", {}), ("binary_cross_entropy_with_logits", {"weight": 1}),
        ("binary_cross_entropy_with_logits", {"pos_weight": 1}),
        ("binary_cross_entropy", {}), ("binary_cross_entropy", {"weight": 1}),
        ("hinge_embedding_loss", {"margin": 0.7}),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_pointwise_losses_as_in_torch(name, options, reduction):
    rng = np.random.default_rng(6)
    probabilities = name == "binary_cross_entropy"
    x = rng.uniform(0.05, 0.95, (5, 3)) if probabilities else rng.normal(size=(5, 3))
    target = rng.uniform(0.05, 1.0, (5, 3))
    if name == "hinge_embedding_loss":
        target = np.sign(rng.normal(size=(5, 3))).astype(np.float32)
    options = {k: rng.uniform(0.5, 2.0, (5, 3)) if k.endswith("weight") else v for k, v in options.items()}
    compared(name, [x, target], {**options, "reduction": reduction})


@pytest.mark.peers
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("p", [1, 2])
def test_margin_losses_as_in_torch(reduction, p):
    rng = np.random.default_rng(7)
    x, y, weight = rng.normal(size=(6, 4)), rng.integers(0, 4, 6), rng.uniform(0.5, 2.0, 4)
    compared("multi_margin_loss", [x, y], {"p": p, "margin": 0.8, "reduction": reduction})
    compared("multi_margin_loss", [x, y], {"p": p, "weight": weight, "reduction": reduction})
    compared("multi_margin_loss", [x[0], y[0]], {"p": p, "reduction": reduction})
    signs = np.sign(rng.normal(size=(6, 4))).astype(np.float32)
    compared("margin_ranking_loss", [x, rng.normal(size=(6, 4)), signs], {"margin": 0.3, "reduction": reduction})
    compared("margin_ranking_loss", [x, x, signs], {"reduction": reduction})


def forward_over_reverse(loss, x, v):
    """The Hessian times ``v`` by pushing a tangent through a recorded backward pass."""
    return bl.func.jvp(bl.func.grad(loss), (bl.tensor(x),), (bl.tensor(v),))[1].numpy()


@pytest.mark.parametrize("leaf", [True, False])
@pytest.mark.parametrize("soft", [True, False])
def test_kept_probabilities_carry_higher_derivatives(leaf, soft):
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(2, 4, 3))
    target = bl.tensor(rng.dirichlet(np.ones(3), 4) if soft else np.array([0, 2, 1, 1]))

    def loss(t):
        return bl.cross_entropy(t if leaf else t * t, target)

    def composed(t):
        t = t if leaf else t * t
        q = target if soft else bl.one_hot(target, 3).double()
        return -(bl.log_softmax(t, 1) * q).sum() / 4

    for order in (1, 2, 3):
        derivatives = []
        for f in (loss, composed):
            t = bl.tensor(x, requires_grad=True)
            out = f(t)
            for _ in range(order):
                (g,) = bl.autograd.grad(out, t, create_graph=True)
                out = (g * bl.tensor(v)).sum()
            derivatives.append(g.detach().numpy())
        np.testing.assert_allclose(*derivatives, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(forward_over_reverse(loss, x, v), forward_over_reverse(composed, x, v), atol=1e-13)


def test_soft_margin_loss_is_smooth_at_large_margins() -> None:
    x = bl.tensor([-25.0], dtype=bl.float64, requires_grad=True)
    loss = bl.nn.functional.soft_margin_loss(x, bl.ones(1, dtype=bl.float64))
    (slope,) = bl.autograd.grad([loss], [x], create_graph=True)
    (curvature,) = bl.autograd.grad([slope.sum()], [x])
    assert curvature.item() == pytest.approx(math.exp(-25.0), rel=1e-9)
