"""The health of each layer while a network trains."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ...train.statistics import LayerStatistics
from ..finding import Finding, Findings
from .course import Course, judge_course
from .flow import FlowReport, gradient_factor, noise_scale, parameters_of, unreached
from .flow_verdicts import judge, label
from .norms import squared_norm
from .probe import LayerFlow, Probe
from .symmetry import twin_units
from .through_time import TimeFlow

if TYPE_CHECKING:
    from ...train.trainer import Trainer

History = dict[str, list[float]]

GROWN = 1e3
"""Gradient norms rise and fall by tens in sound runs; a thousandfold growth is none."""


NOISY = 30
"""A gradient whose noise is thirty times its signal says nothing; late in training that is normal, at the start not."""


class Flow(LayerStatistics):
    """A callback of :func:`backlit.train.fit` that follows activations, gradients and updates layer by layer.

    Each epoch, one batch is watched closely, and ``samples`` batches give gradient norms, update-to-weight ratios and
    the gradient's noise. Batches that are not sampled cost nothing.

    Attributes:
        gradient_norm, update_ratio: as in :class:`~backlit.train.LayerStatistics`: layer → one value an epoch.
        output_std, output_gradient: layer → standard deviation of its output, norm of the gradient there.
        blocked: activation → share of its entries that are saturated, or of its units that are dead.
        noise_scale: layer → how many rows a batch would need for as much signal as noise in its gradient.
        latest: the layers of the last batch that was watched; ``unreached``: parameters that got no gradient;
            ``twins``: layers whose units are all alike; ``time``: the recurrences, step by step.
        findings: what is wrong; empty while all is well.

    >>> import backlit as bl
    >>> model = bl.nn.Sequential(bl.nn.Linear(2, 8), bl.nn.Tanh(), bl.nn.Linear(8, 1))
    >>> flow = Flow()
    >>> x = bl.randn(64, 2)
    >>> history = bl.train.fit(model, (x, x.sum(dim=1, keepdim=True)), loss="mse", metrics=[], epochs=3,
    ...                        callbacks=[flow], progress=False)
    >>> len(flow.output_std["0"]), flow.findings
    (3, <0 findings: none>)
    """

    def __init__(self, samples: int = 4) -> None:
        super().__init__(samples)
        self.output_std: History = {}
        self.output_gradient: History = {}
        self.blocked: History = {}
        self.noise_scale: History = {}
        self.latest: list[LayerFlow] = []
        self.unreached: list[str] = []
        self.twins: dict[str, int] = {}
        self.time: list[TimeFlow] = []
        self.curves: dict[str, list[float]] = {}
        self._probe: Probe | None = None
        self._watched = False
        self._gradients: dict[str, list[Any]] = {}
        self._squares: dict[str, float] = {}
        self._batches = 0
        self._rows = 1

    # -- moments of training ------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer) -> None:
        super().on_train_start(trainer)
        if not trainer.step:
            self.output_std, self.output_gradient, self.blocked = {}, {}, {}
            self.noise_scale = {name: [] for name in self._layers}
            self.latest, self.unreached, self.twins, self.time, self.curves = [], [], {}, [], {}
        self._forget()

    def on_batch_start(self, trainer: Trainer) -> None:
        if not self._watched and self.samples_batch(trainer):
            self._watched = True
            self._probe = Probe(trainer.model)
            self._probe.install()

    def on_gradients(self, trainer: Trainer) -> None:
        super().on_gradients(trainer)
        if self._probe is not None:
            self.latest, self.time = self._probe.layers(), self._probe.through_time()
            self.unreached = unreached(trainer.model)
            self.twins = twin_units(parameters_of(trainer.model, self.latest))
            self.on_close(trainer)
        if self.samples_batch(trainer):
            self._add_gradients(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        super().on_epoch_end(trainer)
        for layer in self.latest:
            name = label(layer)
            self.output_std.setdefault(name, []).append(layer.std)
            self.output_gradient.setdefault(name, []).append(layer.gradient_norm)
            if layer.saturated is not None:
                self.blocked.setdefault(name, []).append(layer.saturated)
            elif layer.units:
                self.blocked.setdefault(name, []).append(len(layer.dead) / layer.units)
            if layer.has_weights:
                layer.update_ratio = self.update_ratio.get(name, [math.nan])[-1]
        for name in self._layers:
            self.noise_scale[name].append(self._noise(name))
        self.curves = {name: list(values) for name, values in trainer.history.columns.items()}
        self._forget()

    def on_close(self, trainer: Trainer) -> None:
        if self._probe is not None:
            self._probe.remove()
            self._probe = None

    def _forget(self) -> None:
        self._watched = False
        self._gradients, self._squares, self._batches = {}, {}, 0

    # -- gradient noise -----------------------------------------------------------------------------------------

    def _add_gradients(self, trainer: Trainer) -> None:
        self._batches += 1
        self._rows = len(trainer.target)
        for name, own in self._layers.items():
            gradients = [p._grad._data for p in own if p._grad is not None]
            held = self._gradients.get(name)
            if held is None or len(held) != len(gradients):
                self._gradients[name] = [g.copy() for g in gradients]
                self._squares[name] = 0.0
            else:
                for total, gradient in zip(held, gradients, strict=True):
                    total += gradient
            self._squares[name] += sum(map(squared_norm, gradients))

    def _noise(self, name: str) -> float:
        count = self._batches
        if count < 2 or name not in self._gradients:
            return math.nan
        whole = sum(map(squared_norm, self._gradients[name])) / count**2
        return noise_scale(self._squares[name] / count, whole, self._rows, self._rows * count)

    # -- what it means ------------------------------------------------------------------------------------------

    @property
    def findings(self) -> Findings:
        """What is wrong with the last batch that was watched, and with the course so far."""
        found = list(judge(self.latest, unreached=self.unreached, twins=self.twins, time=self.time))
        if not any(finding.kind == "exploding_gradients" for finding in found):
            found += self._growth()
        if any(self.curves.values()):
            of_curves = judge_course(Course(self.curves, update_ratio=self.update_ratio))
            if any(finding.kind.startswith("learning_rate") for finding in of_curves):
                found = [f for f in found if not f.kind.startswith("update_too")]  # the same, seen in one step
            found += of_curves
        return Findings(found or self._noise_only())

    def _growth(self) -> Iterator[Finding]:
        """Gradients that grew through time."""
        for name, norms in self.gradient_norm.items():
            finite = [v for v in norms if math.isfinite(v) and v > 0]
            if len(finite) < 4:
                continue
            before, after = float(np.median(finite[:3])), float(np.median(finite[-3:]))
            if after > GROWN * before:
                yield Finding(
                    "exploding_gradients",
                    f"The norm of its gradient grew from {before:.2g} in the first epochs to {after:.2g} in the last.",
                    "the weights drift to where the loss is ever steeper; the learning rate is too high.",
                    "lower the learning rate, or limit the gradient norm (clip_grad_norm=1.0).",
                    where=name,
                    likelihood=0.8,
                )
                return

    def _noise_only(self) -> Iterator[Finding]:
        """A loss that does not fall while gradients of different batches have nothing in common."""
        loss = self.curves.get("loss") or []
        scales = [v for values in self.noise_scale.values() for v in values[-3:] if not math.isnan(v)]
        if len(loss) < 5 or not scales or loss[-1] < 0.9 * loss[0]:
            return
        typical = float(np.median(scales))
        if typical > NOISY * self._rows:
            yield Finding(
                "gradient_noise",
                f"The loss has hardly moved ({loss[0]:.3g} to {loss[-1]:.3g}), and gradients of different batches of "
                f"{self._rows} rows have almost no common direction (noise scale: {typical:.2g} rows).",
                "the targets have little to do with the inputs (shuffled apart?), or the batches are much too small.",
                "check that inputs and targets belong together (check.data); then try larger batches.",
                likelihood=0.5,
                data={"noise_scale": typical},
            )

    def report(self) -> FlowReport:
        """The last batch that was watched, with the findings, as :func:`backlit.check.flow` gives it."""
        loss = self.curves.get("loss") or [math.nan]
        return FlowReport(self.latest, loss[-1], gradient_factor(self.latest), self.findings, self.time)

    def plot(self) -> Any:
        """Gradient norms, update sizes, activations and blocked shares over the epochs, as a matplotlib figure."""
        from .plots import histories

        panels = {
            "gradient norm of the weights": self.gradient_norm,
            "update-to-weight ratio": self.update_ratio,
            "standard deviation of the output": self.output_std,
        }
        return histories(panels)

    # -- checkpoints --------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            **{name: getattr(self, name) for name in _HISTORIES},
            "latest": [{**asdict(layer), "dead": list(layer.dead)} for layer in self.latest],
            "time": [asdict(flow) for flow in self.time],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for name in _HISTORIES:
            setattr(self, name, state[name])
        self.latest = [LayerFlow(**{**layer, "dead": tuple(layer["dead"])}) for layer in state["latest"]]
        self.time = [TimeFlow(**flow) for flow in state.get("time", [])]


_HISTORIES = ("output_std", "output_gradient", "blocked", "noise_scale", "curves", "unreached", "twins")
