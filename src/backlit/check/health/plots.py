"""Pictures of what checks measured, as matplotlib figures; matplotlib is an extra."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...errors import UnsupportedError

if TYPE_CHECKING:
    from .flow import FlowReport
    from .through_time import TimeFlow

_INK, _BARS, _BACK, _UPDATE, _ALERT = "#1c1f24", "#2563eb", "#059669", "#7c3aed", "#d92d20"
_CYCLE = ("#2563eb", "#d95d0e", "#059669", "#be185d", "#7c3aed", "#a16207", "#0891b2", "#57606f")
MOST_LINES = 12


def figure(width: float, height: float) -> Any:
    """An empty figure that belongs to no window; ``figure.savefig(path)`` writes it, notebooks show it.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnsupportedError("plot: matplotlib is not installed; run: pip install backlit[plot]") from error
    return Figure(figsize=(width, height), layout="constrained")


def flow_bars(report: FlowReport) -> Any:
    """Layers from top to bottom; bars for the spread of activations, the gradient's norm, and updates where known."""
    layers = report.layers
    named = [layer.name or "model" for layer in layers]
    steps = any(layer.update_ratio > 0 for layer in layers)
    panels = [
        ("output: standard deviation", [layer.std for layer in layers], _BARS),
        ("gradient norm at the output", [layer.gradient_norm for layer in layers], _BACK),
    ]
    if steps:
        panels.append(("update-to-weight ratio", [layer.update_ratio for layer in layers], _UPDATE))
    drawing = figure(3.4 * len(panels) + 2.6, max(2.6, 0.3 * len(layers) + 1.5))
    axes = drawing.subplots(1, len(panels) + 1, sharey=True, width_ratios=[1] * len(panels) + [0.7])
    for ax, (title, values, colour) in zip(axes, panels, strict=False):
        _log_bars(ax, values, colour)
        ax.set_title(title, fontsize=10)
    _share_bars(axes[-1], report)
    axes[0].set_yticks(range(len(named)), named, fontsize=8)
    axes[0].invert_yaxis()
    drawing.suptitle("Signals through depth" + (f": {', '.join(report.findings.kinds)}" if report.findings else ""))
    return drawing


def _log_bars(ax: Any, values: list[float], colour: str) -> None:
    shown = [v if math.isfinite(v) and v > 0 else math.nan for v in values]
    ax.barh(range(len(shown)), shown, color=colour, height=0.7)
    drawn = [v for v in shown if v == v]
    if drawn:
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter("")  # in a narrow panel the labels between powers would overlap
        low, high = math.floor(math.log10(min(drawn)) - 0.1), math.ceil(math.log10(max(drawn)))
        ax.set_xlim(10.0**low, 10.0 ** max(high, low + 1))  # whole powers: small differences stay small to the eye
    _calm(ax)


def _share_bars(ax: Any, report: FlowReport) -> None:
    """The share of entries or units that no gradient passes: saturated, or dead."""
    shares = [
        layer.saturated if layer.saturated is not None else len(layer.dead) / layer.units if layer.units else 0.0
        for layer in report.layers
    ]
    ax.barh(range(len(shares)), shares, color=_ALERT, height=0.7)
    ax.set_xlim(0, 1)
    ax.set_title("saturated or dead", fontsize=10)
    _calm(ax)


def time_lines(flows: list[TimeFlow]) -> Any:
    """A line for each recurrence: the norm of the gradient at each step. Vanishing falls to the left."""
    drawing = figure(7, 4)
    ax = drawing.subplots()
    for i, flow in enumerate(flows[:MOST_LINES]):
        shown = [v if math.isfinite(v) and v > 0 else math.nan for v in flow.gradient_norms]
        text = f"{flow.name}: ×{flow.factor:.2g} a step back"
        ax.plot(range(1, len(shown) + 1), shown, marker=".", color=_CYCLE[i % len(_CYCLE)], label=text)
    if any(v > 0 for flow in flows for v in flow.gradient_norms):
        ax.set_yscale("log")
    ax.set_title("Gradient norm through time", fontsize=10)
    ax.set_xlabel("step")
    ax.legend(fontsize=8)
    _calm(ax)
    return drawing


def histories(curves: dict[str, dict[str, list[float]]], *, log: bool = True, x_label: str = "epoch") -> Any:
    """One panel for each measure, one line for each layer."""
    drawing = figure(8, 2.6 * len(curves) + 0.4)
    for ax, (title, lines) in zip(drawing.subplots(len(curves), 1, squeeze=False)[:, 0], curves.items(), strict=True):
        shown = _outermost(list(lines))
        for i, name in enumerate(shown):
            values = [v if not log or v > 0 else math.nan for v in lines[name]]
            dashes = "-" if i < len(_CYCLE) else "--"
            ax.plot(
                range(1, len(values) + 1),
                values,
                dashes,
                color=_CYCLE[i % len(_CYCLE)],
                label=name or "model",
                marker=".",
            )
        if log and any(v > 0 for name in shown for v in lines[name]):
            ax.set_yscale("log")
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(x_label)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), ncols=1 if len(shown) < 12 else 2)
        _calm(ax)
    return drawing


def _outermost(names: list[str]) -> list[str]:
    """The first and the last layers, where there are many."""
    half = MOST_LINES // 2
    return names if len(names) <= MOST_LINES else [*names[:half], *names[-half:]]


def rate_curve(rates: Any, losses: Any, smooth: Any, suggestion: float | None) -> Any:
    """Loss against learning rate, and the suggested rate."""
    drawing = figure(6.4, 4)
    ax = drawing.subplots()
    ax.plot(rates, losses, color="#b8c0cc", linewidth=1, label="loss of each batch")
    ax.plot(rates, smooth, color=_BARS, linewidth=2, label="smoothed")
    if suggestion is not None:
        ax.axvline(suggestion, color=_ALERT, linestyle="--", label=f"suggested: {suggestion:.2g}")
    if len(smooth):
        start, lowest = float(smooth[0]), float(smooth.min())
        fall = max(start - lowest, 0.05 * abs(start))
        ax.set_ylim(lowest - 0.6 * fall, start + 0.8 * fall)  # what breaks at the end may leave the picture
    ax.set_xscale("log")
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss")
    ax.legend(fontsize=8)
    _calm(ax)
    return drawing


def surface(a: Any, b: Any, losses: Any, trajectory: Any, labels: tuple[str, str]) -> Any:
    """Contours of a loss over two directions, and the way training took."""
    import numpy as np

    drawing = figure(6.4, 5.4)
    ax = drawing.subplots()
    finite = losses[np.isfinite(losses)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    span = (high - low) or 1.0
    # Levels grow denser towards the minimum, where the shape matters.
    levels = low + span * np.linspace(0.0, 1.0, 24) ** 2
    levels[0] -= 1e-9 * span
    filled = ax.contourf(a, b, losses, levels=levels, cmap="viridis")
    ax.contour(a, b, losses, levels=levels[1::2], colors="white", linewidths=0.5, alpha=0.6)
    drawing.colorbar(filled, ax=ax, label="loss", format="%.3g")
    if len(trajectory):
        ax.plot(trajectory[:, 0], trajectory[:, 1], "-o", color=_ALERT, markersize=3, linewidth=1.2, label="trajectory")
        ax.plot(*trajectory[0], "s", color="white", markeredgecolor=_INK, label="start")
    ax.plot(0, 0, "*", color="white", markeredgecolor=_INK, markersize=12, label="model")
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.legend(fontsize=8, loc="upper right")
    return drawing


def _calm(ax: Any) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    ax.set_axisbelow(True)
