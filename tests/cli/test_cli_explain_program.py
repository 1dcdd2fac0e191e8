"""`backlit explain FILE.py:FUNCTION`: the user's own function, and their own lines where it fails."""

import json

import pytest
from click.testing import CliRunner

from backlit.cli import main

SOURCE = """\
import backlit as bl
from explained_helper import twice

print("loading")
net = bl.nn.Sequential(bl.nn.Linear(2, 2), bl.nn.ReLU(), bl.nn.Linear(2, 1))

def neuron(w, x, b=0.5):
    print("calling")
    z = w * x + b
    y = bl.sigmoid(z)
    loss = (y - 1) ** 2
    return loss

def deep(x):
    return net(x).square().mean()

def classes(z, t):
    return bl.nn.functional.cross_entropy(z, t)

def cut(x):
    return twice(x).detach()

def outer(x):
    return inner(x)

def inner(x):
    return {}["key"]

def leaves(x):
    raise SystemExit(3)

def penalty(x):
    (g,) = bl.autograd.grad((x**3).sum(), x, create_graph=True)
    return (bl.nn.functional.dropout(g, 0.5) ** 2).sum()

number = 3
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "explained_helper.py").write_text("def twice(x):\n    return x * 2\n")
    (tmp_path / "broken.py").write_text("x = 1\nx.nothing()\n")
    (tmp_path / "unreadable.py").write_text("def f(:\n")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, ["explain", *arguments])


def test_the_table_of_a_function():
    result = run("mine.py:neuron", "w=1", "x=-0.5")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("mine.py:neuron = 0.25\n") and result.stderr == "loading\ncalling\n"
    for shown in ("w * x", "∂y/∂z = 0.25", "∂loss/∂input"):
        assert shown in result.stdout, shown
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines() if "│" in line]
    assert rows[-2:] == [["w", "1", "0.125", "0.125 from mul"], ["x", "-0.5", "-0.25", "-0.25 from mul"]]


def test_made_up_arguments_are_told():
    assert "Note: no value was given for x, so it is a number drawn at random" in run("mine.py:neuron", "w=1").stdout


def test_gradients_of_gradients_and_what_is_drawn_at_random():
    shown = run("mine.py:penalty", "x=[1,2,3,4,5,6]").stdout
    assert shown == run("mine.py:penalty", "x=[1,2,3,4,5,6]").stdout != run("mine.py:penalty", "x=[1,2]").stdout
    assert shown != run("mine.py:penalty", "x=[1,2,3,4,5,6]", "--seed", "2").stdout
    steps = [line.split("│")[1].strip() for line in shown.split("Gradients")[0].splitlines() if line.startswith("│")]
    assert {"pow", "square"} <= set(steps)  # the square is x² in the derivative 3x², recorded during the backward pass


def test_json_and_gradients_of_parameters_alone():
    result = run("mine.py:deep", "x=randn(3,2)", "--wrt", "2.weight", "--json")
    data = json.loads(result.stdout)
    kinds = {node["name"]: node["kind"] for node in data["nodes"]}
    assert (kinds["x"], kinds["2.weight"], data["title"]) == ("constant", "parameter", "mine.py:deep")
    shown = run("mine.py:deep", "x=randn(3,2)", "--wrt", "2.weight").stdout.split("Gradients")[1]
    assert "2.weight" in shown and "0.weight" not in shown


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("mine.py", 2, "FILE.py:FUNCTION"),
        ("mine.py:neuro w=1", 2, "did you mean 'neuron'"),
        ("mina.py:neuron", 2, "did you mean 'mine.py'"),
        ("mine.py:number", 2, "cannot be called"),
        ("mine.py:neuron v=1", 2, "the function has no argument 'v'"),
        ("mine.py:neuron w=a", 2, "a value is a number"),
        ("mine.py:neuron w=1 x=1 --wrt q", 2, "--wrt q: neither an argument nor"),
        ("mine.py:neuron w=1 x=1 --wrt w --wrt xx", 2, "did you mean 'x'"),
        ("mine.py:cut x=1", 1, "mine.py:21: return twice(x).detach()"),
        ("mine.py:deep", 1, "No value was given for x; a number was made up. Give one, as in x=randn(3,4)"),
        ("mine.py:classes z=[[1,2]] t=[1]", 1, "Whole numbers are written as in t=int([0, 2])"),
        ("mine.py:leaves x=1", 1, "mine.py:leaves raised SystemExit: 3"),
        ("broken.py:f", 1, "broken.py cannot be run: AttributeError"),
        ("unreadable.py:f", 1, "def f(:"),
    ],
)
def test_mistakes(line, code, words):
    result = run(*line.split())
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr and "backlit: " in result.stderr


def test_errors_show_the_users_own_lines_and_none_of_ours():
    result = run("mine.py:outer", "x=1")
    assert result.exit_code == 1
    message = result.stderr[result.stderr.index("backlit: ") :]
    assert message.startswith("backlit: mine.py:outer raised KeyError: 'key'\n")
    places = [line.split(", ")[1:] for line in message.splitlines() if line.lstrip().startswith("File ")]
    assert places == [["line 24", "in outer"], ["line 27", "in inner"]]
