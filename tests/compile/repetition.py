"""Steps that are called again and again, eagerly and compiled, and changed alike in between."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import backlit as bl

nn = bl.nn
X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


class Settings:
    """What a step reads besides its arguments."""

    def __init__(self) -> None:
        self.scale: Any = 0.5
        self.more = nn.Parameter(bl.tensor(1.0))
        self.signs = [1, -1]
        self.names = {"a": 1.0, "b": 2.0}


class World:
    """A network, its optimizer and a training step that reads all kinds of variables."""

    def __init__(self, optimizer: Any = None, dropout: float = 0.0) -> None:
        bl.manual_seed(1)
        layers = [nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)]
        self.model = nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))
        self.optimizer = (optimizer or bl.optim.Adam)(self.model.parameters(), lr=0.01)
        self.settings = Settings()
        weight = 1.5

        def change_weight(value: float) -> None:
            nonlocal weight
            weight = value

        def step(x: Any) -> Any:
            settings = self.settings
            loss = (self.model(x) * settings.scale * sum(settings.signs, 3) * settings.names["b"] * weight).square()
            loss = loss.mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return loss

        self.change_weight = change_weight
        self.step = step


def repeated(compiled: Any, *args: Any) -> Any:
    """A call, if it is one that repeats the last one; else ``NotImplemented``."""
    return compiled._forms.latest.repeat(args)


def _drawn_alike(run: Callable[[Any], Any], x: Any) -> Any:
    bl.manual_seed(7)
    return run(x)


class Pair:
    """Two worlds that are changed alike: one runs eagerly, the other is compiled and repeated."""

    def __init__(self, make: Callable[[], Any] = World) -> None:
        self.worlds = make(), make()
        self.compiled = bl.compile(self.worlds[1].step, fallback=True)
        for _ in range(4):
            self.agree()
        assert self.repeats(), "what follows would not show what a repeated call does"

    def change(self, change: Callable[[Any], Any]) -> None:
        for world in self.worlds:
            change(world)

    def repeats(self, x: Any = None) -> bool:
        """Whether a call is one that repeats the last; it is made."""
        x = bl.tensor(X) if x is None else x
        _drawn_alike(self.worlds[0].step, x)
        return _drawn_alike(partial(repeated, self.compiled), x) is not NotImplemented

    def agree(self, x: Any = None) -> None:
        x = bl.tensor(X) if x is None else x
        wanted, found = (_drawn_alike(run, x) for run in (self.worlds[0].step, self.compiled))
        np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), rtol=1e-4, atol=1e-6)
        for p, q in zip(*(world.model.parameters() for world in self.worlds), strict=True):
            np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-4, atol=1e-5)


def is_refused(pair: Pair, x: Any = None) -> bool:
    """Whether a call is not taken for a repetition, and nothing was done then."""
    x = bl.tensor(X) if x is None else x
    before = [p.detach().numpy().copy() for p in pair.worlds[1].model.parameters()]
    refused = repeated(pair.compiled, x) is NotImplemented
    after = [p.detach().numpy() for p in pair.worlds[1].model.parameters()]
    return refused and all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
