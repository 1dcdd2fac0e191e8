"""Gradients in a compiled step: of intermediate values, over several calls, for several optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.errors import GradientError

nn = bl.nn
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 3)).astype(np.float32), RNG.normal(size=(8, 2)).astype(np.float32)


class Model(nn.Module):
    """A perceptron whose hidden values can be got at."""

    def __init__(self) -> None:
        super().__init__()
        bl.manual_seed(0)
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Any) -> tuple[Any, Any]:
        hidden = bl.tanh(self.first(x))
        return self.second(hidden), hidden


def batch(i: int) -> tuple[Any, Any]:
    return bl.tensor(X + i), bl.tensor(Y)


def same(make: Any, calls: int = 5) -> None:
    """Make a step twice and run it eagerly and compiled; results and parameters must agree."""
    (step, model), (other, twin) = make(), make()
    compiled = bl.compile(other)
    for i in range(calls):
        for a, b in zip(step(*batch(i)), compiled(*batch(i)), strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-4, atol=1e-6)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert len(compiled._forms.all()) == 1


def test_retained_gradients_of_intermediate_values() -> None:
    def make() -> Any:
        model = Model()
        optimizer = bl.optim.Adam(model.parameters(), lr=0.05)

        def step(x: Any, y: Any) -> Any:
            out, hidden = model(x)
            hidden.retain_grad()
            loss = nn.functional.mse_loss(out, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.detach(), hidden.grad, hidden.detach()

        return step, model

    same(make)


def test_grad_of_intermediate_values_and_arguments() -> None:
    def make() -> Any:
        model = Model()

        def step(x: Any, y: Any) -> Any:
            x = x.clone().requires_grad_()
            out, hidden = model(x)
            loss = nn.functional.mse_loss(out, y)
            return (*bl.autograd.grad(loss, [hidden, x]), loss.detach())

        return step, model

    same(make)


def test_penalised_gradients_are_differentiated_twice() -> None:
    def make() -> Any:
        model = Model()
        optimizer = bl.optim.SGD(model.parameters(), lr=0.05)

        def step(x: Any, y: Any) -> Any:
            x = x.clone().requires_grad_()
            out, _ = model(x)
            (slope,) = bl.autograd.grad(out.sum(), x, create_graph=True)
            loss = nn.functional.mse_loss(out, y) + slope.square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return (loss.detach(),)

        return step, model

    same(make)


def test_gradients_are_accumulated_over_calls() -> None:
    def run(compiled: bool) -> list[Any]:
        model = Model()
        optimizer = bl.optim.SGD(model.parameters(), lr=0.1)

        def add(x: Any, y: Any) -> Any:
            loss = nn.functional.mse_loss(model(x)[0], y) / 4
            loss.backward()
            return loss.detach()

        def apply() -> None:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()

        if compiled:
            add, apply = bl.compile(add), bl.compile(apply)
        for _ in range(4):
            for i in range(4):
                add(*batch(i))
            apply()
        return [p.detach().numpy() for p in model.parameters()]

    for a, b in zip(run(False), run(True), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("schedule", ["ExponentialLR", "CosineAnnealingLR"])
def test_two_optimizers_take_turns_with_scheduled_rates(schedule: str) -> None:
    def run(compiled: bool) -> list[Any]:
        generator, judge = Model(), Model()
        one = bl.optim.Adam(generator.parameters(), lr=0.02)
        two = bl.optim.SGD(judge.parameters(), lr=0.05, momentum=0.9)
        options: tuple[Any, ...] = (0.7,) if schedule == "ExponentialLR" else (5,)
        schedules = [getattr(bl.optim.lr_scheduler, schedule)(o, *options) for o in (one, two)]

        def step(x: Any, y: Any) -> Any:
            made, _ = generator(x)
            wide = bl.cat([made, y[:, :1]], dim=1)
            verdict = judge(wide.detach())[0].square().mean()
            two.zero_grad()
            verdict.backward()
            nn.utils.clip_grad_value_(judge.parameters(), 0.1)
            two.step()
            loss = judge(wide)[0].mean()
            one.zero_grad()
            loss.backward()
            one.step()
            return verdict.detach(), loss.detach()

        run_step = bl.compile(step) if compiled else step
        found = []
        for i in range(5):
            found += [float(v) for v in run_step(*batch(i))]
            for s in schedules:
                s.step()
        if compiled:
            assert len(run_step._forms.all()) == 1
        return [*found, *[p.detach().numpy().sum() for p in generator.parameters()]]

    np.testing.assert_allclose(run(True), run(False), rtol=1e-4, atol=1e-6)


def test_evaluation_without_gradients_between_steps() -> None:
    model, twin = Model(), Model()
    evaluate = bl.compile(lambda x, y: nn.functional.mse_loss(twin(x)[0], y))
    for i in range(3):
        with bl.no_grad():
            expected = nn.functional.mse_loss(model(bl.tensor(X))[0], bl.tensor(Y))
            assert float(evaluate(bl.tensor(X), bl.tensor(Y))) == pytest.approx(float(expected), rel=1e-5)
            for net in (model, twin):
                net.first.weight.mul_(1.1 + i)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_what_a_write_needs_of_the_old_contents_is_no_constant(shape: tuple[int, ...]) -> None:
    """``z *= x`` needs the old z for its gradient, which is gone by then: eager mode keeps a copy."""

    def gradient(x: Any) -> Any:
        z = x.clone()
        z.mul_(x)
        z.div_(x + 3.0)
        return bl.autograd.grad(z.sum(), [x])[0]

    x = bl.full(shape, 0.5, requires_grad=True)
    compiled = bl.compile(gradient)
    for number in (0.5, 0.5, 2.0, -1.0):
        x.detach().copy_(bl.full(shape, number))
        np.testing.assert_allclose(compiled(x).numpy(), gradient(x).numpy(), rtol=1e-6)


ZEROED: dict[str, Any] = {
    "optimizer": lambda model, optimizer: optimizer.zero_grad(set_to_none=False),
    "module": lambda model, optimizer: model.zero_grad(set_to_none=False),
    "by hand": lambda model, optimizer: [p.grad.zero_() for p in model.parameters() if p.grad is not None],
    "detached first": lambda model, optimizer: [
        p.grad.detach_().zero_() for p in model.parameters() if p.grad is not None
    ],
}


@pytest.mark.parametrize("between", [False, True], ids=["first", "after the forward pass"])
@pytest.mark.parametrize("how", ZEROED)
def test_gradients_filled_with_zeros(how: str, between: bool) -> None:
    """A parameter that a loss does not reach keeps its zeros, so that momentum moves it on: None would leave it."""

    def make() -> Any:
        model = Model()
        optimizer = bl.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

        def step(x: Any, y: Any, everything: bool) -> Any:
            if not between:
                ZEROED[how](model, optimizer)
            out, hidden = model(x)
            loss = ((out - y) ** 2).mean() if everything else hidden.mean()
            if between:
                ZEROED[how](model, optimizer)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step, model

    (step, model), (other, twin) = make(), make()
    compiled = bl.compile(other)
    for i in range(12):
        everything = i < 4 or i % 3 == 0
        a, b = step(*batch(i), everything), compiled(*batch(i), everything)
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-5, err_msg=f"step {i}")
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert compiled.reason is None
    assert len(compiled._forms.all()) <= 6


def test_a_gradient_that_was_used_up_can_be_filled_with_zeros() -> None:
    w = bl.ones(2, requires_grad=True)
    optimizer = bl.optim.SGD([w], lr=0.1)

    @bl.compile
    def step(x: Any) -> None:
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    for _ in range(3):
        step(bl.ones(2))
    gone = w.grad
    assert gone.zero_() is w.grad
    assert w.grad.tolist() == [0.0, 0.0]
    (w * 3.0).sum().backward()
    assert w.grad.tolist() == [3.0, 3.0]
    with pytest.raises(GradientError, match="used up"):
        gone.zero_()
