"""Data to learn from: bundled digits, made-up point sets, MNIST files and CSV tables, as NumPy arrays.

    >>> from backlit.datasets import digits
    >>> data = digits().scaled()
    >>> data.x_train.shape, data.y_train.shape
    ((1438, 64), (1438,))

Every loader returns a `Data`. Nothing is downloaded. Whatever is wrong with a file is a `DataError` of one sentence.
"""

from . import augment
from .csvfile import read_csv
from .data import Data
from .digits import digits
from .errors import DataError
from .idx import read_idx, write_idx
from .mnist import mnist
from .scaling import Normalizer, Standardizer, normalize
from .synthetic import moons, spirals

__all__ = [
    "Data",
    "DataError",
    "Normalizer",
    "Standardizer",
    "augment",
    "digits",
    "mnist",
    "moons",
    "normalize",
    "read_csv",
    "read_idx",
    "spirals",
    "write_idx",
]
