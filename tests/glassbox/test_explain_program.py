"""A user's own function: the values of its arguments, and the record of its call."""

import math

import numpy as np
import pytest

import backlit as bl
from backlit.errors import BacklitError
from backlit.glassbox.program import ArgumentError, Arguments, ResultError, explain_call


def call(function, **given):
    options = {name: given.pop(name) for name in ("wrt", "seed") if name in given}
    return explain_call(function, Arguments(function, given, **options), "title")


def neuron(w, x, b=0.5):
    z = w * x + b
    return bl.sigmoid(z)


def test_given_default_and_made_up_arguments():
    arguments = Arguments(neuron, {"w": "2"})
    rec = explain_call(neuron, arguments, "neuron")
    (x,) = arguments.made_up.values()
    slope = float(rec.node("z").upstream)
    assert rec.node("z").value == pytest.approx(2 * x + 0.5)
    assert (rec.node("w").upstream, rec.node("x").upstream) == (pytest.approx(slope * x), pytest.approx(slope * 2))
    assert rec.title == "neuron" and rec.node("b").kind == "constant"
    assert arguments.notes() == [
        f"no value was given for x, so it is a number drawn at random, {x:.6g}; give another with x=…"
    ]
    assert Arguments(neuron, {}).made_up["x"] == x != Arguments(neuron, {}, seed=1).made_up["x"]


def test_only_what_is_asked_for_gets_gradients():
    rec = call(neuron, w="2", x="1", wrt=["w"])
    assert rec.node("x").kind == "constant" and rec.node("w").upstream is not None


def test_declared_types_are_given_python_values():
    def power(x, n: int, flag=False, how="sum"):
        assert (type(n), type(flag), type(how)) == (int, bool, str)
        return getattr(x**n, how)() if flag else x

    rec = call(power, x="[1, 2]", n="3", flag="1", how="mean")
    np.testing.assert_array_equal(rec.node("x").upstream, [1.5, 6.0])
    for given, message in [
        ({"x": "1"}, "n is declared as int and has no value"),
        ({"x": "1", "n": "1.5"}, "n is declared as int; give one whole number"),
        ({"x": "1", "n": "2", "hwo": "sum"}, r"no argument 'hwo' \(did you mean 'how'\?\)"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            Arguments(power, given)


def test_a_whole_default_takes_whole_numbers_and_tensors():
    def scaled(x, k=2):
        return x * k

    assert call(scaled, x="1", k="3").node("k").kind == "constant"
    assert call(scaled, x="5", k="3.0").node("k").upstream == 5.0


def test_whole_numbers_for_classes():
    def loss(z, t):
        return bl.nn.functional.cross_entropy(z, t)

    rec = call(loss, z="[[0, 0]]", t="int([1])")
    assert rec.roots[-1].value == pytest.approx(math.log(2))
    np.testing.assert_allclose(rec.node("z").upstream, [[0.5, -0.5]])


def test_modules_and_their_parameters():
    net = bl.nn.Sequential(bl.nn.Linear(2, 1), bl.nn.Tanh())
    rec = call(net, input="[[1, 2]]")
    np.testing.assert_array_equal(rec.node("0.weight").upstream, net[0].weight.grad.numpy())


def test_a_function_that_runs_backward_itself():
    def step(w):
        loss = w * w
        loss.backward()
        return loss

    rec = call(step, w="3")
    assert len(rec.passes) == 1 and rec.node("w").upstream == 6.0


def test_own_operations_and_positional_arguments():
    class Double(bl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    def function(x, /, *rest, **options):
        assert rest == () and options == {}
        return Double.apply(x)

    assert call(function, x="[1, 2]").node("x").upstream.tolist() == [2.0, 2.0]


def test_what_is_returned_must_have_a_backward_pass():
    for function, message in [
        (lambda x: None, "returned nothing"),
        (lambda x: (x, x), "returned a tuple"),
        (lambda x: int(x.item()), "returned an int. A number has left the graph"),
        (lambda x: x.item(), "returned a float. A number has left the graph"),
        (lambda x: x.detach(), "without gradients.*detach"),
        (lambda x: x[1:], "empty tensor"),
    ]:
        with pytest.raises(ResultError, match=f"(?s){message}"):
            call(function, x="[1]" if "empty" in message else "1")


def test_what_cannot_be_called_by_name():
    with pytest.raises(ArgumentError, match="Linear is a class"):
        Arguments(bl.nn.Linear, {})
    with pytest.raises(BacklitError, match="a value is a number"):
        Arguments(neuron, {"w": "x"})
