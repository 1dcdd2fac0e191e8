"""Random numbers: tensors drawn from the streams of :mod:`backlit.generator`.

float32 tensors are made from float32 draws (half the random bits, half the time); float16 from 11 random bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from . import dtypes
from .breadcrumbs import cut
from .creation import as_tensor
from .errors import GradientError, OperationError
from .generator import (
    Generator,
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from .graph import mode
from .source import describe, mark
from .tensor import Tensor
from .tensor import device as check_device

__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]

Array = np.ndarray


# -- arrays ---------------------------------------------------------------------------------------------------------


def uniform_array(shape: tuple[int, ...], dtype: np.dtype[Any], generator: Generator | None = None) -> Array:
    """Values uniform in [0, 1), drawn in ``dtype``."""
    rng = (generator or default_generator).numpy
    if dtype == np.float16:
        return (rng.integers(0, 2048, shape, dtype=np.uint16) / np.float32(2048)).astype(np.float16)
    return rng.random(shape, dtype=dtype.type)


def normal_array(shape: tuple[int, ...], dtype: np.dtype[Any], generator: Generator | None = None) -> Array:
    """Values normal with mean 0 and variance 1, drawn in ``dtype``."""
    rng = (generator or default_generator).numpy
    if dtype == np.float16:
        return rng.standard_normal(shape, dtype=np.float32).astype(np.float16)
    return rng.standard_normal(shape, dtype=dtype.type)


def _floating(name: str, dtype: Any) -> np.dtype[Any]:
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    if chosen.kind != "f":
        raise OperationError(
            f"{name} at {describe(mark())}: draws floating values; dtype {chosen.name} cannot hold them."
        )
    return chosen


def _shape(name: str, size: Any) -> tuple[int, ...]:
    if len(size) == 1 and not isinstance(size[0], (int, np.integer)):
        size = size[0]
    shape = tuple(int(n) for n in size)
    if any(n < 0 for n in shape):
        raise OperationError(f"{name} at {describe(mark())}: sizes cannot be negative, got {shape}.")
    return shape


def _finish(array: Array, requires_grad: bool) -> Tensor:
    out = Tensor(np.asarray(array))
    if requires_grad:
        out.start_requiring()
    return out


# -- tensors --------------------------------------------------------------------------------------------------------


def sampling(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that draws a tensor. In one that is compiled it is called whenever that runs."""

    @wraps(function)
    def sampled(*args: Any, **kwargs: Any) -> Tensor:
        if mode.tracer is None:
            return function(*args, **kwargs)
        made: Tensor = mode.tracer.sample(function, args, kwargs)
        return made

    return sampled


@sampling
def rand(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False
) -> Tensor:
    """Values uniform in [0, 1).

    >>> import backlit as bl
    >>> bl.rand(2, 3, generator=bl.Generator().manual_seed(0)).shape
    (2, 3)
    """
    check_device(device)
    return _finish(uniform_array(_shape("rand", size), _floating("rand", dtype), generator), requires_grad)


@sampling
def randn(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False
) -> Tensor:
    """Values from the standard normal distribution."""
    check_device(device)
    return _finish(normal_array(_shape("randn", size), _floating("randn", dtype), generator), requires_grad)


@sampling
def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """Whole numbers from ``low`` (included) to ``high`` (excluded).

    Called as ``randint(high, size)`` or ``randint(low, high, size)``.

    Returns:
        Shape ``size``, dtype int64 unless ``dtype`` says otherwise.

    Raises:
        OperationError: the range is empty, or the dtype cannot hold it.
    """
    check_device(device)
    if size is None:
        low, high, size = 0, low, high
    if size is None or high is None:
        raise OperationError(
            f"randint at {describe(mark())}: call it as randint(high, size) or randint(low, high, size)."
        )
    shape = _shape("randint", size if isinstance(size, (tuple, list)) else (size,))
    return _finish(_integers("randint", low, high, shape, dtype, generator), requires_grad)


def _integers(name: str, low: Any, high: Any, shape: Any, dtype: Any, generator: Generator | None) -> Array:
    low, high = int(low), int(high)
    chosen = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    if low >= high:
        raise OperationError(f"{name} at {describe(mark())}: the range from {low} up to {high} is empty.")
    if chosen.kind in "iu" and (low < np.iinfo(chosen).min or high - 1 > np.iinfo(chosen).max):
        raise OperationError(
            f"{name} at {describe(mark())}: {chosen.name} cannot hold values from {low} to {high - 1}."
        )
    return (generator or default_generator).numpy.integers(low, high, shape, dtype=np.int64).astype(chosen, copy=False)


@sampling
def randperm(
    n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False
) -> Tensor:
    """The numbers 0 … ``n`` − 1 in random order; int64 unless ``dtype`` says otherwise."""
    check_device(device)
    if n < 0:
        raise OperationError(f"randperm at {describe(mark())}: n cannot be negative, got {n}.")
    order = (generator or default_generator).numpy.permutation(int(n))
    return _finish(order.astype(dtypes.int64 if dtype is None else dtypes.as_dtype(dtype), copy=False), requires_grad)


@sampling
def rand_like(
    input: Any, *, generator: Generator | None = None, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Values uniform in [0, 1), with another tensor's shape and dtype."""
    return rand(tuple(input.shape), generator=generator, dtype=dtype or input.dtype, requires_grad=requires_grad)


@sampling
def randn_like(
    input: Any, *, generator: Generator | None = None, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Standard normal values, with another tensor's shape and dtype."""
    return randn(tuple(input.shape), generator=generator, dtype=dtype or input.dtype, requires_grad=requires_grad)


@sampling
def randint_like(
    input: Any,
    low: int,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Whole numbers from ``low`` up to ``high`` (or from 0 up to ``low``), with another tensor's shape and dtype."""
    low, high = (0, low) if high is None else (low, high)
    array = _integers("randint_like", low, high, tuple(input.shape), dtype or input.dtype, generator)
    return _finish(array, requires_grad)


@sampling
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal values with the given means and standard deviations (numbers with ``size``, or tensors that broadcast).

    The result is a constant to the graph: to differentiate with respect to both, write ``mean + std * randn(...)``.
    """
    arrays = [t for t in (mean, std) if isinstance(t, (Tensor, np.ndarray))]
    if (size is None) == (not arrays):
        raise OperationError(
            f"normal at {describe(mark())}: give numbers and size=, or tensors for mean or std and no size."
        )
    m, s = (t._data if isinstance(t, Tensor) else t for t in (mean, std))
    if np.any(np.less(s, 0)):
        raise OperationError(f"normal at {describe(mark())}: the standard deviation cannot be negative.")
    shape = _shape("normal", (size,)) if size is not None else np.broadcast_shapes(np.shape(m), np.shape(s))
    kept = dtype if dtype is not None or not arrays else np.result_type(*[a.dtype for a in arrays])
    chosen = _floating("normal", kept)
    result = _finish((normal_array(shape, chosen, generator) * s + m).astype(chosen, copy=False), requires_grad)
    result._cut = cut("sampled", "normal", (mean, std))
    return result


@sampling
def bernoulli(input: Any, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """Ones with probability ``input`` (or ``p``, then only the shape and dtype of ``input`` count), else zeros.

    Raises:
        OperationError: a probability outside [0, 1].
    """
    input = as_tensor(input)
    chances = input._data if p is None else np.float64(p)
    if not np.all((chances >= 0) & (chances <= 1)):
        raise OperationError(f"bernoulli at {describe(mark())}: probabilities must lie between 0 and 1.")
    drawn = (generator or default_generator).numpy.random(input.shape) < chances
    result = Tensor(np.asarray(drawn, input.dtype))
    result._cut = cut("sampled", "bernoulli", (input,)) if p is None else None
    return result


@sampling
def multinomial(
    input: Any, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn in proportion to the weights in each row of ``input``.

    Args:
        input: shape (categories,) or (rows, categories), not negative; rows need not sum to one.
        num_samples: how many to draw from each row.
        replacement: whether an index may be drawn again.

    Returns:
        int64, shape (num_samples,) or (rows, num_samples), in the order drawn.

    Raises:
        OperationError: weights that are negative, infinite, NaN or all zero, or too few to draw from.
    """
    input = as_tensor(input)
    if input.ndim not in (1, 2) or num_samples < 1:
        raise OperationError(
            f"multinomial at {describe(mark())}: needs weights of shape (categories,) or (rows, categories) and "
            f"at least one sample; got shape {input.shape} and num_samples={num_samples}."
        )
    if input.dtype.kind != "f":
        raise OperationError(
            f"multinomial at {describe(mark())}: the weights are {input.dtype.name}; convert them, as in input.float()."
        )
    weights = np.atleast_2d(input._data).astype(np.float64)
    if not np.all(np.isfinite(weights) & (weights >= 0)) or not np.all(weights.sum(axis=-1) > 0):
        raise OperationError(
            f"multinomial at {describe(mark())}: weights must be finite and not negative, with a sum above 0."
        )
    draw = _with_replacement if replacement else _without_replacement
    drawn = draw(weights, int(num_samples), (generator or default_generator).numpy)
    result = Tensor(drawn.reshape((*input.shape[:-1], num_samples)).astype(np.int64, copy=False))
    result._cut = cut("sampled", "multinomial", (input,))
    return result


def _with_replacement(weights: Array, count: int, rng: np.random.Generator) -> Array:
    sums = weights.cumsum(axis=-1)
    sums /= sums[:, -1:]
    points = rng.random((len(weights), count))
    return np.stack([np.searchsorted(row, at, side="right") for row, at in zip(sums, points, strict=True)])


def _without_replacement(weights: Array, count: int, rng: np.random.Generator) -> Array:
    """The order in which exponential clocks with these rates ring is a draw without replacement."""
    possible = int((weights > 0).sum(axis=-1).min())
    if count > possible:
        raise OperationError(
            f"multinomial at {describe(mark())}: cannot draw {count} different indices where only {possible} have a "
            "weight above 0; pass replacement=True or draw fewer."
        )
    with np.errstate(divide="ignore"):
        rings = rng.standard_exponential(weights.shape) / weights
    return np.argsort(rings, axis=-1, kind="stable")[:, :count]


# -- filling tensors ------------------------------------------------------------------------------------------------


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite a tensor with values uniform in [``a``, ``b``), and return it."""
    if not a <= b:
        raise OperationError(f"uniform_ at {describe(mark())}: the range from {a} to {b} is empty.")
    values = uniform_array(tensor.shape, _floating("uniform_", tensor.dtype), generator)
    if a != 0.0 or b != 1.0:
        values *= b - a
        values += a
    return fill(tensor, values, "uniform_")


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite a tensor with normal values, and return it."""
    if std < 0:
        raise OperationError(f"normal_ at {describe(mark())}: the standard deviation cannot be negative, got {std}.")
    values = normal_array(tensor.shape, _floating("normal_", tensor.dtype), generator)
    if std != 1.0:
        values *= std
    if mean != 0.0:
        values += mean
    return fill(tensor, values, "normal_")


def bernoulli_(tensor: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Overwrite a tensor with ones (with probability ``p``) and zeros, and return it."""
    if not 0 <= p <= 1:
        raise OperationError(f"bernoulli_ at {describe(mark())}: p must lie between 0 and 1, got {p}.")
    return fill(tensor, (generator or default_generator).chances(float(p), tensor.shape), "bernoulli_")


def fill(tensor: Tensor, values: Array, name: str) -> Tensor:
    """Write drawn values into a tensor's memory; refused where a recorded gradient would pass through the write."""
    if mode.recording and tensor.requires_grad:
        raise GradientError(
            f"{name} at {describe(mark())}: the tensor requires gradients, which cannot flow through drawn values. "
            "Fill it under backlit.no_grad(), as initialisers do, or fill tensor.data."
        )
    if not tensor._data.flags.writeable:
        raise OperationError(
            f"{name} at {describe(mark())}: the tensor's memory is read-only (an expanded view?); fill a .clone()."
        )
    tensor._data[...] = values
    tensor.storage().wrote()
    return tensor
