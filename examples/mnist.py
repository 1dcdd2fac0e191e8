"""Published MNIST results, reproduced. Run it: python examples/mnist.py FOLDER [adam|quadratic|cross-entropy ...]

FOLDER holds the four MNIST files. The configurations are Nielsen's "Neural networks and deep learning", chapters 1 and
3 (784-30-10 with the quadratic cost: 95.4 %; 784-100-10 with cross-entropy and L2: 98.0 %) and the usual 784-256-10
with ReLU and Adam.
"""

import sys
import time

import numpy as np

import backlit as bl
from backlit import nn
from backlit.datasets import mnist


def nielsen_(model):
    """Weights from N(0, 1/fan-in), biases from N(0, 1), as in the book's network2."""
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, layer.in_features**-0.5)
            nn.init.normal_(layer.bias, 0.0, 1.0)


def plain_normal_(model):
    """Everything from N(0, 1), as in the book's first network."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 1.0)


def one_hot(labels):
    return np.eye(10, dtype=np.float32)[labels]


def run(name, model, optimizer, loss_of, x, y, x_test, y_test, batch, epochs, seed=0):
    """Train with shuffled mini-batches; print and return the test accuracy after the last epoch and the best one."""
    rng = np.random.default_rng(seed)
    best = accuracy = 0.0
    start = time.perf_counter()
    test = bl.tensor(x_test)
    for epoch in range(1, epochs + 1):
        order = rng.permutation(len(x))
        for i in range(0, len(x), batch):
            rows = order[i : i + batch]
            loss = loss_of(model(bl.tensor(x[rows])), bl.tensor(y[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with bl.no_grad():
            accuracy = float((model(test).argmax(1).numpy() == y_test).mean())
        best = max(best, accuracy)
        print(
            f"{name}: epoch {epoch}/{epochs}  test accuracy {accuracy:.4f}  {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return accuracy, best


def adam(x, y, x_test, y_test):
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = bl.optim.Adam(model.parameters())
    return run(
        "784-256-10 ReLU, Adam, batch 128", model, optimizer, nn.CrossEntropyLoss(), x, y, x_test, y_test, 128, 10
    )


def quadratic(x, y, x_test, y_test):
    """C = 1/(2n) Σ‖y − a‖²; the first 50,000 images train, as in the book."""
    model = nn.Sequential(nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())
    plain_normal_(model)
    optimizer = bl.optim.SGD(model.parameters(), lr=3.0)
    cost = lambda a, t: 0.5 * ((a - t) ** 2).sum() / len(a)  # noqa: E731
    return run(
        "784-30-10 sigmoid, quadratic", model, optimizer, cost, x[:50000], one_hot(y[:50000]), x_test, y_test, 10, 30
    )


def cross_entropy(x, y, x_test, y_test):
    """C = −1/n Σ [y ln a + (1 − y) ln(1 − a)] + λ/2n Σw², λ = 5, on the first 50,000 images."""
    model = nn.Sequential(nn.Linear(784, 100), nn.Sigmoid(), nn.Linear(100, 10))
    nielsen_(model)
    n = 50000
    weights = [p for p in model.parameters() if p.ndim == 2]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": 5.0 / n}, {"params": biases}]
    optimizer = bl.optim.SGD(groups, lr=0.1)
    cost = lambda z, t: nn.functional.binary_cross_entropy_with_logits(z, t, reduction="sum") / len(z)  # noqa: E731
    return run(
        "784-100-10 sigmoid, cross-entropy, L2", model, optimizer, cost, x[:n], one_hot(y[:n]), x_test, y_test, 10, 60
    )


CONFIGURATIONS = {"adam": (adam, 0.978), "quadratic": (quadratic, 0.948), "cross-entropy": (cross_entropy, 0.977)}


def main():
    if len(sys.argv) < 2 or set(sys.argv[2:]) - set(CONFIGURATIONS):
        raise SystemExit(__doc__)
    data = mnist(sys.argv[1]).scaled()
    failed = []
    for name in sys.argv[2:] or CONFIGURATIONS:
        bl.manual_seed(0)
        configuration, wanted = CONFIGURATIONS[name]
        last, best = configuration(data.x_train, data.y_train, data.x_test, data.y_test)
        print(f"{name}: test accuracy {last:.4f} after the last epoch, {best:.4f} at best; wanted {wanted}")
        if last < wanted:
            failed.append(name)
    if failed:
        raise SystemExit(f"below the published results: {', '.join(failed)}")


if __name__ == "__main__":
    main()
