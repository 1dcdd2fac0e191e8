"""Measuring a forward and backward pass layer by layer: hooks on modules, observers of operations and of the walk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph import WalkObserver, mode
from ...tensor import Tensor
from .norms import norm, squared_norm
from .through_time import APPLIES_WEIGHTS, Recurrences, TimeFlow

RECTIFIERS = frozenset({"relu"})
"""Activations with a flat side, on which a unit can lie for every row and never learn again."""

FLAT = 0.05
"""An entry counts as saturated where the activation's slope is below this share of its largest slope."""

_ROWS_LAST = ("Linear", "Bilinear", "LayerNorm", "Embedding", "MultiheadAttention", "RNN", "LSTM", "GRU")


@dataclass
class LayerFlow:
    """What one layer did in a pass. A layer is a module with parameters of its own, or an activation function.

    Attributes:
        name: the module's path; an activation that is no module is called ``path.relu`` after the module that uses it.
        kind: the module's class, or the activation's name.
        has_weights: whether it has parameters of its own.
        mean, std, zeros: of its output: mean, standard deviation, share of entries that are exactly 0.
        finite, gradient_finite: whether its output, and the gradient there, hold no NaN and no infinity.
        saturated: share of entries on the flat parts of a sigmoid or tanh; None for other layers.
        units: how many units (features or channels) it has; ``dead``: those of a ReLU that are 0 for every row.
        rows: how many rows (and positions) the dead units were looked for in.
        gradient_norm: the norm of the loss's gradient with respect to its output; NaN where none arrives.
        weight_norm, weight_gradient: norms of its parameters and of their gradients, all together.
        starts_at_zero: whether a matrix of weights is all zeros, as last layers and residual branches may start.
        update_ratio: ``‖ΔW‖ / ‖W‖`` of one optimizer step; NaN where no step was made.
        noise_scale: how many rows a batch needs for its gradient to have as much signal as noise; NaN where unknown.
        is_output: whether its output is the model's own.
    """

    name: str
    kind: str
    has_weights: bool
    mean: float = math.nan
    std: float = math.nan
    zeros: float = 0.0
    finite: bool = True
    gradient_finite: bool = True
    saturated: float | None = None
    units: int = 0
    dead: tuple[int, ...] = ()
    rows: int = 0
    gradient_norm: float = math.nan
    weight_norm: float = math.nan
    weight_gradient: float = math.nan
    starts_at_zero: bool = False
    update_ratio: float = math.nan
    noise_scale: float = math.nan
    is_output: bool = False


@dataclass
class _Station:
    """Sums over all calls of one layer in a pass."""

    name: str
    kind: str
    has_weights: bool
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    zeros: int = 0
    flat: int = 0
    saturates: bool = False
    alive: NDArray[np.bool_] | None = None
    rows: int = 0
    finite: bool = True
    gradient_squares: float | None = None
    is_output: bool = False

    def see(self, values: NDArray[Any]) -> None:
        """Add one output."""
        self.count += values.size
        # Nothing is subtracted before squaring: a mean a thousand times the spread would cost three digits, which is
        # enough for a verdict, and one pass is half the price of two.
        self.total += float(values.sum(dtype=np.float64))
        self.squares += squared_norm(values)
        self.zeros += values.size - int(np.count_nonzero(values))
        self.finite = self.finite and math.isfinite(self.total) and math.isfinite(self.squares)

    def see_units(self, values: NDArray[Any], axis: int) -> None:
        """Add one output of a rectifier: which of its units are above 0 anywhere."""
        others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
        above = np.asarray((values > 0).any(axis=others))
        self.alive = above if self.alive is None or self.alive.shape != above.shape else self.alive | above
        self.rows += values.size // max(1, values.shape[axis])

    def see_gradient(self, upstream: NDArray[Any]) -> None:
        """Add the gradient at one output."""
        self.gradient_squares = (self.gradient_squares or 0.0) + squared_norm(upstream)

    def result(self) -> LayerFlow:
        """The statistics."""
        count = max(1, self.count)
        mean = self.total / count
        variance = max(0.0, self.squares / count - mean * mean) if self.finite else math.nan
        gradient = self.gradient_squares
        return LayerFlow(
            self.name,
            self.kind,
            self.has_weights,
            mean=mean,
            std=math.sqrt(variance),
            zeros=self.zeros / count,
            finite=self.finite,
            gradient_finite=gradient is None or math.isfinite(gradient),
            saturated=self.flat / count if self.saturates else None,
            units=0 if self.alive is None else len(self.alive),
            dead=() if self.alive is None else tuple(np.flatnonzero(~self.alive).tolist()),
            rows=self.rows,
            gradient_norm=math.nan if gradient is None else math.sqrt(gradient),
            is_output=self.is_output,
        )


class Probe(WalkObserver):
    """Watches the passes made inside its ``with`` block; :meth:`layers` tells what it saw.

    Modules with parameters are watched by forward hooks, activations (modules and functions alike) as operations, and
    the gradients at their outputs in the walk.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.names = {id(module): name for name, module in model.named_modules()}
        self._stations: dict[str, _Station] = {}
        self._at: dict[Any, list[Any]] = {}
        self._handles: list[Any] = []
        self._recurrences = Recurrences(model)
        self._units_last = False
        self._installed = False

    def __enter__(self) -> Probe:
        self.install()
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def install(self) -> None:
        """Begin to watch."""
        for module in self.model.modules():
            if module._parameter_names:
                self._handles.append(module.register_forward_hook(self._left))
        self._handles.append(self.model.register_forward_hook(self._answered))
        mode.observers = (*mode.observers, self)
        mode.walkers = (*mode.walkers, self)
        self._installed = True

    def remove(self) -> None:
        """Stop watching, and let go of the graph."""
        if not self._installed:
            return
        self._installed = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._at.clear()
        mode.observers = tuple(o for o in mode.observers if o is not self)
        mode.walkers = tuple(o for o in mode.walkers if o is not self)

    def layers(self) -> list[LayerFlow]:
        """Every layer in the order in which it was first used."""
        found = [station.result() for station in self._stations.values()]
        modules = dict(self.model.named_modules())
        for layer in found:
            if layer.has_weights:
                own = [p for _, p in modules[layer.name]._held("parameter") if p.requires_grad]
                layer.weight_norm = norm(p._data for p in own)
                layer.starts_at_zero = any(p.ndim > 1 and not p._data.any() for p in own)
                layer.weight_gradient = norm(p._grad._data for p in own if p._grad is not None)
        return found

    def through_time(self) -> list[TimeFlow]:
        """The recurrences, with the gradient at each of their steps."""
        return self._recurrences.result()

    # -- what is seen -------------------------------------------------------------------------------------------

    def _left(self, module: Any, inputs: Any, output: Any) -> None:
        out = first_tensor(output)
        if out is None:
            return
        kind = type(module).__name__
        self._units_last = kind.startswith(_ROWS_LAST)
        station = self._station(self.names[id(module)], kind, True)
        station.see(out._data)
        self._watch(out, station)

    def _answered(self, module: Any, inputs: Any, output: Any) -> None:
        out = first_tensor(output)
        for station in self._at.get(None if out is None else out._node, ()):
            if isinstance(station, _Station):
                station.is_output = True

    def applied(self, op: Any, inputs: Any, params: Any, extra: Any, result: Tensor) -> None:
        """An operation was applied."""
        slope = _SLOPES.get(op.name)
        tells = slope is not None or op.name in RECTIFIERS
        if (not tells and op.name not in APPLIES_WEIGHTS) or not mode.recording or not self._inside():
            return
        moment = self._recurrences.see(op.name, inputs, result)
        if moment is not None:
            self._at.setdefault(moment.node, []).append(moment)
        if tells:
            self._activated(op, result, slope)

    def _activated(self, op: Any, result: Tensor, slope: Any) -> None:
        values = result._data
        station = self._station(self._activation_name(op.name), op.name, False)
        station.see(values)
        if slope is not None:
            station.saturates = True
            station.flat += int(np.count_nonzero(slope(values) < FLAT))
        elif values.ndim:
            station.see_units(values, -1 if self._units_last or values.ndim < 3 else 1)
        self._watch(result, station)

    def wrote(self, target: Tensor, value: Tensor) -> None:
        """An in-place write: its operation was already told of."""

    def enter(self, node: Any, upstream: Any) -> None:
        for station in self._at.get(node, ()):
            station.see_gradient(getattr(upstream, "_data", upstream))

    # -- names --------------------------------------------------------------------------------------------------

    def _inside(self) -> bool:
        """Whether the operation belongs to the model, and not to the loss."""
        scope = mode.scope
        while scope is not None:
            if scope[1] is self.model:
                return True
            scope = scope[0]
        return False

    def _activation_name(self, operation: str) -> str:
        module = mode.scope[1] if mode.scope is not None else None
        path = self.names.get(id(module), "")
        if module is not None and path and not module._parameter_names and not module._module_names:
            return path
        return f"{path}.{operation}" if path else operation

    def _station(self, name: str, kind: str, has_weights: bool) -> _Station:
        station = self._stations.get(name)
        if station is None:
            station = self._stations[name] = _Station(name, kind, has_weights)
        return station

    def _watch(self, out: Tensor, station: _Station) -> None:
        if out._node is not None:
            self._at.setdefault(out._node, []).append(station)


_SLOPES = {
    "sigmoid": lambda y: 4 * y * (1 - y),
    "tanh": lambda y: 1 - y * y,
}
"""The slope of each saturating activation as a share of its largest, from its output."""


def first_tensor(output: Any) -> Tensor | None:
    """A module's output, or the first tensor of several."""
    while isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None
