"""Arrays as a record keeps them: the numbers themselves, or what statistics say of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .summary import Summary

Array = NDArray[Any]

SHOWN = 64
"""Arrays with more elements go into a page as statistics, a histogram and a picture."""
BINS = 24
SIDE = 32
"""Pictures have at most this many rows and columns; each entry is the mean of a block."""


@dataclass(frozen=True)
class Statistics:
    """What an array looks like: of its finite entries the extremes, mean, standard deviation and L2 norm; the share of
    exact zeros; how many entries are NaN or infinite; and a histogram of ``counts`` between ``low`` and ``high``."""

    size: int
    min: float
    max: float
    mean: float
    std: float
    norm: float
    absmax: float
    zeros: float
    nans: int
    infs: int
    counts: tuple[int, ...]

    @classmethod
    def of(cls, array: Array) -> Statistics:
        """The statistics of an array of numbers or truth values; empty arrays have NaN for their extremes."""
        flat = np.asarray(array).reshape(-1)
        flat = flat.astype(np.float64) if flat.dtype != np.float64 else flat
        finite = flat[np.isfinite(flat)]
        nans = int(np.isnan(flat).sum())
        zeros = float(np.mean(flat == 0)) if flat.size else 0.0
        infs = flat.size - finite.size - nans
        if not finite.size:
            nan = math.nan
            return cls(flat.size, nan, nan, nan, nan, nan, nan, zeros, nans, infs, ())
        low, high = float(finite.min()), float(finite.max())
        absmax = max(abs(low), abs(high))
        norm = absmax * float(np.linalg.norm(finite / absmax)) if absmax else 0.0  # squares of 1e200 overflow
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std = float(finite.mean()), float(finite.std())
        return cls(flat.size, low, high, mean, std, norm, absmax, zeros, nans, infs, _counts(finite, low, high))

    @classmethod
    def told(cls, summary: Summary) -> Statistics:
        """The statistics of an array of which a summary was kept."""
        s = summary
        counts = _counts(s.sample, s.low, s.high)
        return cls(s.size, s.low, s.high, s.mean, s.std, s.norm, max(-s.low, s.high), s.zeros, 0, 0, counts)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the histogram, for JSON."""
        return {name: plain(getattr(self, name)) for name in _IN_JSON}


_IN_JSON = tuple(field.name for field in fields(Statistics) if field.name != "counts")


def _counts(finite: Array, low: float, high: float) -> tuple[int, ...]:
    narrow = (high - low) / BINS <= np.spacing(max(abs(low), abs(high)))  # no room for bins between the extremes
    if finite.size < 2 or narrow or not math.isfinite(high - low):
        return ()
    return tuple(np.histogram(finite, BINS, (low, high))[0].tolist())


class Kept:
    """An array in a record: the array itself, or only its shape, dtype and statistics.

    >>> kept = Kept(np.array([1.0, 2.0]))
    >>> kept.statistics.mean, kept.dropped().array is None
    (1.5, True)
    """

    __slots__ = ("_statistics", "_summary", "array", "dtype", "shape")

    def __init__(self, array: Array) -> None:
        self.array: Array | None = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype = array.dtype
        self._statistics: Statistics | None = None
        self._summary: Summary | None = None

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.shape)) or "scalar"
        return f"<Kept {shape} {np.dtype(self.dtype).name}{' (statistics)' if self.array is None else ''}>"

    @property
    def statistics(self) -> Statistics:
        """Computed when first asked for. Of an array that was not kept, the histogram is that of a sample."""
        if self._statistics is None:
            if self._summary is not None:
                self._statistics = Statistics.told(self._summary)
            else:
                assert self.array is not None
                self._statistics = Statistics.of(self.array)
        return self._statistics

    def dropped(self) -> Kept:
        """The same without the array."""
        assert self.array is not None
        self._summary = Summary.of(self.array)
        if self._summary is None:
            self._statistics = Statistics.of(self.array)
        self.array = None
        return self

    @classmethod
    def described(cls, shape: tuple[int, ...], dtype: Any, statistics: Statistics) -> Kept:
        """Statistics alone, as a file of a record without arrays has them."""
        kept = cls.__new__(cls)
        kept.array, kept.shape, kept.dtype = None, shape, np.dtype(dtype)
        kept._statistics, kept._summary = statistics, None
        return kept

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON: statistics, and as much of the array as a page can show."""
        stats = self.statistics
        out: dict[str, Any] = {"shape": list(self.shape), "dtype": self.dtype.name, "stats": stats.to_dict()}
        if stats.counts:
            out["histogram"] = {"low": plain(stats.min), "high": plain(stats.max), "counts": list(stats.counts)}
        if self.array is not None:
            if self.array.size <= SHOWN:
                out["values"] = _listed(self.array)
            else:
                out["picture"] = _picture(self.array)
        return out


def _picture(array: Array) -> dict[str, Any]:
    """Means of blocks of the array seen as a matrix: its last dimension across, all others down."""
    matrix = np.asarray(array, np.float64).reshape(-1, array.shape[-1])
    rows, columns = (min(SIDE, n) for n in matrix.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        down = np.add.reduceat(matrix, _starts(matrix.shape[0], rows), axis=0)
        blocks = np.add.reduceat(down, _starts(matrix.shape[1], columns), axis=1)
        heights, widths = (_widths(n, parts) for n, parts in zip(matrix.shape, (rows, columns), strict=True))
        blocks /= np.outer(heights, widths)
    return {"rows": rows, "columns": columns, "values": _listed(_rounded(blocks))}


def _starts(size: int, parts: int) -> Array:
    return np.arange(parts) * size // parts


def _widths(size: int, parts: int) -> Array:
    return np.diff(np.append(_starts(size, parts), size))


def _rounded(blocks: Array) -> Array:
    """To four significant digits: enough for a colour, and a quarter of the text."""
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = np.where(blocks == 0, 0, 3 - np.floor(np.log10(np.abs(blocks))))
    scale = 10.0 ** np.clip(np.nan_to_num(digits), -300, 300)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.rint(blocks * scale) / scale
    return np.where(np.isfinite(rounded), rounded, blocks)


def _listed(array: Array) -> Any:
    """An array as JSON can hold it; most hold nothing that JSON lacks, and looking at each entry takes long."""
    return array.tolist() if np.isfinite(array).all() else plain(array.tolist())


def plain(value: Any) -> Any:
    """Numbers and nested lists as JSON can hold them: NaN and infinities as ``"nan"``, ``"inf"``, ``"-inf"``."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def number(value: Any) -> float:
    """The inverse of :func:`plain` for one number."""
    return float(value)
