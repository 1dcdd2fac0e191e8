"""Published MNIST results, reproduced.

Run it: python examples/mnist.py FOLDER [adam|quadratic|cross-entropy ...] [--eager] [--threads N]

FOLDER holds the four MNIST files. The training step is compiled unless ``--eager`` is given. The configurations are
Nielsen's "Neural networks and deep learning", chapters 1 and 3 (784-30-10 with the quadratic cost: 95.4 %; 784-100-10
with cross-entropy and L2: 98.0 %) and the usual 784-256-10 with ReLU and Adam.
"""

import argparse
import time

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

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


def training_step(model, optimizer, loss_of, compiled):
    """One step as a function of a batch."""

    def step(inputs, targets):
        loss = loss_of(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return bl.compile(step) if compiled else step


def run(name, model, optimizer, loss_of, data, batch, epochs, compiled, seed=0):
    """Train with shuffled mini-batches; print and return the test accuracy after the last epoch and the best one."""
    x, y, x_test, y_test = data
    rng = np.random.default_rng(seed)
    step = training_step(model, optimizer, loss_of, compiled)
    best = accuracy = spent = 0.0
    test = bl.tensor(x_test)
    with Progress(TextColumn(name), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        bar = progress.add_task("", total=epochs)
        for epoch in range(1, epochs + 1):
            order = rng.permutation(len(x))
            start = time.perf_counter()
            for i in range(0, len(x), batch):
                rows = order[i : i + batch]
                step(bl.tensor(x[rows]), bl.tensor(y[rows]))
            spent += time.perf_counter() - start
            with bl.no_grad():
                accuracy = float((model(test).argmax(1).numpy() == y_test).mean())
            best = max(best, accuracy)
            progress.advance(bar)
            told = f"{name}: epoch {epoch}/{epochs}  test accuracy {accuracy:.4f}  {spent:.1f} s in training"
            progress.console.print(told, soft_wrap=True)
    return accuracy, best


def adam(x, y, x_test, y_test, compiled=True):
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = bl.optim.Adam(model.parameters())
    name, data = "784-256-10 ReLU, Adam, batch 128", (x, y, x_test, y_test)
    return run(name, model, optimizer, nn.CrossEntropyLoss(), data, 128, 10, compiled)


def quadratic(x, y, x_test, y_test, compiled=True):
    """C = 1/(2n) Σ‖y − a‖²; the first 50,000 images train, as in the book."""
    model = nn.Sequential(nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())
    plain_normal_(model)
    optimizer = bl.optim.SGD(model.parameters(), lr=3.0)
    cost = lambda a, t: 0.5 * ((a - t) ** 2).sum() / len(a)  # noqa: E731
    data = x[:50000], one_hot(y[:50000]), x_test, y_test
    return run("784-30-10 sigmoid, quadratic", model, optimizer, cost, data, 10, 30, compiled)


def cross_entropy(x, y, x_test, y_test, compiled=True):
    """C = −1/n Σ [y ln a + (1 − y) ln(1 − a)] + λ/2n Σw², λ = 5, on the first 50,000 images."""
    model = nn.Sequential(nn.Linear(784, 100), nn.Sigmoid(), nn.Linear(100, 10))
    nielsen_(model)
    n = 50000
    weights = [p for p in model.parameters() if p.ndim == 2]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": 5.0 / n}, {"params": biases}]
    optimizer = bl.optim.SGD(groups, lr=0.1)
    cost = lambda z, t: nn.functional.binary_cross_entropy_with_logits(z, t, reduction="sum") / len(z)  # noqa: E731
    data = x[:n], one_hot(y[:n]), x_test, y_test
    return run("784-100-10 sigmoid, cross-entropy, L2", model, optimizer, cost, data, 10, 60, compiled)


CONFIGURATIONS = {"adam": (adam, 0.978), "quadratic": (quadratic, 0.948), "cross-entropy": (cross_entropy, 0.977)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="where the four files are")
    parser.add_argument("configurations", nargs="*", help=", ".join(CONFIGURATIONS))
    parser.add_argument("--eager", action="store_true", help="do not compile the training step")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if set(given.configurations) - set(CONFIGURATIONS):
        parser.error(f"configurations are {', '.join(CONFIGURATIONS)}")
    bl.set_num_threads(given.threads)
    data = mnist(given.folder).scaled()
    failed = []
    for name in given.configurations or CONFIGURATIONS:
        bl.manual_seed(0)
        configuration, wanted = CONFIGURATIONS[name]
        last, best = configuration(data.x_train, data.y_train, data.x_test, data.y_test, not given.eager)
        print(f"{name}: test accuracy {last:.4f} after the last epoch, {best:.4f} at best; wanted {wanted}")
        if last < wanted:
            failed.append(name)
    if failed:
        raise SystemExit(f"below the published results: {', '.join(failed)}")


if __name__ == "__main__":
    main()
