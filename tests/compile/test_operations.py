"""Every operation of the registry at every one of its samples: compiled as it is eagerly, forward and gradient."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import TraceError
from backlit.ops.definition import REGISTRY, Operation, Sample, Tensor, constant

NAMES = sorted(REGISTRY)

READS_VALUES = {
    "bincount": "the shape of the result depends on values",
    "histc": "the range is that of the values",
    "argwhere": "the shape of the result depends on values",
    "masked_select": "the shape of the result depends on values",
    "nonzero": "the shape of the result depends on values",
    "unique": "the shape of the result depends on values",
}
"""Operations that cannot be compiled, and why; they must say so."""


def samples(name: str) -> list[Sample]:
    return list(REGISTRY[name].samples(np.random.default_rng(zlib.crc32(name.encode()))))


def rebuilt(value: Any, change: Callable[[np.ndarray], Any]) -> Any:
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)([rebuilt(part, change) for part in value])
    if isinstance(value, dict):
        return {key: rebuilt(part, change) for key, part in value.items()}
    return value


def flattened(result: Any) -> Iterator[Tensor]:
    if isinstance(result, (tuple, list)):
        for part in result:
            yield from flattened(part)
    elif isinstance(result, Tensor):
        yield result


class Case:
    """An operation at a sample: a function of its arrays that gives results and gradients."""

    def __init__(self, operation: Operation, sample: Sample, dtype: Any) -> None:
        self.operation = operation
        self.sample = sample
        self.tensors: list[Tensor] = []

        def keep(array: np.ndarray) -> Tensor:
            leaf = array.dtype == np.float64
            tensor = constant(array.astype(dtype) if leaf else array.copy())
            if leaf and operation.differentiable:
                tensor.requires_grad_()
            self.tensors.append(tensor)
            return tensor

        self.args, self.kwargs = rebuilt([sample.args, sample.kwargs], keep)
        self.leaves = [t for t in self.tensors if t.requires_grad]
        bl.manual_seed(0)
        outs = flattened(operation.function(*self.args, **self.kwargs))
        self.weights = [constant(_weights(out.shape).astype(out.dtype)) for out in outs if out.requires_grad]

    def change(self) -> None:
        """Other values of the same kind: what was baked into a program would show."""
        for tensor in self.tensors:
            array = tensor._data
            array[...] = np.roll(array.reshape(-1), 1).reshape(array.shape)

    def __call__(self, *tensors: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """All results, and the gradients of a weighted sum of the floating ones by the leaves."""
        outs = list(flattened(self.operation.function(*self.args, **self.kwargs)))
        smooth = [out for out in outs if out.requires_grad]
        plain = [out.detach() for out in outs]
        if not smooth:
            return plain, []
        gradients = bl.autograd.grad(smooth, self.leaves, self.weights, materialize_grads=True)
        return plain, list(gradients)


def _weights(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape)


SOMETIMES_READS_VALUES = {
    "getitem": "a mask",
    "one_hot": "without num_classes",
    "take_along_dim": "negative positions",
    "max_pool1d": "return_indices=True",
    "max_pool2d": "return_indices=True",
    "max_pool3d": "return_indices=True",
    "repeat_interleave": "a tensor of counts",
}
"""Operations of which some samples cannot be compiled."""


def check(name: str, dtype: Any, rtol: float, atol: float) -> None:
    for sample in samples(name):
        case = Case(REGISTRY[name], sample, dtype)
        compiled = bl.compile(case, fallback=name in SOMETIMES_READS_VALUES)
        for _ in range(3):
            wanted, found = (results(call, case) for call in (case, compiled))
            for a, b in zip(wanted, found, strict=True):
                assert a.dtype == b.dtype and a.shape == b.shape, f"{name}{sample!r}"
                np.testing.assert_allclose(b, a, rtol=rtol, atol=atol, err_msg=f"{name}{sample!r}")
            case.change()


def results(call: Any, case: Case) -> list[np.ndarray]:
    bl.manual_seed(0)
    with np.errstate(all="ignore"):
        return [t.detach().numpy().copy() for part in call(*case.tensors) for t in part]


@pytest.mark.parametrize("name", [n for n in NAMES if n not in READS_VALUES])
def test_compiled_equals_eager(name: str) -> None:
    check(name, np.float64, 1e-10, 1e-12)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in READS_VALUES])
def test_compiled_equals_eager_in_float32(name: str) -> None:
    check(name, np.float32, 2e-4, 2e-5)


@pytest.mark.parametrize("name", READS_VALUES)
def test_what_cannot_be_compiled_says_so(name: str) -> None:
    for sample in samples(name):
        case = Case(REGISTRY[name], sample, np.float64)
        with pytest.raises(TraceError, match=r"depends on values|cannot be compiled"):
            bl.compile(case)(*case.tensors)
