"""`backlit explain EXPRESSION`: what is printed, and how mistakes end."""

import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from backlit.cli import main
from backlit.cli.table import show
from backlit.glassbox import explain_formula


def run(*arguments):
    return CliRunner().invoke(main, ["explain", *arguments])


def cells(text):
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_table_shows_every_number():
    result = run("(x+y)*z", "x=-2", "y=5", "z=-4")
    assert result.exit_code == 0 and result.stderr == ""
    for shown in ("(x+y)*z = -12", "x + y", "q1 * z", "distributes", "swaps", "∂q1/∂x = 1", "∂f/∂q1 = -4", "∂f/∂z = 3"):
        assert shown in result.stdout, shown
    rows = cells(result.stdout.split("Gradients of the inputs")[1])
    assert [row[:3] for row in rows[1:]] == [["x", "-2", "-4"], ["y", "5", "-4"], ["z", "-4", "3"]]


def test_non_scalar_results_are_summed_and_said_so():
    result = run("w*x", "w=2", "x=[1,3]")
    assert "its elements are summed" in result.stdout
    assert "4 from f" in result.stdout


def test_only_the_gradients_asked_for_are_shown():
    for options in (["--wrt", "w", "--wrt", "x"], ["--wrt", "w,x"]):
        shown = run("(w*x - y)**2", "w=1", "x=1", "y=2", *options).stdout
        assert [row[0] for row in cells(shown.split("Gradients of the inputs")[1])[1:]] == ["w", "x"]
    assert run("w*x", "w=1", "x=1", "--wrt", "v").exit_code == 2


def test_json_is_the_record():
    data = json.loads(run("x**2 + 2*x", "x=1", "--json").stdout)
    assert (data["format"], data["version"], data["title"]) == ("backlit-record", 1, "x**2 + 2*x")
    (walked,) = data["passes"]
    names = {node["id"]: node["name"] for node in data["nodes"]}
    upstream = {names[entry["node"]]: entry["upstream"]["values"] for entry in walked["nodes"]}
    assert upstream == {"f": 1.0, "q1": 1.0, "q2": 1.0, "x": 4.0}


def test_values_from_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("w.npy", np.array([2.0, 1.0]))
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3,4\n")
    result = run("mse(X@w, y)", "X=@data.csv", "w=w.npy", "y=zeros(2)", "--wrt", "w")
    assert result.exit_code == 0, result.stderr
    assert "mse(X@w, y) = 58" in result.stdout
    assert cells(result.stdout)[-1] == ["w", "[2, 1]", "[34, 48]", "[34, 48] from q1"]
    assert "did you mean 'data.csv'" in run("sum(X)", "X=@dta.csv").stderr


def test_random_values_are_the_same_for_the_same_seed_and_differ_by_name():
    first, again = (run("x - y", "x=randn()", "y=randn()", "--seed", "3").stdout for _ in range(2))
    assert first == again != run("x - y", "x=randn()", "y=randn()").stdout
    assert not first.startswith("x - y = 0\n")


def test_arguments_that_look_like_options():
    assert run("-x", "x=-2").exit_code == 0
    assert run("-x", "x=-2", "--wrt", "x", "--json").exit_code == 0


MISTAKES = [
    (["x+y", "x=1"], "'y' has no value"),
    (["x+zz", "x=1", "z=2"], "did you mean 'z'"),
    (["x", "x"], "NAME=VALUE"),
    (["x", "1=2"], "NAME=VALUE"),
    (["x", "x", "=", "3"], "without spaces"),
    (["x", "x=1", "x=2"], "given twice"),
    (["x", "x=one"], "a value is a number"),
    (["x", "x=[1,2"], "never closed"),
    (["x", "x="], "empty"),
    (["x+1", "x=1", "--jsn"], "no option '--jsn'"),
    (["x+1", "x=1", "--json", "--latex"], "choose one of"),
    (["x+1", "x=1", "--seed", "a"], "--seed"),
    (["x+1", "x=randn()", "--seed", "-1"], "--seed"),
    (["sigmoi(x)", "x=1"], "did you mean 'sigmoid'"),
    (["__import__('os').system('true')"], "only a function's name"),
    (["x", "x=@nowhere.csv"], "is not there"),
    (["x", "x=" + "9" * 400], "too large"),
    (["x" * 5000], "the limit is 2000"),
    ([""], "is empty"),
    ([], "EXPRESSION"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes_end_with_two(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == "" and "Traceback" not in result.stderr
    assert result.stderr.startswith("backlit: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1/x", "x=0"], "division by zero"),
        (["x@y", "x=[1]", "y=[1,2]"], "a list of 1 and a list of 2"),
        (["log(x)", "x=-1"], "log is defined for numbers above 0"),
        (["exp(x)", "x=1e3"], "too large for float64"),
    ],
)
def test_what_cannot_be_computed_ends_with_one(arguments, message):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr and result.stderr.startswith("backlit: ")


def test_the_place_is_pointed_at():
    _, text, carets = run("x + log(y)", "x=1", "y=-1").stderr.splitlines()
    assert text[carets.index("^") : carets.rindex("^") + 1] == "y"


def test_a_long_formula_is_shortened_in_the_table_but_not_in_the_record():
    formula = "+".join(f"x*{i}" for i in range(30))
    shown = run(formula, "x=1").stdout
    assert "19 more steps; --html and --json show all of them" in shown
    steps = [row[0] for row in cells(shown.split("Gradients")[0])[1:] if row[0]]
    assert len(steps) == 41 and steps[20] == "…" and steps[-1] == "f"
    assert len(json.loads(run(formula, "x=1", "--json").stdout)["nodes"]) == 90


COLOUR = r"\x1b\[([0-9;]*;)?3[0-7]m"


def test_narrow_terminals_get_a_list_that_breaks_no_number():
    rec = explain_formula("sigmoid(w*x + b)", {"w": 2, "x": -1, "b": 0.5})
    out = io.StringIO()
    show(rec, Console(file=out, width=50, force_terminal=True, color_system=None))
    for line in (
        "f = sigmoid(q2) = 0.182426",
        "  sigmoid: scales",
        "  ∂f/∂q2 = 0.149146",
        "  hands down -0.149146 → w",
        "             0.298293 → x",
    ):
        assert f"{line}\n" in out.getvalue(), line
    wide = io.StringIO()
    show(rec, Console(file=wide, width=100, force_terminal=True, color_system=None))
    assert "│ sigmoid(q2)" in wide.getvalue() and "hands down -0.149146" not in wide.getvalue()


def test_matrices_in_narrow_terminals_keep_their_rows_together():
    rec = explain_formula("sum(W@x)", {"W": [[1, 2], [3, 4]], "x": [[1], [-1]]})
    out = io.StringIO()
    show(rec, Console(file=out, width=50, force_terminal=True, color_system=None))
    assert "q1 = W @ x =\n  [[-1],\n   [-1]]\n  matmul: swaps\n  upstream [[1],\n            [1]]\n" in out.getvalue()


def spawn(*arguments, **environment):
    code = "from backlit.cli import main; main()"
    known = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.Popen(
        [sys.executable, "-c", code, "explain", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=known,
        text=True,
        encoding="utf-8",
    )


def test_pipes_that_close_early_and_plain_output():
    child = spawn("+".join(["x"] * 90), "x=1", COLUMNS="40", NO_COLOR="1")
    assert child.stdout.readline().startswith("x+x")
    child.stdout.close()
    complaint = child.stderr.read()
    child.stderr.close()
    assert child.wait() in (0, 1) and "Traceback" not in complaint and "Exception" not in complaint
    coloured, _ = spawn("x*y", "x=1", "y=2", FORCE_COLOR="1", COLUMNS="30").communicate()
    plain, _ = spawn("x*y", "x=1", "y=2", FORCE_COLOR="1", NO_COLOR="1", COLUMNS="30").communicate()
    assert re.search(COLOUR, coloured) and not re.search(COLOUR, plain)
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in plain.splitlines()) <= 30
