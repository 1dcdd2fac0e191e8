"""How signals flow through a network: activations forward, gradients backward, updates into the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...errors import OperationError
from ..finding import Findings
from .batches import Inputs, LossFunction, as_batch, loss_of, rows
from .flow_verdicts import judge
from .norms import norm, squared_norm
from .probe import LayerFlow, Probe
from .restore import unchanged
from .symmetry import twin_units
from .through_time import TimeFlow


@dataclass
class FlowReport:
    """What one batch did in each layer.

    Attributes:
        layers: every layer in the order in which the forward pass used it.
        loss: the batch's loss.
        gradient_factor: how much the gradient grows from one layer with weights to the one before it, on average (the
            geometric mean over the depth): 1 is ideal, 0.1 vanishes, 10 explodes. NaN with fewer than two such layers.
        findings: what is wrong; empty (and false) when all is well.
        time: every recurrence (one weight applied step after step) with the gradient's norm at each step, and its
            ``factor`` a step.
    """

    layers: list[LayerFlow]
    loss: float = math.nan
    gradient_factor: float = math.nan
    findings: Findings = field(default_factory=Findings)
    time: list[TimeFlow] = field(default_factory=list)

    def __getitem__(self, name: str) -> LayerFlow:
        """The layer of a name."""
        return next(layer for layer in self.layers if layer.name == name)

    def __iter__(self) -> Iterator[LayerFlow]:
        return iter(self.layers)

    def __str__(self) -> str:
        return str(self.findings)

    def table(self) -> str:
        """The statistics as text, one line a layer."""
        head = f"{'layer':<22} {'mean':>9} {'std':>9} {'zeros':>6} {'flat':>6} {'dead':>9} {'gradient':>9} {'ΔW/W':>9}"
        return "\n".join([head, *(_line(layer) for layer in self.layers)])

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "loss": self.loss,
            "gradient_factor": self.gradient_factor,
            "layers": [asdict(layer) for layer in self.layers],
            "time": [asdict(flow) for flow in self.time],
            "findings": self.findings.to_dict(),
        }

    def plot(self) -> Any:
        """Bars through depth: activations, gradients and, where known, updates, as a matplotlib figure.

        Raises:
            UnsupportedError: matplotlib is not installed (``pip install backlit[plot]``).
        """
        from .plots import flow_bars

        return flow_bars(self)

    def plot_time(self) -> Any:
        """The gradient's norm at each step of each recurrence, from the last step back to the first.

        Raises:
            OperationError: no weight was applied step after step.
            UnsupportedError: matplotlib is not installed (``pip install backlit[plot]``).
        """
        from .plots import time_lines

        if not self.time:
            raise OperationError("plot_time: the model has no recurrence: no weight is applied five times in a row.")
        return time_lines(self.time)


def flow(model: Any, batch: Any, loss: Any = "cross_entropy", *, optimizer: Any = None, pieces: int = 4) -> FlowReport:
    """Send one batch forward and backward, and say what is wrong with the signals.

    Args:
        model: any ``nn.Module``; used in the mode it is in (training or evaluation).
        batch: ``(inputs, target)``, arrays or tensors; 32 rows or more make the verdict on dead units a sure one.
        loss: a name as for :func:`backlit.train.fit`, or a function of (output, target) that gives the mean.
        optimizer: with one, a step is tried, which gives the update-to-weight ratio of each layer.
        pieces: into how many parts the batch is cut to measure the gradient's noise; 0 to leave that out.

    Returns:
        A :class:`FlowReport`. The model, its gradients, the optimizer and random numbers are as before, bit for bit.

    Source of the noise scale: S. McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, appendix A.1.

    >>> import backlit as bl
    >>> model = bl.nn.Sequential(bl.nn.Linear(4, 16), bl.nn.ReLU(), bl.nn.Linear(16, 3))
    >>> report = flow(model, (bl.randn(64, 4), bl.randint(0, 3, (64,))))
    >>> [layer.name for layer in report]
    ['0', '1', '2']
    >>> report.findings
    <0 findings: none>
    """
    inputs, target = as_batch(model, batch)
    function = loss_of(loss)
    with unchanged(model, optimizer):
        probe = Probe(model)
        with probe:
            value = function(model(*inputs), target)
            if math.isfinite(float(value)):
                value.backward()
        layers, time = probe.layers(), probe.through_time()
        finite = math.isfinite(float(value))
        missing = unreached(model) if finite else []
        twins = twin_units(parameters_of(model, layers)) if finite else {}
        if optimizer is not None and finite:
            _measure_step(model, optimizer, layers)
        if finite and pieces > 1 and target.shape[:1] and target.shape[0] >= 2 * pieces:
            _measure_noise(model, function, inputs, target, pieces, layers)
    return FlowReport(
        layers,
        float(value),
        gradient_factor(layers),
        Findings(judge(layers, unreached=missing, twins=twins, time=time)),
        time,
    )


def gradient_factor(layers: list[LayerFlow]) -> float:
    """The geometric mean of how the gradient's norm changes from each layer with weights to the one before it."""
    norms = [layer.gradient_norm for layer in layers if layer.has_weights and layer.gradient_norm > 0]
    return (norms[0] / norms[-1]) ** (1 / (len(norms) - 1)) if len(norms) > 1 and norms[-1] < math.inf else math.nan


def parameters_of(model: Any, layers: list[LayerFlow]) -> dict[str, list[Any]]:
    """The trainable parameters of each layer with weights."""
    modules = dict(model.named_modules())
    return {
        layer.name: [p for _, p in modules[layer.name]._held("parameter") if p.requires_grad]
        for layer in layers
        if layer.has_weights
    }


def unreached(model: Any) -> list[str]:
    """The parameters that a backward pass should have reached and did not."""
    return [name for name, p in model.named_parameters() if p.requires_grad and p._grad is None]


def _measure_step(model: Any, optimizer: Any, layers: list[LayerFlow]) -> None:
    parameters = parameters_of(model, layers)
    before = {name: [p._data.copy() for p in own] for name, own in parameters.items()}
    optimizer.step()
    for layer in layers:
        if layer.has_weights and layer.weight_norm > 0:
            pairs = zip(parameters[layer.name], before[layer.name], strict=True)
            layer.update_ratio = norm(p._data - old for p, old in pairs) / layer.weight_norm


def _measure_noise(
    model: Any, loss: LossFunction, inputs: Inputs, target: Any, pieces: int, layers: list[LayerFlow]
) -> None:
    """The noise scale tr(Σ) / |G|² of each layer's gradient, from its norm over the whole and over parts of a batch."""
    parameters = parameters_of(model, layers)
    size = target.shape[0] // pieces
    sums: dict[str, list[Any]] = {name: [0.0] * len(own) for name, own in parameters.items()}
    squares = dict.fromkeys(parameters, 0.0)
    for i in range(pieces):
        model.zero_grad()
        x, y = rows(inputs, target, i * size, (i + 1) * size)
        loss(model(*x), y).backward()
        for name, own in parameters.items():
            gradients = [0.0 if p._grad is None else p._grad._data for p in own]
            sums[name] = [total + g for total, g in zip(sums[name], gradients, strict=True)]
            squares[name] += sum(squared_norm(np.asarray(g)) for g in gradients) / pieces
    for layer in layers:
        if layer.has_weights:
            whole = sum(squared_norm(np.asarray(total / pieces)) for total in sums[layer.name])
            layer.noise_scale = noise_scale(squares[layer.name], whole, size, size * pieces)


def noise_scale(small: float, large: float, small_rows: int, large_rows: int) -> float:
    """tr(Σ) / |G|² from the mean squared norm of gradients over few and over many rows; infinite where |G|² drowns."""
    signal = (large_rows * large - small_rows * small) / (large_rows - small_rows)
    noise = (small - large) / (1 / small_rows - 1 / large_rows)
    if small <= 0:
        return math.nan
    return max(noise, 0.0) / signal if signal > 0 else math.inf


def _line(layer: LayerFlow) -> str:
    flat = "" if layer.saturated is None else f"{layer.saturated:.0%}"
    dead = f"{len(layer.dead)}/{layer.units}" if layer.units else ""
    ratio = "" if math.isnan(layer.update_ratio) else f"{layer.update_ratio:.2g}"
    return (
        f"{layer.name or 'model':<22} {layer.mean:>9.3g} {layer.std:>9.3g} {layer.zeros:>6.0%} {flat:>6} {dead:>9} "
        f"{layer.gradient_norm:>9.2g} {ratio:>9}"
    )
