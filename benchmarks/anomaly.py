"""What watching for NaN costs while there is none: inside `fit`, and under `detect_anomaly`, PyTorch's beside it.

Run it: python benchmarks/anomaly.py
"""

from __future__ import annotations

from contextlib import nullcontext
from unittest import mock

from harness import interleaved, one_thread, report

one_thread()

import numpy as np
from rich.console import Console

import backlit as bl
from backlit.train import Trainer, fit
from backlit.train import native
from backlit.train import trainer as training

BATCH, BATCHES, ROUNDS, EPOCHS = 32, 100, 12, 6
SIZES = (784, 256, 10)


def network(nn):
    """A perceptron, in the vocabulary of Backlit's or PyTorch's ``nn``."""
    return nn.Sequential(nn.Linear(SIZES[0], SIZES[1]), nn.ReLU(), nn.Linear(SIZES[1], SIZES[2]))


def unwatched(compiled):
    """``fit`` without any check, re-run material or careful update."""
    if compiled:
        return (
            mock.patch.object(native, "finite_sum", lambda checks: None),
            mock.patch("backlit.compile.assumptions.assume", lambda condition: None),
            mock.patch.object(training.Retracer, "before_batch", lambda self: None),
        )

    def finished(self, inputs, target):
        return 0.0

    return (
        mock.patch.object(Trainer, "_check_gradients", finished),
        mock.patch.object(training.Retracer, "before_batch", lambda self: None),
        mock.patch.object(training.Retracer, "update", lambda self, size: self._trainer.optimizer.step()),
    )


def fit_ratio(rng, compiled):
    """How many times longer an epoch of ``fit`` takes with the checks: the median of pairs that take turns."""
    x = rng.random((BATCH * BATCHES, SIZES[0]), dtype=np.float32)
    y = rng.integers(0, SIZES[2], len(x))
    model = network(bl.nn)
    optimizer = bl.optim.Adam(model.parameters(), lr=1e-5)

    def epoch():
        history = fit(
            model,
            (x, y),
            loss=bl.nn.CrossEntropyLoss(),
            optimizer=optimizer,
            epochs=EPOCHS,
            metrics=[],
            progress=False,
            compile=compiled,
        )
        return min(history.seconds[1:])  # in the first one code is made

    def bare():
        first, second, third = unwatched(compiled)
        with first, second, third:
            return epoch()

    ratios = []
    for i in range(ROUNDS + 3):
        watched, plain = (epoch(), bare()) if i % 2 else reversed((bare(), epoch()))
        ratios.append(watched / plain)
    return np.percentile(ratios[3:], [25, 50, 75])


def step_of(library, rng, watch):
    """A training step of the same network, under ``watch()``."""
    x = rng.random((BATCH, SIZES[0]), dtype=np.float32)
    y = rng.integers(0, SIZES[2], BATCH)
    model = network(library.nn)
    x, y = library.tensor(x), library.tensor(y)
    optimizer = library.optim.Adam(model.parameters(), lr=1e-5)
    criterion = library.nn.CrossEntropyLoss()

    def step():
        with watch():
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()

    return step


def main():
    rng = np.random.default_rng(0)
    for compiled in (False, True):
        quarter, median, three = fit_ratio(rng, compiled)
        Console().print(
            f"{'compiled' if compiled else 'eager'} fit with its checks / without, 784-256-10, batch {BATCH}: "
            f"{median:.3f} ({quarter:.3f}-{three:.3f})"
        )
    contestants = {
        "backlit, detect_anomaly": step_of(bl, rng, bl.autograd.detect_anomaly),
        "backlit": step_of(bl, rng, nullcontext),
    }
    report("A step of 784-256-10, batch 32, Adam", interleaved(contestants), "backlit")
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)
    contestants = {
        "torch, detect_anomaly": step_of(torch, rng, lambda: torch.autograd.detect_anomaly(check_nan=True)),
        "torch": step_of(torch, rng, nullcontext),
    }
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns each time that it will be slow
        report("The same in PyTorch", interleaved(contestants), "torch")


if __name__ == "__main__":
    main()
