"""What came of a run: its numbers on the screen, its weights and its report in the folder."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import click
import numpy as np

from ..graph import no_grad
from ..report import Report, advise, render
from ..report.collect import (
    Subject,
    checks,
    confusion,
    flow,
    health,
    mistakes,
    outputs,
    pairs,
    regions,
)
from ..serialization import write_atomically
from ..tensor import Tensor
from . import folder as files
from .record import Run, write_metrics, write_weights


def finish(run: Run) -> None:
    """Write weights and report, and say how it went."""
    write_weights(run)
    started = time.perf_counter()
    report = full_report(run)
    page = render(replace(report, timings={**run.timings, "evaluation and report": time.perf_counter() - started}))
    write_atomically(run.folder / files.REPORT, page.encode())
    run.screen.result(report.headline, advise(report), run.folder / files.REPORT)


def tell_failure(run: Run, message: str) -> None:
    """Training met NaN or infinity: write the report about what led there, and say so."""
    write_metrics(run)
    report = replace(_curves(run), failure=message)
    write_atomically(run.folder / files.REPORT, render(report).encode())
    advice = advise(report)[0]
    click.echo(f"backlit: {advice.fault}: {advice.evidence} Try: {advice.remedy}", err=True)
    click.echo(f"backlit: report: {run.folder / files.REPORT}", err=True)


def full_report(run: Run) -> Report:
    """Everything: curves, checks, and the network's answers for the test rows."""
    prepared, data = run.prepared, run.prepared.data
    subject = _subject(run)
    report = _curves(run)
    scores = outputs(subject, prepared.test.x)
    base = replace(
        report,
        headline=_headline(run, subject, scores),
        checks=checks(subject, run.settings.seed),
        health=health(subject),
        regions=regions(subject),
        test_count=len(prepared.test),
    )
    if not len(prepared.test):
        return base
    if data.classes is None:
        return replace(base, scatter=pairs(subject, scores))
    shown, count = mistakes(subject, scores)
    counts = confusion(data.y_test, scores.argmax(axis=1), len(data.classes))
    return replace(base, confusion=counts, mistakes=shown, mistake_count=count)


def _subject(run: Run) -> Subject:
    prepared = run.prepared
    targets = prepared.targets
    return Subject(
        run.model, run.loss, prepared.data, (prepared.train.x, prepared.train.y), (prepared.test.x, prepared.test.y),
        prepared.network_input, (lambda y: y) if targets is None else targets.inverse,
    )  # fmt: skip


def _curves(run: Run) -> Report:
    """What is known without asking the network."""
    data, history = run.prepared.data, run.history
    counts = () if data.classes is None else tuple(np.bincount(data.y_train, minlength=len(data.classes)).tolist())
    epochs = len(history)
    flows = tuple(f for f in flow(run.statistics) if len(f.gradient_norm) == epochs) if epochs else ()
    stopped = (f"Training ended early: {history.stopped}.",) if history.stopped else ()
    numbers = [float(i) for i in range(1, epochs + 1)]
    return Report(
        name=data.name,
        source=data.source,
        task=data.task,
        headline={"epochs": str(epochs)},
        epochs=numbers,
        curves=dict(history.columns),
        flow_epochs=numbers,
        flow=flows,
        classes=data.classes or (),
        class_counts=counts,
        configuration=_configuration(run),
        validation_count=len(run.prepared.validation),
        timings=run.timings,
        notes=stopped,
    )


def _configuration(run: Run) -> dict[str, Any]:
    """The settings; what is off is left to ``config.json``."""
    seed = run.settings.seed
    shown = {key: value for key, value in run.settings.to_dict().items() if value and key != "seed"}
    shown["layers"] = " → ".join(map(str, (run.prepared.inputs, *run.settings.layers, run.prepared.outputs)))
    shown["batch_size"] = run.settings.batch_size or "full"
    shown["seed"] = seed
    prepared = run.prepared
    shown["rows"] = f"{len(prepared.train)} training, {len(prepared.validation)} validation, {len(prepared.test)} test"
    return {key.replace("_", " "): value for key, value in shown.items()}


def _headline(run: Run, subject: Subject, scores: np.ndarray) -> dict[str, str]:
    """The numbers that matter most."""
    prepared, data = run.prepared, run.prepared.data
    found: dict[str, str] = {}
    if len(prepared.test):
        if data.classes is not None:
            found["test accuracy"] = f"{float((scores.argmax(axis=1) == data.y_test).mean()):.2%}"
        else:
            found |= _regression(pairs(subject, scores))
        with no_grad():
            found["test loss"] = f"{float(run.loss(Tensor(scores), Tensor(prepared.test.y))):.4g}"
    history = run.history
    if history.best_epoch is not None:
        found["best epoch"] = str(history.best_epoch)
    found["epochs"] = str(len(history))
    found["weights"] = f"{sum(p.numel() for p in run.model.parameters()):,}"
    found["training time"] = f"{run.timings['training']:.1f} s"
    return found


def _regression(values: np.ndarray) -> dict[str, str]:
    """Root mean square error in the units of the target, and the share of its variance that is explained."""
    truth, said = values.T
    error, spread = float(((truth - said) ** 2).mean()), float(truth.var())
    found = {"test RMSE": f"{error**0.5:.4g}"}
    return {**found, "R²": f"{1 - error / spread:.3f}"} if spread > 0 else found
