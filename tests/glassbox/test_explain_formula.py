"""Formulas explained: the textbook numbers, the record's inner consistency, and what is refused."""

import json
import math

import numpy as np
import pytest

import backlit as bl
from backlit.glassbox import ExpressionError, explain_formula, notes
from backlit.glassbox.formula.functions import FUNCTIONS


def variables(rec):
    return [node for node in rec.leaves if node.kind == "variable"]


def gradients(rec):
    return {node.name: node.upstream for node in variables(rec)}


def result(rec):
    return rec.roots[-1].value


def test_product_of_a_sum():
    rec = explain_formula("(x+y)*z", {"x": -2, "y": 5, "z": -4})
    q, f = rec.operations
    assert (q.name, q.expression, q.span, q.value, q.upstream) == ("q1", "x+y", (1, 4), 3.0, -4.0)
    assert [edge.local.value for edge in q.inputs] == [1.0, 1.0]
    assert [edge.downstream for edge in q.inputs] == [-4.0, -4.0]
    assert (f.name, f.value, f.upstream) == ("f", -12.0, 1.0)
    assert [(e.source.name, e.local.value, e.downstream) for e in f.inputs] == [("q1", -4.0, -4.0), ("z", 3.0, 3.0)]
    assert q.gate.startswith("distributes") and f.gate.startswith("swaps")
    assert gradients(rec) == {"x": -4.0, "y": -4.0, "z": 3.0}
    assert str(q.source) == "formula:1: (x+y)*z" and rec.title == "(x+y)*z"


def test_named_steps():
    rec = explain_formula("pred = w*x; s = pred - y; loss = s**2", {"x": 1, "y": 2, "w": 1})
    assert [(n.name, n.value, n.upstream) for n in rec.operations] == [
        ("pred", 1.0, -2.0),
        ("s", -1.0, -2.0),
        ("loss", 1.0, 1.0),
    ]
    assert [n.name for n in rec.path("w", "loss")] == ["w", "pred", "s", "loss"]
    twice = explain_formula("a = x; b = a * a; b + a", {"x": 3})
    assert [n.name for n in twice.nodes] == ["x", "b", "f"] and gradients(twice) == {"x": 7.0}
    unused = explain_formula("a = x * 2; x * 5", {"x": 3})
    assert (unused.node("a").upstream, gradients(unused)) == (None, {"x": 5.0})


def test_only_what_is_asked_for_gets_gradients():
    rec = explain_formula("(w*x - y)**2", {"x": 1, "y": 2, "w": 1}, wrt=["w"])
    assert gradients(rec) == {"w": -2.0} == gradients(explain_formula("(w*x)**2", {"x": 1, "w": -1}, wrt="w"))
    assert (rec.node("x").kind, rec.node("x").upstream) == ("constant", None)
    with pytest.raises(ExpressionError, match=r"'ww' is no variable.*'w'"):
        explain_formula("(w*x - y)**2", {"x": 1, "y": 2, "w": 1}, wrt=["ww", "w"])


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
        ("x[0]*x[-1]", {"x": [3, 9, 4]}, 12, {"x": [4, 0, 3]}),
        ("sum(A[0, 1:])", {"A": [[1, 2, 3], [4, 5, 6]]}, 5, {"A": [[0, 1, 1], [0, 0, 0]]}),
        ("sum(A, dim=0)", {"A": [[1, 2], [3, 4]]}, [4, 6], {"A": [[1, 1], [1, 1]]}),
        ("max(A, dim=1, keepdim=True)", {"A": [[1, 2], [4, 3]]}, [[2], [4]], {"A": [[0, 1], [1, 0]]}),
        ("mean(A, dim=[0, 1])", {"A": [[1, 2], [3, 6]]}, 3, {"A": [[0.25, 0.25], [0.25, 0.25]]}),
        ("leaky_relu(x, 0.5)", {"x": -2}, -1, {"x": 0.5}),
        ("clamp(x, -1, max=1)", {"x": [-3, 0.5, 3]}, [-1, 0.5, 1], {"x": [0, 1, 0]}),
        ("var(x, unbiased=False)", {"x": [1, 3]}, 1, {"x": [-1, 1]}),
        ("nll_loss(log_softmax(z), t)", {"z": [0, 0], "t": 1}, math.log(2), {"z": [0.5, -0.5]}),
    ],
)
def test_values_and_gradients(formula, values, result, expected):
    rec = explain_formula(formula, values)
    assert np.allclose(rec.roots[-1].value, result)
    found = gradients(rec)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert np.allclose(found[name], gradient), name


X, Y, A, B = (
    [0.4, 0.7, 0.2],
    [0.3, -0.6, 0.9],
    [[0.4, 0.7, 0.2], [0.5, 0.1, 0.8]],
    [[0.3, -0.6], [0.9, 0.2], [0.1, 0.5]],
)

CALLS = {
    **dict.fromkeys(("pow", "atan2", "maximum", "minimum", "logaddexp", "max", "min", "outer", "dot"), "(x, y*y)"),
    **dict.fromkeys(("mse", "l1", "huber", "mse_loss", "l1_loss", "huber_loss"), "(x, y)"),
    **dict.fromkeys(("hinge", "hinge_loss"), "(x, [1, -1, 1])"),
    **dict.fromkeys(("smooth_l1_loss", "bce", "binary_cross_entropy", "xlogy"), "(x, y*y)"),
    **dict.fromkeys(("bce_with_logits", "binary_cross_entropy_with_logits", "soft_margin_loss"), "(y, x)"),
    **dict.fromkeys(("cross_entropy", "nll_loss"), "(A, [2, 0])"),
    **dict.fromkeys(("matmul", "linear"), "(A, B)"),
    **dict.fromkeys(("attention", "scaled_dot_product_attention"), "(A, A*2, A+1)"),
    **dict.fromkeys(("trace", "tril", "triu", "diag", "flatten", "squeeze"), "(A @ B)"),
    **dict.fromkeys(("transpose", "logsumexp", "softmax"), "(A)"),
    "linear": "(A, transpose(B), [1, 2])",
    "kl_div": "(log(x), y*y)",
    "lerp": "(x, y, 0.3)",
    "layer_norm": "(A, weight=x, bias=y)",
    "rms_norm": "(A, weight=y)",
    "clamp": "(x, 0.3, 0.6)",
    "acosh": "(x + 1)",
    "reshape": "(A, [3, 2])",
    "unsqueeze": "(x, 0)",
    "[]": "A[1, ::2]",
    **{operator: f"A {operator} (2*A)" for operator in "+-*/"},
    "**": "A ** (2*A)",
    "@": "A @ B",
    "neg": "-A",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_against_differences(name):
    call = CALLS.get(name, "(x)")
    formula = f"sum({name}{call} * 0.7)" if name.isidentifier() and name != "neg" else f"sum(({call}) * 0.7)"
    values = {v: np.array(given) for v, given in (("x", X), ("y", Y), ("A", A), ("B", B)) if v in call}
    rec = explain_formula(formula, values)
    for variable in variables(rec):
        array = values[variable.name]
        for place in np.ndindex(array.shape):
            moved = []
            for step in (1e-6, -1e-6):
                other = array.copy()
                other[place] += step
                moved.append(float(result(explain_formula(formula, {**values, variable.name: other}))))
            assert math.isclose((moved[0] - moved[1]) / 2e-6, variable.upstream[place], rel_tol=1e-6, abs_tol=1e-8)


def test_sigmoid_neuron_with_every_intermediate():
    rec = explain_formula("1/(1+exp(-(w0*x0+w1*x1+w2)))", {"w0": 2, "x0": -1, "w1": -3, "x1": -2, "w2": -3})
    assert [round(float(s.value), 2) for s in rec.operations] == [-2, 6, 4, 1, -1, 0.37, 1.37, 0.73]
    upstream = [round(float(s.upstream), 2) for s in rec.operations]
    assert upstream == [0.20, 0.20, 0.20, 0.20, -0.20, -0.53, -0.53, 1.0]
    rounded = {name: round(float(gradient), 2) for name, gradient in gradients(rec).items()}
    assert rounded == {"w0": -0.20, "x0": 0.39, "w1": -0.39, "x1": -0.59, "w2": 0.20}
    whole = explain_formula("sigmoid(w0*x0+w1*x1+w2)", {"w0": 2, "x0": -1, "w1": -3, "x1": -2, "w2": -3})
    assert all(math.isclose(gradients(whole)[n], gradients(rec)[n]) for n in rounded)
    s = whole.node("f")
    assert math.isclose(s.inputs[0].local.value, s.value * (1 - s.value))


def test_cross_entropy_of_class_numbers_and_of_probabilities():
    by_number = explain_formula("cross_entropy(z, t)", {"z": [2, 1, 0], "t": 0})
    probabilities = np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum()
    assert math.isclose(result(by_number), -math.log(probabilities[0]))
    assert np.allclose(gradients(by_number)["z"], probabilities - [1, 0, 0])
    assert (by_number.node("t").kind, by_number.node("t").dtype.kind) == ("constant", "i")
    by_row = explain_formula("cross_entropy(z, t)", {"z": [2, 1, 0], "t": [1, 0, 0]})
    assert math.isclose(result(by_row), result(by_number))


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
    rec = explain_formula(formula, values)
    assert np.array_equal(rec.roots[-1].seed, np.ones(rec.roots[-1].shape))
    for edge in [edge for step in rec.operations for edge in step.inputs if edge.differentiable]:
        up = edge.target.upstream
        assert np.allclose(np.tensordot(up, edge.local.matrix(), axes=up.ndim), edge.downstream), edge
    for node in rec.nodes:
        if node.requires_grad and node.terms:
            assert np.allclose(sum(edge.downstream for edge in node.terms), node.upstream), node


def test_notes_about_kinks_ties_and_infinite_slopes():
    for formula, values, words in [
        ("max(x,y)", {"x": 1, "y": 1}, "halves"),
        ("relu(x)", {"x": 0}, "kink at 0"),
        ("sqrt(x)", {"x": 0}, "not finite"),
        ("x**0.5", {"x": 0}, "not finite"),
        ("max(x)", {"x": [2, 1, 2]}, "split evenly"),
        ("clamp(x, 0, 1)", {"x": 1}, "kinks at the limits"),
        ("norm(x)", {"x": [0, 0]}, "zero vector"),
        ("l1(x, y)", {"x": [1, 2], "y": [0, 2]}, "kink at x = t"),
    ]:
        (note,) = notes(explain_formula(formula, values))
        assert words in note and note.startswith(f"f = {formula}: "), note
    for formula, values in [("relu(x)", {"x": 1}), ("max(x)", {"x": [1, 2]}), ("clamp(x, 0, 1)", {"x": 0.5})]:
        assert notes(explain_formula(formula, values)) == []


def test_the_record_of_a_formula_is_json_and_can_run_again():
    rec = explain_formula("sqrt(x)+w", {"x": 0, "w": [1, 2]})
    data = json.loads(json.dumps(rec.to_dict(), allow_nan=False))
    first = data["nodes"][1]
    assert (data["title"], first["name"], first["expression"], first["span"]) == ("sqrt(x)+w", "q1", "sqrt(x)", [0, 7])
    assert data["passes"][0]["edges"][-1]["downstream"]["values"] == "inf"
    assert data["notes"] == notes(rec) != []
    assert rec.rerun(values={"x": 4.0}).node("x").upstream == 0.5


def test_the_record_of_a_formula_survives_a_file(tmp_path):
    rec = explain_formula("s = w*x - [1, 2]; mean(s**2)", {"w": 2, "x": [1, 3]}, wrt=["w"])
    rec.save(tmp_path / "formula.backlit")
    again = bl.load_record(tmp_path / "formula.backlit")
    assert again.title == rec.title
    for node, other in zip(rec.nodes, again.nodes, strict=True):
        for what in ("name", "expression", "span", "source"):
            assert getattr(other, what) == getattr(node, what)
    np.testing.assert_array_equal(again.rerun().node("w").upstream, rec.node("w").upstream)


def test_constants_are_called_by_their_text():
    rec = explain_formula("2*x + 2*pi + sum([1, 2]) + sum([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])", {"x": 1})
    names = [node.name for node in rec.leaves]
    assert names == ["2", "x", "2#2", "pi", "[1, 2]", "list"]


def test_names_of_steps_do_not_collide_with_variables():
    rec = explain_formula("q1*f + q2", {"q1": 1, "f": 2, "q2": 3})
    assert [node.name for node in rec.nodes] == ["q1", "f", "q3", "q2", "result"]


def test_a_formula_without_variables_has_no_backward_pass():
    rec = explain_formula("3 + 4", {})
    assert (rec.roots[-1].value, rec.passes) == (7.0, ())
    assert explain_formula("3", {}).nodes[-1].value == 3.0


def test_names_are_read_as_python_reads_them():
    assert gradients(explain_formula("µ*2", {"µ": 1})) == {"μ": 2.0}
