"""Statistics composed of reductions: several at once, covariance, quantiles, differences, distances, NaN left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import mode
from .arithmetic import where
from .comparison import isnan
from .definition import Sample, Tensor, operation
from .elementwise import match, operand
from .extremes import amax, amin
from .joining import cat
from .misuse import any_wrong, misuse
from .norms import norm
from .ordering import sort
from .reduction import Dims, floating, one_axis
from .reduction import mean as _mean
from .reduction import sum as _sum
from .selecting import index_select
from .slicing import diagonal, narrow
from .statistics import std, var
from .transcendental import sqrt


def _spread_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample(rng.normal(size=(3, 4))),
        Sample(rng.normal(size=(3, 4)), 1, keepdim=True),
        Sample(rng.normal(size=(2, 3, 4)), (0, 2), correction=0),
    ]


@operation(formula="(√ variance, mean)", gate="as std and mean, added", samples=_spread_samples)
def std_mean(
    x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean, arguments as for :func:`backlit.std`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return std(x, dim, unbiased, keepdim, correction=correction), _mean(x, dim, keepdim)


@operation(formula="(variance, mean)", gate="as var and mean, added", samples=_spread_samples)
def var_mean(
    x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """The variance and the mean, arguments as for :func:`backlit.var`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return var(x, dim, unbiased, keepdim, correction=correction), _mean(x, dim, keepdim)


@operation(
    formula="(min x, max x)",
    gate="routes to the smallest and to the largest elements",
    samples=lambda rng: [Sample(rng.normal(size=(3, 4))), Sample(rng.normal(size=(3, 4)), dim=1, keepdim=True)],
)
def aminmax(x: Any, *, dim: int | None = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The smallest and the largest elements, of all or along a dimension."""
    dims = () if dim is None else dim
    return amin(x, dims, keepdim), amax(x, dims, keepdim)


@operation(
    formula="y = Σ x over what is not NaN",
    gate="distributes to all elements that are not NaN",
    samples=lambda rng: [Sample(rng.normal(size=(3, 4))), Sample(rng.normal(size=(3, 4)), 0, keepdim=True)],
)
def nansum(x: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum with NaN counted as 0."""
    x = operand(x)
    return _sum(where(isnan(x), 0, x) if x.dtype.kind == "f" else x, dim, keepdim, dtype=dtype)


@operation(
    formula="y = mean of what is not NaN",
    gate="distributes to all elements that are not NaN, divided by their number",
    samples=lambda rng: [Sample(rng.normal(size=(3, 4))), Sample(rng.normal(size=(3, 4)), 0, keepdim=True)],
)
def nanmean(x: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean of the elements that are not NaN; NaN where there are none."""
    x = floating("nanmean", x, dtype)
    known = _sum(isnan(x) == False, dim, keepdim)  # noqa: E712  (elementwise; `~` means something else to arrays of bytes)
    return nansum(x, dim, keepdim) / known.astype(x.dtype)


@operation(
    formula="y[k] = x[k+1] − x[k]",
    gate="distributes, with the sign changed for the earlier element",
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4))),
        Sample(rng.normal(size=(3, 4)), 2, 0),
        Sample(rng.normal(size=(3,)), prepend=rng.normal(size=(1,)), append=np.zeros(2, np.float32)),
    ],
)
def diff(x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """Differences of neighbours along a dimension, ``n`` times over; ``prepend`` and ``append`` are joined on first."""
    x = operand(x)
    if x.ndim == 0 or n < 0:
        raise misuse("diff", f"needs at least one dimension and n >= 0; got shape {tuple(x.shape)}, n={n}.")
    axis = one_axis("diff", x, dim)
    if n == 0:
        return x
    parts = [part for part in (prepend, x, append) if part is not None]
    x = cat(parts, axis) if len(parts) > 1 else x
    for _ in range(min(n, x.shape[axis])):
        size = x.shape[axis] - 1
        later, earlier = narrow(x, axis, 1, size), narrow(x, axis, 0, size)
        x = later - earlier if x.dtype.kind != "b" else later ^ earlier
    return x


@operation(
    formula="C = (X − x̄)(X − x̄)ᵀ/(n − correction)",
    gate="swaps deviations, scaled",
    samples=lambda rng: [Sample(rng.normal(size=(3, 5))), Sample(rng.normal(size=(4,)), correction=0)],
)
def cov(x: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
    """The covariance of variables (rows) over observations (columns); of a vector, its variance.

    Args:
        fweights, aweights: how often (whole numbers), and with what weight, each observation counts; not negative.
    """
    x = operand(x)
    if x.ndim > 2:
        raise misuse("cov", f"needs at most two dimensions, got shape {tuple(x.shape)}.")
    if fweights is not None and operand(fweights).dtype.kind not in "iu":
        raise misuse("cov", f"fweights are whole numbers, got {fweights.dtype.name}; use aweights.")
    x = x if x.dtype.kind == "f" else x.astype(np.float32)
    rows = x if x.ndim == 2 else x.reshape((1, -1))
    given = [_weights(w, rows) for w in (fweights, aweights) if w is not None]
    if not given:
        deviations = rows - _mean(rows, 1, True)
        scatter, freedom = deviations @ deviations.mT, max(0, rows.shape[1] - correction)
        product = scatter / np.asarray(freedom, rows.dtype)
    else:
        weight = given[0] if len(given) == 1 else given[0] * given[1]
        total = _sum(weight)
        deviations = rows - _sum(rows * weight, 1, True) / total
        lost = correction if aweights is None else correction * _sum(weight * aweights) / total
        product = ((deviations * weight) @ deviations.mT) / (total - lost)
    return product.reshape(()) if product.shape == (1, 1) else product


def _weights(given: Any, rows: Any) -> Any:
    """Weights of observations, in their own dtype, as PyTorch adds them up."""
    given = operand(given)
    if given.shape != rows.shape[1:]:
        raise misuse("cov", f"{rows.shape[1]} observations need as many weights, got shape {tuple(given.shape)}.")
    if any_wrong(given, lambda values: values < 0):
        raise misuse("cov", "weights must not be negative.")
    return given


@operation(
    formula="R = C[i, j]/√(C[i, i] C[j, j])",
    gate="as cov, scaled by both deviations",
    samples=lambda rng: [Sample(rng.normal(size=(3, 5)))],
)
def corrcoef(x: Any) -> Tensor:
    """Pearson's correlation of variables (rows) over observations (columns)."""
    c = cov(x)
    if c.ndim == 0:
        return c / c
    deviation = sqrt(diagonal(c))
    return c / deviation.reshape((-1, 1)) / deviation


_BETWEEN: dict[str, Any] = {"linear": None, "lower": 0.0, "higher": 1.0, "midpoint": 0.5, "nearest": None}


@operation(
    formula="y = the value below which a share q of x lies",
    gate="routes to the two neighbours in order, weighted",
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 5)), 0.4),
        Sample(rng.normal(size=(3, 5)), [0.1, 0.5], 1, keepdim=True),
        Sample(rng.normal(size=(6,)), 0.3, interpolation="midpoint"),
    ],
)
def quantile(x: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Tensor:
    """The ``q``-th quantile of all elements, or along a dimension.

    Args:
        q: a number from 0 to 1, or several, which get a first dimension of their own.
        interpolation: between the two nearest elements: "linear", "lower", "higher", "midpoint" or "nearest".

    Raises:
        OperationError: ``q`` outside [0, 1], an unknown interpolation, no elements.
    """
    x = floating("quantile", x)
    if mode.tracer is not None and isinstance(q, Tensor):
        mode.tracer.refuse("quantile with a tensor of shares")
    shares = np.asarray(getattr(q, "_data", q), np.float64)
    if interpolation not in _BETWEEN:
        raise misuse("quantile", f"interpolation={interpolation!r}; choose from {', '.join(_BETWEEN)}.")
    if shares.ndim > 1 or not ((shares >= 0) & (shares <= 1)).all():
        raise misuse("quantile", f"q must be one number or a vector of numbers from 0 to 1, got {q}.")
    ndim = x.ndim
    x, axis = (x.reshape((-1,)), 0) if dim is None else (x, one_axis("quantile", x, dim))
    x = x.reshape((1,)) if x.ndim == 0 else x
    size = x.shape[axis]
    if size == 0:
        raise misuse("quantile", "there are no elements.")
    ordered = sort(x, axis)[0]
    ends = narrow(ordered, axis, size - 1, 1)
    place = np.atleast_1d(shares) * (size - 1)
    below = np.round(place) if interpolation == "nearest" else np.floor(place)
    part = _BETWEEN[interpolation] if _BETWEEN[interpolation] is not None else place - below
    share: Any = np.where(place == below, 0.0, part) * (interpolation != "nearest")
    if isinstance(q, Tensor) and interpolation == "linear":
        share = q.astype(x.dtype).reshape((-1,)) * (size - 1) - below.astype(x.dtype)
    low = index_select(ordered, axis, below.astype(np.int64))
    high = index_select(ordered, axis, np.minimum(below + 1, size - 1).astype(np.int64))
    across = share.reshape((-1, *(1,) * (x.ndim - 1 - axis))).astype(x.dtype)
    found = low + (high - low) * across
    found = where(isnan(ends), ends, found)  # NaN is sorted to the end and spoils every quantile
    found = found.movedim(axis, 0) if isinstance(found, Tensor) else np.moveaxis(found, axis, 0)
    if keepdim:
        kept = (1,) * ndim if dim is None else tuple(1 if i == axis else n for i, n in enumerate(x.shape))[:ndim]
        found = found.reshape((len(place), *kept))
    elif ndim == 0 or dim is None:
        found = found.reshape((len(place),))
    return found if shares.ndim else found[0]


# -- distances ----------------------------------------------------------------------------------------------------


@operation(
    formula="y = ‖x − y‖ₚ",
    gate="as norm, with the sign changed for y",
    domain="kink where x = y, where the slope 0 is used",
    samples=lambda rng: [Sample(rng.normal(size=(3, 4)), rng.normal(size=(4,))), Sample(rng.normal(size=2), 0.5, 3)],
)
def dist(x: Any, other: Any, p: float = 2) -> Tensor:
    """The p-norm of the difference of two tensors, read as vectors."""
    x, other = match(x, other)
    return norm(x - other, p)


@operation(
    formula="D[i, j] = ‖x₁[i] − x₂[j]‖ₚ",
    gate="as norm of every difference, added up over pairs",
    domain="kink where two points are equal, where the slope 0 is used",
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), rng.normal(size=(2, 4))),
        Sample(rng.normal(size=(2, 3, 2)), rng.normal(size=(1, 4, 2)), 3.0),
        Sample(rng.normal(size=(3, 2)), rng.normal(size=(0, 2)), 1.0),
    ],
)
def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str = "") -> Tensor:
    """The p-norm distance of every row of ``x1`` to every row of ``x2``.

    Args:
        x1, x2: shapes (..., P, M) and (..., R, M), leading dimensions broadcast.
        compute_mode: accepted and ignored; differences are always taken before squaring, which loses no digits and
            takes memory for P · R · M numbers.

    Returns:
        Shape (..., P, R).
    """
    del compute_mode
    x1, x2 = match(operand(x1), operand(x2))
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise misuse("cdist", f"rows of {tuple(x1.shape)} and {tuple(x2.shape)} cannot be compared.")
    pairs = x1.reshape((*x1.shape[:-1], 1, x1.shape[-1])) - x2.reshape((*x2.shape[:-2], 1, *x2.shape[-2:]))
    return norm(pairs, p, -1)
