"""Undoing a training step: what it wrote is put back where it lies, so that whoever refers to it still does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .randomness import random_state, set_random_state


@contextmanager
def rewound(model: Any, optimizer: Any = None) -> Iterator[None]:
    """Put back at the end of the block, also when it raises: parameters, buffers, the optimizer's state and step
    counts, all random state. Gradients are gone then. At most one step of the optimizer may be made inside."""
    held = [
        (module, name, tensor, tensor._data, tensor._data.copy())
        for module in model.modules()
        for kind in ("parameter", "buffer")
        for name, tensor in module._held(kind)
    ]
    randomness = random_state()
    state = None if optimizer is None else _OptimizerState(optimizer)
    try:
        yield
    finally:
        for module, name, tensor, array, values in held:
            module.__dict__[name] = tensor
            tensor._data = array
            _put(tensor, values)
        if state is not None:
            state.restore()
        set_random_state(randomness)


class _OptimizerState:
    """An optimizer's arrays and step counts, by value."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.values = {
            id(parameter): {name: value._data.copy() for name, value in held.items() if name != "step"}
            for parameter, held in optimizer.state.items()
        }
        self.steps = {id(block): block.steps.copy() for block in _blocks(optimizer)}
        self.stepped = optimizer._stepped

    def restore(self) -> None:
        """Put everything back; state that the step made starts anew."""
        optimizer = self.optimizer
        optimizer.zero_grad()
        for block in _blocks(optimizer):
            before = self.steps.get(id(block))
            block.steps[...] = block.steps - 1 if before is None else before
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                self._restore(parameter, optimizer.slots(group) if parameter in optimizer.state else {})
        optimizer._stepped = self.stepped

    def _restore(self, parameter: Any, slots: Any) -> None:
        before = self.values.get(id(parameter), {})
        for name, start in slots.items():
            tensor = self.optimizer.state[parameter][name]
            _put(tensor, before.get(name, start))


def _blocks(optimizer: Any) -> Iterator[Any]:
    for plan in optimizer._plans:
        if plan is not None:
            yield from plan.blocks


def _put(tensor: Any, values: Any) -> None:
    if not tensor._data.flags.writeable:  # weights in a file that is mapped into memory: nothing can have changed
        return
    np.copyto(tensor._data, values)
    tensor.storage().wrote()
