"""Lecture examples of backpropagation, number for number. Run it: python examples/worked_examples.py"""

import numpy as np
from rich.console import Console
from rich.table import Table

import backlit as bl
from backlit.graph import WalkObserver, mode

console = Console()


class Steps(WalkObserver):
    """Collects one row per node of the backward pass: operation, gate, upstream gradient, what was handed down."""

    def __init__(self):
        self.rows = []

    def leave(self, node, upstream, downstream):
        handed = "  ".join("–" if d is None else f"{np.round(np.asarray(d), 4)}" for d in downstream)
        self.rows.append(
            (node.name, str(node.source.text), f"{np.round(np.asarray(upstream), 4)}", handed, node.op.gate)
        )


def show(title, loss, **leaves):
    """Run the backward pass under observation and print every step, then the gradients of the named leaves."""
    steps = Steps()
    mode.walkers = (steps,)
    loss.backward()
    mode.walkers = ()
    table = Table(
        "operation", "your line", "upstream", "downstream, per input", "gate", title=f"{title} = {loss.item():.4g}"
    )
    for row in steps.rows:
        table.add_row(*row)
    console.print(table)
    console.print("  " + "   ".join(f"∂/∂{name} = {np.round(t.grad.numpy(), 4)}" for name, t in leaves.items()) + "\n")


def leaf(value):
    return bl.tensor(value, dtype=bl.float64, requires_grad=True)


def sum_and_product():
    """f = (x + y) z at (−2, 5, −4)."""
    x, y, z = leaf(-2.0), leaf(5.0), leaf(-4.0)
    q = x + y
    f = q * z
    show("f = (x + y) z", f, x=x, y=y, z=z)


def one_weight():
    """ŷ = w x, loss = (ŷ − y)² at x = 1, y = 2, w = 1."""
    x, y, w = 1.0, 2.0, leaf(1.0)
    prediction = w * x
    s = prediction - y
    loss = s**2
    show("loss = (w x − y)²", loss, w=w)


def sigmoid_neuron():
    """σ(w0 x0 + w1 x1 + w2), taken apart into its smallest gates."""
    w0, x0, w1, x1, w2 = (leaf(v) for v in (2.0, -1.0, -3.0, -2.0, -3.0))
    z = w0 * x0 + w1 * x1 + w2
    e = (-z).exp()
    f = 1 / (1 + e)
    show("σ(w·x + b)", f, w0=w0, x0=x0, w1=w1, x1=x1, w2=w2)


def two_two_one_network():
    """Two inputs, two hidden sigmoid units, one output: the engine against the δ-recursion written out."""
    x = np.array([0.05, 0.10])
    w1, b1 = np.array([[0.15, 0.20], [0.25, 0.30]]), np.array([0.35, 0.35])
    w2, b2, target = np.array([[0.40, 0.45]]), np.array([0.60]), np.array([0.01])
    a1 = 1 / (1 + np.exp(-(w1 @ x + b1)))
    a2 = 1 / (1 + np.exp(-(w2 @ a1 + b2)))
    delta2 = (a2 - target) * a2 * (1 - a2)
    delta1 = (w2.T @ delta2) * a1 * (1 - a1)
    by_hand = {"W1": np.outer(delta1, x), "b1": delta1, "W2": np.outer(delta2, a1), "b2": delta2}
    params = {"W1": leaf(w1), "b1": leaf(b1), "W2": leaf(w2), "b2": leaf(b2)}
    hidden = bl.sigmoid(params["W1"] @ bl.tensor(x) + params["b1"])
    output = bl.sigmoid(params["W2"] @ hidden + params["b2"])
    (0.5 * ((output - bl.tensor(target)) ** 2).sum()).backward()
    table = Table("parameter", "engine", "δ-recursion", "largest difference", title="2-2-1 network, ½(a − t)²")
    for name, parameter in params.items():
        engine = parameter.grad.numpy()
        table.add_row(
            name, str(engine.round(8)), str(by_hand[name].round(8)), f"{np.abs(engine - by_hand[name]).max():.1e}"
        )
    console.print(table)


def matrix_product():
    """dX = dY Wᵀ and dW = Xᵀ dY, with their shapes."""
    rng = np.random.default_rng(0)
    x, w, upstream = (rng.integers(-3, 4, size=s).astype(float) for s in ((2, 3), (3, 4), (2, 4)))
    tx, tw = leaf(x), leaf(w)
    (tx @ tw).backward(gradient=bl.tensor(upstream))
    console.print("matrix product Y = X W, upstream dY:")
    console.print(f"  dX = dY Wᵀ (2×3) = (2×4)(4×3):\n{tx.grad.numpy()}\n  by hand:\n{upstream @ w.T}")
    console.print(f"  dW = Xᵀ dY (3×4) = (3×2)(2×4):\n{tw.grad.numpy()}\n  by hand:\n{x.T @ upstream}\n")


if __name__ == "__main__":
    sum_and_product()
    one_weight()
    sigmoid_neuron()
    matrix_product()
    two_two_one_network()
