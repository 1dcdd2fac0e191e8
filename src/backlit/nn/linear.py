"""Linear maps, and layers that only change the shape."""

from __future__ import annotations

import math
from typing import Any

from .. import memory
from ..dtypes import as_dtype, get_default_dtype
from ..ops import linear
from ..tensor import Tensor
from ..tensor import device as check_device
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

__all__ = [
    "Bilinear",
    "Flatten",
    "Identity",
    "Linear",
    "Unflatten",
]


def empty_parameter(*shape: int, device: Any = None, dtype: Any = None) -> Parameter:
    """A parameter for ``reset_parameters`` to fill."""
    if device is not None:
        check_device(device)
    return Parameter(Tensor(memory.empty(shape, get_default_dtype() if dtype is None else as_dtype(dtype))))


class Identity(Module):
    """Gives back its input, whatever arguments it was made with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Linear(Module):
    """Affine map ``y = x Wᵀ + b`` of the last dimension.

    Args:
        in_features: size of the last dimension of the input.
        out_features: size of the last dimension of the output.
        bias: whether to add ``b``.
        device: only ``"cpu"``.
        dtype: of the parameters; the default dtype unless given.

    Attributes:
        weight: shape (out_features, in_features), initially uniform in ±1/√in_features.
        bias: shape (out_features,), likewise; None without one.

    Shape: (..., in_features) to (..., out_features).

    >>> import backlit as bl
    >>> bl.nn.Linear(20, 30)(bl.ones(128, 20)).shape
    (128, 30)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = empty_parameter(out_features, in_features, device=device, dtype=dtype)
        self.register_parameter("bias", empty_parameter(out_features, device=device, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # gain √(2/6): uniform in ±1/√in_features
        if self.bias is not None:
            reset_bias(self.bias, self.in_features)

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def reset_bias(bias: Tensor, fan_in: int) -> None:
    """Uniform in ±1/√fan_in, PyTorch's default for the biases of linear and convolution layers."""
    bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
    init.uniform_(bias, -bound, bound)


class Bilinear(Module):
    """``y = x₁ᵀ A x₂ + b`` for each output, over the last dimensions of two inputs.

    Attributes:
        weight: shape (out_features, in1_features, in2_features), initially uniform in ±1/√in1_features.
        bias: shape (out_features,), likewise; None without one.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = empty_parameter(out_features, in1_features, in2_features, device=device, dtype=dtype)
        self.register_parameter("bias", empty_parameter(out_features, device=device, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        reset_bias(self.weight, self.in1_features)
        if self.bias is not None:
            reset_bias(self.bias, self.in1_features)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Flatten(Module):
    """Dimensions from ``start_dim`` to ``end_dim`` read as one; the batch dimension is kept unless told otherwise."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One dimension read as several."""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
