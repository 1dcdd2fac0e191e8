"""The engines that take part, each with a step of the same problem."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable
from typing import Any

from .problems import PROBLEMS, Problem

Step = Callable[[], Any]

ENGINES = ("Backlit", "PyTorch", "torch.compile", "JAX", "Keras")


def contestants(name: str, engines: Iterable[str] = ENGINES) -> dict[str, Step]:
    """A step of the problem called ``name`` in every one of the engines that is installed.

    The number of threads is that of the environment (see ``harness.use_threads``), set before anything is imported.
    """
    return steps_of(PROBLEMS[name], engines)


def steps_of(problem: Problem, engines: Iterable[str] = ENGINES) -> dict[str, Step]:
    """A step of any problem in every one of the engines that is installed."""
    made = ((engine, _MAKERS[engine](problem)) for engine in installed(engines))
    return {engine: step for engine, step in made if step is not None}


def installed(engines: Iterable[str]) -> list[str]:
    """Those of the engines that can be imported here."""
    return [engine for engine in engines if all(importlib.util.find_spec(module) for module in _NEEDS[engine])]


def _threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def _backlit(problem: Problem) -> Step:
    import backlit as bl

    from .in_torch_words import step_of

    bl.set_num_threads(_threads())
    return step_of(bl, problem, lambda p: bl.optim.Adam(p, lr=1e-3), bl.compile)


def _torch(problem: Problem, compiled: bool = False) -> Step:
    import torch

    from .in_torch_words import step_of

    torch.set_num_threads(_threads())
    fused = lambda p: torch.optim.Adam(p, lr=1e-3, fused=True)  # noqa: E731
    return step_of(torch, problem, fused, torch.compile if compiled else None)


def _torch_compiled(problem: Problem) -> Step:
    return _torch(problem, compiled=True)


def _jax(problem: Problem) -> Step:
    from .in_jax import step_of

    return step_of(problem)


def _keras(problem: Problem) -> Step | None:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    from . import in_keras

    return in_keras.step_of(problem) if in_keras.supports(problem) else None


_MAKERS = {"Backlit": _backlit, "PyTorch": _torch, "torch.compile": _torch_compiled, "JAX": _jax, "Keras": _keras}
_NEEDS = {
    "Backlit": ("backlit",),
    "PyTorch": ("torch",),
    "torch.compile": ("torch",),
    "JAX": ("jax", "optax"),
    "Keras": ("jax", "keras"),
}
