"""`Data`: a data set as it is handed to training, in two parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

Task = Literal["classification", "regression"]


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """A data set split into a training and a test part.

    Attributes:
        x_train, x_test: features. Tables are float32 of shape (N, D) in the units of the source. Images stay as they
            were stored, uint8 of shape (N, H, W) with values 0..`pixel_max`; `scaled()` makes them network input.
        y_train, y_test: targets of shape (N,): int64 class numbers 0..len(classes)-1, or float32 for regression.
        classes: the name of each class number, or None for regression.
        feature_names: the name of each column of a table, or None for images.
        image_shape: (H, W) for images, flattened or not, and None for tables.
        task: `"classification"` or `"regression"`.
        name: a short name.
        source: one sentence that says where the data come from.
        pixel_max: the value of a fully inked pixel of unscaled images, and None for everything else.

    Raises:
        DataError: features and targets differ in length.

    Example:
        >>> from backlit.datasets import digits
        >>> digits()
        Data(name='digits', task='classification', classes=10,
             x_train=uint8(1438, 8, 8), y_train=int64(1438,), x_test=uint8(359, 8, 8), y_test=int64(359,))
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    classes: tuple[str, ...] | None
    feature_names: tuple[str, ...] | None
    image_shape: tuple[int, int] | None
    task: Task
    name: str
    source: str
    pixel_max: int | None = None

    def __post_init__(self) -> None:
        for part, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            if len(x) != len(y):
                raise DataError(
                    f"{self.name}: x_{part} has {len(x)} rows and y_{part} has {len(y)}; give one target per row."
                )

    def scaled(self) -> Data:
        """The same data with images as flat float32 rows in [0, 1]: pixel / `pixel_max`, shape (N, H·W).

        Tables, and images scaled before, are returned as they are.

        Example:
            >>> from backlit.datasets import digits
            >>> x = digits().scaled().x_train
            >>> x.shape, x.dtype.name, float(x.min()), float(x.max())
            ((1438, 64), 'float32', 0.0, 1.0)
        """
        if self.pixel_max is None:
            return self
        return replace(self, x_train=self._flat(self.x_train), x_test=self._flat(self.x_test), pixel_max=None)

    def _flat(self, images: NDArray[Any]) -> NDArray[np.float32]:
        _, height, width = images.shape
        return images.reshape(-1, height * width).astype(np.float32) / np.float32(self.pixel_max)

    def __repr__(self) -> str:
        classes = "" if self.classes is None else f", classes={len(self.classes)}"
        arrays = ", ".join(
            f"{key}={array.dtype.name}{array.shape}"
            for key in ("x_train", "y_train", "x_test", "y_test")
            for array in (getattr(self, key),)
        )
        return f"Data(name={self.name!r}, task={self.task!r}{classes}, {arrays})"
