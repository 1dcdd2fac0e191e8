"""What a compiled step says of itself: loops with the user's lines, a plan, measured times."""

from __future__ import annotations

import numpy as np
import pytest
from networks import Training, batches

import backlit as bl
from backlit.compile import TraceError


def trained() -> tuple[Training, bl.compile.Compiled]:
    training = Training((6, 8, 4), bl.nn.ReLU, bl.nn.CrossEntropyLoss)
    step = bl.compile(training.step)
    for x, y in batches(3, 8, 6, 4, classes=True):
        step(x, y)
    return training, step


def test_loops_name_lines_parameters_and_writes() -> None:
    text = trained()[1].explain()
    assert "networks.py" in text and "loss = self.loss(self.net(x), y)" in text
    assert "@ net.0.weight.T" in text
    assert "net.0.weight, in place" in text
    assert "for each of 8×8 elements:" in text


def test_the_plan_counts_work_and_memory() -> None:
    _, step = trained()
    plan = step.plan()
    assert plan.arena == step._latest().executable.arena.size
    products = 2 * 8 * (6 * 8 + 8 * 4) + 2 * 8 * (4 * 8) + 2 * 8 * (4 * 8 + 8 * 6)
    assert products <= sum(r.flops for r in plan.regions) <= 3 * products
    assert "arena" in str(plan) and all(r.least > 0 or not r.flops for r in plan.regions)


def test_a_profile_makes_steps_and_measures_them() -> None:
    training, step = trained()
    ((x, y),) = batches(1, 8, 6, 4, classes=True)
    before = training.optimizer.state_dict()["state"][0]["step"].item()
    plan = step.profile(x, y, steps=5)
    assert training.optimizer.state_dict()["state"][0]["step"].item() > before + 5
    assert all(r.seconds is not None and 0 <= r.seconds < 1 for r in plan.regions)
    assert np.isfinite(sum(r.seconds or 0.0 for r in plan.regions))


def test_nothing_to_explain_before_the_first_call() -> None:
    with pytest.raises(TraceError, match="call the function first"):
        bl.compile(lambda x: x + 1).plan()
