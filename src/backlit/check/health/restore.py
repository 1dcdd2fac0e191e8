"""Experiments on a model that leave it, its optimizer and all random numbers as they were, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...train.evaluation import keeping_modes
from ...train.randomness import random_state, set_random_state


@contextmanager
def unchanged(model: Any, optimizer: Any = None) -> Iterator[None]:
    """Parameters, buffers, gradients, train and eval modes, the optimizer's state and options and all random state are
    after the block what they were before it, also when it raises. Inside, gradients start from None."""
    tensors = [
        (module, name, tensor, tensor._data, tensor._data.copy(), tensor._grad)
        for module in model.modules()
        for kind in ("parameter", "buffer")
        for name, tensor in module._held(kind)
    ]
    kept = None if optimizer is None else _OptimizerState(optimizer)
    randomness = random_state()
    for _, _, tensor, *_ in tensors:
        tensor._grad = None
    try:
        with keeping_modes(model):
            yield
    finally:
        for module, name, tensor, array, values, gradient in tensors:
            module.__dict__[name] = tensor
            tensor._data = array
            put(tensor, values)
            tensor._grad = gradient
        if kept is not None:
            kept.restore()
        set_random_state(randomness)


def put(tensor: Any, values: Any) -> None:
    """Overwrite a tensor's values where they lie; what was saved of it for a backward pass counts as overwritten."""
    np.copyto(tensor._data, values)
    tensor.storage().wrote()


class _OptimizerState:
    """An optimizer's options and state, by value, and the very objects that hold them."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.groups = [(group, {**group, "params": list(group["params"])}) for group in optimizer.param_groups]
        self.state = [
            (parameter, {name: (value, _values(value)) for name, value in held.items()})
            for parameter, held in optimizer.state.items()
        ]
        self.stepped = optimizer._stepped

    def restore(self) -> None:
        """Put everything back. The layout of the blocks is made anew from the state at the next step."""
        optimizer = self.optimizer
        for group, options in self.groups:
            group.clear()
            group.update(options)
        optimizer.param_groups[:] = [group for group, _ in self.groups]
        optimizer.state.clear()
        for parameter, held in self.state:
            for value, values in held.values():
                if values is not None:
                    put(value, values)
            optimizer.state[parameter] = {name: value for name, (value, _) in held.items()}
        optimizer._plans = []
        optimizer._stepped = self.stepped


def _values(value: Any) -> Any:
    return value._data.copy() if hasattr(value, "_data") else None
