"""Image sets that are laid out as MNIST is: four IDX files in a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..spelling import did_you_mean
from .data import Data
from .errors import DataError, locate, unreadable
from .idx import read_idx

DIGITS = tuple("0123456789")

_PARTS = ("train", "t10k")
_ENDINGS = {"images": "idx3-ubyte", "labels": "idx1-ubyte"}
_KINDS = {3: "images", 1: "labels"}  # what uint8 values of so many dimensions are


def mnist(folder: str | os.PathLike[str]) -> Data:
    """MNIST, from its four files in a folder: 60000 training and 10000 test images of 28 by 28 pixels.

    The files are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    `t10k-labels-idx1-ubyte`, plain or with `.gz`, also with `.` for the `-` before `idx`. Sets that imitate MNIST
    (Fashion-MNIST, KMNIST) load too, under the name and the class names of MNIST. Nothing is downloaded.

    Args:
        folder: where the files lie; a leading `~` stands for the home folder.

    Returns:
        Data with uint8 images (N, H, W) of values 0..255 and int64 labels 0..9; `.scaled()` makes rows in [0, 1].

    Raises:
        DataError: the folder or a file is missing, a file is damaged or holds something else (labels where images
            belong), the counts of images and labels differ, or a label lies outside 0..9.

    Example:
        >>> import tempfile, pathlib
        >>> from backlit.datasets import write_idx
        >>> folder = tempfile.TemporaryDirectory()
        >>> for part, count in (("train", 6), ("t10k", 2)):
        ...     start = pathlib.Path(folder.name, part)
        ...     write_idx(f"{start}-images-idx3-ubyte.gz", np.zeros((count, 28, 28), np.uint8))
        ...     write_idx(f"{start}-labels-idx1-ubyte.gz", np.zeros(count, np.uint8))
        >>> mnist(folder.name).x_train.shape
        (6, 28, 28)
        >>> folder.cleanup()
    """
    source = "The MNIST database of handwritten digits, by Y. LeCun, C. Cortes and C. J. C. Burges, 1998."
    return read_four_files(locate(folder), name="mnist", source=source, pixel_max=255)


def read_four_files(folder: Path, *, name: str, source: str, pixel_max: int) -> Data:
    """The image set in the four files of `folder`, each checked by itself and against the others."""
    names = _list(folder)
    (x_train, y_train), (x_test, y_test) = (_read_part(folder, names, part) for part in _PARTS)
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"{folder}: training images are {_size(x_train)} pixels and test images {_size(x_test)}; "
            "the files come from different data sets, so fetch all four from one."
        )
    _, height, width = x_train.shape
    return Data(
        x_train, y_train, x_test, y_test, classes=DIGITS, feature_names=None, image_shape=(height, width),
        task="classification", name=name, source=source, pixel_max=pixel_max,
    )  # fmt: skip


def _list(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except NotADirectoryError as error:
        raise DataError(f"{folder}: this is a file; give the folder that holds the four IDX files.") from error
    except FileNotFoundError as error:
        raise DataError(f"{folder}: there is no such folder; give the folder that holds the four IDX files.") from error
    except (OSError, ValueError) as error:
        raise unreadable(folder, error) from error


def _read_part(folder: Path, names: list[str], part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images_path = _find(folder, names, part, "images")
    labels_path = _find(folder, names, part, "labels")
    images = _expect(images_path, 3)
    labels = _expect(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images)} images and {labels_path.name} {len(labels)} labels; "
            "the files do not belong together, so fetch both from one source."
        )
    if images.size == 0:
        raise DataError(f"{images_path}: there are no images in it (shape {images.shape}); get a complete copy.")
    outside = np.flatnonzero(labels >= len(DIGITS))
    if outside.size:
        first = outside[0]
        raise DataError(f"{labels_path}: label {first} is {labels[first]}, outside 0..9; get the labels of the digits.")
    return images, labels.astype(np.int64)


def _find(folder: Path, names: list[str], part: str, kind: str) -> Path:
    candidates = _spellings(part, kind)
    for name in candidates:
        if name in names:
            return folder / name
    others = {name for p in _PARTS for k in _ENDINGS if (p, k) != (part, kind) for name in _spellings(p, k)}
    hint = did_you_mean(candidates[0], [name for name in names if name not in others])
    looked_for = f"{', '.join(candidates[:-1])} or {candidates[-1]}"
    raise DataError(f"{folder}: looked for {looked_for} and found none{hint}; put the file there under that name.")


def _spellings(part: str, kind: str) -> list[str]:
    return [f"{part}-{kind}{joint}{_ENDINGS[kind]}{suffix}" for joint in "-." for suffix in ("", ".gz")]


def _expect(path: Path, dimensions: int) -> NDArray[Any]:
    """The array in the file, which must be uint8 and have as many dimensions as its name says."""
    array = read_idx(path)
    if array.dtype == np.uint8 and array.ndim == dimensions:
        return array
    found = _KINDS.get(array.ndim) if array.dtype == np.uint8 else None
    found = found or f"{array.dtype} values of {array.ndim} dimensions"
    raise DataError(f"{path}: {_KINDS[dimensions]} belong in this file and it holds {found}; put the right one here.")


def _size(images: NDArray[Any]) -> str:
    return f"{images.shape[1]} by {images.shape[2]}"
