"""Formulas explained: the textbook numbers, the record's inner consistency, and what is refused."""

import json
import math
import time

import numpy as np
import pytest

from backlit.glassbox import ExpressionError, explain_formula, read_value


def gradients(explained):
    return {v.name: v.gradient for v in explained.variables}


def test_product_of_a_sum():
    explained = explain_formula("(x+y)*z", {"x": -2, "y": 5, "z": -4})
    q, f = explained.steps
    assert (q.name, q.expression, q.value, q.upstream) == ("q1", "x+y", 3.0, -4.0)
    assert [o.local.value for o in q.operands] == [1.0, 1.0]
    assert [o.downstream for o in q.operands] == [-4.0, -4.0]
    assert (f.value, f.upstream) == (-12.0, 1.0)
    assert [(o.name, o.local.value, o.downstream) for o in f.operands] == [("q1", -4.0, -4.0), ("z", 3.0, 3.0)]
    assert q.gate.startswith("distributes") and f.gate.startswith("swaps")
    assert gradients(explained) == {"x": -4.0, "y": -4.0, "z": 3.0}


@pytest.mark.parametrize(
    ("formula", "values", "result", "expected"),
    [
        ("x + y", {"x": -2, "y": 5}, 3, {"x": 1, "y": 1}),
        ("x**2 + 2*x", {"x": 1}, 3, {"x": 4}),
        ("(x+2)**2", {"x": 3}, 25, {"x": 10}),
        ("(w*x - y)**2", {"x": 1, "y": 2, "w": 1}, 1, {"w": -2, "x": -2, "y": 2}),
        ("max(x, y)", {"x": 2, "y": -1}, 2, {"x": 1, "y": 0}),
        ("max(a, b, c)", {"a": 1, "b": 3, "c": 2}, 3, {"a": 0, "b": 1, "c": 0}),
        ("min(x)", {"x": [3, 1, 2]}, 1, {"x": [0, 1, 0]}),
        ("relu(x)", {"x": [-1, 0.5]}, [0, 0.5], {"x": [0, 1]}),
        ("sum(A @ x)", {"A": [[1, 2], [3, 4]], "x": [1, -1]}, -2, {"A": [[1, -1], [1, -1]], "x": [4, 6]}),
        ("mse(p, t)", {"p": [1, 2], "t": [0, 0]}, 2.5, {"p": [1, 2], "t": [-1, -2]}),
        ("norm(x)", {"x": [3, 4]}, 5, {"x": [0.6, 0.8]}),
        ("dot(x, y)", {"x": [1, 2], "y": [3, 4]}, 11, {"x": [3, 4], "y": [1, 2]}),
        ("-x**2", {"x": 3}, -9, {"x": -6}),
        ("2**3**x", {"x": 1}, 8, {"x": 8 * math.log(2) * 3 * math.log(3)}),
        ("x", {"x": 7}, 7, {"x": 1}),
        ("sin(pi*x)", {"x": 0.5}, 1, {"x": 0}),
    ],
)
def test_values_and_gradients(formula, values, result, expected):
    explained = explain_formula(formula, values)
    assert np.allclose(explained.value, result)
    found = gradients(explained)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert np.allclose(found[name], gradient), name


def test_sigmoid_neuron_with_every_intermediate():
    explained = explain_formula("1/(1+exp(-(w0*x0+w1*x1+w2)))", {"w0": 2, "x0": -1, "w1": -3, "x1": -2, "w2": -3})
    assert [round(s.value, 2) for s in explained.steps] == [-2, 6, 4, 1, -1, 0.37, 1.37, 0.73]
    assert [round(s.upstream, 2) for s in explained.steps] == [0.20, 0.20, 0.20, 0.20, -0.20, -0.53, -0.53, 1.0]
    rounded = {name: round(gradient, 2) for name, gradient in gradients(explained).items()}
    assert rounded == {"w0": -0.20, "x0": 0.39, "w1": -0.39, "x1": -0.59, "w2": 0.20}
    whole = explain_formula("sigmoid(w0*x0+w1*x1+w2)", {"w0": 2, "x0": -1, "w1": -3, "x1": -2, "w2": -3})
    assert all(math.isclose(gradients(whole)[n], gradients(explained)[n]) for n in rounded)
    s = whole.steps[-1]
    assert math.isclose(s.operands[0].local.value, s.value * (1 - s.value))


def test_cross_entropy_of_class_numbers_and_of_probabilities():
    by_number = explain_formula("cross_entropy(z, t)", {"z": [2, 1, 0], "t": 0})
    probabilities = np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum()
    assert math.isclose(by_number.value, -math.log(probabilities[0]))
    assert np.allclose(gradients(by_number)["z"], probabilities - [1, 0, 0])
    assert gradients(by_number)["t"] is None
    by_row = explain_formula("cross_entropy(z, t)", {"z": [2, 1, 0], "t": [1, 0, 0]})
    assert math.isclose(by_row.value, by_number.value)


@pytest.mark.parametrize(
    ("formula", "values"),
    [
        ("sigmoid(w*x + b)", {"w": [0.3, -2], "x": [1, 2], "b": 0.5}),
        ("log_softmax(A @ x)", {"A": [[1, 2], [3, 4], [0, 1]], "x": [0.1, -0.4]}),
        ("tanh(transpose(A) @ B)", {"A": [[1, 0.2], [0.3, 4]], "B": [[0.1, 0.2], [0.3, 0.4]]}),
        ("sqrt(x) * cos(x) / (abs(x) + mean(x))", {"x": [1.5, 2.5]}),
    ],
)
def test_chain_rule_holds_at_every_step(formula, values):
    """Downstream = upstream through the local gradient; what arrives at a step or variable is the sum of its parts."""
    explained = explain_formula(formula, values)
    assert explained.summed
    for step in explained.steps:
        for operand in step.operands:
            if operand.local is None:
                continue
            local, up = np.asarray(operand.local.value), np.asarray(step.upstream)
            down = np.tensordot(up, local, axes=up.ndim) if operand.local.kind == "jacobian" else up * local
            assert np.allclose(down, operand.downstream), step
    for variable in explained.variables:
        assert np.allclose(sum(np.asarray(g) for _, g in explained.contributions(variable.name)), variable.gradient)
    for step in explained.steps[:-1]:
        assert np.allclose(sum(np.asarray(g) for _, g in explained.contributions(step.name)), step.upstream)


def test_large_results_are_described_not_shown():
    explained = explain_formula("softmax(x)", {"x": list(range(20))})
    (operand,) = explained.steps[-1].operands
    assert operand.local.kind == "large" and operand.local.value is None and operand.local.shape == (20, 20)


def test_notes_about_kinks_ties_and_infinite_slopes():
    assert "halves" in explain_formula("max(x,y)", {"x": 1, "y": 1}).notes[0]
    assert "kink" in explain_formula("relu(x)", {"x": 0}).notes[0]
    assert "not finite" in explain_formula("sqrt(x)", {"x": 0}).notes[0]
    assert explain_formula("relu(x)", {"x": 1}).notes == ()


def test_record_is_json():
    record = explain_formula("sqrt(x)+w", {"x": 0, "w": [1, 2]}).to_dict()
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again["variables"][0]["gradient"] == "inf"
    assert set(again) == {"expression", "variables", "steps", "shape", "value", "summed", "notes"}


def test_names_of_steps_do_not_collide_with_variables():
    explained = explain_formula("q1*f + q2", {"q1": 1, "f": 2, "q2": 3})
    names = [s.name for s in explained.steps] + [v.name for v in explained.variables]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("formula", "values", "message", "pointed"),
    [
        ("x+yy", {"x": 1, "y": 2}, "did you mean 'y'?", "yy"),
        ("x+y", {"x": 1}, "'y' has no value", "y"),
        ("x+1", {"x": 1, "zed": 2}, "'zed'", "x+1"),
        ("sigmoi(x)", {"x": 1}, "did you mean 'sigmoid'?", "sigmoi(x)"),
        ("foo(x)", {"x": 1}, "no function 'foo'", "foo(x)"),
        ("(x+", {"x": 1}, "never closed", "("),
        ("x)", {"x": 1}, "unmatched", ")"),
        ("x +* y", {"x": 1, "y": 1}, "cannot be read", "*"),
        ("log(x-1)", {"x": 1}, "log is defined for numbers above 0", "x-1"),
        ("1/(x-1)", {"x": 1}, "division by zero", "(x-1)"[1:-1]),
        ("2 + x**-1", {"x": 0}, "division by zero", "x**-1"),
        ("sqrt(x)", {"x": -1}, "not a real number", "sqrt(x)"),
        ("1 + exp(x)", {"x": 1000}, "too large", "exp(x)"),
        ("x @ y", {"x": [1, 2], "y": [1, 2, 3]}, "a list of 2 and a list of 3", "x @ y"),
        ("x + y", {"x": [1, 2], "y": [1, 2, 3]}, "sizes must be equal", "x + y"),
        ("sin(x, x)", {"x": 1}, "takes 1", "sin(x, x)"),
        ("x^2", {"x": 1}, "x**2", "x^2"),
        ("2x", {"x": 1}, "2*x", "2"),
        ("x=3", {}, "values are given after it", "="),
        ("x.data", {"x": 1}, "attributes", "x.data"),
        ("x[0]", {"x": 1}, "indexing", "x[0]"),
        ("__import__('os')", {}, "not a real number", "'os'"),
        ("(lambda: 0)()", {}, "only a function's name", "(lambda: 0)()"),
        ("[i for i in x]", {"x": 1}, "not supported", "[i for i in x]"),
        ("x if x else 0", {"x": 1}, "'if'", "x if x else 0"),
        ("True + x", {"x": 1}, "not a real number", "True"),
        ("1e999", {}, "too large", "1e999"),
        ("é + ß", {"é": 1}, "'ß' has no value", "ß"),
        ("[1, [2]] * x", {"x": 1}, "differ in length", "[1, [2]]"),
        ("x # y", {"x": 1}, "comments", "# y"),
        ("cross_entropy(z, t)", {"z": [1, 2], "t": 7}, "class numbers", "cross_entropy(z, t)"),
        ("cos", {}, "is a function", "cos"),
    ],
)  # fmt: skip
def test_mistakes_are_pointed_at(formula, values, message, pointed):
    with pytest.raises(ExpressionError) as caught:
        explain_formula(formula, values)
    error = caught.value
    assert message in error.message
    assert "\n" not in error.message
    assert error.text[error.span.start : error.span.end] == pointed
    text, carets = str(error).splitlines()[1:]
    assert text[carets.index("^") : carets.rindex("^") + 1] == pointed


@pytest.mark.parametrize(
    "formula",
    [
        "9**9**9**9",
        "9**" * 90 + "9",
        "(" * 400 + "x" + ")" * 400,
        "-" * 1999 + "x",
        "+".join(["x"] * 900),
        "1" * 1999,
        "x" * 3000,
        "[" * 300 + "]" * 300,
        "x\0y",
        "",
    ],
)
def test_hostile_formulas_are_refused_quickly(formula):
    started = time.perf_counter()
    with pytest.raises(ExpressionError):
        explain_formula(formula, {"x": 1})
    assert time.perf_counter() - started < 1.0


def test_huge_results_are_refused():
    with pytest.raises(ExpressionError, match="more than"):
        explain_formula("x*y", {"x": [[1]] * 600, "y": [1] * 600})


def test_reading_values():
    assert read_value("-2") == -2 and read_value("1/4") == 0.25 and read_value("[[1, 2], [3, -4]]") == [[1, 2], [3, -4]]
    for text in ("x", "[1, x]", "", "'a'", "[1, 2", "open('f')", "[]"):
        with pytest.raises(ExpressionError):
            read_value(text)
