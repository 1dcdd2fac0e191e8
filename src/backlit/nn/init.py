"""Initial values for parameters: tensors are filled in place, unrecorded, and returned.

Names, arguments and formulas are PyTorch's; the numbers drawn are :mod:`backlit.random`'s. *Fan in* is the number of
inputs that one output unit sums over, *fan out* the number of outputs that one input reaches.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import OperationError
from ..random import Generator, normal_array, uniform_array
from ..source import describe, mark
from ..spelling import did_you_mean
from ..tensor import Tensor
from .parameter import overwrite

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_GAINS = {**dict.fromkeys((*_LINEAR, "sigmoid"), 1.0), "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity's weights are scaled so that signals keep their size.

    1 for linear layers and sigmoid, 5/3 for tanh, √2 for relu, √(2/(1 + slope²)) for leaky_relu (``param`` is the
    slope, 0.01 unless given), 3/4 for selu.
    """
    if nonlinearity in _GAINS:
        return _GAINS[nonlinearity]
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise OperationError(f"calculate_gain: the slope of leaky_relu must be a number, got {slope!r}.")
        return math.sqrt(2.0 / (1.0 + slope**2))
    hint = did_you_mean(str(nonlinearity), [*_GAINS, "leaky_relu"])
    raise OperationError(f"calculate_gain: no gain is known for the nonlinearity {nonlinearity!r}{hint}.")


def _fans(tensor: Tensor, what: str) -> tuple[int, int]:
    """Fan in and fan out of a weight (out, in, *kernel)."""
    shape = tensor.shape
    if len(shape) < 2:
        raise OperationError(
            f"{what} at {describe(mark())}: fan in and fan out need at least two dimensions, the tensor has shape "
            f"{shape}. Initialise vectors with uniform_, normal_ or zeros_."
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _fan(tensor: Tensor, mode: str, what: str) -> int:
    if mode.lower() not in ("fan_in", "fan_out"):
        raise OperationError(f"{what}: mode must be 'fan_in' or 'fan_out', got {mode!r}.")
    return _fans(tensor, what)[mode.lower() == "fan_out"]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Values uniform in [a, b)."""
    values = uniform_array(tensor.shape, tensor.dtype, generator)
    return overwrite(tensor, values * (b - a) + a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Values from a normal distribution with this mean and standard deviation."""
    if std < 0:
        raise OperationError(f"normal_: the standard deviation cannot be negative, got {std}.")
    return overwrite(tensor, normal_array(tensor.shape, tensor.dtype, generator) * std + mean)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Values from a normal distribution cut off outside [a, b] (both absolute, not in standard deviations).

    Drawn by inverting the distribution function on a uniform draw; a cut far out on one side is computed on the other
    side of the bell, where floating point resolves it.
    """
    from scipy.special import ndtr, ndtri

    if not a < b or std <= 0:
        raise OperationError(f"trunc_normal_: needs a < b and std > 0, got a={a}, b={b}, std={std}.")
    low, high = (a - mean) / std, (b - mean) / std
    side = -1.0 if low > 0 else 1.0
    low, high = (low, high) if side > 0 else (-high, -low)
    u = uniform_array(tensor.shape, np.dtype(np.float64), generator)
    z = ndtri(ndtr(low) + u * (ndtr(high) - ndtr(low)))
    return overwrite(tensor, np.clip(mean + std * side * z, a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere."""
    return overwrite(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return overwrite(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return overwrite(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity: a linear layer with this weight keeps as many inputs as it can."""
    if tensor.ndim != 2:
        raise OperationError(f"eye_: needs a matrix, got shape {tensor.shape}.")
    return overwrite(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight that passes its input channels on: 1 in the middle of the kernel, 0 elsewhere."""
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise OperationError(
            f"dirac_: needs a convolution weight whose output channels are divisible by groups={groups}, "
            f"got shape {tensor.shape}."
        )
    values = np.zeros(tensor.shape)
    per_group = tensor.shape[0] // groups
    middle = tuple(n // 2 for n in tensor.shape[2:])
    for group in range(groups):
        for channel in range(min(per_group, tensor.shape[1])):
            values[(group * per_group + channel, channel, *middle)] = 1.0
    return overwrite(tensor, values)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in ±gain·√(6/(fan_in + fan_out)) (Glorot & Bengio 2010)."""
    bound = gain * math.sqrt(6.0 / max(1, sum(_fans(tensor, "xavier_uniform_"))))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with standard deviation gain·√(2/(fan_in + fan_out)) (Glorot & Bengio 2010)."""
    std = gain * math.sqrt(2.0 / max(1, sum(_fans(tensor, "xavier_normal_"))))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform in ±gain·√(3/fan) (He et al. 2015).

    Args:
        tensor: the weight, shape (out, in, *kernel).
        a: the slope of leaky_relu behind this layer; only used with that nonlinearity.
        mode: ``"fan_in"`` keeps the size of signals forward, ``"fan_out"`` of gradients backward.
        nonlinearity: what follows the layer; see :func:`calculate_gain`.
        generator: where the numbers come from.
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_uniform_")
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with standard deviation gain/√fan (He et al. 2015); see :func:`kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_normal_"), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str, what: str) -> float:
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, _fan(tensor, mode, what)))


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """A (semi-)orthogonal matrix, uniformly drawn: rows, or columns, are orthonormal (Saxe et al. 2013).

    Dimensions after the first are read as one.
    """
    if tensor.ndim < 2:
        raise OperationError(f"orthogonal_: needs at least two dimensions, got shape {tensor.shape}.")
    if tensor._data.size == 0:
        return tensor
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    draw = normal_array((max(rows, columns), min(rows, columns)), np.dtype(np.float64), generator)
    q, r = np.linalg.qr(draw)
    q *= np.sign(np.diag(r))
    return overwrite(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal values, with the fraction ``sparsity`` of each column set to zero (Martens 2010)."""
    if tensor.ndim != 2:
        raise OperationError(f"sparse_: needs a matrix, got shape {tensor.shape}.")
    rows, columns = tensor.shape
    order = uniform_array((rows, columns), np.dtype(np.float64), generator).argsort(axis=0)
    values = normal_array((rows, columns), np.dtype(np.float64), generator) * std
    np.put_along_axis(values, order[: math.ceil(sparsity * rows)], 0.0, axis=0)
    return overwrite(tensor, values)
