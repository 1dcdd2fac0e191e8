"""What a report says, as plain data; the page and the advice are made from it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..check.health.flow import FlowReport

Curve = list[float]


@dataclass(frozen=True)
class LayerFlow:
    """What the passes did to one layer, epoch by epoch; ``output_std`` may be empty."""

    name: str
    gradient_norm: Curve
    update_ratio: Curve
    output_std: Curve = field(default_factory=list)


@dataclass(frozen=True)
class CheckedParameter:
    """The backward pass against central differences for one parameter."""

    name: str
    shape: tuple[int, ...]
    checked: int
    kinks: int
    relative: float
    analytic: float
    numeric: float


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction: its picture (uint8, H×W) or its feature values, what it is, what was said, how surely."""

    truth: str
    said: str
    confidence: float
    image: NDArray[np.uint8] | None = None
    features: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Regions:
    """The class the network gives to each point of the plane: a grid over ``extent`` (left, right, bottom, top), with
    the first row at the bottom, and the test and training points with their classes."""

    classes: NDArray[np.int64]
    confidence: NDArray[np.float64]
    extent: tuple[float, float, float, float]
    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    test: NDArray[np.bool_]
    axes: tuple[str, str]


@dataclass(frozen=True)
class Report:
    """Everything the page shows.

    ``epochs`` numbers the entries of ``curves``, whose names are ``loss``, ``val_loss``, ``accuracy`` and so on;
    ``flow_epochs`` places the entries of ``flow``. ``confusion[i, j]`` counts test rows of class i called j.
    ``scatter`` holds (true, predicted) for regression. ``health`` is what some training rows did in each layer of the
    trained network. ``failure`` is why training broke off.
    """

    name: str
    source: str
    task: str
    headline: Mapping[str, str]
    epochs: list[float]
    curves: Mapping[str, Curve]
    flow_epochs: list[float]
    flow: tuple[LayerFlow, ...]
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    configuration: Mapping[str, Any]
    timings: Mapping[str, float]
    checks: tuple[CheckedParameter, ...] = ()
    validation_count: int = 0
    test_count: int = 0
    confusion: NDArray[np.int64] | None = None
    mistakes: tuple[Mistake, ...] = ()
    mistake_count: int = 0
    regions: Regions | None = None
    scatter: NDArray[np.float64] | None = None
    health: FlowReport | None = None
    notes: tuple[str, ...] = ()
    failure: str = ""
