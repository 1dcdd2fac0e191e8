"""What a gradient check found out, to be printed, plotted, or read by programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .causes import Cause
from .leaf import Entry, Kink
from .localise import Culprit
from .methods import Sweep


@dataclass
class InputReport:
    """One input or parameter.

    Attributes:
        name, shape, dtype: which one; ``dtype`` is the one it was given in (checks are made in float64).
        ok: whether the gradient is right.
        status: ``ok``, ``wrong``, ``kinks only``, ``undefined`` (no difference is finite, so that nothing could be
            checked; not ok), ``noise`` (the differences are too uncertain to tell), ``no elements``.
        relative: the largest relative error, of an entry or of a random direction.
        worst: the entry furthest off: ``index``, ``analytic`` (backpropagation), ``numeric``, ``error`` (uncertainty of
            ``numeric``), ``relative``.
        checked, directions: how many entries and random directions were compared.
        undefined: how many entries could not be checked because no difference is finite there (sqrt at 0, NaN inputs).
        kinks: entries where the function bends and the gradient lies between the slopes; not counted as failures.
        cause: the suspected cause of a wrong gradient.
        sweep: error against step size at the worst entry, for wrong inputs (or the least exact, if none is wrong).
        oracles: relative error of the derivative along one random direction by other methods.
        float32: how far a gradient computed in float32 is from the one in float64, for inputs given in float32.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    ok: bool
    status: str
    relative: float = 0.0
    worst: Entry | None = None
    checked: int = 0
    directions: int = 0
    undefined: int = 0
    kinks: list[Kink] = field(default_factory=list)
    cause: Cause | None = None
    sweep: Sweep | None = None
    oracles: dict[str, float] = field(default_factory=dict)
    float32: float | None = None

    def lines(self, explained: bool = False) -> list[str]:
        """The report on this input as text, without a suspected cause where an operation was found that explains it."""
        shape = "×".join(map(str, self.shape)) or "scalar"
        done = f"{self.checked} of {int(np.prod(self.shape))} entries"
        done += f", {self.directions} directions" if self.directions else ""
        found = f", relative error {self.relative:.1e} ({done})" if self.checked or self.directions else ""
        out = [f"  {self.name} ({shape} {self.dtype}): {self.status.upper() if not self.ok else self.status}{found}"]
        if not self.ok and self.worst is not None:
            w = self.worst
            out.append(
                f"      worst entry {list(w.index)}: backpropagation {w.analytic:.8g}, differences {w.numeric:.8g} "
                f"(± {w.error:.0e})"
            )
        if self.cause is not None and not explained:
            out.append(f"      suspected cause: {self.cause}")
        if self.sweep is not None and not self.ok:
            out.append(f"      error against step size {self.sweep}")
        if self.undefined:
            entries = "1 entry" if self.undefined == 1 else f"{self.undefined} entries"
            out.append(f"      {entries} not checked: the function has no finite differences there")
        if self.kinks:
            k = self.kinks[0]
            out.append(
                f"      {len(self.kinks)} {k.kind}{'s' * (len(self.kinks) > 1)}, not counted: at {list(k.index)} the "
                f"slopes are {k.left:.4g} and {k.right:.4g}, backpropagation gives {k.analytic:.4g}"
            )
        if self.oracles and not self.ok:
            errors = ", ".join(f"{name} {error:.0e}" for name, error in self.oracles.items())
            out.append(f"      along a random direction, backpropagation is off from: {errors}")
        if self.float32 is not None and self.float32 > 1e-4:
            out.append(
                f"      in float32 rounding alone moves this gradient by {self.float32:.0e}: noise, not a wrong rule"
            )
        return out


@dataclass
class GradientReport:
    """The outcome of :func:`gradients` or :func:`model`: printable, with ``ok``, ``inputs`` and ``culprits``."""

    inputs: list[InputReport]
    culprits: list[Culprit] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[Cause] = field(default_factory=list)
    """What is wrong with the function as a whole, such as results that differ from run to run."""

    @property
    def ok(self) -> bool:
        """Whether every gradient is right; kinks and rounding noise are no failures."""
        return not self.failures and all(part.ok for part in self.inputs)

    def __bool__(self) -> bool:
        return self.ok

    def __getitem__(self, name: str | int) -> InputReport:
        if isinstance(name, int):
            return self.inputs[name]
        return next(part for part in self.inputs if part.name == name)

    @property
    def cause(self) -> Cause | None:
        """The most specific suspected cause: of the first culprit, of the function, or of the first wrong input."""
        found: list[Cause | None] = [culprit.cause for culprit in self.culprits[:1]]
        found += self.failures + [part.cause for part in self.inputs if not part.ok]
        return next((cause for cause in found if cause is not None), None)

    def __str__(self) -> str:
        lines = [f"gradient check: {self._headline()}"]
        lines += [f"  {cause.text}" for cause in self.failures]
        for part in self.inputs:
            lines += part.lines(explained=bool(self.culprits))
        for culprit in self.culprits:
            lines.append(f"  responsible: {culprit}")
            if culprit.worst is not None:
                w = culprit.worst
                lines.append(
                    f"      there, entry {list(w.index)}: rule {w.analytic:.8g}, differences {w.numeric:.8g} (random "
                    "upstream gradient)"
                )
            lines.append(f"      suspected cause: {culprit.cause}")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    __repr__ = __str__

    def _headline(self) -> str:
        undefined = sum(part.undefined for part in self.inputs)
        if self.ok:
            return "all gradients are right" + (", in the entries that could be checked" if undefined else "")
        if not any(part.checked or part.directions for part in self.inputs):
            return "FAILED: no gradient could be checked"
        bad = [part for part in self.inputs if not part.ok]
        said = "NOT CHECKED" if bad and all(part.status == "undefined" for part in bad) else "WRONG"
        return f"{said}: {len(bad)} of {len(self.inputs)} gradients"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, ready for JSON."""
        return _plain(
            {
                "ok": self.ok,
                "cause": self.cause and asdict(self.cause),
                "inputs": [asdict(part) for part in self.inputs],
                "culprits": [asdict(culprit) for culprit in self.culprits],
                "failures": [asdict(cause) for cause in self.failures],
                "notes": self.notes,
            }
        )

    def plot(self, path: Any = None) -> Any:
        """Error against step size at the worst entry of wrong inputs, or of the least exact one, as a figure.

        A right gradient gives a V, a wrong one a plateau. The figure is saved to ``path`` if one is given.
        """
        return plot_sweeps({p.name: p.sweep for p in self.inputs if p.sweep is not None}, self, path)


def plot_sweeps(sweeps: dict[str, Sweep], report: GradientReport, path: Any = None) -> Any:
    """The step-size curves of several inputs in one picture; right ones grey, wrong ones in colour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, curve in sweeps.items():
        wrong = report[name].status == "wrong"
        axes.loglog(
            curve.steps,
            np.maximum(curve.errors, 1e-17),
            marker="o",
            markersize=3,
            color=None if wrong else "0.6",
            label=f"{name}: {report[name].status}" if wrong or len(sweeps) < 8 else None,
        )
    highest = max((float(np.nanmax(curve.errors, initial=0.0)) for curve in sweeps.values()), default=0.0)
    axes.set_ylim(1e-16, 10.0 * max(highest, 1.0))  # always the same decades: a plateau shall look like one
    axes.set_xlabel("step h")
    axes.set_ylabel("relative error of the difference quotient")
    axes.set_title("a V: right, to rounding     a plateau: wrong")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    if path is not None:
        figure.savefig(path)
    return figure


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
