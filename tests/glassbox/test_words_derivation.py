"""The chain rule written out: the worked examples of the lectures in every rendering, and layers in δ notation."""

import json
import re

import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser

import backlit as bl
from backlit import nn
from backlit.errors import GradientError, RecordError
from backlit.glassbox.words import document
from backlit.glassbox.words.figures import digits, latex_digits


def leaf(value):
    return bl.tensor(value, dtype=bl.float64, requires_grad=True)


def constant(value):
    return bl.tensor(value, dtype=bl.float64)


# -- the worked examples ---------------------------------------------------------------------------------------------


def sum_gate():
    x, y = leaf(-2.0), leaf(5.0)
    z = x + y
    return bl.explain(z)


def sum_then_product():
    x, y, z = leaf(-2.0), leaf(5.0), leaf(-4.0)
    q = x + y
    f = q * z
    return bl.explain(f)


def polynomial():
    x = leaf(1.0)
    y = x**2 + 2 * x
    return bl.explain(y)


def regression():
    w, x, y = leaf(1.0), constant(1.0), constant(2.0)
    ŷ = w * x
    s = ŷ - y
    loss = s**2
    return bl.explain(loss)


def neuron():
    w0, x0, w1, x1, w2 = (leaf(v) for v in (2.0, -1.0, -3.0, -2.0, -3.0))
    a = w0 * x0
    b = w1 * x1
    dot = a + b
    z = dot + w2
    m = -z
    e = bl.exp(m)
    d = e + 1
    f = 1 / d
    return bl.explain(f)


def six_factors():
    x, w, b, target = constant(1.5), leaf(0.8), leaf(-0.4), constant(1.0)
    p = w * x
    z = p + b
    y = bl.sigmoid(z)
    s = y - target
    loss = s**2
    return bl.explain(loss)


EXAMPLES = [
    (sum_gate, "x", "∂z/∂x = 1", ["z = x + y = 3"]),
    (sum_then_product, "x", "∂f/∂x = ∂f/∂q · ∂q/∂x = (−4) · 1 = −4", ["∂f/∂q = z = −4", "f = q * z = −12"]),
    (sum_then_product, "z", "∂f/∂z = q = 3", ["f = q * z = −12"]),
    (
        polynomial,
        "x",
        "∂y/∂x = ∂y/∂square · ∂square/∂x + ∂y/∂mul · ∂mul/∂x = 1 · 2 + 1 · 2 = 2 + 2 = 4",
        ["2x = 2 · 1 = 2", "y = x**2 + 2 * x = 3"],
    ),
    (
        regression,
        "w",
        "∂loss/∂w = ∂loss/∂s · ∂s/∂ŷ · ∂ŷ/∂w = (−2) · 1 · 1 = −2",
        ["∂loss/∂s = 2s = 2 · (−1) = −2", "∂s/∂ŷ = 1", "∂ŷ/∂w = x = 1", "s = ŷ - y = −1"],
    ),
    (
        neuron,
        "w0",
        "∂f/∂w0 = ∂f/∂d · ∂d/∂e · ∂e/∂m · ∂m/∂z · ∂z/∂dot · ∂dot/∂a · ∂a/∂w0",
        ["∂f/∂d = −1/d² = −1/1.3679² = −0.53445", "∂e/∂m = e = 0.36788", "∂m/∂z = −1", "f = 1 / d = 0.73106"],
    ),
    (
        six_factors,
        "w",
        "∂loss/∂w = ∂loss/∂s · ∂s/∂y · ∂y/∂z · ∂z/∂p · ∂p/∂w",
        ["∂y/∂z = y(1 − y) = 0.68997 · (1 − 0.68997) = 0.21391", "∂p/∂w = x = 1.5"],
    ),
]


@pytest.mark.parametrize(("example", "x", "chain", "lines"), EXAMPLES)
def test_symbols_first_and_numbers_second(example, x, chain, lines):
    text = example().derivation(x)
    assert text.startswith(chain)
    for line in lines:
        assert line in text


@pytest.mark.parametrize("example", [sum_gate, sum_then_product, polynomial, regression, neuron, six_factors])
def test_every_number_in_every_rendering(example):
    """Values, local gradients, upstream gradients: in text, Markdown, LaTeX, tables, paragraphs and JSON."""
    rec = example()
    data = json.loads(json.dumps(rec.to_dict(), allow_nan=False))
    for node in rec.leaves:
        if node.upstream is None:
            continue
        text, markdown, latex = (rec.derivation(node, form=form) for form in ("text", "markdown", "latex"))
        passed = rec.contributions(node)[0].edges
        numbers = [float(edge.local.value) for edge in passed] + [float(edge.target.value) for edge in passed]
        for number in (*numbers, float(node.upstream)):
            assert digits(number) in text
            assert latex_digits(number) in markdown and latex_digits(number) in latex
    shown = str(rec)
    walked = {entry["node"]: entry["upstream"]["values"] for entry in data["passes"][0]["nodes"]}
    for node in rec.operations:
        for number in (float(node.value), float(node.upstream)):
            assert digits(number) in shown
        assert digits(node.value) in rec.explain(node) and digits(node.upstream) in rec.explain(node)
        assert data["nodes"][node.id]["value"]["values"] == float(node.value)
        assert walked[node.id] == float(node.upstream)


def test_neuron_gradients_as_the_lecture_rounds_them():
    rec = neuron()
    found = [round(float(rec.node(name).upstream), 2) for name in ("w0", "x0", "w1", "x1", "w2")]
    assert found == [-0.20, 0.39, -0.39, -0.59, 0.20]
    assert round(float(rec.node("f").value), 2) == 0.73


def test_quotient_in_an_exponential():
    w0, x0, w1, x1, w2 = (leaf(v) for v in (0.5, -1.5, 2.0, 0.7, -1.2))
    p = w0 * x0
    q = w1 * x1 * w2
    r = p / q
    f = bl.exp(r)
    text = bl.explain(f).derivation("q")
    assert text.startswith("∂f/∂q = ∂f/∂r · ∂r/∂q")
    assert "∂r/∂q = −p/q² = −(−0.75)/(−1.68)² = 0.26573" in text


def test_both_uses_of_a_value_are_told_apart():
    x = leaf(3.0)
    y = x * x
    text = bl.explain(y).derivation(x)
    assert text.startswith("∂y/∂x = ∂y/∂x|₁ + ∂y/∂x|₂ = 3 + 3 = 6")


def test_more_paths_than_can_be_read_become_named_gradients():
    x = leaf(1.0)
    y = x
    for _ in range(5):
        y = y * 0.5 + bl.sin(y)
    rec = bl.explain(y)
    assert "δ" in rec.derivation(x)
    assert rec.derivation(x, full=True).count("∂sin/∂x") > 8


# -- layers ----------------------------------------------------------------------------------------------------------


def perceptron():
    bl.manual_seed(0)
    X, y = bl.randn(32, 784), bl.randint(0, 10, (32,))
    W1, b1 = (bl.randn(256, 784) * 0.03).requires_grad_(), bl.zeros(256, requires_grad=True)
    W2, b2 = (bl.randn(10, 256) * 0.1).requires_grad_(), bl.zeros(10, requires_grad=True)
    z1 = nn.functional.linear(X, W1, b1)
    h = bl.relu(z1)
    logits = nn.functional.linear(h, W2, b2)
    loss = nn.functional.cross_entropy(logits, y)
    return bl.explain(loss)


def test_delta_notation_with_shapes():
    lines = perceptron().derivation("W1").splitlines()
    assert lines[:3] == [
        "δ2 = ∂loss/∂logits = (p − onehot(y))/N   (32×10)",
        "δ1 = ∂loss/∂z1 = (δ2 W2) ⊙ relu′(z1)   (32×256)",
        "∂loss/∂W1 = δ1ᵀ X   (256×784) = (256×32)(32×784)",
    ]
    assert lines[3:] == ["where", "  p = softmax(logits)", "  N = 32", "  relu′(z1) = [h > 0]"]


def test_delta_notation_of_products_and_biases():
    rec = perceptron()
    assert rec.derivation("b1").splitlines()[2] == "∂loss/∂b1 = Σ_rows(δ1)   (256)"
    assert rec.derivation("W2").splitlines()[1] == "∂loss/∂W2 = δ2ᵀ h   (10×256) = (10×32)(32×256)"
    assert "forward\n  z1 = " in rec.derivation("W1", full=True)


def test_two_two_one_network_by_the_delta_recursion():
    x, target = constant([[0.05], [0.10]]), constant([[0.01]])
    W1, b1 = leaf([[0.15, 0.20], [0.25, 0.30]]), leaf([[0.35], [0.35]])
    W2, b2 = leaf([[0.40, 0.45]]), leaf([[0.60]])
    z1 = W1 @ x + b1
    a1 = bl.sigmoid(z1)
    z2 = W2 @ a1 + b2
    a2 = bl.sigmoid(z2)
    loss = (0.5 * (a2 - target) ** 2).sum()
    rec = bl.explain(loss)
    lines = rec.derivation("W1").splitlines()
    assert lines[1].startswith("δ1 = ∂loss/∂z1 = (W2ᵀ δ2) ⊙ σ′(z1) = [[")
    assert lines[2] == "∂loss/∂W1 = δ1 xᵀ = [[0.0006684, 0.001337], [0.0007498, 0.0015]]   (2×2) = (2×1)(1×2)"
    assert "σ′(z1) = a1(1 − a1)" in "\n".join(lines)
    a, b = a1.detach().numpy(), a2.detach().numpy()
    delta2 = (b - 0.01) * b * (1 - b)
    delta1 = (np.array([[0.40], [0.45]]) @ delta2) * a * (1 - a)
    np.testing.assert_allclose(rec.node("W1").upstream, delta1 @ x.numpy().T, rtol=1e-12)


def test_products_with_vectors_are_one_step():
    x, w = bl.randn(4, 3), bl.randn(3, requires_grad=True)
    z = x @ w
    loss = (bl.sigmoid(z) ** 2).sum()
    rec = bl.explain(loss)
    assert [node.op for node in rec.operations] == ["matmul", "sigmoid", "square", "sum"]
    assert "∂loss/∂w = xᵀ δ1" in rec.derivation("w") and "(3) = (3×4)(4)" in rec.derivation("w")
    v = bl.randn(4, requires_grad=True)
    assert "outer(" not in bl.explain((v @ x).sum()).derivation("v")
    m = bl.randn(4, 3, requires_grad=True)
    y = v @ m
    assert "∂sum/∂m = outer(v, " in bl.explain((y * y).sum()).derivation("m")


def test_penalties_and_shared_weights_are_sums():
    W, x = leaf(np.ones((2, 2))), constant(np.ones((2, 2)))
    loss = (x @ W @ W).sum() + 0.1 * (W**2).sum()
    text = bl.explain(loss).derivation(W)
    assert "0.2W" in text and text.count("δ") >= 2


def test_meanings_of_two_layers_of_one_kind_are_told_apart():
    x = leaf(np.random.default_rng(0).normal(size=(2, 3)))
    a = bl.softmax(x, -1)
    first = nn.functional.cross_entropy(a * 2.0, bl.tensor([0, 1]))
    second = nn.functional.cross_entropy(x * 3.0, bl.tensor([2, 1]))
    loss = first + second
    text = bl.explain(loss).derivation(x)
    assert re.search(r"^  p = softmax\(mul#?\d?\)$", text, re.M) and re.search(r"^  p2 = softmax\(", text, re.M)


def test_names_of_the_user_are_not_taken_by_formulas():
    p = leaf([[1.0, 2.0], [3.0, 5.0]])
    loss = nn.functional.cross_entropy(p, bl.tensor([0, 1]))
    text = bl.explain(loss).derivation(p)
    assert "(p2 − onehot(" in text and "p2 = softmax(p)" in text


def test_an_operation_without_a_formula_keeps_the_chain_rule_and_says_what_it_does():
    x = leaf([[3.0, 1.0], [2.0, 5.0]])
    y, _ = x.sort(dim=1)
    loss = (y * constant([1.0, 2.0])).sum()
    text = bl.explain(loss).derivation(x)
    assert text.startswith("∂loss/∂x = (∂y/∂x)ᵀ ")
    assert "routes: the inverse permutation" in text


# -- renderings ------------------------------------------------------------------------------------------------------


def attention():
    bl.manual_seed(1)
    x = bl.randn(2, 5, 8)
    q, k, v = (nn.Linear(8, 8) for _ in range(3))
    norm = nn.LayerNorm(8)
    out = nn.functional.scaled_dot_product_attention(q(norm(x)), k(norm(x)), v(norm(x)), is_causal=True)
    loss = nn.functional.gelu(out).mean() + nn.functional.elu(out).var() + bl.maximum(out, -out).sum()
    return bl.explain(loss)


@pytest.mark.parametrize("example", [regression, neuron, six_factors, perceptron, attention])
def test_latex_can_be_set(example):
    rec = example()
    parser = MathTextParser("path")
    for node in rec.leaves:
        if node.upstream_kept is None:
            continue
        assert_balanced(rec.derivation(node, form="latex", full=True))
        for section in document(rec, node, True).sections:
            for equation in section.equations:
                parser.parse(f"${_without_environments(equation.latex())}$")


def _without_environments(latex):
    """What the parser at hand does not know is taken out: matrices, cases, typewriter letters."""
    for name in ("bmatrix", "cases"):
        while rf"\begin{{{name}}}" in latex:
            latex = re.sub(rf"\\begin{{{name}}}(?:(?!\\begin).)*?\\end{{{name}}}", "M", latex)
    latex = re.sub(r"(?<!\\)\$[^$]*\$", "q", latex)  # formulas inside words
    return latex.replace(r"\texttt", r"\text").replace(r"\tfrac", r"\frac")


def assert_balanced(latex):
    plain = re.sub(r"\\[{}]", "", latex)
    assert plain.count("{") == plain.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")
    assert sorted(re.findall(r"\\begin{(\w+\*?)}", latex)) == sorted(re.findall(r"\\end{(\w+\*?)}", latex))
    outside = re.sub(r"\\text(tt)?{[^}]*}", "", latex)
    assert not re.search(r"[−·⊙ᵀΣ∂²₁]", outside)


def test_markdown_has_formulas_between_dollars_and_harmless_words():
    text = regression().derivation("w", form="markdown")
    assert text.count("$$") == 2 * len(re.findall(r"^\$\$\n.+\n\$\$$", text, re.M))
    assert r"\frac{\partial \mathrm{loss}}{\partial w}" in text


def test_hostile_names_stay_text():
    x = leaf(2.0)
    rec = bl.explain(x * 3.0, names={"a_b{$\\end}": x})
    latex = rec.derivation(x, form="latex")
    assert_balanced(latex.replace(r"\textbackslash{}", ""))
    assert r"a\_b\{\$" in latex


def test_what_has_no_derivation():
    rec = regression()
    with pytest.raises(GradientError, match=r"no gradient came to x.*bl\.why"):
        rec.derivation("x")
    with pytest.raises(RecordError, match="form='html': choose from text, markdown, latex"):
        rec.derivation("w", form="html")


def test_two_results():
    x = leaf(2.0)
    with bl.record() as rec:
        a = x * 3.0
        b = x * x
        bl.autograd.backward([a, b])
    assert rec.derivation(x).startswith("∂L/∂x = ") and "= 7" in rec.derivation(x)


def test_several_together_repeat_nothing():
    rec = perceptron()
    lines = rec.derivation(["W1", "b1", "W2"]).splitlines()
    assert len(lines) == len(set(lines)) and sum(line.startswith("∂loss/∂") for line in lines) == 3


def test_gates_of_the_lecture():
    x, y = leaf(3.0), leaf(-4.0)
    z = bl.maximum(x, y)
    f = 2 * z
    rec = bl.explain(f)
    assert rec.derivation(x).startswith("∂f/∂x = ∂f/∂z · ∂z/∂x = 2 · 1 = 2")
    assert rec.derivation(y).startswith("∂f/∂y = ∂f/∂z · ∂z/∂y = 2 · 0 = 0")
    assert "routes the upstream gradient to the larger input" in rec.explain("z")
    for at in (-3.0, 0.5):
        x = leaf(at)
        y = (x + 2) ** 2
        assert bl.explain(y).derivation(x).splitlines()[0].endswith(f" = {digits(2 * (at + 2))}")


def test_a_long_relu_never_builds_its_jacobian():
    n = 200_000
    x = bl.tensor(np.linspace(-1, 1, n), requires_grad=True)
    h = bl.relu(x)
    rec = bl.explain(h.sum())
    assert f"diagonal: {n} slopes between 0 and 1; 50 % of them are 0" in rec.jacobian("h", "x").words
    assert "passed 50 % of the gradient and blocked 50 %" in rec.explain("h")
    assert "relu′(x) = [h > 0]" in rec.derivation(x)


def test_product_of_matrices():
    X, W = leaf(np.ones((2, 3))), leaf(np.ones((3, 4)))
    with bl.record() as rec:
        Y = X @ W
        Y.backward(gradient=constant(np.arange(8.0).reshape(2, 4)))
    assert rec.derivation(X).splitlines()[0].startswith("∂Y/∂X = g Wᵀ = ")
    assert rec.derivation(W).splitlines()[0].startswith("∂Y/∂W = Xᵀ g = ")
    assert rec.derivation(X).splitlines()[0].endswith("(2×3) = (2×4)(4×3)")
