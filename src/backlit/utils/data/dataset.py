"""Where samples come from.

Besides PyTorch's ``dataset[i]`` a data set may make whole batches at once: then ``takes_batches`` is true and
``take(indices, rng)`` gives what ``default_collate([dataset[i] for i in indices])`` would. A data set whose samples are
changed at random has ``random`` true and makes them from the generator that the loader passes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import memory
from ...creation import as_tensor
from ...errors import OperationError
from ...tensor import Tensor
from .collate import default_collate
from .seeds import draw_seed, pass_rng

if TYPE_CHECKING:
    Rng = np.random.Generator  # at run time numpy.random takes 20 ms to import, which only random data need


class Dataset:
    """Base of data sets whose samples have numbers: define ``__getitem__`` and ``__len__``."""

    takes_batches: bool = False
    random: bool = False

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__.")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Base of data sets that come as a stream: define ``__iter__``."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__.")


class TensorDataset(Dataset):
    """Samples are rows of tensors: sample i is ``(tensors[0][i], tensors[1][i], …)``.

    Args:
        *tensors: tensors or NumPy arrays of the same length.

    Raises:
        OperationError: the lengths differ, or there is none.
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise OperationError("TensorDataset: needs at least one tensor.")
        self.tensors = tuple(as_tensor(t) for t in tensors)
        shapes = [t.shape for t in self.tensors]
        if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
            raise OperationError(
                f"TensorDataset: the tensors differ in length, their shapes are {', '.join(map(str, shapes))}; "
                "give one row a sample in each."
            )

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    @property
    def takes_batches(self) -> bool:  # type: ignore[override]
        """True, unless a subclass changes what a sample is, or a tensor's gradient is wanted."""
        own = type(self).__getitem__ is TensorDataset.__getitem__
        return own and not any(t.requires_grad for t in self.tensors)

    def take(self, indices: Any, rng: Rng | None = None) -> list[Tensor]:
        """The samples at ``indices`` as one batch, a copy made by one index operation a tensor."""
        return [Tensor(memory.rows_of(t._data, np.asarray(indices))) for t in self.tensors]


class Subset(Dataset):
    """The samples of a data set at the given indices."""

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset = dataset
        self.indices = indices
        self._array = np.asarray(indices, np.intp)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def takes_batches(self) -> bool:  # type: ignore[override]
        """Whether the data set takes batches."""
        return type(self).__getitem__ is Subset.__getitem__ and getattr(self.dataset, "takes_batches", False)

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Whether the data set's samples are changed at random."""
        return getattr(self.dataset, "random", False)

    def take(self, indices: Any, rng: Rng | None = None) -> Any:
        """The samples at ``indices`` of the subset, as one batch."""
        return self.dataset.take(self._array[indices], rng)

    def sample(self, index: Any, rng: Rng) -> Any:
        """One sample, changed at random by ``rng``."""
        return self.dataset.sample(self.indices[index], rng)


class ConcatDataset(Dataset):
    """Several data sets, one after the other."""

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise OperationError("ConcatDataset: needs at least one data set.")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise OperationError("ConcatDataset: an IterableDataset has no numbered samples, so it cannot be joined.")
        self.cumulative_sizes = list(accumulate(len(d) for d in self.datasets))

    def _locate(self, index: int) -> tuple[Any, int]:
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"sample {index} of a data set with {count} samples")
        index = index + count if index < 0 else index
        which = bisect_right(self.cumulative_sizes, index)
        return self.datasets[which], index - (self.cumulative_sizes[which - 1] if which else 0)

    def __getitem__(self, index: int) -> Any:
        dataset, place = self._locate(index)
        return dataset[place]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Whether samples of any of the data sets are changed at random."""
        return any(getattr(d, "random", False) for d in self.datasets)

    def sample(self, index: int, rng: Rng) -> Any:
        """One sample, changed at random by ``rng`` where its data set does so."""
        dataset, place = self._locate(index)
        return dataset.sample(place, rng) if getattr(dataset, "random", False) else dataset[place]


class TransformedDataset(Dataset):
    """Another data set with its inputs changed at random each time they are asked for.

    Args:
        dataset: any data set whose samples are tuples with the input first.
        transform: called as ``transform(inputs, rng)`` with a NumPy array of inputs, one a row, and a NumPy generator;
            gives the changed inputs. Everything in :mod:`backlit.datasets.augment` is such a transform.

    The generator of a batch depends only on the pass and on the batch's number in it, so that a run that was resumed,
    or that prefetches, sees the very same changes.

    >>> import backlit as bl
    >>> from backlit.datasets.augment import Shift
    >>> data = TransformedDataset(TensorDataset(bl.ones(10, 8, 8), bl.arange(10)), Shift(1))
    >>> data[0][0].shape
    (8, 8)
    """

    random = True

    def __init__(self, dataset: Any, transform: Callable[[np.ndarray, Rng], Any]) -> None:
        self.dataset = dataset
        self.transform = transform

    def __getitem__(self, index: int) -> Any:
        return self.sample(index, pass_rng(draw_seed()))

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def takes_batches(self) -> bool:  # type: ignore[override]
        """True, unless a subclass changes what a sample is."""
        return type(self).__getitem__ is TransformedDataset.__getitem__

    def take(self, indices: Any, rng: Rng) -> list[Any]:
        """The samples at ``indices`` as one batch, its inputs changed by ``rng``."""
        inputs, *rest = fetch_batch(self.dataset, indices, rng)
        return [self._changed(inputs._data, rng), *rest]

    def sample(self, index: int, rng: Rng) -> Any:
        """One sample, changed by ``rng``."""
        (inputs, *rest) = fetch_samples(self.dataset, [index], rng)[0]
        return (self._changed(np.asarray(as_tensor(inputs)._data)[None], rng)[0], *rest)

    def _changed(self, inputs: np.ndarray, rng: Rng) -> Tensor:
        changed = self.transform(inputs, rng)
        return changed if isinstance(changed, Tensor) else Tensor(np.asarray(changed))


def fetch_samples(dataset: Any, indices: Any, rng: Rng | None) -> list[Any]:
    """The samples at ``indices``, one by one."""
    if getattr(dataset, "random", False) and hasattr(dataset, "sample"):
        return [dataset.sample(int(i), rng) for i in indices]
    listed = indices.tolist() if isinstance(indices, np.ndarray) else indices
    if hasattr(dataset, "__getitems__"):
        return dataset.__getitems__(listed)
    return [dataset[i] for i in listed]


def fetch_batch(dataset: Any, indices: Any, rng: Rng | None) -> Any:
    """The samples at ``indices`` as one batch, made at once where the data set can."""
    if getattr(dataset, "takes_batches", False):
        return dataset.take(indices, rng)
    return default_collate(fetch_samples(dataset, indices, rng))


def random_split(dataset: Any, lengths: Sequence[int | float], generator: Any = None) -> list[Subset]:
    """Split a data set at random into parts that do not overlap.

    Args:
        dataset: anything with a length and samples.
        lengths: the parts' lengths, adding up to the data set's; or fractions adding up to at most 1, where samples
            left over by rounding down go to the parts one by one, from the first.
        generator: a :class:`backlit.Generator`; by default the one that ``manual_seed`` sets.

    Raises:
        OperationError: the lengths do not add up, or a fraction lies outside [0, 1].

    >>> [len(part) for part in random_split(range(10), [0.75, 0.25])]
    [8, 2]
    """
    counts = _counts(len(dataset), lengths)
    order = pass_rng(draw_seed(generator)).permutation(sum(counts)).tolist()
    return [Subset(dataset, order[end - count : end]) for count, end in zip(counts, accumulate(counts), strict=True)]


def _counts(size: int, lengths: Sequence[int | float]) -> list[int]:
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        if any(not 0 <= fraction <= 1 for fraction in lengths):
            raise OperationError(f"random_split: fractions must lie between 0 and 1, got {list(lengths)}.")
        counts = [math.floor(size * fraction) for fraction in lengths]
        for i in range(size - sum(counts)):
            counts[i % len(counts)] += 1
        return counts
    if any(length != int(length) or length < 0 for length in lengths) or sum(lengths) != size:
        raise OperationError(
            f"random_split: lengths {list(lengths)} do not add up to the data set's {size} samples "
            "(nor, as fractions, to 1)."
        )
    return [int(length) for length in lengths]
