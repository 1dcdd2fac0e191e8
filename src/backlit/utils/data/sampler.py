"""In which order samples are visited."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from ...errors import OperationError
from ...tensor import Tensor
from .seeds import draw_seed, pass_rng

Indices = np.ndarray


class Sampler:
    """Base of samplers: iterating gives the indices of one pass.

    A sampler of your own needs ``__iter__`` (and ``__len__``, where it is known). If it also has
    ``indices(seed)``, giving the same array of indices for the same seed, loaders can save and restore their position
    in a pass even when its order is random; without it, restoring works as long as it repeats the same order.
    """

    def __init__(self, data_source: Sized | None = None) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__.")


class SequentialSampler(Sampler):
    """Visits samples in the order they are stored."""

    data_source: Sized

    def __init__(self, data_source: Sized) -> None:
        super().__init__(data_source)

    def indices(self, seed: int) -> Indices:
        """The order of every pass."""
        return np.arange(len(self))

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def __len__(self) -> int:
        return len(self.data_source)


class DrawnSampler(Sampler):
    """Base of samplers whose order is drawn anew for each pass, from one seed taken from ``generator``."""

    generator: Any

    def indices(self, seed: int) -> Indices:
        """The order of the pass that ``seed`` stands for, an integer array."""
        raise NotImplementedError(f"{type(self).__name__} must define indices(seed).")

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices(draw_seed(self.generator)).tolist())


class RandomSampler(DrawnSampler):
    """Visits samples in random order.

    Args:
        data_source: anything with a length.
        replacement: draw each index independently.
        num_samples: the length of a pass (default: all samples); without replacement, a longer pass visits everything
            again in a new order.
        generator: a :class:`backlit.Generator`; by default the one that ``manual_seed`` sets.
    """

    data_source: Sized

    def __init__(
        self, data_source: Sized, replacement: bool = False, num_samples: int | None = None, generator: Any = None
    ) -> None:
        super().__init__(data_source)
        if num_samples is not None:
            _check_count("RandomSampler: num_samples", num_samples)
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator

    @property
    def num_samples(self) -> int:
        """The length of a pass."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def indices(self, seed: int) -> Indices:
        rng, count = pass_rng(seed), len(self.data_source)
        if count == 0:
            return np.empty(0, np.intp)
        if self.replacement:
            return rng.integers(count, size=self.num_samples)
        rounds = [rng.permutation(count) for _ in range(-(-self.num_samples // count))]
        return np.concatenate(rounds)[: self.num_samples]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(DrawnSampler):
    """Visits the given indices in random order."""

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        super().__init__()
        self._indices = np.asarray(indices, np.intp)
        self.generator = generator

    def indices(self, seed: int) -> Indices:
        return pass_rng(seed).permutation(self._indices)

    def __len__(self) -> int:
        return len(self._indices)


class WeightedRandomSampler(DrawnSampler):
    """Draws index i with probability ``weights[i] / sum(weights)``.

    Args:
        weights: one number of at least 0 a sample; they need not add up to 1.
        num_samples: the length of a pass.
        replacement: whether an index can come up twice in a pass.
        generator: as in :class:`RandomSampler`.

    Raises:
        OperationError: the weights are not a row of finite numbers of at least 0 with a positive sum, or fewer of
            them are positive than are to be drawn without replacement.
    """

    def __init__(
        self, weights: Sequence[float] | Tensor, num_samples: int, replacement: bool = True, generator: Any = None
    ) -> None:
        super().__init__()
        _check_count("WeightedRandomSampler: num_samples", num_samples)
        values = np.asarray(weights._data if isinstance(weights, Tensor) else weights, np.float64)
        if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
            raise OperationError(
                "WeightedRandomSampler: weights must be a row of finite numbers of at least 0, not all of them 0."
            )
        positive = int((values > 0).sum())
        if not replacement and positive < num_samples:
            raise OperationError(
                f"WeightedRandomSampler: {num_samples} indices cannot be drawn without replacement from {positive} "
                "positive weights; pass replacement=True or a smaller num_samples."
            )
        self.weights = Tensor(values)
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def indices(self, seed: int) -> Indices:
        weights = self.weights._data
        return pass_rng(seed).choice(len(weights), self.num_samples, self.replacement, weights / weights.sum())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Groups another sampler's indices into lists of ``batch_size``.

    Args:
        sampler: any iterable of indices.
        batch_size: how many indices a batch.
        drop_last: leave out a last batch that is smaller.
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool = False) -> None:
        super().__init__()
        _check_count("BatchSampler: batch_size", batch_size)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = bool(drop_last)

    def __iter__(self) -> Iterator[list[Any]]:
        return grouped(self.sampler, self.batch_size, self.drop_last)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)  # type: ignore[arg-type]
        return whole + (rest > 0 and not self.drop_last)


def grouped(items: Iterable[Any], size: int, drop_last: bool) -> Iterator[list[Any]]:
    """Lists of ``size`` items; the last one may be shorter, or left out."""
    group: list[Any] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group and not drop_last:
        yield group


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value <= 0:
        raise OperationError(f"{name} must be a positive whole number, got {value!r}.")
