"""What a mask leaves out leaves no trace: every elementwise operation of the registry, and reductions by rows.

``where(mask, f(x), 0)`` has the gradient of ``f`` where the mask holds and exactly 0 elsewhere, whatever ``f`` and its
slope are there: infinite at 0, NaN below, overflowed. First and second order, forward mode, recorded or not.
"""

import numpy as np
import pytest

import backlit as bl
from backlit import autograd, func
from backlit.errors import OperationError
from backlit.ops.definition import REGISTRY
from backlit.ops.elementwise import Elementwise
from backlit.ops.pointwise import Pointwise

VALUES = [0.0, -1.0, 1.0, -2.5, 2.5, 1e4, -1e4, 1e200, np.inf, -np.inf, np.nan]
"""Poles, edges of domains, what overflows, and what has overflowed."""
REFUSED = {"binary_cross_entropy", "gaussian_nll_loss"}
"""Operations that refuse values outside their domain, masked or not."""
EXEMPT = {"gated": "the product with an infinite slope itself; where it is masked, that slope was not asked for"}


def of(kind):
    return sorted(
        name
        for name, operation in REGISTRY.items()
        if operation.definition is not None
        and issubclass(operation.definition, kind)
        and operation.differentiable
        and name not in EXEMPT
    )


def clean_arguments(name):
    """The first sample of equal shapes: floating arrays are differentiated, everything else is passed on."""
    for sample in REGISTRY[name].samples(np.random.default_rng(1)):
        arrays = [a for a in sample.args if isinstance(a, np.ndarray)]
        floats = [a for a in arrays if a.dtype == np.float64]
        if floats and all(a.shape == floats[0].shape and a.size > 3 for a in arrays):
            return sample
    return None


def call(name, sample):
    kwargs = dict(sample.kwargs)
    if issubclass(REGISTRY[name].definition, Pointwise):
        kwargs["reduction"] = "none"

    def f(*xs):
        given = iter(xs)
        args = [next(given) if isinstance(a, np.ndarray) and a.dtype == np.float64 else a for a in sample.args]
        return REGISTRY[name].function(*[bl.tensor(a) if isinstance(a, np.ndarray) else a for a in args], **kwargs)

    return f


def derivatives(f, arrays, mask):
    """First and second derivatives and the tangent of the masked result."""
    xs = [bl.tensor(a, requires_grad=True) for a in arrays]
    weight = bl.tensor(np.random.default_rng(2).normal(size=mask.shape))

    def masked(*xs):
        return bl.where(bl.tensor(mask), f(*xs), 0.0)

    plain = autograd.grad((masked(*xs) * weight).sum(), xs, allow_unused=True)
    recorded = autograd.grad((masked(*xs) * weight).sum(), xs, create_graph=True, allow_unused=True)
    total = sum((g * g).sum() for g in recorded if g is not None)
    second = (None,) * len(xs)
    if getattr(total, "requires_grad", False):
        second = autograd.grad(total, xs, allow_unused=True)
    _, tangent = func.jvp(
        masked, tuple(bl.tensor(a) for a in arrays), tuple(bl.ones_like(bl.tensor(a)) for a in arrays)
    )
    return [*plain, *recorded, *second, tangent]


@pytest.mark.parametrize("name", of((Elementwise, Pointwise)))
def test_masked_entries_leave_no_trace(name):
    sample = clean_arguments(name)
    if sample is None:
        pytest.skip("no sample of one shape")
    f = call(name, sample)
    arrays = [a for a in sample.args if isinstance(a, np.ndarray) and a.dtype == np.float64]
    mask = np.arange(arrays[0].size).reshape(arrays[0].shape) % 3 != 0
    expected = derivatives(f, arrays, mask)
    tried = 0
    for value in VALUES:
        for others in (value, 1.0, 0.0):
            spoiled = [np.where(mask, a, others if i else value) for i, a in enumerate(arrays)]
            for given in (spoiled, spoiled[::-1]) if len(arrays) == 2 else (spoiled,):
                given = [np.where(mask, a, g) for a, g in zip(arrays, given, strict=True)]
                try:
                    found = derivatives(f, given, mask)
                except OperationError:
                    assert name in REFUSED
                    continue
                tried += 1
                for ours, want in zip(found, expected, strict=True):
                    assert (ours is None) == (want is None)
                    if ours is not None:
                        got = ours.numpy(force=True)
                        where = f"{name} at {value}, {others}"
                        np.testing.assert_array_equal(got[~mask], 0.0, err_msg=where)
                        np.testing.assert_allclose(got[mask], want.numpy(force=True)[mask], 1e-12, err_msg=where)
    assert tried


ROWS = {
    "softmax": lambda x: bl.softmax(x, 1),
    "log_softmax": lambda x: bl.log_softmax(x, 1),
    "logsumexp": lambda x: bl.logsumexp(x, 1, True),
    "norm": lambda x: bl.norm(x, dim=1, keepdim=True),
    "norm 1": lambda x: bl.norm(x, 1, dim=1, keepdim=True),
    "norm 1.5": lambda x: bl.norm(x, 1.5, dim=1, keepdim=True),
    "norm 3": lambda x: bl.norm(x, 3, dim=1, keepdim=True),
    "norm inf": lambda x: bl.norm(x, np.inf, dim=1, keepdim=True),
    "vector_norm": lambda x: bl.linalg.vector_norm(x, dim=1, keepdim=True),
    "std": lambda x: bl.std(x, 1, keepdim=True),
    "var": lambda x: bl.var(x, 1, keepdim=True),
    "prod": lambda x: bl.prod(x, 1, keepdim=True),
    "mean of logs": lambda x: x.log().mean(1, keepdim=True),
    "unit vectors": lambda x: x / x.norm(dim=1, keepdim=True),
    "standard scores": lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True),
    "root of a sum of squares": lambda x: (x * x).sum(1, keepdim=True).sqrt(),
    "geometric mean": lambda x: x.prod(1, keepdim=True) ** (1 / 4),
}


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 1e200, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", ROWS)
def test_masked_rows_leave_no_trace(name, value):
    x = np.random.default_rng(3).uniform(0.5, 2.0, size=(5, 4))
    rows = np.array([[True], [False], [True], [False], [True]])
    expected = derivatives(ROWS[name], [x], rows)
    found = derivatives(ROWS[name], [np.where(rows, x, value)], rows)
    for ours, want in zip(found, expected, strict=True):
        got, want = ours.numpy(force=True), want.numpy(force=True)
        keep = rows[:, 0]
        np.testing.assert_array_equal(got[~keep], 0.0)
        np.testing.assert_allclose(got[keep], want[keep], rtol=1e-10)


BEHIND = {
    "where": lambda y, ok: bl.where(ok, y, 0.0).sum(),
    "where's other branch": lambda y, ok: bl.where(~ok, 0.0, y).sum(),
    "masked_fill": lambda y, ok: y.masked_fill(~ok, 0.0).sum(),
    "masked_select": lambda y, ok: bl.masked_select(y, ok).sum(),
    "indexing": lambda y, ok: y[ok].sum(),
    "chosen entries": lambda y, ok: y[2:].sum(),
    "take": lambda y, ok: bl.index_select(y, 0, bl.tensor([2, 3])).sum(),
    "nan_to_num": lambda y, ok: bl.nan_to_num(y, 0.0, 0.0, 0.0).sum(),
}
FUNCTIONS = {
    "sqrt": bl.sqrt,
    "log": bl.log,
    "rsqrt": bl.rsqrt,
    "power": lambda x: x**0.3,
    "reciprocal": lambda x: 1 / x,
    "chain": lambda x: bl.tanh(bl.sqrt(x) * bl.log(x)) / x,
}


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_way_to_leave_entries_out(behind, function):
    f = FUNCTIONS[function]
    x = bl.tensor([0.0, -1.0, 4.0, 2.0], dtype=bl.float64, requires_grad=True)
    alone = bl.tensor([4.0, 2.0], dtype=bl.float64, requires_grad=True)
    if behind == "nan_to_num" and function not in ("log", "rsqrt"):
        pytest.skip("0 or 1 / -1 is a number like any other, and not left out")
    (got,) = autograd.grad(BEHIND[behind](f(x), x > 0), x)
    (want,) = autograd.grad(f(alone).sum(), alone)
    assert got.tolist() == pytest.approx([0.0, 0.0, *want.tolist()], abs=0.0)


@pytest.mark.parametrize("bound", [lambda y: y.clamp(min=-3.0), lambda y: bl.maximum(y, bl.tensor(-3.0))])
def test_bounds_block_an_infinite_slope(bound):
    x = bl.tensor([0.0, 2.0], requires_grad=True)
    bound(x.log()).sum().backward()
    assert x.grad.tolist() == [0.0, 0.5]


def test_a_slope_that_is_asked_for_is_shown():
    x = bl.tensor([0.0, -1.0, float("nan"), 4.0], requires_grad=True)
    x.sqrt().sum().backward()
    assert np.isposinf(x.grad.numpy()[0]) and np.isnan(x.grad.numpy()[1:3]).all() and x.grad[3].item() == 0.25


def test_float_exponents_keep_dtype_and_precision():
    x = bl.tensor([2.0, 3.0], requires_grad=True)
    (x**0.3).sum().backward()
    assert x.grad.dtype == bl.float32
    y = bl.tensor([2.0], dtype=bl.float64, requires_grad=True)
    (slope,) = autograd.grad((y**0.3).sum(), y, create_graph=True)
    assert slope.item() == pytest.approx(0.3 * 2**-0.7, rel=1e-15)


def leaves_of(value, change):
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)([leaves_of(part, change) for part in value])
    if isinstance(value, dict):
        return {key: leaves_of(part, change) for key, part in value.items()}
    return value


def tensors_in(result):
    for part in result if isinstance(result, (tuple, list)) else (result,):
        if isinstance(part, bl.Tensor) and part.requires_grad:
            yield part


@pytest.mark.parametrize("name", sorted(n for n, o in REGISTRY.items() if o.differentiable and n not in EXEMPT))
def test_where_nothing_is_asked_for_nothing_comes_back(name):
    """An upstream gradient of zeros gives zeros, at any finite values whatever: every differentiable operation."""
    for sample in REGISTRY[name].samples(np.random.default_rng(1)):
        for value in (0.0, -1.0, 1.0, 2.0, 1e4, -1e4):
            leaves = []

            def spoiled(array, value=value, leaves=leaves):
                half = np.arange(array.size).reshape(array.shape) < max(1, array.size // 2)
                leaves.append(bl.tensor(np.where(half, value, array), requires_grad=True))
                return leaves[-1]

            try:
                result = REGISTRY[name].function(*leaves_of(sample.args, spoiled), **leaves_of(sample.kwargs, spoiled))
            except OperationError:
                continue
            for out in tensors_in(result):
                for create_graph in (True, False):
                    zeros = bl.zeros_like(out)
                    gradients = autograd.grad(
                        out, leaves, zeros, retain_graph=True, create_graph=create_graph, allow_unused=True
                    )
                    for gradient in gradients:
                        if gradient is not None:
                            np.testing.assert_array_equal(gradient.numpy(force=True), 0.0, err_msg=f"{sample} {value}")
