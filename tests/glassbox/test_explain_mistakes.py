"""What is wrong with a formula, said in a sentence and pointed at."""

import io
import json
import math
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from backlit.cli.table import show
from backlit.glassbox import EvaluationError, ExpressionError, explain_formula
from backlit.glassbox.formula.functions import words


@pytest.mark.parametrize(
    ("formula", "values", "message", "pointed"),
    [
        ("x+yy", {"x": 1, "y": 2}, "did you mean 'y'?", "yy"),
        ("x+y", {"x": 1}, "'y' has no value", "y"),
        ("x+1", {"x": 1, "zed": 2}, "'zed'", "x+1"),
        ("sigmoi(x)", {"x": 1}, "did you mean 'sigmoid'", "sigmoi(x)"),
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
        ("x=3", {}, "values are given after the expression", "x=3"),
        ("x=3; x*2", {"x": 1}, "'x' is a step of the formula", "x=3"),
        ("a=x; a=x; a", {"x": 1}, "names two steps", "a=x"),
        ("x+1=y", {"x": 1, "y": 1}, "only a name can stand before '='", "x+1"),
        ("x += 1", {"x": 1}, "a step is an expression", "x += 1"),
        ("import os", {}, "a step is an expression", "import os"),
        ("lambda*x", {"lambda": 1, "x": 1}, "'lambda' is a reserved word", None),
        ("x.data", {"x": 1}, "attributes", "x.data"),
        ("x[0]", {"x": 1}, "no such element in a number", "x[0]"),
        ("x[y]", {"x": [1], "y": 0}, "an index is a whole number", "y"),
        ("x[5]", {"x": [1, 2]}, "no such element in a list of 2", "x[5]"),
        ("x[2:2]", {"x": [1, 2]}, "is empty", "x[2:2]"),
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
        ("ln(x)", {"x": 1}, "here it is called 'log'", "ln(x)"),
        ("σ(x)", {"x": 1}, "here it is called 'sigmoid'", "σ(x)"),
        ("x(y+1)", {"x": 1, "y": 1}, "'x' is a value, not a function", "x(y+1)"),
        ("2(x+1)", {"x": 1}, "write a product with '*'", "2(x+1)"),
        ("np.exp(x)", {"x": 1}, "write exp(x)", "np.exp(x)"),
        ("|x|", {"x": 1}, "write abs(x)", None),
        ("x − y", {"x": 1, "y": 1}, "'−' cannot be read here; write -", None),
        ("x²", {"x": 1}, "'²' cannot be read here; write **2", None),
        ("2 x", {"x": 1}, "is a '*' missing", None),
        ("sum(x, axis=0)", {"x": [1]}, "has no argument 'axis' (write dim)", "0"),
        ("sum(x, dmi=0)", {"x": [1]}, "did you mean 'dim'?", "0"),
        ("sum(x, dim=y)", {"x": [1], "y": 0}, "'dim' of 'sum' is a setting", "y"),
        ("sum(x, 0, dim=0)", {"x": [1]}, "'dim' of 'sum' is given twice", "0"),
        ("sum(x, dim=3)", {"x": [1]}, "'sum' cannot take a list of 1: ", "sum(x, dim=3)"),
        ("mse(x)", {"x": 1}, "'mse' takes 2 to 4 arguments, not 1", "mse(x)"),
        ("mse(x, y)", {"x": [1, 2], "y": [[1, 2]]}, "a list of 2 and a 1×2 array", "mse(x, y)"),
        ("sigmoid(x=True)", {}, "is given in its place", "True"),
        ("pow(x=2, exponent=3)", {}, "'x' of 'pow' is given in its place", "2"),
        ("exp(**x)", {"x": 1}, "is not supported", "x"),
        ("log2(x)", {"x": [1, 0]}, "log2 is defined for numbers above 0, and this is 0 (at [1])", "x"),
        ("log1p(x)", {"x": -2}, "log1p is defined for numbers above -1", "x"),
        ("acos(2*x)", {"x": [0.1, 0.9]}, "not a real number at 1.8 (at [1])", "acos(2*x)"),
        ("x**0.5", {"x": -2}, "a negative number to a broken power", "x**0.5"),
        ("atanh(x)", {"x": 1}, "'atanh' is infinite at 1", "atanh(x)"),
        ("reciprocal(x)", {"x": [1, 0]}, "division by zero (at [1])", "x"),
        ("bce(x, y)", {"x": 2, "y": 1}, "'bce' cannot take a number and a number", "bce(x, y)"),
        ("clamp(x)", {"x": 1}, "neither min nor max is given", "clamp(x)"),
        ("nll_loss(x, y)", {"x": 1, "y": 0}, "a number has none", "nll_loss(x, y)"),
        ("layer_norm(x)", {"x": 1}, "a number has none", "layer_norm(x)"),
        ("gelu(x, approximate='t')", {"x": 1}, "'gelu' cannot take a number: approximate", "gelu(x, approximate='t')"),
        ("[1 2] * x", {"x": 1}, "is a ',' missing", None),
        ("x + y", {"x": 1, "y": [[1, 2], [3]]}, "not a regular list", "y"),
        ("x + y", {"x": 1, "y": math.nan}, "is not finite", "y"),
        ("x + y", {"x": 1, "y": []}, "is empty", "y"),
    ],
)  # fmt: skip
def test_mistakes_are_pointed_at(formula, values, message, pointed):
    with pytest.raises(ExpressionError) as caught:
        explain_formula(formula, values)
    error = caught.value
    assert message in error.message
    assert "\n" not in error.message
    if pointed is None:
        return
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


def test_only_errors_of_computing_are_evaluation_errors():
    for formula in ("1/(x-x)", "log(-x)", "x @ x", "exp(1000*x)", "x[0]"):
        with pytest.raises(EvaluationError):
            explain_formula(formula, {"x": 1})
    with pytest.raises(ExpressionError) as caught:
        explain_formula("y", {"x": 1})
    assert not isinstance(caught.value, EvaluationError)


@pytest.mark.parametrize(
    "formula",
    ["x*y", "outer(x, y)", "transpose(x) @ transpose(y)", "max(x, y)", "diag(z)", "attention(x, transpose(y), x)"],
)
def test_huge_results_are_refused_before_they_are_computed(formula):
    column, row = np.ones((200_000, 1)), np.ones((1, 200_000))
    given = {"x": column, "y": row, "z": np.ones(200_000)}
    if "@" in formula:
        given = {"x": row, "y": column}
    if "outer" in formula:
        given = {"x": given["z"], "y": given["z"]}
    with pytest.raises(EvaluationError, match=r"would have 40,000,000,000 elements"):
        explain_formula(formula, {name: value for name, value in given.items() if name in formula})


def test_many_large_results_are_refused():
    with pytest.raises(EvaluationError, match="all results together"):
        explain_formula("+".join(["x"] * 60), {"x": np.ones(200_000)})
    with pytest.raises(ExpressionError, match="the limit is 1,000,000"):
        explain_formula("x", {"x": np.ones(1_000_001)})


VALUES = {"x": 2.0, "y": [0.0, -1.0, 3.0], "A": [[1, 2, 0], [4, -5, 6]]}
PIECES = [
    *VALUES,
    *"()[],+-*/@=;:",
    "**",
    "0",
    "1",
    "-2.5",
    "1e300",
    "dim=0",
    "dim=5",
    "keepdim=True",
    "'a'",
    "None",
    "²",
    "if",
]
SETTINGS = [
    "",
    "",
    "dim=0",
    "dim=1",
    "reduction='none'",
    "eps=0",
    "p=-1",
    "delta=0",
    "diagonal=5",
    "shape=[3]",
    "dim=None",
]


def used(formula):
    return {name: value for name, value in VALUES.items() if re.search(rf"\b{name}\b", formula)}


def calls(arguments):
    given = st.tuples(st.lists(arguments, min_size=1, max_size=3), st.sampled_from(SETTINGS))
    inner = given.map(lambda parts: ", ".join([*parts[0], *filter(None, parts[1:])]))
    return st.builds("{}({})".format, st.sampled_from(words()), inner) | st.builds(
        "({} {} {})".format, arguments, st.sampled_from(["+", "-", "*", "/", "**", "@"]), arguments
    )


formulas = st.recursive(st.sampled_from([*VALUES, "0", "-0.5", "[1, 2, 3]", "y[::2]", "A[0, 1]"]), calls, max_leaves=6)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join) | formulas)
def test_whatever_is_written_is_explained_or_refused(formula):
    try:
        rec = explain_formula(formula, used(formula))
    except ExpressionError as error:
        assert "\n" not in error.message and "backlit" not in error.message
        return
    json.dumps(rec.to_dict(), allow_nan=False)
    show(rec, Console(file=io.StringIO()))
