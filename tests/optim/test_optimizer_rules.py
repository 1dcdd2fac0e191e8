"""Each rule's numbers by hand, and what must hold for every optimizer: layout never matters, in place, repeatable."""

import math

import numpy as np
import pytest

import backlit as bl
from backlit.errors import OverwrittenError
from backlit.optim import blocks

EVERY = {
    "sgd": lambda ps: bl.optim.SGD(ps, lr=0.1),
    "sgd-nesterov": lambda ps: bl.optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "sgd-dampened": lambda ps: bl.optim.SGD(ps, lr=0.1, momentum=0.9, dampening=0.5, maximize=True),
    "adam": lambda ps: bl.optim.Adam(ps, lr=0.1),
    "adam-amsgrad": lambda ps: bl.optim.Adam(ps, lr=0.1, amsgrad=True, weight_decay=0.1, maximize=True),
    "adamw": lambda ps: bl.optim.AdamW(ps, lr=0.1),
    "rmsprop": lambda ps: bl.optim.RMSprop(ps, lr=0.1),
    "rmsprop-centered": lambda ps: bl.optim.RMSprop(ps, lr=0.1, momentum=0.9, centered=True, weight_decay=0.1),
    "adagrad": lambda ps: bl.optim.Adagrad(ps, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.5),
    "adadelta": lambda ps: bl.optim.Adadelta(ps, weight_decay=0.1, maximize=True),
}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY.keys())


def scalar(value=1.0):
    return bl.tensor(value, dtype=bl.float64, requires_grad=True)


def follow(optimizer, p, gradients):
    """The parameter's value after a step with each of the gradients."""
    values = []
    for g in gradients:
        p.grad = bl.tensor(g, dtype=bl.float64)
        optimizer.step()
        values.append(p.item())
    return values


def train(make, arrays, steps=4, skip=()):
    """The parameters after some steps with reproducible gradients; ``skip`` holds (step, index) without a gradient."""
    params = [bl.as_tensor(a).requires_grad_() for a in arrays]
    optimizer = make(params)
    rng = np.random.default_rng(7)
    for step in range(steps):
        for i, p in enumerate(params):
            g = rng.normal(size=p.shape).astype(p.dtype)
            p.grad = None if (step, i) in skip else bl.tensor(g, dtype=p.dtype)
        optimizer.step()
    return params, optimizer


# -- by hand ------------------------------------------------------------------------------------------------------


def test_sgd_by_hand():
    p = scalar()
    assert follow(bl.optim.SGD([p], lr=0.5), p, [2.0, -1.0]) == [0.0, 0.5]


def test_sgd_momentum_by_hand():
    p = scalar()  # b: 2, then 0.5 * 2 + 4 = 5
    assert follow(bl.optim.SGD([p], lr=0.5, momentum=0.5), p, [2.0, 4.0]) == [0.0, -2.5]


def test_sgd_dampening_leaves_the_first_gradient_whole():
    p = scalar()  # b: 2, then 0.5 * 2 + (1 - 0.75) * 4 = 2
    assert follow(bl.optim.SGD([p], lr=0.5, momentum=0.5, dampening=0.75), p, [2.0, 4.0]) == [0.0, -1.0]


def test_sgd_nesterov_by_hand():
    p = scalar()  # b: 2, g: 2 + 0.5 * 2 = 3; b: 5, g: 4 + 0.5 * 5 = 6.5
    assert follow(bl.optim.SGD([p], lr=0.5, momentum=0.5, nesterov=True), p, [2.0, 4.0]) == [-0.5, -3.75]


def test_sgd_weight_decay_and_maximize():
    p = scalar()  # g = -2 + 0.5 * 1
    assert follow(bl.optim.SGD([p], lr=1.0, weight_decay=0.5, maximize=True), p, [2.0]) == [2.5]


def test_adam_by_hand():
    p = scalar()
    got = follow(bl.optim.Adam([p], lr=0.1, betas=(0.5, 0.75), eps=0.25), p, [2.0, 4.0])
    first = 1 - 0.1 * 2 / (2 + 0.25)  # after one step the corrected moments are the gradient and its square
    m, v = (0.5 * 1 + 0.5 * 4) / 0.75, (0.75 * 1 + 0.25 * 16) / (1 - 0.75**2)
    assert got == pytest.approx([first, first - 0.1 * m / (math.sqrt(v) + 0.25)], rel=1e-15)


def test_adam_decays_through_the_gradient_and_adamw_outside():
    p = scalar(4.0)
    assert follow(bl.optim.Adam([p], lr=0.5, weight_decay=0.25, eps=0), p, [1.0]) == [pytest.approx(3.5)]
    p = scalar(4.0)
    assert follow(bl.optim.AdamW([p], lr=0.5, weight_decay=0.25, eps=0), p, [1.0]) == [pytest.approx(3.0)]


def test_amsgrad_keeps_the_largest_mean_square():
    p, q = scalar(), scalar()
    options = {"lr": 0.1, "betas": (0.0, 0.5), "eps": 0}
    plain = follow(bl.optim.Adam([p], **options), p, [8.0, 0.5])
    kept = follow(bl.optim.Adam([q], amsgrad=True, **options), q, [8.0, 0.5])
    assert plain[0] - plain[1] == pytest.approx(0.1 * 0.5 / math.sqrt((0.25 * 64 + 0.5 * 0.25) / 0.75))
    assert kept[0] - kept[1] == pytest.approx(0.1 * 0.5 / math.sqrt(32 / 0.75))


def test_rmsprop_by_hand():
    p = scalar()
    assert follow(bl.optim.RMSprop([p], lr=0.1, alpha=0.75, eps=1.0), p, [2.0]) == [
        pytest.approx(1 - 0.1 * 2 / (1 + 1))
    ]
    p = scalar()  # v = 1, a = 0.5, sqrt(1 - 0.25)
    got = follow(bl.optim.RMSprop([p], lr=0.1, alpha=0.75, eps=0, centered=True), p, [2.0])
    assert got == [pytest.approx(1 - 0.1 * 2 / math.sqrt(0.75))]


def test_rmsprop_momentum_adds_up_scaled_steps():
    p = scalar()  # alpha = 0: every scaled step is 1 in size
    got = follow(bl.optim.RMSprop([p], lr=0.5, alpha=0, eps=0, momentum=0.5), p, [2.0, 3.0])
    assert got == pytest.approx([0.5, -0.25])


def test_centered_rmsprop_survives_a_variance_that_rounds_below_zero():
    p = bl.tensor(np.full(100, 1.0), dtype=bl.float32, requires_grad=True)
    optimizer = bl.optim.RMSprop([p], lr=1e-3, alpha=0.9, centered=True)
    rng = np.random.default_rng(0)
    constant = bl.tensor(rng.normal(size=100), dtype=bl.float32)
    for _ in range(300):
        p.grad = constant
        optimizer.step()
    assert np.isfinite(p.detach().numpy()).all()


def test_adagrad_by_hand():
    p = scalar()
    got = follow(bl.optim.Adagrad([p], lr=1.0, lr_decay=1.0, initial_accumulator_value=12.0, eps=0), p, [2.0, 3.0])
    assert got == pytest.approx([1 - 2 / 4, 1 - 2 / 4 - 0.5 * 3 / 5])


def test_adadelta_by_hand():
    p = scalar()
    got = follow(bl.optim.Adadelta([p], lr=1.0, rho=0.75, eps=1.0), p, [2.0, 0.0])
    step = 2 * math.sqrt(1.0) / math.sqrt(1 + 1.0)
    assert got == pytest.approx([1 - step, 1 - step])


# -- layout never matters -----------------------------------------------------------------------------------------

SHAPES = [(3, 5), (), (0, 4), (70,), (40, 30)]


@every
def test_pieces_and_packs_change_no_bit(make, monkeypatch):
    def start():
        rng = np.random.default_rng(1)
        return [rng.normal(size=s).astype(np.float32) for s in SHAPES]

    expected = [p._data for p in train(make, start())[0]]
    for chunk, small in [(7, 3), (64, 0), (1300, 1300), (32768, 1000)]:
        monkeypatch.setattr(blocks, "CHUNK", chunk)
        monkeypatch.setattr(blocks, "SMALL", small)
        for want, p in zip(expected, train(make, start())[0], strict=True):
            assert want.tobytes() == p._data.tobytes()


@every
def test_parameters_are_independent(make):
    """Together in a pack with others that skip steps, or alone: the same bits."""
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=s) for s in SHAPES]
    skip = {(0, 0), (2, 0), (1, 3), (1, 4), (2, 4)}
    together, _ = train(make, [a.copy() for a in arrays], steps=5, skip=skip)
    gradients = np.random.default_rng(7)
    table = [[gradients.normal(size=a.shape) for a in arrays] for _ in range(5)]
    for i, array in enumerate(arrays):
        p = bl.as_tensor(array.copy()).requires_grad_()
        optimizer = make([p])
        for step in range(5):
            p.grad = None if (step, i) in skip else bl.tensor(table[step][i], dtype=bl.float64)
            optimizer.step()
        assert p._data.tobytes() == together[i]._data.tobytes()


@every
def test_strides_change_no_bit(make):
    rng = np.random.default_rng(2)
    flat = [rng.normal(size=(6, 4)), rng.normal(size=(90, 70))]
    expected, _ = train(make, [a.copy() for a in flat])
    layouts = [
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[::-1].copy()[::-1],
    ]
    for layout in layouts:
        got, _ = train(make, [layout(a) for a in flat])
        for want, p in zip(expected, got, strict=True):
            assert np.array_equal(want._data, p._data)


@every
def test_the_array_stays_the_same(make):
    arrays = [np.ones((2, 3), np.float32), np.ones(5000, np.float32), np.ones((90, 70), np.float32).T]
    params, _ = train(make, arrays)
    for p, array in zip(params, arrays, strict=True):
        assert p._data is array
        assert not np.array_equal(array, np.ones_like(array))


@every
def test_half_precision_is_computed_in_single(make):
    rng = np.random.default_rng(3)
    start = [rng.normal(size=s).astype(np.float16) for s in [(3, 4), (80, 60)]]
    params, optimizer = train(make, [a.copy() for a in start], steps=1)
    single = [bl.tensor(a.astype(np.float32), requires_grad=True) for a in start]
    other = make(single)
    gradients = np.random.default_rng(7)
    for p in single:
        p.grad = bl.tensor(gradients.normal(size=p.shape).astype(np.float16).astype(np.float32))
    other.step()
    for p, q in zip(params, single, strict=True):
        assert p.dtype == bl.float16
        assert np.array_equal(p._data, q._data.astype(np.float16))
        assert all(v.dtype == bl.float32 for k, v in optimizer.state[p].items() if k != "step")


def test_mixed_dtypes_in_one_group():
    params = [bl.ones(3, dtype=d, requires_grad=True) for d in (bl.float32, bl.float64, bl.float16, bl.float32)]
    optimizer = bl.optim.SGD(params, lr=0.5)
    for p in params:
        p.grad = bl.ones(3, dtype=p.dtype)
    optimizer.step()
    assert [p.tolist() for p in params] == [[0.5] * 3] * 4


@every
def test_only_empty_parameters(make):
    params, _ = train(make, [np.zeros((0, 3), np.float32)])
    assert params[0].shape == (0, 3)


def test_two_parameters_on_one_memory_are_both_updated():
    p = bl.tensor([1.0, 2.0], requires_grad=True)
    q = p.detach().requires_grad_()
    p.grad, q.grad = bl.tensor([1.0, 0.0]), bl.tensor([10.0, 0.0])
    bl.optim.SGD([p, q], lr=1.0).step()
    assert p.tolist() == [-10.0, 2.0]


def test_overflow_and_nan_pass_silently():
    p = bl.tensor([1.0, 1.0, 1.0], requires_grad=True)
    p.grad = bl.tensor([math.inf, math.nan, 1e38])
    bl.optim.Adam([p]).step()
    assert np.isnan(p.detach().numpy()).tolist() == [True, True, False]


# -- in place -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 6000])
def test_a_saved_parameter_that_is_stepped_on_is_noticed(size):
    w = bl.ones(size, requires_grad=True)
    optimizer = bl.optim.SGD([w], lr=0.5)
    loss = (w * w).sum()
    w.grad = bl.ones(size)
    optimizer.step()
    with pytest.raises(OverwrittenError, match=r"optimizer\.step\(\)"):
        loss.backward()


def test_a_first_update_is_noticed_when_the_graph_is_older_than_the_optimizer():
    w = bl.ones(3, requires_grad=True)
    loss = (w * w).sum()
    w.grad = bl.ones(3)
    optimizer = bl.optim.SGD([w], lr=0.5)
    optimizer.step()
    with pytest.raises(OverwrittenError):
        loss.backward()


def test_exposed_memory_stays_usable():
    w = bl.ones(3, requires_grad=True)
    outside = w.detach().numpy()
    optimizer = bl.optim.SGD([w], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
    assert outside.tolist() == [0.0, 0.0, 0.0]


@every
def test_stepping_allocates_nothing_that_stays_and_little_that_goes(make):
    import tracemalloc

    params, optimizer = train(make, [np.ones(200_000, np.float32), np.ones(50, np.float32)])
    for p in params:
        p.grad = bl.ones(*p.shape)
    optimizer.step()
    tracemalloc.start()
    optimizer.step()
    optimizer.step()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000
    assert after < 10_000


@every
def test_gradients_are_left_alone(make):
    params, optimizer = train(make, [np.ones((3, 4), np.float32), np.ones(5000, np.float32)])
    for p in params:
        p.grad = bl.full(p.shape, 0.5)
    optimizer.step()
    assert all((p.grad == 0.5).all() for p in params)
