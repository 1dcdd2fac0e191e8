"""The step as Backlit's and PyTorch's users write it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .problems import Problem, build, loss_in, weights


def step_of(
    lib: Any, problem: Problem, optimizer: Callable[[Any], Any], compiled: Callable[[Any], Any] | None = None
) -> Callable[[], Any]:
    """A training step on the problem's batch; it returns the loss. (``.func`` is the function, ``.args`` the batch.)

    Args:
        lib: ``backlit`` or ``torch``.
        problem: what is trained.
        optimizer: makes the optimizer of the parameters.
        compiled: turns the step into a compiled one.
    """
    model = build(lib, problem)
    start = weights(problem)
    with lib.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(lib.tensor(start[name]))
    inputs, targets = (lib.tensor(np.ascontiguousarray(part)) for part in problem.data())
    optim = optimizer(model.parameters())

    def step(inputs: Any, targets: Any) -> Any:
        loss = loss_in(lib, problem, model, inputs, targets)
        optim.zero_grad()
        loss.backward()
        optim.step()
        return loss

    run = step if compiled is None else compiled(step)
    return partial(run, inputs, targets)
