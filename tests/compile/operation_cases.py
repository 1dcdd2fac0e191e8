"""Operations of the registry at their samples, as functions that can be compiled."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import backlit as bl
from backlit.compile import TraceError
from backlit.compile.passes.pipeline import optimised
from backlit.compile.trace.capture import capture
from backlit.ops.definition import REGISTRY, Operation, Sample, Tensor, constant


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

    def __init__(
        self,
        operation: Operation,
        sample: Sample,
        dtype: Any,
        place: Callable[[np.ndarray], np.ndarray] = lambda array: array,
    ) -> None:
        """``place`` lays each array out in memory."""
        self.operation = operation
        self.sample = sample
        self.tensors: list[Tensor] = []

        def keep(array: np.ndarray) -> Tensor:
            leaf = array.dtype == np.float64
            tensor = constant(place(array.astype(dtype) if leaf else array.copy()))
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

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        """All results."""
        return [out.detach() for out in flattened(self.operation.function(*self.args, **self.kwargs))]

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


def called_in_numpy(function: Callable[..., Any], case: Case) -> int | None:
    """How many instructions of a compiled function of a case are calls of NumPy rules; None if it is not compiled."""
    return numpy_calls(function, case.tensors)


def numpy_calls(function: Callable[..., Any], tensors: Sequence[Tensor]) -> int | None:
    """The same for a function of tensors."""
    bl.manual_seed(0)
    with np.errstate(all="ignore"):
        _, seen = capture(function, tuple(tensors), {}, False, False)
    if isinstance(seen, TraceError):
        return None
    return sum(instruction.opcode == "extern" for instruction in optimised(seen.program).body)


def native_calls_only(function: Callable[..., Any], tensors: Sequence[Tensor]) -> bool:
    """Whether a function is compiled without a call of a NumPy rule."""
    return numpy_calls(function, tensors) == 0
