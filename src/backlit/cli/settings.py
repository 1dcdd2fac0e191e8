"""What a run is: every choice that decides its result, with good values for each data set."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import click

DATASETS = ("digits", "moons", "spirals", "mnist", "csv")
ACTIVATIONS = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "tanh", "sigmoid")
CLASS_LOSSES = ("cross_entropy", "hinge", "mse")
NUMBER_LOSSES = ("mse", "l1", "huber")
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta")
WITH_MOMENTUM = ("sgd", "rmsprop")

MAX_LAYERS, MAX_WIDTH = 64, 16384


@dataclass(frozen=True)
class Settings:
    """One training run. ``batch_size`` 0 is all training rows at once; ``early_stopping`` and ``clip`` 0 are off, and
    ``threads`` 0 is as many as pay."""

    dataset: str
    file: str | None = None
    target: str | None = None
    task: str | None = None
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    layers: tuple[int, ...] = (64, 64)
    activation: str = "relu"
    loss: str = "auto"
    optimizer: str = "adam"
    lr: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    l1: float = 0.0
    dropout: float = 0.0
    batch_size: int = 32
    epochs: int = 50
    validation_fraction: float = 0.1
    early_stopping: int = 0
    clip: float = 0.0
    augment: bool = False
    seed: int = 0
    threads: int = 0
    eager: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Settings:
        """What :meth:`to_dict` gave.

        Raises:
            ValueError: a setting is missing, unknown or of another type.
        """
        expected = {f.name for f in fields(cls)}
        if set(saved) != expected:
            raise ValueError(", ".join(sorted(set(saved) ^ expected)))
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
        made = cls(**values)
        for field, like in ((f.name, getattr(cls("digits"), f.name)) for f in fields(cls)):
            value = getattr(made, field)
            if like is not None and type(value) is not type(like) and not (type(like) is float and type(value) is int):
                raise ValueError(field)
        return made


_DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {"layers": (256,), "epochs": 40, "batch_size": 32, "lr": 2e-3, "weight_decay": 1e-4, "augment": True},
    "moons": {"layers": (32, 32), "epochs": 60, "batch_size": 32, "lr": 5e-3},
    "spirals": {"layers": (64, 64), "epochs": 150, "batch_size": 32, "lr": 5e-3, "weight_decay": 1e-4},
    "mnist": {"layers": (256,), "epochs": 10, "batch_size": 64, "lr": 1e-3},
    "csv": {"layers": (64, 32), "epochs": 60, "batch_size": 32, "lr": 3e-3, "weight_decay": 1e-4},
}
_RATES = {"sgd": 0.1, "rmsprop": 1e-3, "adagrad": 2e-2, "adadelta": 1.0}
"""Learning rates of optimizers that take other steps than Adam's."""


def settle(dataset: str, chosen: dict[str, Any]) -> Settings:
    """The settings of a run: what was chosen (None: nothing), and good values for the rest.

    Raises:
        click.UsageError: choices that do not go together.
    """
    given = {key: value for key, value in chosen.items() if value is not None and value != ()}
    values = {**_DEFAULTS[dataset], **given}
    if "lr" not in given and given.get("optimizer") in _RATES:
        values["lr"] = _RATES[given["optimizer"]]
    settings = Settings(dataset=dataset, **values)
    if "layers" in chosen and chosen["layers"] == ():
        settings = replace(settings, layers=())
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    if settings.momentum and settings.optimizer not in WITH_MOMENTUM:
        raise click.UsageError(
            f"--momentum belongs to the optimizers {' and '.join(WITH_MOMENTUM)}, not to {settings.optimizer}; "
            "leave it out or choose one of them."
        )
    if settings.augment and settings.dataset not in ("digits", "mnist"):
        raise click.UsageError(f"--augment changes images, and {settings.dataset} has none; leave it out.")
    if settings.early_stopping and not settings.validation_fraction:
        raise click.UsageError("--early-stopping watches validation rows; give a --validation-fraction above 0.")


class Number(click.ParamType):
    """A finite number in a range; ``whole`` asks for an integer."""

    def __init__(
        self, low: float, high: float = math.inf, *, whole: bool = False, above: bool = False, below: bool = False
    ):
        self.low, self.high, self.whole, self.above, self.below = low, high, whole, above, below
        self.name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or an error that says what is allowed."""
        try:
            number = int(value) if self.whole else float(value)
        except (ValueError, OverflowError):
            number = math.nan
        fits = (self.low < number if self.above else self.low <= number) and (
            number < self.high if self.below else number <= self.high
        )
        if not (fits and math.isfinite(number)):
            raise click.UsageError(f"{_option(param)} is {value!r}; give {self.describe()}.")
        return number

    def describe(self) -> str:
        """What is allowed, in words."""
        kind = "a whole number" if self.whole else "a number"
        low = f"above {self.low:,}" if self.above else f"of at least {self.low:,}"
        if math.isinf(self.high):
            return f"{kind} {low}"
        return f"{kind} {low} and {'below' if self.below else 'at most'} {self.high:,}"


class Layers(click.ParamType):
    """Widths of hidden layers, such as ``256,128``; ``none`` for no hidden layer."""

    name = "widths"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The widths."""
        if isinstance(value, tuple):
            return value
        if value.strip().lower() in ("none", "0"):
            return ()
        parts = [part.strip() for part in value.strip("[]() ").split(",")]
        if not all(
            part.isascii() and part.isdigit() and len(part) < 10 and 0 < int(part) <= MAX_WIDTH for part in parts
        ):
            raise click.UsageError(
                f"{_option(param)} is {value!r}; give the widths of the hidden layers (1 to {MAX_WIDTH}), "
                "as in 256,128, or none."
            )
        if len(parts) > MAX_LAYERS:
            raise click.UsageError(f"{_option(param)} has {len(parts)} layers; give at most {MAX_LAYERS}.")
        return tuple(int(part) for part in parts)


class BatchSize(click.ParamType):
    """A number of rows, or ``full`` for all of them at once (0)."""

    name = "rows"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of rows."""
        if str(value).lower() == "full":
            return 0
        try:
            return Number(1, 10**9, whole=True).convert(value, param, ctx)
        except click.UsageError as error:
            raise click.UsageError(f"{str(error.message).rstrip('.')}, or full.") from None


def _option(param: click.Parameter | None) -> str:
    return param.opts[0] if param is not None else "the value"
