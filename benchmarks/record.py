"""What a record costs: a training step's forward and backward pass under bl.record() against the same step without.

The target is at most 3 times the plain step, for the 784-256-10 network and a batch of 32. Statistics are computed at
once under keep="stats", and when somebody asks under keep="all".

Run it: python benchmarks/record.py
"""

from __future__ import annotations

from harness import interleaved, one_thread, report

one_thread()

import numpy as np

import backlit as bl

SIZES = (784, 256, 10)
BATCH = 32


def passes():
    """One step's forward and backward pass, as its users write it."""
    rng = np.random.default_rng(0)
    model = bl.nn.Sequential(bl.nn.Linear(SIZES[0], SIZES[1]), bl.nn.ReLU(), bl.nn.Linear(SIZES[1], SIZES[2]))
    x = bl.tensor(rng.normal(size=(BATCH, SIZES[0])).astype(np.float32))
    y = bl.tensor(rng.integers(0, SIZES[2], size=BATCH))

    def step():
        for parameter in model.parameters():
            parameter.grad = None
        logits = model(x)
        loss = bl.nn.functional.cross_entropy(logits, y)
        loss.backward()

    return step


def recorded(step, keep):
    """The same step inside a record."""

    def run():
        with bl.record(keep=keep):
            step()

    return run


def main():
    step = passes()
    times = interleaved(
        {
            'recorded, keep="all"': recorded(step, "all"),
            'recorded, keep="stats"': recorded(step, "stats"),
            "recorded, a filter that keeps nothing": recorded(step, lambda brief: False),
            "plain": step,
        },
        rounds=100,
    )
    report("784-256-10, batch 32, forward and backward (target: at most 3.00)", times, "plain")


if __name__ == "__main__":
    main()
