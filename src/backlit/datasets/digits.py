"""The handwritten digits that come with the library."""

from __future__ import annotations

from pathlib import Path

from .data import Data
from .mnist import read_four_files


def digits() -> Data:
    """1797 handwritten digits of 8 by 8 pixels, ten classes, bundled with the library (nothing is downloaded).

    Each pixel counts the inked points, 0..16, in a 4 by 4 block of a 32 by 32 bitmap. The set is the test part of
    the UCI set, written by 13 people. Its split here is fixed: 1438 training and 359 test images, 20 % of each class,
    drawn once at random and stored, so it is the same everywhere. The 13 writers appear in both parts: test accuracy
    says how well new digits of these writers are read.

    Returns:
        Data with uint8 images (N, 8, 8) of values 0..16 and int64 labels 0..9; `.scaled()` makes rows of 64 in [0, 1].

    Raises:
        DataError: the bundled files are missing or damaged; reinstall the library.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    1998, DOI 10.24432/C50P49, CC BY 4.0.

    Example:
        >>> data = digits()
        >>> data.x_train.shape, data.x_test.shape, int(data.y_train[0])
        ((1438, 8, 8), (359, 8, 8), 0)
    """
    source = (
        "Optical Recognition of Handwritten Digits (test part), by E. Alpaydin and C. Kaynak, 1998, "
        "UCI Machine Learning Repository, DOI 10.24432/C50P49, CC BY 4.0."
    )
    return read_four_files(Path(__file__).parent / "data" / "digits", name="digits", source=source, pixel_max=16)
