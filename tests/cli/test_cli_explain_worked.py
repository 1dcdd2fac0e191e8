"""Lecture examples through the command: every intermediate number, in the table, as JSON, and in the other forms."""

import json
import math
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from backlit.cli import main
from backlit.cli.table import number

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "schema" / "record-1.json").read_text("utf-8"))


def run(*arguments, **options):
    result = CliRunner().invoke(main, ["explain", *arguments], **options)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def sigma(z):
    return 1 / (1 + np.exp(-np.asarray(z)))


E1 = math.exp(-1)
F = 1 / (1 + E1)
P = float(sigma(0.8))
X, T = np.array([0.05, 0.10]), np.array([0.01])
W1, B1 = np.array([[0.15, 0.20], [0.25, 0.30]]), np.array([0.35, 0.35])
W2, B2 = np.array([[0.40, 0.45]]), np.array([0.60])
Z1 = W1 @ X + B1
A1 = sigma(Z1)
Z2 = W2 @ A1 + B2
A2 = sigma(Z2)
D2 = (A2 - T) * A2 * (1 - A2)
D1 = (W2.T @ D2) * A1 * (1 - A1)

EXAMPLES = {
    "sum gate": (
        ["x + y", "x=-2", "y=5"],
        {"f": (3, 1)},
        {"x": 1, "y": 1},
    ),
    "sum, then product": (
        ["q = x + y; f = q*z", "x=-2", "y=5", "z=-4"],
        {"q": (3, -4), "f": (-12, 1)},
        {"x": -4, "y": -4, "z": 3},
    ),
    "polynomial": (
        ["x**2 + 2*x", "x=1"],
        {"q1": (1, 1), "q2": (2, 1), "f": (3, 1)},
        {"x": 4},
    ),
    "shifted square": (
        ["(x + 2)**2", "x=-3"],
        {"q1": (-1, -2), "f": (1, 1)},
        {"x": -2},
    ),
    "linear regression on one point": (
        ["ŷ = w*x; s = ŷ - y; loss = s**2", "x=1", "y=2", "w=1"],
        {"ŷ": (1, -2), "s": (-1, -2), "loss": (1, 1)},
        {"w": -2, "x": -2, "y": 2},
    ),
    "sigmoid neuron, gate by gate": (
        ["1/(1+exp(-(w0*x0+w1*x1+w2)))", "w0=2", "x0=-1", "w1=-3", "x1=-2", "w2=-3"],
        {
            "q1": (-2, F * (1 - F)),
            "q2": (6, F * (1 - F)),
            "q3": (4, F * (1 - F)),
            "q4": (1, F * (1 - F)),
            "q5": (-1, -F * (1 - F)),
            "q6": (E1, -F * F),
            "q7": (1 + E1, -F * F),
            "f": (F, 1),
        },
        {name: k * F * (1 - F) for name, k in (("w0", -1), ("x0", 2), ("w1", -2), ("x1", -3), ("w2", 1))},
    ),
    "sigmoid neuron with a loss, all six factors": (
        ["z = w*x + b; y = sigmoid(z); s = y - t; loss = s**2", "w=0.8", "x=1.5", "b=-0.4", "t=1"],
        {
            "q1": (1.2, 2 * (P - 1) * P * (1 - P)),
            "z": (0.8, 2 * (P - 1) * P * (1 - P)),
            "y": (P, 2 * (P - 1)),
            "s": (P - 1, 2 * (P - 1)),
            "loss": ((P - 1) ** 2, 1),
        },
        {
            "w": 2 * (P - 1) * P * (1 - P) * 1.5,
            "x": 2 * (P - 1) * P * (1 - P) * 0.8,
            "b": 2 * (P - 1) * P * (1 - P),
            "t": -2 * (P - 1),
        },
    ),
    "exponential of a quotient": (
        ["exp(w0*x0 / (w1*x1*w2))", "w0=0.5", "x0=-1.5", "w1=2", "x1=0.7", "w2=-1.2"],
        {
            "q1": (-0.75, -math.exp(0.75 / 1.68) / 1.68),
            "q2": (1.4, None),
            "q3": (-1.68, None),
            "q4": (0.75 / 1.68, None),
        },
        {"w0": 1.5 * math.exp(0.75 / 1.68) / 1.68, "x0": -0.5 * math.exp(0.75 / 1.68) / 1.68},
    ),
    "2-2-1 network": (
        [
            "z1 = W1@x + b1; a1 = sigmoid(z1); z2 = W2@a1 + b2; a2 = sigmoid(z2); 0.5*sum((a2 - t)**2)",
            *("x=[0.05, 0.1]", "t=[0.01]", "W1=[[0.15, 0.2], [0.25, 0.3]]", "b1=[0.35, 0.35]"),
            *("W2=[[0.4, 0.45]]", "b2=[0.6]", "--wrt", "W1,b1,W2,b2"),
        ],
        {"z1": (Z1, D1), "a1": (A1, W2.T @ D2), "z2": (Z2, D2), "a2": (A2, A2 - T)},
        {"W1": np.outer(D1, X), "b1": D1, "W2": np.outer(D2, A1), "b2": D2},
    ),
    "max routes": (
        ["max(x, y) * 2", "x=3", "y=-1"],
        {"q1": (3, 2), "f": (6, 1)},
        {"x": 2, "y": 0},
    ),
    "ReLU on a vector": (
        ["sum(relu(x))", "x=[-1, 2, 3]"],
        {"q1": ([0, 2, 3], [1, 1, 1]), "f": (5, 1)},
        {"x": [0, 1, 1]},
    ),
    "matrix product": (
        ["sum(W @ X)", "W=[[1, 2], [3, 4]]", "X=[[5, 6], [7, 8]]"],
        {"q1": ([[19, 22], [43, 50]], [[1, 1], [1, 1]])},
        {"W": [[11, 15], [11, 15]], "X": [[4, 4], [6, 6]]},
    ),
    "softmax and cross-entropy: p - y": (
        ["cross_entropy(z, t)", "z=[2, 1, 0]", "t=0"],
        {"f": (math.log(np.exp([2, 1, 0]).sum()) - 2, 1)},
        {"z": np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum() - [1, 0, 0]},
    ),
}
"""The command, then by step its value and upstream gradient (None: not asked), then the gradients of the leaves."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_as_json(name):
    arguments, steps, leaves = EXAMPLES[name]
    data = json.loads(run(*arguments, "--json"))
    jsonschema.validate(data, SCHEMA)
    (walked,) = data["passes"]
    by_name = {node["name"]: node for node in data["nodes"]}
    upstream = {entry["node"]: entry["upstream"]["values"] for entry in walked["nodes"]}
    for step, (value, gradient) in steps.items():
        np.testing.assert_allclose(by_name[step]["value"]["values"], value, rtol=1e-13, err_msg=step)
        if gradient is not None:
            np.testing.assert_allclose(upstream[by_name[step]["id"]], gradient, rtol=1e-12, err_msg=step)
    for leaf, gradient in leaves.items():
        np.testing.assert_allclose(upstream[by_name[leaf]["id"]], gradient, rtol=1e-12, atol=1e-15, err_msg=leaf)


def rows(text):
    """The rows of a table by their first cell, cells that run over several lines joined."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("│")[1:-1]]
        if cells and cells[0]:
            found[cells[0]] = cells
        elif cells:
            name, before = found.popitem()
            found[name] = [f"{a} {b}".strip() for a, b in zip(before, cells, strict=True)]
    return found


def shown(value):
    return " ".join(number(value).split())


@pytest.mark.parametrize("name", EXAMPLES)
def test_in_the_table(name):
    arguments, steps, leaves = EXAMPLES[name]
    above, below = run(*arguments).split("Gradients of the inputs")
    for step, (value, gradient) in steps.items():
        assert rows(above)[step][2] == shown(value)
        assert gradient is None or rows(above)[step][3] == shown(gradient)
    for leaf, gradient in leaves.items():
        assert rows(below)[leaf][2] == shown(gradient)


def test_every_factor_of_the_chain_rule():
    six = EXAMPLES["sigmoid neuron with a loss, all six factors"][0]
    table = rows(run(*six).split("Gradients of the inputs")[0])
    factors = [part for row in table.values() for part in row[4].split("∂")]
    assert f"loss/∂s = {2 * (P - 1):.6g}" in "∂".join(factors).replace("∂loss/∂s", "loss/∂s")
    for cell in (f"∂y/∂z = {P * (1 - P):.6g}", "∂s/∂y = 1", "∂q1/∂w = 1.5", "∂z/∂b = 1", "∂q1/∂x = 0.8"):
        assert any(cell in row[4] for row in table.values()), cell


def test_as_latex():
    arguments = EXAMPLES["linear regression on one point"][0]
    text = run(*arguments, "--wrt", "w", "--latex")
    product = r"\left(-2\right) \cdot 1 \cdot 1 = -2"
    assert text.startswith("% the gradient of w\n") and product in text
    assert r"\frac{\partial \mathrm{loss}}{\partial s}" in text
    every = run(*arguments, "--latex")
    assert [line for line in every.splitlines() if line.startswith("%")] == [
        f"% the gradient of {name}" for name in ("w", "x", "y")
    ]


def test_without_gradients_there_is_no_latex():
    result = CliRunner().invoke(main, ["explain", "3 + 4", "--latex"])
    assert (result.exit_code, result.stdout) == (1, "") and "no chain rule" in result.stderr


def test_as_a_page(tmp_path):
    page = tmp_path / "neuron.html"
    arguments = EXAMPLES["sigmoid neuron, gate by gate"][0]
    result = CliRunner().invoke(main, ["explain", *arguments, "--html", str(page)])
    assert result.exit_code == 0 and result.stderr == f"wrote {page}\n"
    text = page.read_text(encoding="utf-8")
    assert "1/(1+exp(-(w0*x0+w1*x1+w2)))" in text and str(F) in text and text.lstrip().lower().startswith("<!doctype")


def test_a_page_that_cannot_be_written(tmp_path):
    result = CliRunner().invoke(main, ["explain", "x*2", "x=1", "--html", str(tmp_path / "no" / "a.html")])
    assert (result.exit_code, result.stdout) == (2, "") and "No such file" in result.stderr


def test_step_by_step():
    arguments = EXAMPLES["sum, then product"][0]
    text = run(*arguments, "--step", input="n 2\ng q backward\nq\n")
    for part in ("q = 3", "f = -12", "backward · q · add", "-4"):
        assert part in text, part
