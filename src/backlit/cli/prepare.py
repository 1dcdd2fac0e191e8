"""From a data set to the arrays that a network is trained, validated and tested with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from ..datasets import Data, Standardizer, digits, mnist, moons, read_csv, spirals
from ..datasets.split import split_by_class, split_rows
from .settings import Settings

_SPLIT = 1  # keeps the validation split apart from other uses of the seed


@dataclass(frozen=True)
class Part:
    """Rows as the network sees them, and their targets: int64 classes (N,), or standardized float32 numbers (N, 1)."""

    x: NDArray[np.float32]
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Prepared:
    """A data set ready for training.

    ``features`` scales the features of tables (None for images, whose pixels are divided by their largest value) and
    ``targets`` the target of regressions; both were fitted on the rows of ``train`` alone.
    """

    data: Data
    train: Part
    validation: Part
    test: Part
    features: Standardizer | None
    targets: Standardizer | None

    @property
    def inputs(self) -> int:
        """How many numbers the network gets for a row."""
        return self.train.x.shape[1]

    @property
    def outputs(self) -> int:
        """How many numbers the network gives: one for each class, or one."""
        return 1 if self.data.classes is None else len(self.data.classes)

    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """The constants of both scalers, as they are stored beside the weights."""
        found: dict[str, NDArray[np.float64]] = {}
        for name, scaler in (("features", self.features), ("targets", self.targets)):
            if scaler is not None:
                found |= {f"scaling.{name}.{key.strip('_')}": value for key, value in scaler.state_dict().items()}
        if self.data.pixel_max is not None:
            found["scaling.pixel_max"] = np.array(float(self.data.pixel_max))
        return found

    def network_input(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Rows in the units of the source, as the network sees them."""
        return x if self.features is None else self.features.transform(x)


def load(settings: Settings) -> Data:
    """Read or make the data set.

    Raises:
        DataError: a file is missing, damaged or does not hold what it should.
    """
    match settings.dataset:
        case "digits":
            return digits()
        case "moons":
            return moons(600, noise=0.15, seed=settings.seed)
        case "spirals":
            return spirals(150, 3, noise=0.2, seed=settings.seed)
        case "mnist":
            return mnist(str(settings.file))
    return read_csv(
        str(settings.file), str(settings.target), task=settings.task, drop=settings.drop,  # type: ignore[arg-type]
        categorical=settings.categorical, seed=settings.seed,
    )  # fmt: skip


def prepare(settings: Settings, data: Data) -> Prepared:
    """Split off the validation rows, and scale everything by the statistics of what is left for training."""
    flat = data.scaled()
    rng = np.random.default_rng([settings.seed, _SPLIT])
    if data.classes is None:
        train, held_out = split_rows(len(flat.y_train), settings.validation_fraction, rng)
    else:
        train, held_out = split_by_class(flat.y_train, settings.validation_fraction, rng)
    if settings.early_stopping and not len(held_out):
        raise click.UsageError(
            f"{data.name} has too few rows for validation, which --early-stopping needs; leave it out."
        )
    features = Standardizer().fit(flat.x_train[train]) if data.image_shape is None else None
    targets = Standardizer().fit(flat.y_train[train][:, None]) if data.classes is None else None

    def part(x: NDArray[Any], y: NDArray[Any]) -> Part:
        rows = (x if features is None else features.transform(x)).astype(np.float32)
        return Part(
            np.ascontiguousarray(rows), y if targets is None else targets.transform(y[:, None]).astype(np.float32)
        )

    return Prepared(
        data, part(flat.x_train[train], flat.y_train[train]), part(flat.x_train[held_out], flat.y_train[held_out]),
        part(flat.x_test, flat.y_test), features, targets,
    )  # fmt: skip


def fingerprint(data: Data) -> str:
    """SHA-256 over all arrays of a data set, to notice on resuming that a file has changed."""
    digest = hashlib.sha256()
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
