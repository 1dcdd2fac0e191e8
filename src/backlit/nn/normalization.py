"""Normalisation layers."""

from __future__ import annotations

from typing import Any

from ..creation import ones, zeros
from ..creation import tensor as new_tensor
from ..dtypes import get_default_dtype
from ..errors import OperationError
from ..graph import no_grad
from ..source import describe, mark
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import empty_parameter
from .module import Module
from .parameter import Parameter, overwrite

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "RMSNorm",
]


class _BatchNorm(Module):
    """What the batch normalisations share; they differ in the number of dimensions they take."""

    _dims: tuple[int, ...] = ()
    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, empty_parameter(num_features, device=device, dtype=dtype) if wanted else None)
        self._register_statistics(get_default_dtype() if dtype is None else dtype)
        self.reset_parameters()

    def _register_statistics(self, dtype: Any) -> None:
        tracked = self.track_running_stats
        self.register_buffer("running_mean", zeros(self.num_features, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", ones(self.num_features, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", new_tensor(0) if tracked else None)

    def reset_running_stats(self) -> None:
        """Forget the statistics collected so far."""
        if self.track_running_stats:
            overwrite(self.running_mean, 0.0)
            overwrite(self.running_var, 1.0)
            overwrite(self.num_batches_tracked, 0)

    def reset_parameters(self) -> None:
        """Scale 1, shift 0, statistics forgotten."""
        self.reset_running_stats()
        _reset(self)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in self._dims:
            raise OperationError(
                f"{type(self).__name__} at {describe(mark())}: expected an input with "
                f"{' or '.join(map(str, self._dims))} dimensions (batch, channels, …), got shape {input.shape}."
            )
        use_batch = self.training or self.running_mean is None
        update = self.training and self.running_mean is not None
        return F.batch_norm(
            input,
            self.running_mean if update or not use_batch else None,
            self.running_var if update or not use_batch else None,
            self.weight,
            self.bias,
            use_batch,
            self._count_batch() if update else 0.0,
            self.eps,
        )

    def _count_batch(self) -> float:
        """Count a training batch; the share it gets in the running statistics (1/n for ``momentum=None``)."""
        with no_grad():
            self.num_batches_tracked.add_(1)
        return 1.0 / self.num_batches_tracked.item() if self.momentum is None else self.momentum

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Each channel shifted and scaled to mean 0 and variance 1 over the batch, then by ``weight`` and ``bias``.

    In ``eval()`` the running statistics of the training batches stand in for the batch's (Ioffe & Szegedy 2015).

    Args:
        num_features: channels.
        eps: added to the variance.
        momentum: the share of the newest batch in the running statistics; None for a plain average over batches.
        affine: learn ``weight``, and ``bias`` unless that is false.
        track_running_stats: keep running statistics; without them, batches are used in ``eval()`` too.

    Shape: (batch, channels) or (batch, channels, length), kept.
    """

    _dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """As :class:`BatchNorm1d`, for images: shape (batch, channels, height, width)."""

    _dims = (4,)


class BatchNorm3d(_BatchNorm):
    """As :class:`BatchNorm1d`, for volumes: shape (batch, channels, depth, height, width)."""

    _dims = (5,)


class _InstanceNorm(_BatchNorm):
    """What the instance normalisations share: statistics of one channel of one sample."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        wanted = self._dims[0]
        if input.ndim not in (wanted, wanted - 1):
            raise OperationError(
                f"{type(self).__name__} at {describe(mark())}: expected an input with {wanted} dimensions (batch, "
                f"channels, …), or {wanted - 1} without a batch, got shape {input.shape}."
            )
        batch = input if input.ndim == wanted else input.unsqueeze(0)
        out = F.instance_norm(
            batch,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return out if input.ndim == wanted else out.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample shifted and scaled to mean 0 and variance 1 over its positions (Ulyanov et al. 2016).

    Arguments as for :class:`BatchNorm1d`, but nothing is learned or tracked unless asked for.

    Shape: (batch, channels, length) or (channels, length), kept.
    """

    _dims = (3,)


class InstanceNorm2d(_InstanceNorm):
    """As :class:`InstanceNorm1d`, for images: shape (batch, channels, height, width), or without the batch."""

    _dims = (4,)


class InstanceNorm3d(_InstanceNorm):
    """As :class:`InstanceNorm1d`, for volumes: shape (batch, channels, depth, height, width), or without the batch."""

    _dims = (5,)


class LayerNorm(Module):
    """Each sample shifted and scaled to mean 0 and variance 1 over its last dimensions (Ba et al. 2016).

    Args:
        normalized_shape: the sizes of those dimensions (an int for the last one).
        eps: added to the variance.
        elementwise_affine: learn ``weight`` (and ``bias``) of that shape, applied afterwards.
        bias: learn ``bias``.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            self.register_parameter(
                name, empty_parameter(*self.normalized_shape, device=device, dtype=dtype) if wanted else None
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        _reset(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Each sample divided by the root mean square of its last dimensions (Zhang & Sennrich 2019).

    Args:
        normalized_shape: the sizes of those dimensions (an int for the last one).
        eps: added to the mean square; None for the smallest step above 1 of the input's dtype.
        elementwise_affine: learn ``weight`` of that shape, applied afterwards.
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.register_parameter(
            "weight",
            empty_parameter(*self.normalized_shape, device=device, dtype=dtype) if elementwise_affine else None,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Channels in groups, each group of each sample shifted and scaled to mean 0 and variance 1 (Wu & He 2018).

    Args:
        num_groups: how many groups; must divide ``num_channels``.
        num_channels: channels.
        eps: added to the variance.
        affine: learn ``weight`` and ``bias``, one a channel, applied afterwards.

    Shape: (batch, channels, ...), kept.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise OperationError(
                f"GroupNorm at {describe(mark())}: {num_channels} channels cannot be split into {num_groups} "
                "equal groups."
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, empty_parameter(num_channels, device=device, dtype=dtype) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        _reset(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        text = f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
        return f"{text}, bias={self.bias is not None}"


def _reset(module: Any) -> None:
    """Scale 1, shift 0."""
    if module.weight is not None:
        init.ones_(module.weight)
    if module.bias is not None:
        init.zeros_(module.bias)


def _shape(given: Any) -> tuple[int, ...]:
    return (given,) if isinstance(given, int) else tuple(given)
