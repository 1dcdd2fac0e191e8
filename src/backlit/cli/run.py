"""One training run from its settings to its report."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import click
import numpy as np

from .. import random
from ..datasets import Data
from ..errors import NonFiniteError
from ..threads import set_num_threads
from ..train import Callback, CheckpointEvery, EarlyStopping, History, Trainer, fit
from . import folder as files
from .network import build_loss, build_network, build_optimizer, check_size, resolve_loss
from .prepare import fingerprint, load, prepare
from .progress import Screen, progress_for
from .record import Run, write_metrics
from .result import finish, tell_failure
from .settings import Settings

DIVERGED = 1
INTERRUPTED = 130


class MetricsFile(Callback):
    """Keeps ``metrics.csv`` up to date, at most once a second, for those who look while the run goes on."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.written = time.perf_counter()

    def on_epoch_end(self, trainer: Trainer) -> None:
        if time.perf_counter() - self.written > 1:
            write_metrics(self.run)
            self.written = time.perf_counter()


def start(settings: Settings, *, out: str | None, force: bool, every: int, quiet: bool) -> None:
    """A new run. Everything that can be wrong is found before the folder is made."""
    started = time.perf_counter()
    data = load(settings)
    classes = None if data.classes is None else len(data.classes)
    settings = replace(settings, loss=resolve_loss(settings, classes))
    prepared = prepare(settings, data)
    check_size(settings, prepared.inputs, prepared.outputs)
    folder = files.choose(data.name if settings.dataset == "csv" else settings.dataset, out, force)
    run = Run(settings, prepared, folder, Screen(quiet), {"data": time.perf_counter() - started})
    files.make(folder)
    files.write_config(folder, settings, {"name": data.name, "sha256": fingerprint(data)})
    _train(run, every, resumed=False)


def resume(given: str, *, epochs: int | None, every: int, quiet: bool) -> None:
    """Go on with an interrupted run; the result is that of a run without interruption, bit for bit."""
    started = time.perf_counter()
    folder, settings, about = files.read_config(given)
    if epochs is not None:
        if epochs < settings.epochs:
            raise click.UsageError(f"--epochs {epochs} is less than the run's {settings.epochs}; it can only grow.")
        settings = replace(settings, epochs=epochs)
    data = load(settings)
    if fingerprint(data) != about.get("sha256"):
        raise click.UsageError(f"--resume {given}: the data have changed since the run was started; start a new run.")
    prepared = prepare(settings, data)
    check_size(settings, prepared.inputs, prepared.outputs)
    run = Run(settings, prepared, folder, Screen(quiet), {"data": time.perf_counter() - started})
    if epochs is not None:
        files.write_config(folder, settings, about)
    _train(run, every, resumed=True)


def _train(run: Run, every: int, *, resumed: bool) -> None:
    run.screen.opening(run.settings, run.prepared, run.folder)
    started = time.perf_counter()
    try:
        history = _fit(run, every, resumed)
    except NonFiniteError as error:
        run.timings["training"] = time.perf_counter() - started
        anomaly = getattr(error, "anomaly", None)
        tell_failure(run, str(error) if anomaly is None else anomaly.brief)
        raise click.exceptions.Exit(DIVERGED) from None
    run.timings["training"] = sum(history.seconds)
    write_metrics(run)
    if history.stopped == "interrupted":
        run.screen.interrupted(run.folder, history)
        raise click.exceptions.Exit(INTERRUPTED)
    finish(run)


def _fit(run: Run, every: int, resumed: bool) -> History:
    settings, prepared = run.settings, run.prepared
    if settings.threads:
        set_num_threads(settings.threads)
    random.manual_seed(settings.seed)
    run.model = build_network(settings, prepared.inputs, prepared.outputs)
    run.loss = build_loss(settings.loss, None if prepared.data.classes is None else prepared.outputs)
    validation = prepared.validation
    checkpoint = CheckpointEvery(run.folder / files.CHECKPOINTS, every_n_epochs=every, keep=1)
    return fit(
        run.model,
        (prepared.train.x, prepared.train.y),
        loss=run.loss,
        optimizer=build_optimizer(settings, run.model),
        epochs=settings.epochs,
        batch_size=min(settings.batch_size, len(prepared.train)) or "full",
        augment=augmentation(prepared.data) if settings.augment else None,
        validation=(validation.x, validation.y) if len(validation) else None,
        metrics=("accuracy",) if prepared.data.classes is not None else ("mae",),
        clip_grad_norm=settings.clip or None,
        l1=settings.l1,
        early_stopping=EarlyStopping(settings.early_stopping) if settings.early_stopping else None,
        callbacks=(run.watch, run.statistics, MetricsFile(run)),
        checkpoint=checkpoint,
        resume="auto" if resumed else None,
        progress=progress_for(run.screen),
        compile=False if settings.eager else "auto",
    )


def augmentation(data: Data) -> Any:
    """Small changes to images that come as flat rows. A pixel is too far to move where there are only a few."""
    from ..datasets.augment import Compose, Noise, Rotate, Shift

    assert data.image_shape is not None
    height, width = data.image_shape
    small = min(height, width) < 16
    change = Compose([Rotate(8), Noise(0.1)] if small else [Rotate(10), Shift(min(height, width) // 14)])

    def on_rows(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return change(rows.reshape(-1, height, width), rng).reshape(rows.shape)

    return on_rows
