"""`backlit explain`: what is printed, and how mistakes end."""

import json

import pytest
from click.testing import CliRunner

from backlit.cli import main


def run(*arguments):
    return CliRunner().invoke(main, ["explain", *arguments])


def test_table_shows_every_number():
    result = run("(x+y)*z", "x=-2", "y=5", "z=-4")
    assert result.exit_code == 0 and result.stderr == ""
    for shown in ("(x+y)*z = -12", "x + y", "q1 * z", "distributes", "swaps", "∂q1/∂x = 1", "∂f/∂q1 = -4", "∂f/∂z = 3"):
        assert shown in result.stdout, shown
    gradients = result.stdout.split("Gradients of the inputs")[1]
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in gradients.splitlines() if line.startswith("│")]
    assert rows[1:] == [["x", "-2", "-4"], ["y", "5", "-4"], ["z", "-4", "3"]]


def test_non_scalar_results_are_summed_and_said_so():
    result = run("w*x", "w=2", "x=[1,3]")
    assert "its elements are summed" in result.stdout
    assert "4 from f" in result.stdout


def test_json():
    record = json.loads(run("x**2 + 2*x", "x=1", "--json").stdout)
    assert record["value"] == 3 and record["variables"][0]["gradient"] == 4


def test_arguments_that_look_like_options():
    assert run("-x", "x=-2").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x+y", "x=1"], "'y' has no value"),
        (["x+zz", "x=1", "z=2"], "did you mean 'z'"),
        (["x", "x"], "NAME=VALUE"),
        (["x", "1=2"], "NAME=VALUE"),
        (["x", "x=1", "x=2"], "given twice"),
        (["x", "x=one"], "a value is a number"),
        (["x", "x=[1,2"], "never closed"),
        (["x", "x="], "empty"),
        (["x+1", "x=1", "--jsn"], "no option '--jsn'"),
        (["sigmoi(x)", "x=1"], "did you mean 'sigmoid'"),
        (["1/x", "x=0"], "division by zero"),
        (["__import__('os').system('true')"], "only a function's name"),
        ([], "EXPRESSION"),
    ],
)
def test_mistakes_end_with_two(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == "" and "Traceback" not in result.stderr
    assert result.stderr.startswith("backlit: ")


def test_the_place_is_pointed_at():
    _, text, carets = run("x + log(y)", "x=1", "y=-1").stderr.splitlines()
    assert text[carets.index("^") : carets.rindex("^") + 1] == "y"
