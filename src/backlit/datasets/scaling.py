"""Bringing features to a common scale, with statistics of the training part only."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .data import Data
from .errors import DataError

Float64 = NDArray[np.float64]
_BLOCK = 1 << 16  # values worked on at a time


class Scaler(ABC):
    """A map from features to scaled features, column by column, whose constants come from training rows.

    A column is everything that shares an index behind the first axis. Statistics are computed in float64. Results are
    float64 for float64 input and float32 for any other. NaN in the input of `transform` stays NaN.
    """

    _constants: ClassVar[tuple[str, ...]]

    @abstractmethod
    def fit(self, x: ArrayLike) -> Self:
        """Take the statistics of training rows `x` of shape (N, ...); returns this object."""

    @abstractmethod
    def _scale(self, x: Float64) -> Float64: ...

    @abstractmethod
    def _unscale(self, z: Float64) -> Float64: ...

    def transform(self, x: ArrayLike) -> NDArray[Any]:
        """Rows `x` of shape (N, ...) scaled.

        Raises:
            DataError: before `fit`, or where the columns are not those of `fit`.
        """
        return self._apply(self._scale, x)

    def inverse(self, z: ArrayLike) -> NDArray[Any]:
        """The rows of which `z` is the scaled form: inverse(transform(x)) = x up to rounding.

        Raises:
            DataError: before `fit`, or where the columns are not those of `fit`.
        """
        return self._apply(self._unscale, z)

    def fit_transform(self, x: ArrayLike) -> NDArray[Any]:
        """`fit(x)`, then `transform(x)`."""
        return self.fit(x).transform(x)

    def state_dict(self) -> dict[str, NDArray[np.float64]]:
        """The constants, as plain float64 arrays (copies).

        Raises:
            DataError: before `fit`.
        """
        self._require_fit()
        return {name: np.array(getattr(self, name), dtype=np.float64) for name in self._constants}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take the constants from `state`, as `state_dict` gave them.

        Raises:
            DataError: a constant is missing, unknown, not numeric or not finite, a scale is not positive, or shapes
                differ.
        """
        if set(state) != set(self._constants):
            raise DataError(
                f"{type(self).__name__} needs the constants {', '.join(self._constants)} and was given "
                f"{', '.join(sorted(state)) or 'none'}; load a state_dict() of the same class."
            )
        arrays = {name: _numeric(state[name], name).astype(np.float64) for name in self._constants}
        finite = all(np.isfinite(array).all() for array in arrays.values())
        if not (finite and np.all(arrays["scale_"] > 0) and self._consistent(arrays)):
            raise DataError(
                f"the state of {type(self).__name__} is damaged: constants must be finite, scales above 0, and shapes "
                "alike; fit again or load an intact state."
            )
        for name, array in arrays.items():
            setattr(self, name, array)

    @abstractmethod
    def _consistent(self, arrays: Mapping[str, Float64]) -> bool: ...

    def _require_fit(self) -> None:
        if not hasattr(self, "scale_"):
            raise DataError(f"this {type(self).__name__} has no statistics yet; call fit(x_train) first.")

    def _apply(self, function: Callable[[NDArray[Any]], Float64], values: ArrayLike) -> NDArray[Any]:
        self._require_fit()
        x = _numeric(values, "x")
        columns = getattr(self, self._constants[0]).shape
        if x.ndim == 0 or x.shape[1:] != columns:
            raise DataError(
                f"x has shape {x.shape} and fit saw rows of shape {columns}; give rows with the same columns."
            )
        result = np.empty(x.shape, dtype=np.float64 if x.dtype == np.float64 else np.float32)
        with np.errstate(over="ignore"):  # beyond the range of the result is inf, as everywhere in NumPy
            for block in _blocks(x):
                result[block] = function(x[block])
        return result


class Standardizer(Scaler):
    """Scales each column to mean 0 and standard deviation 1.

        z = (x - mean) / scale,    scale = √(Σ (x - mean)² / N),  or 1 for a constant column

    Fit it on training rows only: statistics of test rows would leak what is to be predicted.
    Source: Y. LeCun, L. Bottou, G. Orr and K.-R. Müller, "Efficient BackProp", 1998, section 4.3.

    Attributes:
        mean_: float64, the mean of each column, once fitted.
        scale_: float64, the standard deviation of each column, or 1 where it is 0.

    Example:
        >>> scaler = Standardizer()
        >>> scaler.fit_transform([[1.0, 5.0], [3.0, 5.0]])
        array([[-1.,  0.],
               [ 1.,  0.]])
        >>> scaler.inverse([[0.0, 0.0]])
        array([[2., 5.]])
    """

    mean_: Float64
    scale_: Float64
    _constants = ("mean_", "scale_")

    def fit(self, x: ArrayLike) -> Self:
        """Take mean and standard deviation of training rows `x` of shape (N, ...); returns this object.

        Raises:
            DataError: `x` has no rows, is not numeric, holds NaN or infinity, or its spread exceeds float64.
        """
        rows = _training_rows(x)
        smallest, largest = _extremes(rows)
        constant = smallest == largest
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.where(constant, smallest, rows.mean(axis=0, dtype=np.float64))
            # Dividing by the largest deviation first keeps the squares from overflowing and from vanishing.
            peak = np.where(constant, 1.0, np.maximum(largest - mean, mean - smallest))
            squares = sum((((rows[block] - mean) / peak) ** 2).sum(axis=0) for block in _blocks(rows))
            scale = np.where(constant, 1.0, peak * np.sqrt(squares / len(rows)))
        if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
            raise DataError("the spread of x exceeds the range of float64; use a larger unit for its columns.")
        self.mean_, self.scale_ = mean, scale
        return self

    def _consistent(self, arrays: Mapping[str, Float64]) -> bool:
        return arrays["mean_"].shape == arrays["scale_"].shape

    def _scale(self, x: Float64) -> Float64:
        return (x - self.mean_) / self.scale_

    def _unscale(self, z: Float64) -> Float64:
        return z * self.scale_ + self.mean_

    def __repr__(self) -> str:
        return "Standardizer()"


class Normalizer(Scaler):
    """Scales each column so that training values lie in [low, high].

        z = low + (x - min) / scale,    scale = (max - min) / (high - low),  or 1 for a constant column

    Values outside the training range come out outside [low, high]; nothing is clipped.

    Attributes:
        low, high: the ends of the range.
        min_: float64, the smallest training value of each column, once fitted.
        scale_: float64, the width in the units of x of one unit of z.

    Raises:
        DataError: low is not below high, or one is not finite.

    Example:
        >>> Normalizer(-1, 1).fit_transform([[0.0], [5.0], [10.0]])
        array([[-1.],
               [ 0.],
               [ 1.]])
    """

    min_: Float64
    scale_: Float64
    _constants = ("min_", "scale_", "low", "high")

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        if not (np.isfinite([low, high]).all() and low < high):
            raise DataError(f"the range is [{low}, {high}]; give two finite numbers, low < high.")
        self.low = low
        self.high = high

    def fit(self, x: ArrayLike) -> Self:
        """Take the range of training rows `x` of shape (N, ...); returns this object.

        Raises:
            DataError: `x` has no rows, is not numeric, holds NaN or infinity, or its range exceeds float64.
        """
        rows = _training_rows(x)
        smallest, largest = _extremes(rows)
        with np.errstate(over="ignore"):
            scale = (largest - smallest) / (self.high - self.low)
        if not np.isfinite(scale).all():
            raise DataError("the range of x exceeds float64; use a larger unit for its columns.")
        self.min_, self.scale_ = smallest, np.where(scale == 0, 1.0, scale)
        return self

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        super().load_state_dict(state)
        self.low, self.high = float(self.low), float(self.high)

    def _consistent(self, arrays: Mapping[str, Float64]) -> bool:
        low, high = arrays["low"], arrays["high"]
        return arrays["min_"].shape == arrays["scale_"].shape and low.shape == high.shape == () and bool(low < high)

    def _scale(self, x: Float64) -> Float64:
        return self.low + (x - self.min_) / self.scale_

    def _unscale(self, z: Float64) -> Float64:
        return (z - self.low) * self.scale_ + self.min_

    def __repr__(self) -> str:
        return f"Normalizer(low={self.low}, high={self.high})"


def normalize(data: Data, scaler: Scaler | None = None) -> Data:
    """`data` with both parts scaled by the statistics of the training part; images become flat rows first.

    Args:
        data: any data set.
        scaler: what to scale with, fitted here on `data.x_train`; a new `Standardizer` unless given. Keep it to scale
            later rows alike, or to save its `state_dict()`.

    Returns:
        Data with float32 features (N, D), or float64 where they were float64.

    Raises:
        DataError: the features hold NaN or infinity, or the training part is empty.

    Example:
        >>> from backlit.datasets import moons
        >>> x = normalize(moons(200)).x_train
        >>> x.mean(axis=0).round(3) + 0.0, x.std(axis=0).round(3)
        (array([0., 0.], dtype=float32), array([1., 1.], dtype=float32))
    """
    flat = data.scaled()
    scaler = Standardizer() if scaler is None else scaler
    return replace(flat, x_train=scaler.fit_transform(flat.x_train), x_test=scaler.transform(flat.x_test))


def _numeric(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise DataError(f"{name} holds {array.dtype} values; give an array of real numbers of at most 64 bits.")
    return array


def _training_rows(x: ArrayLike) -> NDArray[Any]:
    rows = _numeric(x, "x")
    if rows.ndim == 0 or len(rows) == 0:
        raise DataError(f"x has shape {rows.shape}; give an array with at least one row.")
    return rows


def _extremes(rows: NDArray[Any]) -> tuple[Float64, Float64]:
    """The smallest and the largest value of each column, which also shows whether all are finite."""
    smallest, largest = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    if not (np.isfinite(smallest).all() and np.isfinite(largest).all()):
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(rows))[0])
        raise DataError(f"x holds {rows[first]} at {first}; fill in or remove such rows before fitting.")
    return smallest, largest


def _blocks(rows: NDArray[Any]) -> Iterator[slice]:
    """Slices of rows so small that their float64 copies stay in the cache."""
    step = max(1, _BLOCK // max(1, math.prod(rows.shape[1:])))
    return (slice(start, start + step) for start in range(0, len(rows), step))
