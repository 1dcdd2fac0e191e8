"""A whole training step, compiled, does what it does eagerly: losses, parameters, optimizer state, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import Training, batches

import backlit as bl
from backlit.errors import GradientError

OPTIMIZERS: dict[str, Any] = {
    "sgd": (bl.optim.SGD, {"lr": 0.1}),
    "momentum": (bl.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "adam": (bl.optim.Adam, {"lr": 0.01}),
    "amsgrad": (bl.optim.Adam, {"lr": 0.01, "amsgrad": True, "maximize": True, "weight_decay": 0.01}),
    "adamw": (bl.optim.AdamW, {"lr": 0.01}),
    "rmsprop": (bl.optim.RMSprop, {"lr": 0.01, "centered": True, "momentum": 0.5}),
    "adagrad": (bl.optim.Adagrad, {"lr": 0.1}),
    "adadelta": (bl.optim.Adadelta, {}),
}


def alike(eager: Training, compiled: Training, tolerance: float) -> None:
    for a, b in zip(eager.state(), compiled.state(), strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_the_eager_step(name: str, dtype: Any) -> None:
    kind, options = OPTIMIZERS[name]
    eager, compiled = (Training(optimizer=kind, dtype=dtype, **options) for _ in range(2))
    step = bl.compile(compiled.step)
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    for x, y in batches(6, 10, 3, 2, dtype):
        np.testing.assert_allclose(float(step(x, y)), float(eager.step(x, y)), rtol=tolerance)
    alike(eager, compiled, tolerance)


@pytest.mark.parametrize("sizes", [(2, 16, 16, 1), (16, 16, 16, 16), (5, 40, 1), (1, 1, 1)])
@pytest.mark.parametrize("activation", [bl.nn.Tanh, bl.nn.ReLU, bl.nn.GELU])
def test_networks_of_other_shapes(sizes: tuple[int, ...], activation: Any) -> None:
    eager, compiled = (Training(sizes, activation, optimizer=bl.optim.SGD, lr=0.05) for _ in range(2))
    step = bl.compile(compiled.step)
    for x, y in batches(5, 33, sizes[0], sizes[-1]):
        np.testing.assert_allclose(float(step(x, y)), float(eager.step(x, y)), rtol=1e-4)
    alike(eager, compiled, 1e-4)


def test_a_hundred_steps_of_classification_end_alike() -> None:
    eager, compiled = (Training((6, 16, 16, 4), bl.nn.ReLU, bl.nn.CrossEntropyLoss, lr=0.01) for _ in range(2))
    step = bl.compile(compiled.step)
    for x, y in batches(100, 32, 6, 4, classes=True):
        a, b = float(eager.step(x, y)), float(step(x, y))
    np.testing.assert_allclose(b, a, rtol=1e-4)


def test_a_label_out_of_range_raises_and_changes_nothing() -> None:
    training = Training((6, 8, 4), bl.nn.ReLU, bl.nn.CrossEntropyLoss)
    step = bl.compile(training.step)
    for x, y in batches(3, 8, 6, 4, classes=True):
        step(x, y)
    before = [a.copy() for a in training.state()]
    y[3] = 4
    with pytest.raises(bl.errors.BacklitError, match="4"):
        step(x, y)
    for a, b in zip(before, training.state(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_scheduled_rate_needs_no_other_program() -> None:
    eager, compiled = Training(), Training()
    step = bl.compile(compiled.step)
    schedules = [bl.optim.lr_scheduler.ExponentialLR(t.optimizer, 0.5) for t in (eager, compiled)]
    for x, y in batches(5, 10, 3, 2):
        step(x, y), eager.step(x, y)
        for schedule in schedules:
            schedule.step()
    alike(eager, compiled, 1e-5)
    assert len(next(iter(step._forms.values()))) == 1


def test_batch_sizes_take_turns() -> None:
    eager, compiled = Training(), Training()
    step = bl.compile(compiled.step)
    for _ in range(3):
        for rows in (8, 3, 17):
            ((x, y),) = batches(1, rows, 3, 2)
            np.testing.assert_allclose(float(step(x, y)), float(eager.step(x, y)), rtol=1e-5)
    alike(eager, compiled, 1e-5)


def test_eager_and_compiled_steps_mix() -> None:
    eager, mixed = Training(), Training()
    step = bl.compile(mixed.step)
    for i, (x, y) in enumerate(batches(8, 10, 3, 2)):
        eager.step(x, y)
        mixed.step(x, y) if i in (3, 4, 6) else step(x, y)
    alike(eager, mixed, 1e-5)


def test_gradients_that_were_used_up_say_so() -> None:
    training = Training()
    step = bl.compile(training.step)
    for x, y in batches(3, 10, 3, 2):
        step(x, y)
    parameter = next(training.net.parameters())
    with pytest.raises(GradientError, match="gradients=True"):
        parameter.grad + 1
    training.optimizer.zero_grad()
    assert parameter.grad is None


def test_gradients_are_kept_when_asked_for() -> None:
    eager, compiled = Training(), Training()
    step = bl.compile(compiled.step, gradients=True)
    for x, y in batches(3, 10, 3, 2):
        step(x, y), eager.step(x, y)
    for p, q in zip(eager.net.parameters(), compiled.net.parameters(), strict=True):
        np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_state_goes_to_a_checkpoint_and_back() -> None:
    eager, compiled = Training(), Training()
    step = bl.compile(compiled.step)
    given = list(batches(6, 10, 3, 2))
    for x, y in given[:3]:
        step(x, y), eager.step(x, y)
    saved = compiled.optimizer.state_dict()
    assert saved["state"][0]["step"].item() == 3
    compiled.optimizer.load_state_dict(saved)
    for x, y in given[3:]:
        step(x, y), eager.step(x, y)
    alike(eager, compiled, 1e-5)
