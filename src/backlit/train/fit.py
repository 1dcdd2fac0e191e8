"""Training any module in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import random
from ..errors import CheckpointError, OperationError
from ..utils.data import DataLoader, TransformedDataset
from ..utils.data.seeds import draw_seed
from .callbacks import Callback, EarlyStopping, LearningRateScheduler
from .checkpoint import CheckpointEvery, PathLike, find_resume, load_checkpoint
from .choices import Loss, LossFunction, resolve_loss, resolve_metrics, resolve_optimizer
from .history import History
from .metrics import Metric
from .progress import Silent, make_progress
from .sources import EVALUATION_BATCH, as_dataset, as_loader, split, training_loader
from .trainer import Rules, Trainer


def fit(
    model: Any,
    data: Any,
    *,
    loss: str | LossFunction | Loss = "cross_entropy",
    optimizer: Any = "adam",
    lr: float | None = None,
    weight_decay: float | None = None,
    epochs: int = 10,
    batch_size: int | str | None = 32,
    shuffle: bool | None = None,
    augment: Any = None,
    validation: Any = None,
    validation_split: float | None = None,
    metrics: Iterable[str | Metric] = ("accuracy",),
    scheduler: Any = None,
    clip_grad_norm: float | None = None,
    clip_grad_value: float | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    early_stopping: EarlyStopping | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: CheckpointEvery | PathLike | None = None,
    resume: PathLike | bool | None = None,
    seed: int | None = None,
    progress: str | bool | Silent = "auto",
    compile: str | bool = "auto",
) -> History:
    """Train a module.

    Args:
        model: any ``nn.Module``. Its train and eval modes are restored afterwards.
        data: ``(inputs, targets)`` as arrays or tensors with one row a sample, a :class:`~backlit.datasets.Data`, a
            Dataset whose samples end with the target, or a DataLoader. Floating arrays are converted to the dtype of
            the model's parameters.
        loss: a name (``cross_entropy``, ``mse``, ``bce_with_logits`` …, see ``backlit.train.choices.LOSSES``) or a
            function of (output, target) that gives the batch's mean as a 0-d tensor, for example a loss module.
        optimizer: a name (``sgd``, ``adam``, ``adamw``, ``rmsprop``, ``adagrad``, ``adadelta``), an Optimizer, or a
            function that makes one of parameters.
        lr, weight_decay: for an optimizer given by name or as a function; by default its own defaults.
        epochs: how many passes over the data.
        batch_size: samples a batch; None or ``"full"`` for all at once (batch gradient descent), 1 for single samples.
        shuffle: a new order each epoch (default: yes, except for full batches).
        augment: random changes to the training inputs, called as ``augment(inputs, rng)`` on arrays; see
            :mod:`backlit.datasets.augment`. Validation inputs stay as they are.
        validation: data to validate on after each epoch, as for ``data``.
        validation_split: or a fraction of ``data``, drawn at random, that is kept back for it.
        metrics: names (see ``backlit.train.metrics.METRICS``) or Metric objects. Training metrics are of the outputs
            that the updates were computed from, while the weights change.
        scheduler: a learning-rate scheduler, a function that makes one of the optimizer, or a LearningRateScheduler.
            One-cycle schedules are stepped each batch, others each epoch; ReduceLROnPlateau gets the validation loss.
        clip_grad_norm, clip_grad_value: bounds for the norm of all gradients together, and for each entry.
        l1, l2: add ``l1 Σ|w|`` and ``l2 Σ w²`` over all weights (not biases) to the loss that is minimized; the history
            shows the sum as ``penalty``, apart from ``loss``.
        early_stopping: an :class:`EarlyStopping`.
        callbacks: :class:`Callback` objects, called in order.
        checkpoint: a :class:`CheckpointEvery`, or a folder, in which each epoch is saved.
        resume: a checkpoint, a folder with checkpoints, or ``"auto"``: the newest in ``checkpoint``'s folder, if there
            is one. Call fit with the same model, data and settings as before (``epochs`` may grow); the run goes on
            as if it had never stopped, bit for bit.
        seed: seeds the default generator first; orders, dropout and augmentation follow from it.
        progress: ``"auto"`` shows a bar on a terminal and otherwise prints one line an epoch; ``"bar"``, ``"lines"``;
            False for silence; or a display of your own, a subclass of :class:`backlit.train.progress.Silent`.
        compile: ``"auto"`` makes of each batch (forward, loss, backward, clipping, update) one call of native code,
            once batches of its shape have come often enough for that to pay; where that cannot be, training runs
            eagerly, and one line says why. True compiles from the first batch on and raises instead; False never does.
            Batches that callbacks want to look into run eagerly (see :meth:`Callback.wants_gradients`). The numbers are
            the same up to rounding.

    Returns:
        The :class:`History`. Ctrl-C stops after the running batch, saves a checkpoint if there is a folder for it, says
        how to go on, and returns with ``history.stopped == "interrupted"``.

    Raises:
        OperationError: options or data that do not fit together.
        TraceError: with ``compile=True``, where training cannot be compiled.
        NonFiniteError: the loss or a gradient is NaN or infinite; the weights are those before that batch.
        CheckpointError: a checkpoint that is damaged or does not fit; nothing was changed.

    >>> import backlit as bl
    >>> x = bl.tensor([[0.0], [1.0], [2.0]])
    >>> model = bl.nn.Linear(1, 1)
    >>> history = fit(model, (x, 3 * x + 1), loss="mse", optimizer="sgd", lr=0.1, epochs=200, batch_size="full",
    ...               metrics=[], progress=False)
    >>> round(history["loss"][-1], 3)
    0.0
    """
    _check_epochs(epochs)
    if compile not in (True, False, "auto"):
        raise OperationError(f"fit: compile must be 'auto', True or False, got {compile!r}.")
    if seed is not None:
        random.manual_seed(seed)
    if checkpoint is not None and not isinstance(checkpoint, CheckpointEvery):
        checkpoint = CheckpointEvery(checkpoint)
    source = find_resume(resume, checkpoint)
    saved = None if source is None else load_checkpoint(source)
    split_seed = _split_seed(saved, validation_split)
    loader, validation = _sources(model, data, batch_size, shuffle, augment, validation, validation_split, split_seed)
    chosen = resolve_loss(loss)
    made = resolve_optimizer(optimizer, model, lr, weight_decay)
    trainer = Trainer(
        model,
        made,
        chosen,
        loader,
        epochs=epochs,
        metrics=resolve_metrics(metrics, chosen),
        validation=validation,
        validation_metrics=resolve_metrics(metrics, chosen),
        rules=Rules(clip_grad_norm, clip_grad_value, l1, l2),
        callbacks=_callbacks(scheduler, made, early_stopping, callbacks),
        checkpoint=checkpoint,
        progress=make_progress(progress),
        settings={
            "samples": _size(loader.dataset),
            "batch_size": loader.batch_size,
            "validation_samples": None if validation is None else _size(validation.dataset),
            "split_seed": split_seed,
        },
        compile=compile,
    )
    if saved is not None:
        _resume(trainer, saved, source)
    return trainer.run()


def _resume(trainer: Trainer, saved: dict[str, Any], source: Any) -> None:
    try:
        trainer.load_state_dict(saved)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error.__cause__


def _check_epochs(epochs: Any) -> None:
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise OperationError(f"fit: epochs must be a whole number of at least 1, got {epochs!r}.")


def _split_seed(saved: dict[str, Any] | None, fraction: float | None) -> int | None:
    """Which samples validate: drawn once, and kept by checkpoints."""
    if fraction is None:
        return None
    if saved is not None and saved.get("settings", {}).get("split_seed") is not None:
        return int(saved["settings"]["split_seed"])
    return draw_seed()


def _sources(
    model: Any,
    data: Any,
    batch_size: Any,
    shuffle: bool | None,
    augment: Any,
    validation: Any,
    fraction: float | None,
    split_seed: int | None,
) -> tuple[Any, Any]:
    """The loaders of training and of validation (or None)."""
    if validation is not None and fraction is not None:
        raise OperationError("fit: validation and validation_split exclude each other.")
    if isinstance(data, DataLoader):
        if augment is not None or fraction is not None or batch_size != 32 or shuffle is not None:
            raise OperationError(
                "fit: a DataLoader decides batch_size, shuffle and augmentation itself; leave them out."
            )
        return data, None if validation is None else as_loader(validation, model)
    dataset = as_dataset(data, model)
    if fraction is not None and split_seed is not None:
        dataset, validation = split(dataset, fraction, split_seed)
    if augment is not None:
        dataset = TransformedDataset(dataset, augment)
    loader = training_loader(dataset, batch_size, shuffle, None)
    if validation is None:
        return loader, None
    return loader, as_loader(validation, model, max(EVALUATION_BATCH, loader.batch_size or 1))


def _callbacks(
    scheduler: Any, optimizer: Any, early_stopping: EarlyStopping | None, others: Sequence[Callback]
) -> list[Callback]:
    """All callbacks in the order they act: schedules, early stopping, the user's."""
    found: list[Callback] = []
    if scheduler is not None:
        if callable(scheduler) and not hasattr(scheduler, "step"):
            scheduler = scheduler(optimizer)
        found.append(scheduler if isinstance(scheduler, LearningRateScheduler) else LearningRateScheduler(scheduler))
    if early_stopping is not None:
        found.append(early_stopping)
    found.extend(others)
    for callback in found:
        if not isinstance(callback, Callback):
            raise OperationError(f"fit: callbacks must be Callback objects, got {type(callback).__name__}.")
    return found


def _size(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except TypeError:
        return None
