"""What a compiled step says of itself: loops with the user's lines, a plan, measured times."""

from __future__ import annotations

from typing import Any

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


def test_a_step_is_told_with_names_of_arguments_modules_and_what_is_updated() -> None:
    text = trained()[1].explain()
    assert "## net.0, net.1: product, add, maximum" in text and " = x @ net.0.weight.T" in text
    assert "## update of net.0.weight" in text and "update of net.0.weight.exp_avg" not in text
    assert "positions == y" in text, "dimensions of one element are left out"
    assert "## gradient of net.0: product" in text and "(net.0, gradient)" in text
    assert "k0 = 0.9," in text and text.count("k0 = ") == 1


def test_tensors_in_containers_have_names_too() -> None:
    step = bl.compile(lambda pair, *rest, scale: pair["a"] * pair["b"] + rest[0] * scale)
    one = bl.tensor(np.ones(3, np.float32))
    step({"a": one, "b": one + 1}, one + 2, scale=one + 3)
    assert all(name in step.explain() for name in ("pair.a", "pair.b", "rest0", "scale"))


def test_convolutions_are_told_from_their_gradients() -> None:
    net = bl.nn.Sequential(bl.nn.Conv2d(1, 4, 3, padding=1), bl.nn.ReLU(), bl.nn.MaxPool2d(2), bl.nn.Flatten())
    optimizer = bl.optim.SGD(net.parameters(), lr=0.1)

    def step(x: bl.Tensor) -> bl.Tensor:
        loss = (net(x) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    step = bl.compile(step)
    for _ in range(2):
        step(bl.tensor(np.ones((2, 1, 8, 8), np.float32)))
    titles = [r.title for r in step.plan().regions]
    assert any(t.startswith("net.0: Convol") for t in titles)
    assert any(t.startswith("gradient of net.0: Convol") for t in titles)


def test_the_plan_counts_work_and_memory() -> None:
    _, step = trained()
    plan = step.plan()
    assert plan.arena == step._latest().executable.arena.size
    products = 2 * 8 * (6 * 8 + 8 * 4) + 2 * 8 * (4 * 8) + 2 * 8 * (4 * 8 + 8 * 6)
    assert products <= sum(r.flops for r in plan.regions) <= 3 * products
    assert sum(r.flops for r in plan.regions) == plan.flops and plan.seconds is plan.around is None
    assert [r.least for r in plan.longest()] == sorted([r.least for r in plan.regions], reverse=True)[:10]
    assert "arena" in str(plan) and all(r.least > 0 or not r.flops for r in plan.regions)


def test_a_profile_makes_steps_and_measures_them() -> None:
    training, step = trained()
    ((x, y),) = batches(1, 8, 6, 4, classes=True)
    before = training.optimizer.state_dict()["state"][0]["step"].item()
    plan = step.profile(x, y, steps=5)
    assert training.optimizer.state_dict()["state"][0]["step"].item() > before + 5
    assert all(r.seconds is not None and 0 <= r.seconds < 1 for r in plan.regions)
    assert plan.around is not None and 0 <= plan.around < 0.1 and "µs around it" in str(plan)
    assert plan.seconds == sum(r.seconds for r in plan.regions if r.seconds is not None)
    shares = [float(line.split("%")[0].split()[-1]) for line in str(plan).splitlines() if "%" in line]
    assert len(shares) == len(plan.regions) and abs(sum(shares) - 100) < 0.1 * len(shares)
    assert np.isfinite(sum(r.seconds or 0.0 for r in plan.regions))


def test_products_that_pass_over_zeros_say_so(one_thread: None) -> None:
    training = Training((500, 80, 10), bl.nn.ReLU, bl.nn.CrossEntropyLoss)
    step = bl.compile(training.step)
    for x, y in batches(2, 300, 500, 10, classes=True):
        step(x, y)
    told = [line for line in step.explain().splitlines() if "passes over zeros of" in line]
    assert len(told) == 1 and "@ x" in told[0], "the first weight's gradient"


def test_regions_that_threads_share_are_told_as_such(number_of_threads: Any) -> None:
    number_of_threads(2)
    training = Training((256, 512, 10), bl.nn.ReLU, bl.nn.CrossEntropyLoss)
    step = bl.compile(training.step)
    for x, y in batches(2, 256, 256, 10, classes=True):
        step(x, y)
    plan = step.plan()
    assert {1, 2} >= {r.parts for r in plan.regions} >= {2}
    assert "loops in 2 shares, one after the other in each:" in step.explain()


def test_nothing_to_explain_before_the_first_call() -> None:
    with pytest.raises(TraceError, match="call the function first"):
        bl.compile(lambda x: x + 1).plan()
