"""Elementary functions: largest errors as the table in their docstring states, special values as NumPy's."""

import re

import mpmath
import numpy as np
import pytest
from scipy import special

from backlit.compile.codegen import mathfun
from backlit.compile.codegen.mathfun import ScalarFunctions
from backlit.ops.elementwise import NUMPY
from turns import share

ROW = re.compile(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \|$", re.M)
STATED = {name: (float(single), float(double)) for name, single, double in ROW.findall(mathfun.__doc__)}

# In float64 these are right to about 1e-16, far below what float32 results are held to.
DOUBLE = {
    "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "erf": special.erf,
    "erfc": special.erfc,
}
EXACT = {
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "log2": lambda x: mpmath.log(x) / mpmath.log(2),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
}
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.0,
    -2.0,
    0.5,
    -0.5,
    3.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-40,
    -1e-40,
    88.7,
    89.5,
    -104,
    -88,
]


def elementwise(build, names, count, dtype, inputs=1):
    """A kernel that writes each named function of its inputs into a row of the output."""

    def body(b, *pointers):
        s = ScalarFunctions(b)
        *sources, out = pointers

        def vector(i, mask):
            values = [p.load(i, mask=mask) for p in sources]
            for row, name in enumerate(names):
                out.store(b.convert(getattr(s, name)(*values), b.element), i + row * count, mask)

        b.sweep(count, vector)

    run = build(body, [dtype] * (inputs + 1), dtype)

    def function(*arrays):
        out = np.empty((len(names), count), dtype)
        run(*[np.ascontiguousarray(a, dtype) for a in arrays], out)
        return out

    return function


def reference(name):
    return DOUBLE.get(name) or getattr(NUMPY, name)


def units_off(found, wanted, dtype):
    """Distance in units in the last place of the rounded result, in the gaps of denormals where it is one."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = wanted.astype(dtype)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rounded))
    np.testing.assert_array_equal(np.where(np.isinf(found), found, 0), np.where(np.isinf(rounded), rounded, 0))
    finite = np.isfinite(found)
    gap = np.maximum(np.spacing(np.abs(rounded[finite])).astype("float64"), float(np.finfo(dtype).smallest_subnormal))
    return np.max(np.abs(found[finite].astype("float64") - wanted[finite]) / gap, initial=0)


def every_kind_of_float32(count, seed=0):
    """Every exponent and sign, evenly over bit patterns, shifted at random; half of them between 2⁻⁷ and 2⁷."""
    shift = np.random.default_rng(seed).integers(0, 2**16)
    bits = np.linspace(0, 2**32 - 2**17, count // 2).astype("uint64") + shift
    moderate = np.linspace(0x3C000000, 0x43000000, count // 4).astype("uint64") + shift
    both = np.concatenate([bits, moderate, moderate + 2**31]).astype("uint32")
    return both.view("float32")


@pytest.mark.parametrize("name", STATED)
def test_float32_error(build, name):
    x = every_kind_of_float32(1 << 16)
    assert float32_error(elementwise(build, [name], x.size, "float32"), name, x) <= STATED[name][0]


@pytest.mark.slow
@pytest.mark.parametrize("name", STATED)
def test_float32_error_over_a_hundred_million_values(build, name):
    count = 1 << 16
    function, starts = elementwise(build, [name], count, "float32"), np.arange(0, 2**32 - 41 * count, 41 * count)
    for start in share(starts, 7):
        x = (start + 41 * np.arange(count)).astype("uint32").view("float32")
        assert float32_error(function, name, x) <= STATED[name][0]


def float32_error(function, name, x):
    """The largest error in units in the last place, by NumPy in float64."""
    with np.errstate(all="ignore"):
        wanted = reference(name)(x.astype("float64"))
    return units_off(function(x)[0], wanted, np.float32)


@pytest.mark.parametrize("name", STATED)
def test_float64_error(build, name):
    rng = np.random.default_rng(0)
    sizes = np.exp(np.concatenate([rng.uniform(-30, 6.4, 60), rng.uniform(-700, 700, 20)]))
    x = np.concatenate([sizes, -sizes, rng.uniform(-1, 1, 60)])
    with np.errstate(all="ignore"):
        expected = reference(name)(x)
    x = x[np.isfinite(expected) & (np.abs(expected) > 1e-307)]
    found = elementwise(build, [name], x.size, "float64")(x)[0]
    exact = EXACT.get(name) or getattr(mpmath, name)
    worst = 0.0
    with mpmath.workprec(1200 if name in ("sin", "cos") else 160):
        for value, argument in zip(found, x, strict=True):
            wanted = exact(mpmath.mpf(float(argument)))
            gap = max(np.spacing(abs(float(wanted))), 2.0**-1074)
            worst = max(worst, float(abs(mpmath.mpf(float(value)) - wanted) / mpmath.mpf(gap)))
    assert worst <= STATED[name][1]


EXTENDED = {
    **{name: getattr(np, name) for name in ("exp", "exp2", "expm1", "tanh", "log", "log1p", "log2", "log10")},
    **{name: getattr(np, name) for name in ("sin", "cos", "sqrt")},
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "rsqrt": lambda x: 1 / np.sqrt(x),
}


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no floating type here is wider than float64")
@pytest.mark.parametrize("name", EXTENDED)
def test_float64_error_over_many_values(build, name):
    count, rng = 1 << 16, np.random.default_rng(0)
    function = elementwise(build, [name], count, "float64")
    for low, high in [(0.5, 2), (0.9, 1.1), (-0.4, 0.4), (-1, 1), (-30, 30), (1e-3, 1e3)]:
        x = rng.uniform(low, high, count)
        with np.errstate(all="ignore"):
            wanted = EXTENDED[name](x.astype(np.longdouble))
        inside = np.abs(wanted) < 1e300
        gap = np.spacing(np.abs(wanted[inside]).astype("float64"))
        assert np.max(np.abs(function(x)[0][inside] - wanted[inside]) / gap) <= STATED[name][1], (low, high)


@pytest.mark.parametrize(("name", "low", "high"), [("erf", 0.4, 1.4), ("erfc", 0.4, 1.4), ("erfc", 20, 26.4)])
def test_float64_error_functions_over_many_values(build, name, low, high):
    """Where they change from one formula to the next, and far out."""
    x = np.random.default_rng(0).uniform(low, high, 4096)
    found = elementwise(build, [name], x.size, "float64")(x)[0]
    with mpmath.workprec(120):
        wanted = [getattr(mpmath, name)(mpmath.mpf(float(value))) for value in x]
        off = [
            float(abs(mpmath.mpf(float(y)) - z)) / np.spacing(abs(float(z))) for y, z in zip(found, wanted, strict=True)
        ]
    assert max(off) <= STATED[name][1]


ONE_OPERAND = [
    *STATED, "abs", "square", "sqrt", "floor", "ceil", "trunc", "round", "sign", "sinc", "isnan",
    "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh",
]  # fmt: skip
TWO_OPERANDS = [
    "pow", "fmod", "remainder", "maximum", "minimum", "logaddexp", "hypot", "atan2", "gated", "logical_and",
    "logical_or",
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_values_of_one_operand(build, dtype):
    compare_special(build, ONE_OPERAND, dtype, np.array(SPECIAL, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_values_of_two_operands(build, dtype):
    x, y = (np.ascontiguousarray(a).ravel() for a in np.meshgrid(SPECIAL, SPECIAL))
    compare_special(build, TWO_OPERANDS, dtype, x.astype(dtype), y.astype(dtype))


def compare_special(build, names, dtype, *operands):
    found = elementwise(build, names, operands[0].size, dtype, len(operands))(*operands)
    for name, row in zip(names, found, strict=True):
        with np.errstate(all="ignore"):
            wanted = np.asarray(reference(name)(*operands)).astype(dtype)
        tolerances = {"rtol": 40 * np.finfo(dtype).eps, "atol": float(np.finfo(dtype).tiny)}
        np.testing.assert_allclose(row, wanted, err_msg=name, **tolerances)


DIVISIONS = ["fmod", "remainder", "floor_divide"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divisions_are_exact(build, dtype):
    """Also next to whole quotients, where x / y rounds up, for huge ones, and with the sign of zero."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=6000).astype(dtype)
    whole = np.concatenate([rng.integers(-9, 9, 3000), rng.integers(-(2**30), 2**30, 3000)])
    near = np.concatenate([whole * y, np.nextafter((whole * y).astype(dtype), np.inf), whole * y * (1 - 1e-7)])
    x = np.concatenate([near, rng.normal(size=6000) * 10.0 ** rng.integers(-30, 30, 6000), SPECIAL]).astype(dtype)
    y = np.concatenate([np.resize(y, 24000), np.resize(SPECIAL[::-1], len(SPECIAL))]).astype(dtype)
    found = elementwise(build, DIVISIONS, x.size, dtype, 2)(x, y)
    for name, row in zip(DIVISIONS, found, strict=True):
        with np.errstate(all="ignore"):
            wanted = getattr(np, name)(x, y)
        np.testing.assert_array_equal(row, wanted, err_msg=name)
        np.testing.assert_array_equal(np.signbit(row[wanted == 0]), np.signbit(wanted[wanted == 0]), err_msg=name)


def test_power_keeps_the_sign_of_zero(build):
    x, y = np.array([-0.0, -0.0, -8.0], "float32"), np.array([3, -3, 3], "float32")
    found = elementwise(build, ["pow"], 3, "float32", inputs=2)(x, y)[0]
    assert np.signbit(found[0]) and found[1] == -np.inf and found[2] == -512


def test_numbers_stand_beside_values(build):
    def body(b, x, y):
        s, value = ScalarFunctions(b), x.load(lanes=4)
        y.store(s.pow(value, 2.0))
        y.store(s.where(value > 2, 1.0, value), 4)
        y.store(s.maximum(2.5, value), 8)

    out = np.empty(12, "float32")
    build(body, ["float32", "float32"])(np.array([1, 2, 3, 4], "float32"), out)
    assert out.tolist() == [1, 4, 9, 16, 1, 2, 1, 1, 2.5, 2.5, 3, 4]


def test_supports_says_what_exists():
    assert ScalarFunctions.supports("erf") and ScalarFunctions.supports("where") and ScalarFunctions.supports("gated")
    assert not ScalarFunctions.supports("erfinv")
    with pytest.raises(AttributeError):
        ScalarFunctions(None).erfinv()
