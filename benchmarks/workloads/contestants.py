"""The engines that take part, each with a step of the same problem."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

from .problems import PROBLEMS, Problem

Step = Callable[[], Any]


def contestants(name: str, *, torch_compile: bool = True, keras: bool = True) -> dict[str, Step]:
    """A step of the problem called ``name`` in every engine that is installed, Backlit first.

    The number of threads is that of the environment (see ``harness.use_threads``), set before anything is imported.
    ``torch.compile`` takes half a minute to compile, and can be left out.
    """
    return steps_of(PROBLEMS[name], torch_compile=torch_compile, keras=keras)


def steps_of(problem: Problem, *, torch_compile: bool = False, keras: bool = False) -> dict[str, Step]:
    """A step of any problem in every engine that is installed."""
    found: dict[str, Step] = {"Backlit": _backlit(problem)}
    if importlib.util.find_spec("torch"):
        found |= _torch(problem, torch_compile)
    if importlib.util.find_spec("jax") and importlib.util.find_spec("optax"):
        from .in_jax import step_of

        found["JAX"] = step_of(problem)
    if keras and importlib.util.find_spec("keras"):
        os.environ.setdefault("KERAS_BACKEND", "jax")
        from . import in_keras

        if in_keras.supports(problem):
            found["Keras"] = in_keras.step_of(problem)
    return found


def _backlit(problem: Problem) -> Step:
    import backlit as bl

    from .in_torch_words import step_of

    bl.set_num_threads(_threads())
    return step_of(bl, problem, lambda p: bl.optim.Adam(p, lr=1e-3), bl.compile)


def _threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def _torch(problem: Problem, torch_compile: bool) -> dict[str, Step]:
    import torch

    from .in_torch_words import step_of

    torch.set_num_threads(_threads())

    def fused(parameters: Any) -> Any:
        return torch.optim.Adam(parameters, lr=1e-3, fused=True)

    steps = {"PyTorch": step_of(torch, problem, fused)}
    if torch_compile:
        steps["torch.compile"] = step_of(torch, problem, fused, torch.compile)
    return steps
