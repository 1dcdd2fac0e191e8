"""When a batch turns out NaN or infinite: run it again under observation, and tell the cause.

Nothing is watched while all goes well. What a second run needs is kept from batch to batch: the place in the random
stream, and the buffers that a forward pass overwrites. The weights need no copy, because they are unspoiled.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .. import random
from ..errors import AnomalyError, NonFiniteError
from ..nn.parameter import overwrite
from .finite import first_not_finite

if TYPE_CHECKING:
    from ..check.first_culprit.anomaly import Anomaly, Growth
    from .trainer import Trainer

REMEMBERED = 10
"""How many losses are kept to show how training went before."""
_CAUTION = 1e30


class Retracer:
    """Keeps what running the present batch again needs, and does so when it must.

    Attributes:
        losses: those of the last batches.
    """

    def __init__(self, trainer: Trainer, parameters: list[Any]) -> None:
        self._trainer = trainer
        self._parameters = parameters
        self._buffers = list(trainer.model.buffers())
        self._kept: list[np.ndarray] = []
        self._random: Any = None
        self._weights = _norm(parameters)
        self.losses: deque[float] = deque(maxlen=REMEMBERED)

    def before_batch(self) -> None:
        """Take note of where the random stream and the buffers are."""
        self._random = random.default_generator.place
        if self._buffers:
            self._kept = [buffer._data.copy() for buffer in self._buffers]

    def stop(self, inputs: tuple[Any, ...], target: Any, head: str) -> NoReturn:
        """Find out why the batch went wrong, put everything back, and raise the report.

        Raises:
            AnomalyError: with the first culprit.
            NonFiniteError: where a second run does not show the trouble again.
        """
        self.put_back()
        try:
            anomaly = self._again(inputs, target)
        finally:
            self.put_back()
            self._trainer.optimizer.zero_grad()
        if anomaly is None:
            raise self._unseen(head)
        raise self._told(anomaly, inputs, target).told(head=head).error()

    def put_back(self) -> None:
        """Take the random stream and the buffers back to where they were before the batch."""
        random.default_generator.place = self._random
        for buffer, kept in zip(self._buffers, self._kept, strict=False):
            overwrite(buffer, kept)

    def _again(self, inputs: tuple[Any, ...], target: Any) -> Anomaly | None:
        from ..check.first_culprit.culprit import Watch

        watch = Watch(bad_data=_bad_part(inputs, target) is not None)
        watch.begin()
        try:
            self._trainer.optimizer.zero_grad()
            _, loss, penalty = self._trainer.forward(inputs, target)
            (loss if penalty is None else loss + penalty).backward()
        except AnomalyError as error:
            return error.anomaly
        except Exception:  # a model or loss with a state of its own may fail otherwise; the first trouble is the news
            return None
        finally:
            watch.end()
        return self._of_leaf()

    def _of_leaf(self) -> Anomaly | None:
        """A gradient that no rule spoiled: a hook of the parameter did, or the sum over its uses overflowed."""
        from ..check.first_culprit.anomaly import Anomaly
        from ..check.first_culprit.nonfinite import bad_entries

        parameter = first_not_finite(self._parameters)
        if parameter is None:
            return None
        name = self._trainer.name_of(parameter)
        if parameter.hooked:
            cause, why = "hook", f"every rule gave finite gradients; a hook registered on {name} returned this one."
            fix = "Look at the function given to register_hook, or remove the hook."
        else:
            cause, why = "overflow", f"{name} is used more than once, and its finite gradients overflow when added."
            fix = "Scale the loss down, or normalize inputs and hidden values."
        return Anomaly(
            phase="backward",
            operation=name,
            formula="",
            source=None,
            module=name.rpartition(".")[0],
            result=bad_entries("gradient", parameter.grad._data),
            operands=(),
            upstream=None,
            cause=cause,
            diagnosis=why,
            fix=fix,
        )

    def _unseen(self, head: str) -> NonFiniteError:
        lr = self._trainer.optimizer.param_groups[0]["lr"]
        return NonFiniteError(
            f"{head}; running the batch again gave no such value, so something in the model or the loss keeps state or "
            f"is random in its own way. {self._growth()}. Lower the learning rate (now {lr:g}), clip gradients "
            "(clip_grad_norm=1.0), or look at the loss function."
        )

    # -- the report ---------------------------------------------------------------------------------------------

    def _told(self, anomaly: Anomaly, inputs: tuple[Any, ...], target: Any) -> Anomaly:
        """The culprit with what only training knows: batch, rows, data set, earlier losses."""
        from ..check.first_culprit.anomaly import BatchPlace
        from ..check.first_culprit.diagnosis import OF_INFINITIES, RUNAWAY

        rows = tuple(_rows(anomaly, inputs))
        place = BatchPlace(self._trainer.epoch, self._trainer.batch, rows)
        growth = self._growth()
        anomaly = anomaly.told(batch=place, growth=growth)
        if anomaly.phase == "data" or anomaly.cause in OF_INFINITIES:
            return _of_data(anomaly, inputs, target, self._trainer.loader)
        if anomaly.phase == "parameter":
            anomaly = _of_parameter(anomaly, self._trainer.model, math.isfinite(growth.weights_before))
        if not growth.runaway:
            return anomaly
        told = f"{_grown(growth)}, which training that works does not do"
        if anomaly.cause not in RUNAWAY:
            return anomaly.told(
                diagnosis=f"{anomaly.diagnosis} {told}; the learning rate {growth.learning_rate:g} may be too high."
            )
        return _too_fast(anomaly, growth, f"{told}, until this: {anomaly.cause}: {anomaly.diagnosis}")

    def _growth(self) -> Growth:
        from ..check.first_culprit.anomaly import Growth

        lr = float(self._trainer.optimizer.param_groups[0]["lr"])
        return Growth(tuple(self.losses), self._weights, _norm(self._parameters), lr)

    # -- the update ---------------------------------------------------------------------------------------------

    def update(self, squares: float) -> None:
        """The optimizer's step; where the gradients are so large that it might overflow, one that can be undone.

        Raises:
            AnomalyError: the step would have made a weight infinite or NaN; weights and optimizer are as before it.
        """
        optimizer = self._trainer.optimizer
        lr = optimizer.param_groups[0]["lr"]
        if squares * lr * lr < _CAUTION:
            optimizer.step()
            return
        kept = [parameter._data.copy() for parameter in self._parameters]
        state = copy.deepcopy(optimizer.state_dict())
        optimizer.step()
        spoiled = [p for p in self._parameters if not np.isfinite(p._data).all()]
        if not spoiled:
            return
        for parameter, values in zip(self._parameters, kept, strict=True):
            overwrite(parameter, values)
        optimizer.load_state_dict(state)
        raise self._of_update(spoiled[0], kept)

    def _of_update(self, parameter: Any, kept: list[np.ndarray]) -> AnomalyError:
        from ..check.first_culprit.anomaly import Anomaly, BatchPlace
        from ..check.first_culprit.nonfinite import largest_entry

        trainer, growth = self._trainer, self._growth()
        name = trainer.name_of(parameter)
        own = next(values for p, values in zip(self._parameters, kept, strict=True) if p is parameter)
        anomaly = Anomaly(
            phase="update",
            operation=f"{type(trainer.optimizer).__name__} of {name}",
            formula="",
            source=None,
            module=name.rpartition(".")[0],
            result=largest_entry(name, own),
            operands=(largest_entry("gradient", parameter.grad._data),),
            upstream=None,
            cause="learning rate too high",
            diagnosis="",
            fix="",
            batch=BatchPlace(trainer.epoch, trainer.batch),
            growth=growth,
            head=f"fit: the update would make {name} infinite or NaN {trainer.place}",
        )
        trainer.optimizer.zero_grad()
        why = "gradient times learning rate exceeds the largest number of the weights' dtype"
        return _too_fast(anomaly, growth, why).error()


def _too_fast(anomaly: Anomaly, growth: Growth, why: str) -> Anomaly:
    lr = growth.learning_rate
    return anomaly.told(
        cause="learning rate too high",
        diagnosis=why,
        fix=f"Lower the learning rate (now {lr:g}; try {lr / 10:g}), clip gradients (clip_grad_norm=1.0), and "
        "standardize the inputs.",
    )


def _grown(growth: Growth) -> str:
    parts = []
    if growth.loss_factor >= 10:
        parts.append(f"the loss grew {growth.loss_factor:.3g} times within {len(growth.losses)} batches")
    if growth.weight_factor >= 10:
        parts.append(f"the weights grew {growth.weight_factor:.3g} times")
    text = " and ".join(parts) or "loss or weights left the range of numbers"
    return text[0].upper() + text[1:]


def _rows(anomaly: Anomaly, inputs: tuple[Any, ...]) -> tuple[int, ...]:
    """The rows of the batch that are concerned, where the arrays at the culprit have one a row."""
    count = inputs[0].shape[0] if inputs and inputs[0].ndim else None
    for entries in (anomaly.result, *anomaly.operands):
        if entries.shape and entries.shape[0] == count and entries.rows:
            return entries.rows
    return ()


def _bad_part(inputs: tuple[Any, ...], target: Any) -> tuple[str, np.ndarray] | None:
    """Which part of a batch holds NaN or infinity: ``inputs`` or ``targets``, and the array."""
    from ..check.first_culprit.nonfinite import is_finite

    named = [("inputs", part) for part in inputs] + [("targets", target)]
    arrays = [(name, getattr(part, "_data", None)) for name, part in named]
    return next(((name, a) for name, a in arrays if a is not None and not is_finite(a)), None)


def _of_data(anomaly: Anomaly, inputs: tuple[Any, ...], target: Any, loader: Any) -> Anomaly:
    """Which rows and columns of the batch hold NaN or infinity, and which samples of the data set."""
    from ..check.first_culprit.anomaly import BatchPlace
    from ..check.first_culprit.nonfinite import ROWS, bad_entries

    bad = _bad_part(inputs, target)
    if bad is None or anomaly.batch is None:
        return anomaly
    name, array = bad
    wrong = ~np.isfinite(array)
    columns = tuple(int(i) for i in np.unique(np.nonzero(wrong)[1])[:ROWS]) if array.ndim == 2 else ()
    found = bad_entries(name, array)
    place = BatchPlace(anomaly.batch.epoch, anomaly.batch.batch, found.rows, columns)
    entries = "1 entry" if found.count == 1 else f"{found.count} entries"
    return anomaly.told(
        phase="data",
        operands=(found,),
        batch=place,
        cause="bad input data",
        diagnosis=f"this batch's {name} hold NaN or infinity ({entries}).{_samples(loader.dataset)}",
        fix="Drop these rows or fill in what is missing before training; bl.isfinite(x) finds them.",
    )


def _samples(dataset: Any) -> str:
    """How many samples of the whole data set are affected, and which."""
    while not hasattr(dataset, "tensors") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    parts = [t._data for t in getattr(dataset, "tensors", ()) if t._data.dtype.kind == "f"]
    bad = [~np.isfinite(part).reshape(len(part), -1).all(axis=1) for part in parts]
    if not bad:
        return ""
    rows = np.flatnonzero(np.logical_or.reduce(bad))
    shown = ", ".join(map(str, rows[:8])) + (" …" if len(rows) > 8 else "")
    return f" In the data set {len(rows)} of {len(bad[0])} samples do: {shown}."


def _of_parameter(anomaly: Anomaly, model: Any, sound: bool) -> Anomaly:
    names = [name for name, p in model.named_parameters() if not np.isfinite(p._data).all()]
    since = "since an earlier update" if sound else "from the start"
    return anomaly.told(diagnosis=f"{', '.join(names[:4]) or 'a parameter'} held NaN or infinity {since}.")


def _norm(parameters: list[Any]) -> float:
    total = 0.0  # in float64, where squares of float32 do not overflow
    for parameter in parameters:
        flat = parameter._data.ravel("K").astype(np.float64, copy=False)
        total += float(flat.dot(flat))
    return math.sqrt(total)
