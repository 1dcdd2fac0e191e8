"""Programs in the styles that people use, eager and compiled from one seed: the same results, call after call, with
changes from outside between calls."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import backlit as bl

nn, optim = bl.nn, bl.optim
F = nn.functional

Program = tuple[Callable[..., Any], Callable[[], Any], Callable[[int], Any]]
"""A step of ``(x, y)``, what it leaves behind, and what happens after each call."""


def network(inputs: int = 4, outputs: int = 3) -> Any:
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs))


def weights(*modules: Any) -> Callable[[], Any]:
    return lambda: [t for module in modules for t in module.state_dict().values()]


def nothing(i: int) -> None:
    """No change."""


def descend(optimizer: Any, loss: Any) -> Any:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def accumulated_gradients() -> Program:
    net = network()
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        total = 0.0
        for part, target in zip(x.chunk(3), y.chunk(3), strict=True):
            loss = F.cross_entropy(net(part), target) / 3
            loss.backward()
            total = total + loss.detach()
        optimizer.step()
        return total

    return step, weights(net), nothing


def averaged_weights() -> Program:
    net = network()
    average, shadow = copy.deepcopy(net), {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = optim.Adam(net.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        loss = descend(optimizer, F.cross_entropy(net(x), y))
        with bl.no_grad():
            for a, p in zip(average.parameters(), net.parameters(), strict=True):
                a.mul_(0.9).add_(p, alpha=0.1)
        for name, p in net.named_parameters():
            shadow[name] = 0.9 * shadow[name] + 0.1 * p.detach()
        return loss

    return step, lambda: (weights(net, average)(), shadow), nothing


def adversaries() -> Program:
    makes, judges = network(2, 4), network(4, 1)
    first, second = optim.Adam(makes.parameters(), lr=0.01), optim.Adam(judges.parameters(), lr=0.01)
    criterion = nn.BCEWithLogitsLoss()

    def step(x: Any, y: Any) -> Any:
        fake = makes(bl.randn(len(x), 2))
        loss = criterion(judges(x), bl.ones(len(x), 1)) + criterion(judges(fake.detach()), bl.zeros(len(x), 1))
        return {"judges": descend(second, loss), "makes": descend(first, criterion(judges(fake), bl.ones(len(x), 1)))}

    return step, weights(makes, judges), nothing


class Agent:
    """Learns values against a target that is brought up to date now and then; keeps a memory that learning ignores."""

    def __init__(self) -> None:
        self.net = network()
        self.target = copy.deepcopy(self.net)
        self.optimizer = optim.Adam(self.net.parameters(), lr=0.01)
        self.memory: list[int] = []
        self.discount = 0.9

    def learn(self, x: Any, y: Any) -> Any:
        with bl.no_grad():
            goal = 0.5 + self.discount * self.target(x.flip(0)).max(1).values
        return descend(self.optimizer, F.smooth_l1_loss(self.net(x).gather(1, y.unsqueeze(1)).squeeze(1), goal))

    def between(self, i: int) -> None:
        self.memory.append(i)
        if i == 3:
            self.target.load_state_dict(self.net.state_dict())


def agent() -> Program:
    held = Agent()
    return held.learn, weights(held.net, held.target), held.between


def forced_teaching() -> Program:
    cell, out, stop = nn.GRUCell(4, 5), nn.Linear(5, 4), [3]
    optimizer = optim.Adam([*cell.parameters(), *out.parameters()], lr=0.01)

    def step(x: Any, y: Any) -> Any:
        h, given, loss = bl.zeros(len(x), 5), x, bl.tensor(0.0)
        for i in range(5):
            h = cell(given, h)
            given = out(h)
            loss = loss + F.mse_loss(given, x)
            if i == stop[0]:
                break
        return descend(optimizer, loss)

    return step, weights(cell, out), lambda i: stop.__setitem__(0, 1 + i % 2)


class Meter:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.total, self.count = bl.tensor(0.0), bl.tensor(0.0)

    def update(self, value: Any, count: int) -> None:
        self.total += value * count
        self.count += count

    @property
    def mean(self) -> Any:
        return self.total / self.count


def meters() -> Program:
    net, held = network(), {"loss": Meter(), "hits": Meter()}

    def step(x: Any, y: Any) -> Any:
        with bl.no_grad():
            out = net(x)
            held["loss"].update(F.cross_entropy(out, y), len(x))
            held["hits"].update((out.argmax(1) == y).float().mean(), len(x))
        return {name: meter.mean for name, meter in held.items()}

    def reset(i: int) -> None:
        if i % 3 == 2:
            for meter in held.values():
                meter.reset()

    return step, lambda: [(m.total, m.count) for m in held.values()], reset


@dataclass
class Options:
    smoothing: float = 0.0
    clip: float | None = 1.0


def options_in_a_dataclass() -> Program:
    net, options = network(), Options()
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(net(x), y, label_smoothing=options.smoothing)
        optimizer.zero_grad()
        loss.backward()
        if options.clip:
            nn.utils.clip_grad_norm_(net.parameters(), options.clip)
        optimizer.step()
        return loss.detach()

    def change(i: int) -> None:
        options.smoothing = 0.2 if i >= 2 else 0.0
        options.clip = None if i >= 4 else 1.0

    return step, weights(net), change


class Remembers:
    seen: Any = None

    def __call__(self, loss: Any) -> None:
        self.seen = loss * 2


def callbacks() -> Program:
    net, called = network(), [Remembers()]
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        loss = descend(optimizer, F.cross_entropy(net(x), y))
        for callback in called:
            callback(loss)
        return loss

    return step, lambda: [c.seen for c in called], lambda i: called.append(Remembers()) if i == 3 else None


def partial_function() -> Program:
    net, bias = network(), bl.ones(3)

    def scaled(factor: float, x: Any, y: Any, *, bias: Any) -> Any:
        return sum(part * factor + bias for part in (net(x) * i for i in range(3)))

    return functools.partial(scaled, 2.0, bias=bias), weights(net), lambda i: bias.add_(1.0)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self._gain = nn.Linear(4, 3), 1.0

    @property
    def weight(self) -> Any:
        return self.layer.weight * self._gain

    def forward(self, x: Any, y: Any) -> Any:
        return F.linear(x, self.weight)


def properties() -> Program:
    net = Gated()
    return net, weights(net), lambda i: setattr(net, "_gain", 1.0 + i // 3)


@contextmanager
def frozen(module: Any) -> Iterator[None]:
    for p in module.parameters():
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in module.parameters():
            p.requires_grad_(True)


def context_manager() -> Program:
    net, judge = network(), network(3, 2)
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        with frozen(judge):
            loss = judge(net(x)).pow(2).mean()
        return descend(optimizer, loss)

    return step, weights(net, judge), nothing


def compiled_inside() -> Program:
    net = network()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    loss = bl.compile(lambda x, y: F.cross_entropy(net(x), y))
    return lambda x, y: descend(optimizer, loss(x, y)), weights(net), nothing


def evaluation_inside() -> Program:
    net = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        net.train()
        loss = descend(optimizer, F.cross_entropy(net(x), y))
        net.eval()
        with bl.no_grad():
            return loss, (net(x).argmax(1) == y).float().mean()

    return step, weights(net), lambda i: net.train(i % 2 == 0)


def growing_and_frozen() -> Program:
    net, head = network(), nn.Linear(3, 3)
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def change(i: int) -> None:
        optimizer.param_groups[0]["lr"] *= 0.9
        if i == 2:
            optimizer.add_param_group({"params": list(head.parameters()), "lr": 0.05})
        if i in (3, 5):
            for p in net[0].parameters():
                p.requires_grad_(i == 5)

    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(head(net(x)), y)
        optimizer.zero_grad()
        head.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, weights(net, head), change


def sharpness_aware() -> Program:
    net = network()
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        with bl.no_grad():
            norm = bl.sqrt(sum((p.grad**2).sum() for p in net.parameters()))
            moved = [p.grad * (0.05 / norm) for p in net.parameters()]
            for p, e in zip(net.parameters(), moved, strict=True):
                p.add_(e)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        with bl.no_grad():
            for p, e in zip(net.parameters(), moved, strict=True):
                p.sub_(e)
        optimizer.step()
        return loss.detach()

    return step, weights(net), nothing


@dataclass(frozen=True)
class State:
    mean: Any
    queue: list[Any]
    rate: float = 0.5


def state_that_is_replaced() -> Program:
    held = {"state": State(bl.zeros(4), [bl.zeros(4)] * 2)}

    def step(x: Any, y: Any) -> Any:
        state = held["state"]
        mean = state.mean * state.rate + x.mean(0)
        held["state"] = replace(state, mean=mean, queue=[*state.queue[1:], mean * 2])
        return held["state"].queue[0]

    def change(i: int) -> None:
        held["state"] = replace(held["state"], rate=0.1 if i > 3 else 0.5)

    return step, lambda: (held["state"].mean, held["state"].queue), change


class Attributes(dict[str, Any]):
    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def attribute_dictionary() -> Program:
    held = Attributes(h=bl.zeros(4), rate=0.5)

    def step(x: Any, y: Any) -> Any:
        held.h = held.h * held.rate + x.mean(0)
        return held.h

    return step, lambda: held.h, lambda i: setattr(held, "rate", 0.1 if i > 2 else 0.5)


PROGRAMS = [
    *(accumulated_gradients, averaged_weights, adversaries, agent, forced_teaching, meters, options_in_a_dataclass),
    *(callbacks, partial_function, properties, context_manager, compiled_inside, evaluation_inside, growing_and_frozen),
    *(sharpness_aware, state_that_is_replaced, attribute_dictionary),
]


def arrays(x: Any) -> list[np.ndarray]:
    """The tensors in a result, in order."""
    if isinstance(x, bl.Tensor):
        return [x.detach().numpy().copy()]
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ()
    return [array for part in parts for array in arrays(part)]


def run(make: Callable[[], Program], compile: bool, calls: int = 8) -> tuple[list[list[np.ndarray]], Any]:
    bl.manual_seed(0)
    step, held, between = make()
    called = bl.compile(step) if compile else step
    seen = []
    for i in range(calls):
        rng = np.random.default_rng(i % 3)
        x, y = bl.tensor(rng.normal(size=(6, 4)).astype(np.float32)), bl.tensor(rng.integers(0, 3, 6))
        seen.append([*arrays(called(x, y)), *arrays(held())])
        between(i)
    return seen, called


@pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)
def test_programs_run_alike(make: Callable[[], Program]) -> None:
    wanted, _ = run(make, compile=False)
    found, compiled = run(make, compile=True)
    for i, (a, b) in enumerate(zip(wanted, found, strict=True)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(y, x, rtol=1e-4, atol=1e-5, err_msg=f"call {i}")
    own = compiled._compiled if isinstance(compiled, nn.Module) else compiled
    assert own.reason is None
    assert any(form.built for form in own._forms.all())
