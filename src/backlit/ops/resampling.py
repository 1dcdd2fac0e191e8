"""Pictures and signals at another size: interpolate, and channels folded into pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..source import describe, mark
from .average_pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .definition import Sample, Tensor, operation
from .elementwise import operand
from .misuse import misuse
from .selecting import index_select
from .shape import permute, reshape

_LINEAR = {"linear": 3, "bilinear": 4, "trilinear": 5}
_MODES = ("nearest", "nearest-exact", "area", *_LINEAR)


@operation(
    formula="y[k] = Σⱼ w[k, j] x[j], w by the mode",
    gate="distributes: each input receives the gradients of the outputs it was blended into, by their weights",
    samples=lambda rng: [
        Sample(rng.normal(size=(1, 2, 3)), 5),
        Sample(rng.normal(size=(1, 2, 3, 4)), scale_factor=2),
        Sample(rng.normal(size=(1, 1, 3, 4)), (5, 2), mode="bilinear"),
        Sample(rng.normal(size=(1, 1, 3, 4)), (5, 1), mode="bilinear", align_corners=True),
        Sample(rng.normal(size=(1, 1, 6)), scale_factor=0.5, mode="area"),
        Sample(rng.normal(size=(1, 1, 2, 2, 2)), scale_factor=1.5, mode="trilinear"),
    ],
)
def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Signals (N, C, L), pictures (N, C, H, W) or volumes at another size.

    Args:
        size: the new size of the spatial dimensions (one number for all, or one each); or
        scale_factor: by how much to multiply them.
        mode: "nearest" (or "nearest-exact"), "linear", "bilinear", "trilinear" by the number of dimensions, "area" for
            averages.
        align_corners: linear modes: the corners' centres (True) or their outer edges (False) coincide.
        recompute_scale_factor: work with the rounded sizes' ratio rather than ``scale_factor`` itself.

    Raises:
        OperationError: both or neither of ``size`` and ``scale_factor``, or a mode for other dimensions.
        UnsupportedError: mode "bicubic", or antialiasing.
    """
    x = operand(input)
    _check(x, mode, align_corners, antialias)
    count = x.ndim - 2
    if (size is None) == (scale_factor is None):
        raise misuse("interpolate", "give either size or scale_factor.")
    old = x.shape[2:]
    scales = (None,) * count
    if size is None:
        factors = _each("scale_factor", scale_factor, count)
        size = tuple(math.floor(n * f) for n, f in zip(old, factors, strict=True))
        scales = scales if recompute_scale_factor else tuple(1.0 / f for f in factors)
    new = tuple(int(n) for n in _each("size", size, count))
    if min(new) < 1 or 0 in old:
        raise misuse("interpolate", f"cannot make size {new} from {tuple(old)}.")
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[count - 1](x, new)
    for i in range(count):
        step = old[i] / new[i] if scales[i] is None else scales[i]
        if mode in _LINEAR:
            x = _blend(x, i + 2, _places(old[i], new[i], step, bool(align_corners)))
        else:
            x = index_select(x, i + 2, _nearest(old[i], new[i], step, mode == "nearest-exact"))
    return x


def _check(x: Any, mode: str, align_corners: bool | None, antialias: bool) -> None:
    if mode == "bicubic" or antialias:
        raise UnsupportedError(
            f"interpolate at {describe(mark())}: mode 'bicubic' and antialiasing are not supported; "
            "use 'bilinear', or 'area' to shrink."
        )
    if mode not in _MODES:
        raise misuse("interpolate", f"mode={mode!r}; choose from {', '.join(_MODES)}.")
    if x.ndim not in (3, 4, 5) or (mode in _LINEAR and x.ndim != _LINEAR[mode]):
        raise misuse("interpolate", f"mode {mode!r} does not take an input of shape {tuple(x.shape)}.")
    if align_corners is not None and mode not in _LINEAR:
        raise misuse("interpolate", f"align_corners goes with the linear modes, not with {mode!r}.")


def _each(name: str, given: Any, count: int) -> tuple[Any, ...]:
    """One value a spatial dimension."""
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * count
    if len(values) != count:
        raise misuse("interpolate", f"{name} has {len(values)} numbers for {count} spatial dimensions.")
    return values


def _nearest(old: int, new: int, step: float, exact: bool) -> np.ndarray:
    """The position that each new one takes its value from; PyTorch multiplies in single precision."""
    place = np.arange(new, dtype=np.float32) + np.float32(0.5 if exact else 0.0)
    return np.minimum(np.floor(place * np.float32(step)).astype(np.int64), old - 1)


def _places(old: int, new: int, step: float, align_corners: bool) -> np.ndarray:
    """Where between the old positions each new one lies."""
    if align_corners:
        return np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 0.0)
    return np.maximum((np.arange(new) + 0.5) * step - 0.5, 0.0)


def _blend(x: Any, dim: int, places: np.ndarray) -> Any:
    """The two neighbours of each place along a dimension, weighted by nearness."""
    below = np.minimum(places.astype(np.int64), x.shape[dim] - 1)
    share = (places - below).astype(x.dtype).reshape((-1, *(1,) * (x.ndim - 1 - dim)))
    low = index_select(x, dim, below)
    if not share.any():
        return low
    high = index_select(x, dim, np.minimum(below + 1, x.shape[dim] - 1))
    return low * (1 - share) + high * share


@operation(
    formula="y[c, h r + i, w r + j] = x[c r² + i r + j, h, w]",
    gate="routes: a permutation",
    samples=lambda rng: [Sample(rng.normal(size=(1, 8, 2, 3)), 2)],
)
def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """Groups of r² channels as r × r pixels: (..., C r², H, W) becomes (..., C, H r, W r) (Shi et al. 2016)."""
    x, r = operand(input), upscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-3] % (r * r):
        raise misuse("pixel_shuffle", f"the channels of {tuple(x.shape)} do not divide into {r}² pixels.")
    *lead, c, h, w = x.shape
    n = len(lead)
    parts = reshape(x, (*lead, c // (r * r), r, r, h, w))
    return reshape(permute(parts, (*range(n), n, n + 3, n + 1, n + 4, n + 2)), (*lead, c // (r * r), h * r, w * r))


@operation(
    formula="y[c r² + i r + j, h, w] = x[c, h r + i, w r + j]",
    gate="routes: a permutation",
    samples=lambda rng: [Sample(rng.normal(size=(1, 2, 4, 6)), 2)],
)
def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """r × r pixels as r² channels: the reverse of :func:`pixel_shuffle`."""
    x, r = operand(input), downscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-1] % r or x.shape[-2] % r:
        raise misuse("pixel_unshuffle", f"the pixels of {tuple(x.shape)} do not divide into {r} × {r}.")
    *lead, c, h, w = x.shape
    n = len(lead)
    parts = reshape(x, (*lead, c, h // r, r, w // r, r))
    return reshape(permute(parts, (*range(n), n, n + 2, n + 4, n + 1, n + 3)), (*lead, c * r * r, h // r, w // r))
