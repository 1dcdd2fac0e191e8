"""Data sets, samplers and loaders, with PyTorch's names and semantics.

    >>> import backlit as bl
    >>> from backlit.utils.data import DataLoader, TensorDataset
    >>> data = TensorDataset(bl.arange(6.0).reshape(6, 1), bl.arange(6))
    >>> for x, y in DataLoader(data, batch_size=4):
    ...     print(x.shape, y.tolist())
    (4, 1) [0, 1, 2, 3]
    (2, 1) [4, 5]

The order of a pass is drawn from a generator, so the same seed gives the same batches, and a loader's position can be
saved in the middle of a pass (``state_dict``) and taken up again (``load_state_dict``).
"""

from .collate import default_collate, default_convert
from .dataset import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    TransformedDataset,
    random_split,
)
from .loader import DataLoader
from .sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "TransformedDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "random_split",
]
