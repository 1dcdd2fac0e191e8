"""The vector builder against NumPy: masked tails, comparisons with NaN, selection, sums, conversions, loops."""

import numpy as np
import pytest

from backlit.compile.codegen.values import BOOL, DOUBLE, FLOAT, INT8, INT32, INT64, element_type

SPECIAL = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 3e38, 1e-40], "float32")


@pytest.mark.parametrize("count", [0, 1, 3, 15, 16, 17, 100])
@pytest.mark.parametrize("unroll", [1, 4])
def test_sweep_touches_exactly_its_elements(build, count, unroll):
    run = build(
        lambda b, x, y: b.sweep(count, lambda i, mask: y.store(x.load(i, mask=mask) * 2 + 1, i, mask), unroll),
        ["float32", "float32"],
    )
    x, y = np.arange(count, dtype="float32"), np.full(count + 20, -7, "float32")
    run(x, y)
    np.testing.assert_array_equal(y[:count], x * 2 + 1)
    assert (y[count:] == -7).all()


def pairs():
    a, b = np.meshgrid(SPECIAL, SPECIAL)
    return np.ascontiguousarray(a).ravel(), np.ascontiguousarray(b).ravel()


BINARY = {
    "add": (lambda b, x, y: x + y, np.add),
    "sub": (lambda b, x, y: x - y, np.subtract),
    "mul": (lambda b, x, y: x * y, np.multiply),
    "div": (lambda b, x, y: x / y, np.divide),
    "maximum": (lambda b, x, y: b.maximum(x, y), np.maximum),
    "minimum": (lambda b, x, y: b.minimum(x, y), np.minimum),
    "maximum of a number": (lambda b, x, y: b.maximum(x, 0.5), lambda x, y: np.maximum(x, np.float32(0.5))),
    "where <": (lambda b, x, y: b.where(x < y, x, y), lambda x, y: np.where(x < y, x, y)),
    "where <=": (lambda b, x, y: b.where(x <= y, x, y), lambda x, y: np.where(x <= y, x, y)),
    "where !=": (lambda b, x, y: b.where(x != y, 1.0, 0.0), lambda x, y: (x != y).astype("float32")),
    "where ==": (lambda b, x, y: b.where(x == y, 1.0, 0.0), lambda x, y: (x == y).astype("float32")),
    "and": (lambda b, x, y: b.where((x > 0) & ~(y > 0), x, 2.0), lambda x, y: np.where((x > 0) & ~(y > 0), x, 2.0)),
    "reflected": (lambda b, x, y: 1 - x, lambda x, y: 1 - x),
    "negated": (lambda b, x, y: -x, lambda x, y: -x),
}


@pytest.mark.parametrize("name", BINARY)
def test_operators_on_special_values(build, name):
    emit, expected = BINARY[name]
    x, y = pairs()
    run = build(
        lambda b, p, q, r: b.sweep(
            x.size, lambda i, mask: r.store(emit(b, p.load(i, mask=mask), q.load(i, mask=mask)), i, mask)
        ),
        ["float32"] * 3,
    )
    out = np.empty_like(x)
    run(x, y, out)
    with np.errstate(all="ignore"):
        want = expected(x, y).astype("float32")
    np.testing.assert_array_equal(out, want)
    if name == "negated":
        np.testing.assert_array_equal(np.signbit(out), np.signbit(want))


@pytest.mark.parametrize(("fold", "expected"), [("sum", np.sum), ("max", np.max), ("min", np.min)])
def test_folds_over_lanes(build, fold, expected):
    run = build(lambda b, x, y: y.store(getattr(b, fold)(x.load(lanes=8))), ["float32", "float32"])
    x, y = np.array([3, 1, -4, 1, 5, 9, -2, 6], "float32"), np.empty(1, "float32")
    run(x, y)
    assert y[0] == expected(x)
    x[3] = np.nan
    run(x, y)
    assert np.isnan(y[0])


def test_fold_wants_a_power_of_two(build):
    with pytest.raises(ValueError, match="6 lanes"):
        build(lambda b, x: b.sum(x.load(lanes=6)), ["float32"])


def test_loop_carries_values_and_takes_known_and_unknown_bounds(build):
    def body(b, x, count, out):
        total = b.number(0.0, lanes=0)
        [known] = b.loop(0, 7, 2, lambda i, t: [t + x.load(i, lanes=0)], [total])
        [unknown] = b.loop(0, count.load(lanes=0), 1, lambda i, t: [t + x.load(i, lanes=0)], [total])
        [never] = b.loop(0, count.load(1, lanes=0), 1, lambda i, t: [t + 1.0], [total])
        [none] = b.loop(3, 3, 1, lambda i, t: [t + 1.0], [total])
        [once] = b.loop(3, 4, 1, lambda i, t: [t + float(i)], [total])
        for i, value in enumerate([known, unknown, never, none, once]):
            out.store(value, i)

    run = build(body, ["float32", "int64", "float32"])
    out = np.empty(5, "float32")
    run(np.arange(10, dtype="float32"), np.array([10, 0]), out)
    assert out.tolist() == [0 + 2 + 4 + 6, 45, 0, 0, 3]


def test_conversions(build):
    def body(b, x, n, y):
        value = x.load(lanes=4)
        n.store(b.convert(value, INT32))
        y.store(b.convert(b.convert(value, DOUBLE) + 1e-12, FLOAT))
        y.store(b.convert(b.convert(n.load(lanes=4), INT8), FLOAT), 4)
        y.store(b.convert(value > 0, FLOAT), 8)
        y.store(b.convert(b.convert(b.convert(n.load(lanes=4), INT64), INT32), FLOAT), 12)

    run = build(body, ["float32", "int32", "float32"])
    x, n, y = np.array([1.9, -1.9, np.nan, 1e20], "float32"), np.empty(4, "int32"), np.empty(16, "float32")
    run(x, n, y)
    assert n.tolist() == [1, -1, 0, 2**31 - 1]
    np.testing.assert_array_equal(y[:4], x)
    assert y[8:12].tolist() == [1, 0, 0, 1]
    assert y[12:14].tolist() == [1, -1]


def test_patched_repairs_only_the_rare_lanes(build):
    def body(b, x, y):
        value = x.load(lanes=4)
        y.store(b.patched(value * 2.0, value > 10.0, lambda: value.like(-1.0)))

    run = build(body, ["float32", "float32"])
    y = np.empty(4, "float32")
    run(np.array([1, 2, 3, 4], "float32"), y)
    assert y.tolist() == [2, 4, 6, 8]
    run(np.array([1, 20, 3, 40], "float32"), y)
    assert y.tolist() == [2, -1, 6, -1]


def test_stack_arrays_splats_and_picked_lanes(build):
    def body(b, x, y):
        space = b.array(8)
        space.store(b.lanes_at(x.load(lanes=4), [3, 2, 1, 0]))
        space.store(x.splat(2, lanes=4), 4)
        y.store(space.load(lanes=8))
        y.store(b.convert(b.iota(lanes=4), FLOAT), 8)

    run = build(body, ["float32", "float32"])
    y = np.empty(12, "float32")
    run(np.array([1, 2, 3, 4], "float32"), y)
    assert y.tolist() == [4, 3, 2, 1, 3, 3, 3, 3, 0, 1, 2, 3]


def test_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match="float16"):
        element_type("float16")
    assert element_type(np.bool_) == BOOL


@pytest.mark.parametrize("count", [1, 2, 3])
def test_masked_store_of_narrowed_integers_keeps_to_its_lanes(build, count):
    def body(b, x, y):
        y.store(b.convert(b.convert(x.load(lanes=4), INT32), INT8), 0, b.first(count, 4))

    run = build(body, ["float32", "uint8"])
    out = np.full(20, 99, "uint8")
    run(np.array([5, 6, 7, 8], "float32"), out)
    assert out.tolist() == [5, 6, 7, 8][:count] + [99] * (20 - count)
