"""`backlit check FILE.py:FUNCTION`: exit code 0 for right gradients, 1 for wrong ones, 2 for mistakes."""

import json

import pytest
from click.testing import CliRunner

from backlit.cli import main

SOURCE = """
import backlit as bl
from helper import twice

def good(x, w):
    return (x @ w).tanh() * twice

class Sine(bl.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return -g * ctx.saved_tensors[0].cos()

def bad(x):
    return Sine.apply(x) * 2.0

def root(x):
    return x.sqrt()

def case():
    return good, (bl.rand(2, 3), bl.rand(3, 2))

def network():
    return bl.nn.Linear(3, 2), (bl.rand(4, 3), bl.rand(4, 2)), bl.nn.MSELoss()

def nothing():
    return 3

def fails(x):
    raise KeyError("oh")

@bl.autograd.custom_vjp
def ruleless(x):
    return x * 2.0

class Layer(bl.nn.Module):
    def forward(self, x):
        return x

layer = bl.nn.Linear(3, 2)
number = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "functions.py").write_text(SOURCE)
    (tmp_path / "helper.py").write_text("twice = 2.0\n")
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, ["check", *arguments])


RIGHT = [
    "good 3,4 4,2",
    "good 3x4 4x2",
    "case",
    "network",
    "layer 4,3",
    "root 5 --low 0.1 --high 2",
    "good.__call__ 2,2 2,2",
]


@pytest.mark.parametrize("line", RIGHT)
def test_right_gradients(here, line):
    name, *rest = line.split()
    result = run(f"functions.py:{name}", *rest)
    assert result.exit_code == 0, result.output
    assert "all gradients are right" in result.output


@pytest.mark.parametrize("name", ["bad", "Sine"])
def test_wrong_gradients(here, name):
    result = run(f"functions.py:{name}", "5")
    assert result.exit_code == 1
    assert "the sign is wrong" in result.output
    assert "its rule is at functions.py:14" in result.output


def test_inputs_outside_the_domain_are_no_success(here):
    result = run("functions.py:root", "3", "--low", "-2", "--high", "-1")
    assert result.exit_code == 1
    assert "nothing was checked" in result.output


MISTAKES = [
    ("functions.py:goood 3", "did you mean 'good'"),
    ("functions.py", "FILE.py:FUNCTION"),
    ("nofile.py:good 3", "there is no file"),
    ("functions.py:good 3", "missing a required argument"),
    ("functions.py:bad", "missing a required argument"),
    ("functions.py:good 3,a 4", "is no shape"),
    ("functions.py:good 3,x 4", "is no shape"),
    ("functions.py:good 3,,2 4", "is no shape"),
    ("functions.py:good 3,-1 4", "is no shape"),
    ("functions.py:number 3", "cannot be called"),
    ("functions.py:nothing", "must return (function, inputs)"),
    ("functions.py:fails 3", "raised KeyError"),
    ("functions.py:good 3,4 5,2", "matmul"),
    ("functions.py:root 3 --low 1", "belong together"),
    ("broken.py:good 3", "nowhere_to_be_found"),
    ("functions.py:Layer 3", "Layer is a class of modules"),
    ("functions.py:ruleless 3", "must return a pair (result, rule)"),
    ("functions.py:root 5 --low 0.1 --high 2 --plot steps.nothing", "not supported"),
]


@pytest.mark.parametrize(("line", "words"), MISTAKES)
def test_mistakes(here, line, words):
    result = run(*line.split())
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


def test_json_and_picture(here):
    pytest.importorskip("matplotlib")
    result = run("functions.py:bad", "5", "--json", "--plot", "steps.png")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["cause"]["kind"] == "sign"
    assert data["inputs"][0]["name"] == "x"
    assert (here / "steps.png").stat().st_size > 1000
