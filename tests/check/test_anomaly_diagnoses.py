"""Every diagnosis of a NaN or an infinity: its cause, the exact line, the exact entry."""

import inspect
import io

import numpy as np
import pytest
from rich.console import Console

import backlit as bl
from backlit import nn
from backlit.errors import AnomalyError, NonFiniteError

INF = float("inf")


def leaf(values, dtype=bl.float32):
    return bl.tensor(values, dtype=dtype, requires_grad=True)


class Halved(bl.autograd.Function):
    """Right forward; its backward divides by the input."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x / 2

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        return upstream * x * x / x  # culprit


class Opaque(bl.autograd.Function):
    """Its gradient is made of arrays, where no operation can be seen."""

    @staticmethod
    def forward(ctx, x):
        return bl.tensor(x.numpy(force=True) * 2)

    @staticmethod
    def backward(ctx, upstream):
        return bl.tensor(np.where(np.arange(3) == 1, np.nan, upstream.numpy()).astype(np.float32))


def log_of_zero():
    probabilities = leaf([[0.5, 0.0], [1.0, 0.25]])
    entropy = probabilities.log()  # culprit
    return entropy.mean()


def log_of_negative():
    y = bl.log2(leaf([1.0, 2.0, -3.0]))  # culprit
    return y.sum()


def log1p_at_pole():
    y = leaf([0.0, -1.0]).log1p()  # culprit
    return y.sum()


def sqrt_of_negative():
    return (leaf([4.0, -1e-8]).sqrt() * 2).sum()  # culprit


def sqrt_at_zero():
    x = leaf([4.0, 0.0, 1.0])
    distance = x.sqrt()  # culprit
    return distance.sum()


def square_root_as_power():
    return (leaf([4.0, 0.0]) ** 0.5).sum()  # culprit


def overflow_of_exp():
    scores = leaf([[1.0, 2.0, 3.0], [0.0, -5.0, 100.0]])
    weights = bl.exp(scores)  # culprit
    return (weights / weights.sum(1, keepdim=True)).sum()


def division_by_zero():
    x, y = leaf([1.0, 2.0]), leaf([[1.0, 2.0], [3.0, 0.0]])
    z = x / y  # culprit
    return z.sum()


def zero_by_zero():
    x = leaf([0.0, 2.0])
    return (x / x).sum()  # culprit


def vanished_norm():
    x = leaf([[3.0, 4.0], [0.0, 0.0]])
    unit = x / x.norm(dim=1, keepdim=True)  # culprit
    return unit.sum()


def vanished_norm_of_data():
    x = bl.tensor([[3.0, 4.0], [0.0, 0.0]])
    unit = x / x.norm(dim=1, keepdim=True)  # culprit
    return (unit * leaf([1.0, 2.0])).sum()


def tiny_divisor():
    scale = leaf(1e-20)
    return (leaf([1.0, 2.0]) / scale**2).sum()  # culprit


def cancelled_overflow():
    x = leaf([[1e30, -1e30], [1.0, 1.0]])
    return (x @ bl.full((2, 1), 1e30)).sum()  # culprit


def power_of_negative():
    return bl.pow(leaf([2.0, -2.0]), 1.5).sum()  # culprit


def inverse_power_of_zero():
    return bl.pow(leaf([2.0, 0.0]), -1.0).sum()  # culprit


def outside_acos():
    cosine = leaf([0.5, 1.0001])
    angle = bl.acos(cosine)  # culprit
    return angle.sum()


def acos_at_the_edge():
    return bl.acos(leaf([0.5, 1.0])).sum()  # culprit


def all_masked():
    scores = leaf([[1.0, 2.0], [3.0, 4.0]]).masked_fill(bl.tensor([[False, True], [True, True]]), -INF)
    return bl.softmax(scores, 1)[:, 0].sum()  # culprit


def half_precision():
    x = leaf([1.0, 300.0], bl.float16)
    return (x * x).sum()  # culprit


def half_precision_sum():
    x = leaf([6e4, 6e4], bl.float16)
    return x.sum()  # culprit


def single_precision():
    x = leaf([1e30, 1.0])
    return (x * x).sum()  # culprit


def gradient_overflow():
    x = leaf([1e-30, 1.0])
    y = 1e-10 / x  # culprit
    return y.sum()


def zero_times_infinity():
    mask = bl.tensor([1.0, INF])
    return (leaf([1.0, 0.0]) * mask).sum()  # culprit


def nothing_to_average():
    x = leaf([1.0, 2.0])
    return x[x > 5].mean()  # culprit


def all_ignored():
    logits = leaf([[1.0, 2.0], [3.0, 4.0]])
    return nn.functional.cross_entropy(logits, bl.tensor([-100, -100]))  # culprit


def bad_input():
    data = bl.tensor([[1.0, 2.0], [float("nan"), 4.0]])
    weight = leaf([[1.0], [1.0]])
    return (data @ weight).sum()  # culprit


def bad_parameter():
    weight = leaf([1.0, INF])
    return (bl.tensor([1.0, 2.0]) * weight).sum()  # culprit


def own_backward():
    return Halved.apply(leaf([1.0, 0.0])).sum()


def own_backward_of_arrays():
    return Opaque.apply(leaf([1.0, 2.0, 3.0])).sum()  # culprit


def spoiling_hook():
    x = leaf([1.0, 2.0])
    y = x * 3  # culprit
    y.register_hook(lambda g: g * INF)
    return y.sum()


CASES = [
    (log_of_zero, "forward", "log", "log of zero", "x", (0, 1), 0.0),
    (log_of_negative, "forward", "log2", "log of a negative number", "x", (2,), -3.0),
    (log1p_at_pole, "forward", "log1p", "log1p of -1", "x", (1,), -1.0),
    (sqrt_of_negative, "forward", "sqrt", "square root of a negative number", "x", (1,), -1e-8),
    (sqrt_at_zero, "backward", "sqrt", "infinite slope of sqrt at 0", "output", (1,), 0.0),
    (square_root_as_power, "backward", "pow", "infinite slope of pow at 0", "x", (1,), 0.0),
    (overflow_of_exp, "forward", "exp", "overflow of exp", "x", (1, 2), 100.0),
    (division_by_zero, "forward", "div", "division by zero", "y", (1, 1), 0.0),
    (zero_by_zero, "forward", "div", "division by zero", "x", (0,), 0.0),
    (vanished_norm, "forward", "div", "division by a vanished norm", "y", (1, 0), 0.0),
    (vanished_norm_of_data, "forward", "div", "division by a vanished norm", "y", (1, 0), 0.0),
    (tiny_divisor, "forward", "div", "division by nearly zero", "x", (0,), 1.0),
    (cancelled_overflow, "forward", "matmul", "overflow", "a", (0, 0), 1e30),
    (power_of_negative, "forward", "pow", "power of a negative number", "x", (1,), -2.0),
    (inverse_power_of_zero, "forward", "pow", "division by zero", "x", (1,), 0.0),
    (outside_acos, "forward", "acos", "acos outside its domain", "x", (1,), 1.0001),
    (acos_at_the_edge, "backward", "acos", "infinite slope of acos at ±1", "x", (1,), 1.0),
    (all_masked, "forward", "softmax", "softmax of all -inf", "x", (0, 1), -INF),
    (half_precision, "forward", "mul", "float16 overflow", "x", (1,), 300.0),
    (half_precision_sum, "forward", "sum", "float16 overflow", "x", (0,), 6e4),
    (single_precision, "forward", "mul", "overflow", "x", (0,), 1e30),
    (gradient_overflow, "backward", "div", "division by nearly zero", "y", (0,), 1e-30),
    (zero_times_infinity, "forward", "mul", "arithmetic with infinity", "y", (1,), INF),
    (nothing_to_average, "forward", "mean", "nothing to average", None, None, None),
    (all_ignored, "forward", "cross_entropy", "nothing to average", "target", (0,), -100),
    (bad_input, "data", "matmul", "bad input data", None, (1, 0), None),
    (bad_parameter, "parameter", "mul", "spoiled parameter", "y", (1,), INF),
    (own_backward, "backward", "div in Halved", "division by zero", "y", (1,), 0.0),
    (own_backward_of_arrays, "backward", "Opaque", "own function", None, None, None),
    (spoiling_hook, "backward", "mul", "bad upstream gradient", None, None, None),
]


def found_in(case):
    with pytest.raises(AnomalyError) as caught, bl.autograd.detect_anomaly():
        case().backward()
    return caught.value.anomaly


def culprit_line(case):
    for owner in (Halved.backward, case) if case is own_backward else (case,):
        lines, start = inspect.getsourcelines(owner)
        for number, line in enumerate(lines, start):
            if "# culprit" in line:
                return number
    raise AssertionError("no line is marked")


@pytest.mark.parametrize(
    "case, phase, operation, cause, operand, index, value", CASES, ids=[case[0].__name__ for case in CASES]
)
def test_cause_line_and_entry(case, phase, operation, cause, operand, index, value):
    anomaly = found_in(case)
    assert (anomaly.phase, anomaly.operation, anomaly.cause) == (phase, operation, cause)
    assert anomaly.source.line == culprit_line(case)
    assert anomaly.source.file == __file__ and anomaly.source.text in inspect.getsource(inspect.getmodule(case))
    if index is not None:
        entries = next(e for e in anomaly.operands if operand is None or e.name == operand)
        assert index in entries.indices
        found = entries.values[entries.indices.index(index)]
        assert value is None or found == pytest.approx(value, rel=1e-3)
    assert anomaly.diagnosis and anomaly.fix and anomaly.fix[0].isupper()


def test_an_infinity_that_a_product_with_zero_was_to_mask():
    def case():
        x = bl.tensor([1.0, 0.0], requires_grad=True)
        return ((1.0 / x) * bl.tensor([1.0, 0.0])).sum()

    anomaly = found_in(case)
    assert (anomaly.operation, anomaly.cause) == ("div", "division by zero")
    assert "0 · ∞ is NaN" in anomaly.diagnosis and "where(mask" in anomaly.fix


def test_a_vanished_deviation_comes_of_equal_entries():
    def case():
        x = bl.ones(3, requires_grad=True)
        return (x / x.std()).sum()

    anomaly = found_in(case)
    assert "are equal" in anomaly.diagnosis and "std.clamp" in anomaly.fix


def test_every_sentence_of_the_report_is_in_the_message():
    anomaly = found_in(vanished_norm)
    message = str(anomaly.error())
    for part in ("div  (z = x / y)", "unit = x / x.norm", "y[1, 0] = 0", "vanished norm", "norm.clamp(min=1e-8)"):
        assert part in message
    screen = io.StringIO()
    Console(file=screen, width=120).print(anomaly.error())
    assert "division by a vanished norm" in screen.getvalue() and "─" in screen.getvalue()


def test_the_producer_is_named_and_not_those_that_pass_it_on():
    x = leaf([1.0, 0.0])
    with pytest.raises(AnomalyError) as caught, bl.autograd.detect_anomaly():
        hidden = bl.tanh(x.log() * 2 - 1)
        (hidden * x.log()).sum().backward()  # tanh(-inf) is -1, which passes nothing on; the second log does
    assert caught.value.anomaly.operation == "log"
    assert caught.value.anomaly.passed == ("mul", "sum")


def test_an_infinity_that_becomes_nan_is_traced_to_its_maker():
    x = leaf([100.0, 1.0])
    with pytest.raises(AnomalyError) as caught, bl.autograd.detect_anomaly():
        grown = bl.exp(x)
        (grown - grown).sum().backward()
    assert caught.value.anomaly.operation == "exp"
    assert caught.value.anomaly.passed == ("sub", "sum")


def test_the_module_is_named():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 1)))
    with bl.no_grad():
        model[1][1].bias.fill_(INF)
    with pytest.raises(AnomalyError) as caught, bl.autograd.detect_anomaly():
        model(bl.ones(4, 2)).sum().backward()
    anomaly = caught.value.anomaly
    assert anomaly.phase == "parameter" and anomaly.module.endswith("1.1")


def test_in_place_writes_are_followed():
    x = leaf([1.0, 0.0, 2.0])
    with pytest.raises(AnomalyError) as caught, bl.autograd.detect_anomaly():
        y = x * 1
        y[1:].log_()
        (y + 1).sum().backward()
    assert caught.value.anomaly.cause == "log of zero"
    assert caught.value.anomaly.operands[0].indices == ((0,),)


def test_it_is_a_runtime_error_too():
    assert issubclass(AnomalyError, RuntimeError) and issubclass(AnomalyError, NonFiniteError)


@pytest.mark.parametrize("through", ["backward", "grad", "create_graph"])
def test_all_doors_to_the_walk(through):
    x = leaf([4.0, 0.0])
    with pytest.raises(AnomalyError, match="infinite slope of sqrt"), bl.autograd.detect_anomaly():
        y = x.sqrt().sum()
        if through == "backward":
            y.backward()
        else:
            bl.autograd.grad(y, x, create_graph=through == "create_graph")


def test_second_order():
    x = leaf([4.0, 0.0])
    with pytest.raises(AnomalyError), bl.autograd.detect_anomaly():
        (slope,) = bl.autograd.grad((x**1.5).sum(), x, create_graph=True)
        slope.sum().backward()


def test_decorator_and_switch():
    @bl.autograd.detect_anomaly()
    def step():
        leaf([0.0]).sqrt().sum().backward()

    for _ in range(2):
        with pytest.raises(AnomalyError):
            step()
    assert not bl.autograd.is_anomaly_enabled()
    bl.autograd.set_detect_anomaly(True)
    assert bl.autograd.is_anomaly_enabled()
    with pytest.raises(AnomalyError):
        leaf([0.0]).sqrt().sum().backward()
    with bl.autograd.set_detect_anomaly(False):
        leaf([0.0]).sqrt().sum().backward()
    assert bl.autograd.is_anomaly_enabled()
    bl.autograd.set_detect_anomaly(False)
    assert not bl.autograd.is_anomaly_enabled()
    with bl.autograd.detect_anomaly(check_nan=False):
        leaf([0.0]).sqrt().sum().backward()
