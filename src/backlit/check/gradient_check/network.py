"""A network's backward pass against central differences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...tensor import Tensor
from .numerical import Comparison, Index, bends, compare_gradients, numerical_gradient, rounding

SUSPECT = 1e-5
EPS = 1e-5


@dataclass(frozen=True)
class ParameterCheck:
    """One parameter's comparison."""

    name: str
    shape: tuple[int, ...]
    comparison: Comparison


def check_network(
    model: Any, loss: Callable[[Any, Any], Tensor], x: Any, y: Any, *, entries: int = 12, seed: int = 0
) -> list[ParameterCheck]:
    """Compare the gradients of a loss with central differences, on a float64 copy of the model in evaluation mode.

    Args:
        model: a module; it is not changed.
        loss: ``loss(output, target)``, a scalar.
        x, y: a few rows, arrays or tensors; floating ones are converted to float64.
        entries: how many entries of each parameter are compared, drawn at random.
        seed: what they are drawn with.

    Returns:
        One comparison a parameter, in the order of ``named_parameters``. Entries that disagree because the loss bends
        there (a ReLU changes sides within the step) are counted as kinks and left out.
    """
    double = copy.deepcopy(model).double().eval()
    inputs, targets = _doubled(x), _doubled(y)

    def value(_: Any = None) -> Tensor:
        return loss(double(inputs), targets)

    double.zero_grad()
    value().backward()
    rng = np.random.default_rng(seed)
    noise = rounding(float(value()), EPS)
    return [
        ParameterCheck(name, parameter.shape, _compare(value, parameter, _drawn(parameter.shape, entries, rng), noise))
        for name, parameter in double.named_parameters()
        if parameter.requires_grad
    ]


def _compare(value: Callable[[Any], Tensor], parameter: Tensor, entries: list[Index], noise: float) -> Comparison:
    numeric = numerical_gradient(value, parameter, EPS, entries)
    analytic = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad._data
    kinks = [
        entry
        for entry in entries
        if abs(analytic[entry] - numeric[entry]) > noise + SUSPECT * max(abs(analytic[entry]), abs(numeric[entry]))
        and bends(value, parameter, entry, EPS)
    ]
    return compare_gradients(analytic, numeric, kinks, noise)


def _drawn(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> list[Index]:
    size = int(np.prod(shape))
    chosen = np.sort(rng.choice(size, min(count, size), replace=False))
    return [tuple(int(i) for i in np.unravel_index(flat, shape)) for flat in chosen]


def _doubled(value: Any) -> Tensor:
    array = np.asarray(getattr(value, "_data", value))
    return Tensor(array.astype(np.float64) if array.dtype.kind == "f" else array)
