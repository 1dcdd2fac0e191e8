"""Conditions: what they hold for, and how mistakes in them are shown."""

import pytest

import backlit as bl
from backlit.glassbox import ExpressionError
from backlit.glassbox.debugger import Condition, timeline


@pytest.fixture(scope="module")
def steps():
    """A layer whose logarithm meets a zero: −∞ times 0 is NaN."""
    net = bl.nn.Sequential(bl.nn.Linear(2, 2))
    with bl.no_grad():
        net[0].weight[:] = bl.tensor([[3.0, 0.0], [0.0, 4.0]])
        net[0].bias[:] = bl.zeros(2)
    x = bl.tensor([[1.0, 0.0]], requires_grad=True)
    with bl.record(names={"x": x}) as rec:
        h = bl.relu(net(x))
        loss = (bl.log(h) * h).sum()
        loss.backward()
    return timeline(rec)


def held(steps, text):
    condition = Condition(text)
    return [f"{step.phase[0]}:{step.node.name}" for step in steps if condition(step)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("op == relu", ["f:h", "b:h"]),
        ("op == relu and phase == backward", ["b:h"]),
        ("isnan", ["f:mul", "f:loss"]),
        ("isinf", ["f:log", "b:mul", "b:h"]),
        ("value max == 3", ["f:0.linear", "f:h"]),
        ("grad norm > 2.5 and not isnan", ["b:log", "b:x"]),
        ("value zeros >= .5", ["f:0.linear", "f:h"]),
        ("name == h or name == 'loss'", ["f:h", "f:loss", "b:loss", "b:h"]),
        ("kind == parameter", ["b:0.weight", "b:0.bias"]),
        ("kind != operation", ["b:x", "b:0.weight", "b:0.bias"]),
        ("module == 0 and phase == forward", ["f:0.linear"]),
        ("phase == forward and (op == log or op == mul)", ["f:log", "f:mul"]),
        ("not not op == sum and value nans > 0", ["f:loss"]),
        ("grad size < −1", []),
    ],
)
def test_conditions_hold_where_they_should(steps, text, expected):
    found = held(steps, text)
    assert sorted(found) == sorted(expected)


def test_a_module_is_meant_with_what_is_inside_it(steps):
    path = next(step.node.module for step in steps if step.node.op == "linear")
    outer = path.split(".")[0]
    assert held(steps, f"module == {path}") == held(steps, f"module == {outer} and name != h and name != loss")
    assert held(steps, f"module == {outer[:-1]}") == []


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("", "the condition is empty", (0, 1)),
        ("grad nrm > 1", "did you mean 'norm'", (5, 8)),
        ("isnn", "did you mean 'isnan'", (0, 4)),
        ("op = relu", "write '==' to compare", (3, 4)),
        ("op > relu", "a comparison is missing here: == !=", (3, 4)),
        ("grad norm >", "a number is missing", (11, 12)),
        ("grad norm > ten", "'ten' is not a number", (12, 15)),
        ("grad norm 10", "a comparison is missing here", (10, 12)),
        ("(isnan", r"a '\)' is missing", (6, 7)),
        ("isnan isinf", "does not belong here", (6, 11)),
        ("isnan and", "a condition is missing", (9, 10)),
        ("op == (", "a name is missing", (6, 7)),
        ("name == 'x", "this cannot be read", (8, 9)),
        ("__import__('os')", "is nothing to ask a step", (0, 10)),
        ("(" * 80 + "isnan", "nested too deeply", (50, 51)),
        ("not " * 80 + "isnan", "nested too deeply", (200, 203)),
    ],
)
def test_mistakes_are_shown_at_their_place(text, message, place):
    with pytest.raises(ExpressionError, match=message) as caught:
        Condition(text)
    assert tuple(caught.value.span) == place
    assert "^" in str(caught.value)


def test_a_condition_reads_what_is_told_of_it():
    condition = Condition("  grad   norm > 10 ")
    assert condition.text == "grad norm > 10" and repr(condition) == "Condition('grad norm > 10')"


def test_infinite_limits(steps):
    assert held(steps, "grad absmax < inf and op == sum") == ["b:loss"]
    assert held(steps, "value norm > inf") == []
