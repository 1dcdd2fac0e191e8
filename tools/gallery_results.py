"""Ten standard results of backpropagation: for each a small program, the law in general, and the law in numbers.

``program`` is shown on the page as it stands here; ``check`` gives what the law says beside what the record holds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import backlit as bl
from backlit.nn import functional as F

Pairs = list[tuple[str, Any, Any]]


class Result(NamedTuple):
    """A page: what it is about, the program, the values to derive, the law in LaTeX and in words, and its check."""

    name: str
    title: str
    about: str
    program: Callable[[], Any]
    wrt: tuple[str, ...]
    law: tuple[str, ...]
    words: str
    check: Callable[[Any], Pairs]


def leaf(value: Any) -> Any:
    """A value in double precision that wants a gradient."""
    return bl.tensor(value, dtype=bl.float64, requires_grad=True)


def data(value: Any) -> Any:
    """A value in double precision that does not."""
    return bl.tensor(value, dtype=bl.float64)


def of(rec: Any, *names: str) -> list[Any]:
    """Values by name."""
    return [rec.node(name).value for name in names]


def gradients(rec: Any, *names: str) -> list[Any]:
    """Gradients by name."""
    return [rec.node(name).upstream for name in names]


# -- one neuron ------------------------------------------------------------------------------------------------------


def sigmoid_neuron() -> Any:
    w0, x0, w1, x1, w2 = leaf(2.0), leaf(-1.0), leaf(-3.0), leaf(-2.0), leaf(-3.0)
    a = w0 * x0
    b = w1 * x1
    z = a + b + w2
    f = bl.sigmoid(z)
    return bl.explain(f)


def check_sigmoid_neuron(rec: Any) -> Pairs:
    f, w0, x0, w1, x1 = of(rec, "f", "w0", "x0", "w1", "x1")
    found = gradients(rec, "w0", "x0", "w1", "x1", "w2")
    expected = [f * (1 - f) * factor for factor in (x0, w0, x1, w1, 1.0)]
    return list(zip(("w0", "x0", "w1", "x1", "w2"), expected, found, strict=True))


# -- classification --------------------------------------------------------------------------------------------------


def softmax_cross_entropy() -> Any:
    z = leaf([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]])
    y = bl.tensor([0, 1])
    loss = F.cross_entropy(z, y)
    return bl.explain(loss)


def check_softmax_cross_entropy(rec: Any) -> Pairs:
    z, y = of(rec, "z", "y")
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return [("z", (p - np.eye(3)[y]) / len(z), rec.node("z").upstream)]


def max_margin() -> Any:
    w, x = leaf([[1.0], [-0.5]]), data([[1.0, 2.0], [2.0, -1.0], [-1.0, -2.0]])
    y = data([[1.0], [1.0], [-1.0]])
    s = x @ w
    m = 1 - y * s
    loss = bl.relu(m).mean()
    return bl.explain(loss)


def check_max_margin(rec: Any) -> Pairs:
    x, y, s = of(rec, "x", "y", "s")
    inside = np.where(y * s < 1, -y / len(y), 0.0)
    return [("s", inside, rec.node("s").upstream), ("w", x.T @ inside, rec.node("w").upstream)]


# -- layers ----------------------------------------------------------------------------------------------------------


def linear_layer() -> Any:
    X = leaf([[1.0, 2.0], [0.5, -1.0], [-1.5, 1.0]])
    W, b = leaf([[0.5, -0.2], [0.1, 0.4]]), leaf([0.1, -0.3])
    Y = F.linear(X, W, b)
    loss = (Y**2).sum()
    return bl.explain(loss)


def check_linear_layer(rec: Any) -> Pairs:
    X, W, Y = of(rec, "X", "W", "Y")
    delta = 2 * Y
    names, found = ("Y", "X", "W", "b"), gradients(rec, "Y", "X", "W", "b")
    return list(zip(names, (delta, delta @ W, delta.T @ X, delta.sum(0)), found, strict=True))


def _projected(x: Any, h: Any, axis: int, eps: float = 1e-5) -> tuple[Any, Any]:
    """x̂ and what a normalisation along ``axis`` hands down of ``h``."""
    s = np.sqrt(x.var(axis, keepdims=True) + eps)
    normal = (x - x.mean(axis, keepdims=True)) / s
    return normal, (h - h.mean(axis, keepdims=True) - normal * (h * normal).mean(axis, keepdims=True)) / s


def batch_norm() -> Any:
    x = leaf([[1.0, 2.0], [3.0, -1.0], [2.0, 0.5], [-1.0, 1.0]])
    γ, β = leaf([1.5, 0.5]), leaf([0.0, 0.2])
    y = F.batch_norm(x, None, None, γ, β, training=True)
    loss = (y**3).sum()
    return bl.explain(loss)


def check_batch_norm(rec: Any) -> Pairs:
    x, y, γ = of(rec, "x", "y", "γ")
    g = 3 * y**2
    normal, dx = _projected(x, g * γ, 0)
    names, found = ("x", "γ", "β"), gradients(rec, "x", "γ", "β")
    return list(zip(names, (dx, (g * normal).sum(0), g.sum(0)), found, strict=True))


def layer_norm() -> Any:
    x = leaf([[1.0, 2.0, 4.0], [3.0, -1.0, 0.5]])
    γ, β = leaf([1.5, 0.5, 1.0]), leaf([0.0, 0.2, -0.1])
    y = F.layer_norm(x, (3,), γ, β)
    loss = (y**3).sum()
    return bl.explain(loss)


def check_layer_norm(rec: Any) -> Pairs:
    x, y, γ = of(rec, "x", "y", "γ")
    g = 3 * y**2
    normal, dx = _projected(x, g * γ, 1)
    names, found = ("x", "γ", "β"), gradients(rec, "x", "γ", "β")
    return list(zip(names, (dx, (g * normal).sum(0), g.sum(0)), found, strict=True))


def attention_head() -> Any:
    Q, K = leaf([[1.0, 0.5], [-0.5, 1.0]]), leaf([[0.3, 1.0], [1.0, -1.0]])
    V = leaf([[1.0, 2.0], [-1.0, 0.5]])
    O = F.scaled_dot_product_attention(Q, K, V)  # noqa: E741
    loss = (O**2).sum()
    return bl.explain(loss)


def check_attention_head(rec: Any) -> Pairs:
    Q, K, V, out = of(rec, "Q", "K", "V", "O")
    s = 1 / np.sqrt(Q.shape[1])
    e = np.exp(s * Q @ K.T)
    P = e / e.sum(1, keepdims=True)
    g = 2 * out
    dP = g @ V.T
    dS = P * (dP - (P * dP).sum(1, keepdims=True))
    return list(zip("QKV", (s * dS @ K, s * dS.T @ Q, P.T @ g), gradients(rec, *"QKV"), strict=True))


# -- penalties and depth -----------------------------------------------------------------------------------------------


def l2_penalty() -> Any:
    w, x, y = leaf(2.0), data(1.5), data(1.0)
    λ = data(0.1)
    e = w * x - y
    L = e**2
    R = λ * w**2
    loss = L + R
    return bl.explain(loss)


def check_l2_penalty(rec: Any) -> Pairs:
    w, x, e, λ = of(rec, "w", "x", "e", "λ")
    return [("w", 2 * e * x + 2 * λ * w, rec.node("w").upstream)]


def network_2_2_1() -> Any:
    x, target = data([[0.05], [0.10]]), data([[0.01]])
    W1, b1 = leaf([[0.15, 0.20], [0.25, 0.30]]), leaf([[0.35], [0.35]])
    W2, b2 = leaf([[0.40, 0.45]]), leaf([[0.60]])
    z1 = W1 @ x + b1
    a1 = bl.sigmoid(z1)
    z2 = W2 @ a1 + b2
    a2 = bl.sigmoid(z2)
    e = a2 - target
    loss = (e**2).sum() / 2
    return bl.explain(loss)


def check_network_2_2_1(rec: Any) -> Pairs:
    x, target, W2, a1, a2 = of(rec, "x", "target", "W2", "a1", "a2")
    delta2 = (a2 - target) * a2 * (1 - a2)
    delta1 = (W2.T @ delta2) * a1 * (1 - a1)
    names = ("z2", "z1", "W2", "b2", "W1", "b1")
    expected = (delta2, delta1, delta2 @ a1.T, delta2, delta1 @ x.T, delta1)
    return list(zip(names, expected, gradients(rec, *names), strict=True))


def ten_sigmoids() -> Any:
    x = leaf(0.5)
    h1 = bl.sigmoid(x)
    h2 = bl.sigmoid(h1)
    h3 = bl.sigmoid(h2)
    h4 = bl.sigmoid(h3)
    h5 = bl.sigmoid(h4)
    h6 = bl.sigmoid(h5)
    h7 = bl.sigmoid(h6)
    h8 = bl.sigmoid(h7)
    h9 = bl.sigmoid(h8)
    h10 = bl.sigmoid(h9)
    return bl.explain(h10)


def check_ten_sigmoids(rec: Any) -> Pairs:
    values = np.array(of(rec, *(f"h{k}" for k in range(1, 11))))
    gradient = rec.node("x").upstream
    return [("x", np.prod(values * (1 - values)), gradient), ("the bound", True, bool(gradient <= 0.25**10))]


RESULTS = (
    Result(
        "sigmoid-neuron",
        "The sigmoid neuron",
        "A weighted sum through a sigmoid. Multiplication swaps its inputs, addition passes the gradient on, and the "
        "sigmoid scales it by a slope that its own output gives.",
        sigmoid_neuron,
        ("w0", "x1", "w2"),
        (r"\sigma'(z) = \sigma(z)\,(1 - \sigma(z))", r"\frac{\partial f}{\partial w_i} = f\,(1 - f)\, x_i"),
        "The slope of the sigmoid is at most 1/4, where z = 0.",
        check_sigmoid_neuron,
    ),
    Result(
        "softmax-cross-entropy",
        "Softmax and cross-entropy",
        "The loss of a classifier, for the scores z of two samples with three classes. The exponentials and the "
        "logarithm undo each other, and what is left is a difference.",
        softmax_cross_entropy,
        ("z",),
        (r"\frac{\partial L}{\partial z} = \frac{p - y}{N}, \qquad p = \operatorname{softmax}(z)",),
        "What was predicted minus what was asked for (y one-hot), shared out over the N samples.",
        check_softmax_cross_entropy,
    ),
    Result(
        "linear-layer",
        "The linear layer",
        "Three samples through a layer with two inputs and two outputs. With δ for the gradient of the output, each "
        "gradient has the shape of what it belongs to, and there is one way only to multiply the shapes together.",
        linear_layer,
        ("X", "W", "b"),
        (
            r"Y = X W^{\top} + b, \qquad \delta = \frac{\partial L}{\partial Y}",
            r"\frac{\partial L}{\partial X} = \delta\, W, \qquad \frac{\partial L}{\partial W} = \delta^{\top} X, "
            r"\qquad \frac{\partial L}{\partial b} = \sum_{\text{rows}} \delta",
        ),
        "The bias is used once for every row, so its gradient is the sum over the rows.",
        check_linear_layer,
    ),
    Result(
        "batch-norm",
        "Batch normalisation",
        "Each column is brought to mean 0 and variance 1 across the batch. Because the mean and the variance depend on "
        "every sample, so does every gradient.",
        batch_norm,
        ("x", "γ", "β"),
        (
            r"\frac{\partial L}{\partial x} = \frac{1}{s}\left(h - \overline{h} - \hat{x} \odot "
            r"\overline{h \odot \hat{x}}\right), \qquad h = \gamma \odot \frac{\partial L}{\partial y}",
        ),
        "The bar is the mean over the batch. What would only shift or scale the column is taken out of the gradient.",
        check_batch_norm,
    ),
    Result(
        "layer-norm",
        "Layer normalisation",
        "Each row is brought to mean 0 and variance 1 on its own: the formula is that of batch normalisation, with the "
        "means along the row, and no sample sees another.",
        layer_norm,
        ("x", "γ", "β"),
        (
            r"\frac{\partial L}{\partial x} = \frac{1}{s}\left(h - \overline{h} - \hat{x} \odot "
            r"\overline{h \odot \hat{x}}\right), \qquad h = \gamma \odot \frac{\partial L}{\partial y}",
        ),
        "The bar is the mean along each row.",
        check_layer_norm,
    ),
    Result(
        "attention-head",
        "An attention head",
        "Two queries, two keys, two values. The values get back what their weights pass on; the gradient of the scores "
        "goes through the softmax, which makes its rows sum to zero, and then to queries and keys.",
        attention_head,
        ("V", "Q", "K"),
        (
            r"O = P V, \qquad P = \operatorname{softmax}(S), \qquad S = s\, Q K^{\top}, \qquad s = 1/\sqrt{d}",
            r"dV = P^{\top} dO, \qquad dP = dO\, V^{\top}, \qquad "
            r"dS = P \odot \Big(dP - \sum_{\text{row}} P \odot dP\Big)",
            r"dQ = s\, dS\, K, \qquad dK = s\, dS^{\top} Q",
        ),
        "Here dA stands for the gradient of the loss by A.",
        check_attention_head,
    ),
    Result(
        "l2-penalty",
        "The L2 penalty",
        "A squared error and a penalty on the weight. The weight is used twice, so its gradient is a sum over paths: "
        "one through the error, one through the penalty.",
        l2_penalty,
        ("w",),
        (r"\frac{\partial}{\partial w}\left(L + \lambda w^2\right) = \frac{\partial L}{\partial w} + 2 \lambda w",),
        "The penalty pulls every weight towards 0 in proportion to its size: weight decay.",
        check_l2_penalty,
    ),
    Result(
        "max-margin",
        "The max-margin loss",
        "Scores of three samples with classes 1 and −1. Only samples inside the margin have a gradient.",
        max_margin,
        ("s", "w"),
        (
            r"L = \frac{1}{n} \sum_i \max(0,\; 1 - y_i s_i), \qquad \frac{\partial L}{\partial s_i} = "
            r"-\frac{y_i}{n}\,\left[\, y_i s_i < 1 \,\right]",
        ),
        "The samples with a gradient are the support vectors; all others can be left out without changing anything.",
        check_max_margin,
    ),
    Result(
        "network-2-2-1",
        "A 2-2-1 network",
        "Two inputs, two hidden units, one output, sigmoids throughout. The gradients of the sums z, called δ, follow "
        "from each other going back; the gradients of weights and biases follow from the δ of their layer.",
        network_2_2_1,
        ("W2", "b2", "W1", "b1"),
        (
            r"\delta^{l} = \left((W^{l+1})^{\top} \delta^{l+1}\right) \odot \sigma'(z^{l})",
            r"\frac{\partial L}{\partial W^{l}} = \delta^{l}\, (a^{l-1})^{\top}, \qquad "
            r"\frac{\partial L}{\partial b^{l}} = \delta^{l}",
        ),
        "This is backpropagation as it is written for any number of layers.",
        check_network_2_2_1,
    ),
    Result(
        "ten-sigmoids",
        "Vanishing through ten sigmoids",
        "Ten sigmoids, one after the other. The gradient is the product of ten slopes, none larger than a quarter.",
        ten_sigmoids,
        ("x",),
        (
            r"\frac{\partial h_{10}}{\partial x} = \prod_{k=1}^{10} h_k\,(1 - h_k) \;\le\; "
            r"\left(\tfrac{1}{4}\right)^{10} \approx 9.5 \times 10^{-7}",
        ),
        "With every layer the gradient shrinks to less than a quarter, unless large weights make up for it.",
        check_ten_sigmoids,
    ),
)
