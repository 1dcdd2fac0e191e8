"""Published training results, reproduced by the scripts in examples/."""

import importlib.util
import os
import pathlib
import sys

import pytest

import backlit as bl

ROOT = pathlib.Path(__file__).parents[2]
MNIST = pathlib.Path(os.environ.get("BACKLIT_DATA", ROOT.parent / "shared" / "data")) / "mnist"


def example(name):
    """A script of examples/ as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_spiral_and_moons():
    tasks = example("small_tasks")
    assert 0.42 < tasks.spiral(0, 200, 1.0) < 0.62
    assert tasks.two_moons() == 1.0


def test_gradients_three_ways(capsys):
    example("gradients_three_ways").main()
    assert "by hand ms" in capsys.readouterr().out


def test_worked_examples_print_their_numbers(capsys):
    examples = example("worked_examples")
    examples.sum_and_product()
    examples.two_two_one_network()
    assert "∂/∂x = -4.0   ∂/∂y = -4.0   ∂/∂z = 3.0" in capsys.readouterr().out


def test_digits_are_learned_compiled_as_they_are_eagerly():
    eager, compiled = (example("digits").train(compiled, epochs=15) for compiled in (False, True))
    assert min(eager[0], compiled[0]) > 0.95 and abs(eager[0] - compiled[0]) < 0.01
    assert compiled[1] == pytest.approx(eager[1], rel=0.02)


@pytest.mark.slow
def test_spiral_with_a_hidden_layer():
    assert example("small_tasks").spiral(100, 10_000, 1.0) >= 0.98


@pytest.mark.slow
def test_kinds_of_descent_differ_as_they_should(tmp_path, monkeypatch):
    compared = example("descent_compared")
    monkeypatch.setattr(sys, "argv", ["descent_compared.py", str(tmp_path / "picture.png")])
    compared.main()
    assert (tmp_path / "picture.png").stat().st_size > 10_000


@pytest.mark.slow(seconds=90)
@pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST in {MNIST}; set BACKLIT_DATA to its parent folder")
@pytest.mark.parametrize("configuration", ["adam", "quadratic", "cross-entropy"])
def test_mnist(configuration, monkeypatch):
    eager = ["--eager"] if configuration == "quadratic" else []  # which lies closest to what is wanted
    monkeypatch.setattr(sys, "argv", ["mnist.py", str(MNIST), configuration, *eager])
    example("mnist").main()  # exits with an error below the wanted accuracy


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST in {MNIST}; set BACKLIT_DATA to its parent folder")
def test_mnist_is_learned_compiled_as_it_is_eagerly():
    examples = example("mnist")
    data = bl.datasets.mnist(str(MNIST)).scaled()
    arrays = data.x_train[:20_000], data.y_train[:20_000], data.x_test, data.y_test

    def accuracy(compiled):
        bl.manual_seed(0)
        model = bl.nn.Sequential(bl.nn.Linear(784, 64), bl.nn.ReLU(), bl.nn.Linear(64, 10))
        optimizer = bl.optim.Adam(model.parameters())
        return examples.run("784-64-10", model, optimizer, bl.nn.CrossEntropyLoss(), arrays, 64, 3, compiled)[0]

    eager, compiled = accuracy(False), accuracy(True)
    assert min(eager, compiled) > 0.92 and abs(eager - compiled) < 0.002


SHAKESPEARE = MNIST.parent / "tinyshakespeare" / "input.txt"


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHAKESPEARE.is_file() and os.environ.get("BACKLIT_SHAKESPEARE")),
    reason="minutes for one number that other rounding may move past its limit; set BACKLIT_SHAKESPEARE=1",
)
def test_shakespeare(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["shakespeare.py", str(SHAKESPEARE)])
    example("shakespeare").main()  # exits with an error above the wanted validation loss
