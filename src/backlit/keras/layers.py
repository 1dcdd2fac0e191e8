"""Layers that learn their input's shape when the model is built, each standing for one or more modules.

A shape here leaves out the batch: ``(784,)``, or ``(28, 28, 1)`` for images with their channels last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import nn
from ..errors import OperationError
from .images import ChannelsFirst, ChannelsLast
from .names import look_up
from .regularizers import Penalty, resolve_regularizer

Shape = tuple[int, ...]

ACTIVATIONS: dict[str, Callable[[], nn.Module | None]] = {
    "linear": lambda: None,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "sigmoid": nn.Sigmoid,
    "hard_sigmoid": nn.Hardsigmoid,
    "tanh": nn.Tanh,
    "softmax": lambda: nn.Softmax(-1),
    "log_softmax": lambda: nn.LogSoftmax(-1),
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "mish": nn.Mish,
}


class Layer:
    """Base: ``build(shape)`` gives the modules for an input of that shape, and the output's shape."""

    def __init__(self, name: str | None = None, input_shape: Shape | None = None) -> None:
        self.name = name
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self.penalties: list[Penalty] = []

    @property
    def kind(self) -> str:
        """The class's name, for the summary."""
        return type(self).__name__

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        """Make the modules for inputs of ``shape`` (without the batch)."""
        raise NotImplementedError(f"{self.kind} does not define build(shape).")

    def _needs(self, shape: Shape, dimensions: int, what: str) -> None:
        if len(shape) != dimensions:
            raise OperationError(f"{self.kind}: needs {what}, got inputs of shape {shape} (without the batch).")


def activation(name: Any) -> list[nn.Module]:
    """The module of an activation: a name, None, or a module."""
    if name is None:
        return []
    if isinstance(name, nn.Module):
        return [name]
    made = look_up("activation", name, ACTIVATIONS)()
    return [] if made is None else [made]


def _glorot(*modules: nn.Module) -> None:
    """Keras's defaults: Glorot-uniform kernels, zero biases."""
    for module in modules:
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class Input(Layer):
    """States the shape of the inputs, so that the model is built at once."""

    def __init__(self, shape: Shape, name: str | None = None) -> None:
        super().__init__(name, shape)

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        return [], shape


InputLayer = Input


class Dense(Layer):
    """A fully connected layer of ``units`` outputs, acting on the last dimension."""

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_regularizer: Any = None,
        input_shape: Shape | None = None,
        input_dim: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name, (input_dim,) if input_dim is not None else input_shape)
        self.units, self.activation, self.use_bias = units, activation, use_bias
        self.regularizer = resolve_regularizer(kernel_regularizer)

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        if not shape:
            raise OperationError("Dense: needs inputs with at least one feature dimension besides the batch.")
        linear = nn.Linear(shape[-1], self.units, bias=self.use_bias)
        _glorot(linear)
        if self.regularizer is not None:
            self.penalties = [Penalty(self.regularizer, linear.weight)]
        return [linear, *activation(self.activation)], (*shape[:-1], self.units)


class Activation(Layer):
    """An activation by itself."""

    def __init__(self, activation: Any, name: str | None = None) -> None:
        super().__init__(name)
        self.activation = activation

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        return activation(self.activation), shape


class ReLU(Activation):
    """Rectifier."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__("relu", name)


class Softmax(Activation):
    """Probabilities over the last dimension."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__("softmax", name)


class Dropout(Layer):
    """Sets a share ``rate`` of its inputs to zero while training."""

    def __init__(self, rate: float, name: str | None = None) -> None:
        super().__init__(name)
        self.rate = rate

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        return [nn.Dropout(self.rate)], shape


class Flatten(Layer):
    """All feature dimensions as one."""

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        size = 1
        for n in shape:
            size *= n
        return [nn.Flatten()], (size,)


class Reshape(Layer):
    """Feature dimensions in another shape."""

    def __init__(self, target_shape: Shape, name: str | None = None) -> None:
        super().__init__(name)
        self.target_shape = tuple(target_shape)

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        size = 1
        for n in shape:
            size *= n
        known = 1
        for n in self.target_shape:
            known *= n if n != -1 else 1
        target = tuple(size // known if n == -1 else n for n in self.target_shape)
        return [nn.Flatten(), nn.Unflatten(1, target)], target


class Conv2D(Layer):
    """Two-dimensional convolution over (height, width, channels)."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: str = "valid",
        activation: Any = None,
        use_bias: bool = True,
        dilation_rate: int | tuple[int, int] = 1,
        groups: int = 1,
        kernel_regularizer: Any = None,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name, input_shape)
        self.filters, self.kernel, self.strides, self.padding = filters, _pair(kernel_size), _pair(strides), padding
        self.activation, self.use_bias, self.dilation, self.groups = activation, use_bias, _pair(dilation_rate), groups
        self.regularizer = resolve_regularizer(kernel_regularizer)

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        self._needs(shape, 3, "images (height, width, channels)")
        before, padding = _keras_padding(self.padding, shape, self.kernel, self.strides, self.dilation)
        conv = nn.Conv2d(
            shape[2], self.filters, self.kernel, self.strides, padding, self.dilation, self.groups, bias=self.use_bias
        )
        _glorot(conv)
        if self.regularizer is not None:
            self.penalties = [Penalty(self.regularizer, conv.weight)]
        size = _windows(shape, self.kernel, self.strides, self.padding, self.dilation)
        modules: list[nn.Module] = [ChannelsFirst(before), conv, ChannelsLast(), *activation(self.activation)]
        return modules, (*size, self.filters)


class _Pooling(Layer):
    pool: Callable[..., nn.Module]

    def __init__(
        self, pool_size: int | tuple[int, int] = 2, strides: Any = None, padding: str = "valid", name: str | None = None
    ) -> None:
        super().__init__(name)
        self.size, self.padding = _pair(pool_size), padding
        self.strides = self.size if strides is None else _pair(strides)

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        self._needs(shape, 3, "images (height, width, channels)")
        if self.padding != "valid":
            raise OperationError(f"{self.kind}: only padding='valid' is supported, got {self.padding!r}.")
        out = _windows(shape, self.size, self.strides, "valid", (1, 1))
        return [ChannelsFirst(), type(self).pool(self.size, self.strides), ChannelsLast()], (*out, shape[2])


class MaxPooling2D(_Pooling):
    """The largest value of each window."""

    pool = nn.MaxPool2d


class AveragePooling2D(_Pooling):
    """The mean of each window."""

    pool = nn.AvgPool2d


MaxPool2D, AvgPool2D = MaxPooling2D, AveragePooling2D


class GlobalAveragePooling2D(Layer):
    """The mean of each channel."""

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        self._needs(shape, 3, "images (height, width, channels)")
        return [ChannelsFirst(), nn.AdaptiveAvgPool2d(1), nn.Flatten()], (shape[2],)


class BatchNormalization(Layer):
    """Normalizes each feature over the batch; Keras's momentum is the share of the old running value that is kept."""

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-3, name: str | None = None) -> None:
        super().__init__(name)
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        options: dict[str, Any] = {"eps": self.epsilon, "momentum": 1.0 - self.momentum}
        if len(shape) == 3:
            return [ChannelsFirst(), nn.BatchNorm2d(shape[2], **options), ChannelsLast()], shape
        self._needs(shape, 1, "features, or images (height, width, channels)")
        return [nn.BatchNorm1d(shape[0], **options)], shape


class LayerNormalization(Layer):
    """Normalizes each sample over its last dimension."""

    def __init__(self, epsilon: float = 1e-3, name: str | None = None) -> None:
        super().__init__(name)
        self.epsilon = epsilon

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        return [nn.LayerNorm(shape[-1], eps=self.epsilon)], shape


class Embedding(Layer):
    """A learned vector for each whole number below ``input_dim``."""

    def __init__(self, input_dim: int, output_dim: int, name: str | None = None) -> None:
        super().__init__(name)
        self.count, self.size = input_dim, output_dim

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        embedding = nn.Embedding(self.count, self.size)
        nn.init.uniform_(embedding.weight, -0.05, 0.05)
        return [embedding], (*shape, self.size)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _reach(kernel: int, dilation: int) -> int:
    return (kernel - 1) * dilation + 1


def _windows(
    shape: Shape, kernel: tuple[int, int], strides: tuple[int, int], padding: str, dilation: tuple[int, int]
) -> Shape:
    """How many windows fit along height and width."""
    if padding == "same":
        return tuple(-(-n // s) for n, s in zip(shape[:2], strides, strict=True))
    sizes = zip(shape[:2], kernel, strides, dilation, strict=True)
    return tuple((n - _reach(k, d)) // s + 1 for n, k, s, d in sizes)


def _keras_padding(
    padding: str, shape: Shape, kernel: tuple[int, int], strides: tuple[int, int], dilation: tuple[int, int]
) -> tuple[tuple[int, ...] | None, tuple[int, int]]:
    """What to pad before the convolution (last dimension first), and what it can pad itself.

    Keras's "same" pads the odd row or column at the end, which a convolution's own symmetric padding cannot.
    """
    if padding == "valid":
        return None, (0, 0)
    if padding != "same":
        raise OperationError(f"Conv2D: padding must be 'valid' or 'same', got {padding!r}.")
    totals = [
        max((-(-n // s) - 1) * s + _reach(k, d) - n, 0)
        for n, k, s, d in zip(shape[:2], kernel, strides, dilation, strict=True)
    ]
    if all(t % 2 == 0 for t in totals):
        return None, (totals[0] // 2, totals[1] // 2)
    (top, bottom), (left, right) = ((t // 2, t - t // 2) for t in totals)
    return (left, right, top, bottom), (0, 0)
