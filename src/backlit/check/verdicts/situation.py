"""A training as it stands: model, data, loss, optimizer and curves, and how good the model is on its data."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...creation import as_tensor
from ...errors import OperationError
from ...graph import no_grad
from ...numerics import quiet
from ...random import default_generator
from ...tensor import Tensor
from ...train.choices import resolve_loss
from ...utils.data import DataLoader, Dataset
from ..health.course import Course

Array = NDArray[Any]
Numbers = NDArray[np.intp]
Batch = tuple[tuple[Tensor, ...], Tensor]
MAX_ROWS, MAX_BATCHES, BATCH, DRAWS = 2048, 64, 32, 5


@dataclass(frozen=True)
class Score:
    """How a model does on some rows: the loss, its output, and for classes the accuracy and what was said."""

    loss: float
    output: Array
    accuracy: float | None = None
    said: Array | None = None


class Taken(NamedTuple):
    """Rows in batches: whether they come in an order that the user chose, and which of the given rows they are."""

    batches: list[Batch]
    in_order: bool
    numbers: Numbers


@dataclass
class Situation:
    """What :func:`backlit.check.diagnose` looks at.

    ``batches`` are the first ones as training sees them; ``in_order`` says that they come in the order that training
    uses (from a loader or a list). ``numbers`` and ``held_out_numbers`` say which rows they are of those that were
    given. Everything that runs the model runs a copy.
    """

    model: Any
    loss: Any
    optimizer: Any
    curves: Course
    batches: list[Batch]
    in_order: bool
    numbers: Numbers
    validation: Batch | None = None
    held_out_numbers: Numbers | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def rows(self) -> Batch:
        """The rows of all batches together; the first batch where they have different shapes."""
        return _stacked(self.batches)

    @property
    def target(self) -> Array:
        """The targets of :attr:`rows`."""
        return self.rows[1]._data

    @property
    def features(self) -> Array | None:
        """The inputs of :attr:`rows` as a table of floats with a line a row; None for several inputs or for indices."""
        return table_of(self.rows)

    @cached_property
    def classes(self) -> int:
        """How many classes the output tells apart: 2 for one output with targets 0 and 1, and 0 for regression."""
        output = self.score.output if self.score else None
        y = self.target
        if y.dtype.kind in "iu" and (output is None or output.ndim == y.ndim + 1):
            return int(output.shape[1]) if output is not None else int(y.max(initial=0)) + 1
        whole = np.unique(y)
        return 2 if len(whole) == 2 and set(whole.tolist()) == {0, 1} and self._one_output else 0

    @property
    def _one_output(self) -> bool:
        return self.score is None or self.score.output.size == self.target.size

    @cached_property
    def score(self) -> Score | None:
        """On the training rows, in evaluation mode; None where the model cannot be run."""
        return self.measure(self.rows)

    @cached_property
    def training_score(self) -> Score | None:
        """On the training rows, in training mode; the loss is the mean over some drawings of dropout."""
        scores = [self.measure(self.rows, training=True) for _ in range(DRAWS)]
        return next((replace(s, loss=self._mean(scores)) for s in scores if s is not None), None)

    @cached_property
    def careless_score(self) -> Score | None:
        """On the validation rows, in training mode, likewise."""
        if self.validation is None:
            return None
        scores = [self.measure(self.validation, training=True) for _ in range(DRAWS)]
        return next((replace(s, loss=self._mean(scores)) for s in scores if s is not None), None)

    @staticmethod
    def _mean(scores: list[Score | None]) -> float:
        return float(np.mean([s.loss for s in scores if s is not None]))

    @cached_property
    def validation_score(self) -> Score | None:
        """On the validation rows, in evaluation mode."""
        return None if self.validation is None else self.measure(self.validation)

    def measure(self, batch: Batch, training: bool = False) -> Score | None:
        """Loss, output and accuracy of a copy of the model."""
        model = copy.deepcopy(self.model).train(training)
        try:
            with no_grad(), quiet():
                output = model(*batch[0])
                loss = float(self.loss.function(output, batch[1]))
        except Exception:
            return None
        if not isinstance(output, Tensor):
            return None
        said = _said(output._data, batch[1]._data, self.loss.threshold)
        accuracy = None if said is None else float((said == batch[1]._data.reshape(said.shape)).mean())
        return Score(loss, output._data, accuracy, said)

    @cached_property
    def baseline(self) -> float:
        """The loss of the best constant prediction that was found; NaN where none could be computed."""
        return min((v for v in self._constant_losses() if math.isfinite(v)), default=math.nan)

    def _constant_losses(self) -> Iterator[float]:
        if self.score is None:
            return
        output, y = self.score.output, self.target
        for row in _constants(output, y):
            with no_grad(), quiet():
                try:
                    guess = np.broadcast_to(row, output.shape).astype(output.dtype)
                    yield float(self.loss.function(Tensor(np.ascontiguousarray(guess)), self.rows[1]))
                except Exception:
                    continue

    @cached_property
    def majority(self) -> float:
        """The share of the commonest class."""
        return float(np.unique(self.target, return_counts=True)[1].max() / self.target.size)

    @cached_property
    def learned(self) -> bool:
        """Whether the model explains most of what the best constant prediction leaves open."""
        if self.score is None or not math.isfinite(self.score.loss):
            return False
        if self.score.accuracy is not None and self.classes:
            right = self.score.accuracy - self.majority > 0.6 * (1 - self.majority)
            return right and not self.score.loss > 0.75 * self.baseline
        return self.score.loss < 0.3 * self.baseline

    @property
    def broken(self) -> bool:
        """Whether the weights, or what the model says, are not finite."""
        if any(not np.isfinite(p._data).all() for p in self.model.parameters()):
            return True
        return self.score is not None and not math.isfinite(self.score.loss)

    def copies(self) -> tuple[Any, Any]:
        """A copy of the model and of its optimizer, which belong together."""
        made: tuple[Any, Any] = copy.deepcopy((self.model, self.optimizer))
        return made


def situate(model: Any, data: Any, loss: Any, optimizer: Any, history: Any, validation: Any) -> Situation:
    """Gather what is given; nothing of it is changed.

    Raises:
        OperationError: the data are no inputs and targets, or there are none.
    """
    training = batches_of(data, model)
    held_out, held_out_numbers = None, None
    if validation is not None:
        kept = batches_of(validation, model)
        held_out, held_out_numbers = _stacked(kept.batches), kept.numbers
    curves = curves_of(history, 0 if held_out is None else len(held_out[1]._data))
    return Situation(model, resolve_loss(loss), optimizer, curves, *training, held_out, held_out_numbers)


def batches_of(data: Any, model: Any) -> Taken:
    """Up to :data:`MAX_ROWS` rows in batches."""
    dtype = next((p.dtype for p in model.parameters() if p.dtype.kind == "f"), None)
    in_order = not isinstance(data, Dataset) and not _is_pair(data)
    numbers = None
    if isinstance(data, Dataset):
        data = DataLoader(data, BATCH)
    elif _is_pair(data):
        data, numbers = _sliced(data)
    batches: list[Batch] = []
    rows = 0
    with untouched(data):
        for part in data:
            if not isinstance(part, tuple | list) or len(part) < 2:
                raise OperationError(f"diagnose: a batch must be (inputs, targets), got {type(part).__name__}.")
            *inputs, target = (_tensor(item, dtype) for item in part)
            batches.append((tuple(inputs), target))
            rows += len(target._data) if target.ndim else 1
            if rows >= MAX_ROWS or len(batches) >= MAX_BATCHES:
                break
    if not rows:
        raise OperationError("diagnose: there are no rows; give (inputs, targets), a Dataset, a DataLoader or batches.")
    return Taken(batches, in_order, np.arange(rows) if numbers is None else numbers[:rows])


@contextmanager
def untouched(loader: Any = None) -> Iterator[None]:
    """Put the random generator, and a loader's position, back at the end of the block."""
    state = default_generator.get_state()
    position = loader.state_dict() if hasattr(loader, "state_dict") else None
    try:
        yield
    finally:
        default_generator.set_state(state)
        if position is not None:
            loader.load_state_dict(position)


def curves_of(history: Any, validation_count: int = 0) -> Course:
    """Curves from a History, a mapping of columns, or a list of losses."""
    if isinstance(history, Course):
        return history
    columns: Any = getattr(history, "columns", history)
    if columns is None:
        columns = {}
    elif not isinstance(columns, Mapping):
        columns = {"loss": columns}
    numbers = {name: [float(v) for v in values] for name, values in columns.items()}
    return Course(numbers, validation_count=validation_count)


def table_of(batch: Batch) -> Array | None:
    """The one floating input of a batch, flattened to a line a row."""
    x = batch[0][0]._data
    if len(batch[0]) != 1 or x.dtype.kind not in "fui" or x.ndim < 2:
        return None
    return x.reshape(len(x), -1).astype(np.float64) if x.dtype.kind == "f" else None


def first_rows(batch: Batch, count: int) -> Batch:
    """At most so many rows, where all parts of a batch have a line a row."""
    inputs, target = batch
    if len({t.shape[:1] for t in (*inputs, target)}) != 1:
        return batch
    return tuple(Tensor(x._data[:count]) for x in inputs), Tensor(target._data[:count])


def _is_pair(data: Any) -> bool:
    """Whether this is one tuple of arrays, not a list of batches."""
    return isinstance(data, tuple | list) and len(data) >= 2 and all(hasattr(part, "shape") for part in data)


def _sliced(parts: Iterable[Any]) -> tuple[list[tuple[Any, ...]], Numbers]:
    """Arrays in batches of rows drawn at random: their order is not that of training, which shuffles them."""
    arrays = [np.asarray(getattr(part, "_data", part)) for part in parts]
    order = np.random.default_rng(0).permutation(len(arrays[0]))[:MAX_ROWS]
    return [tuple(a[order[i : i + BATCH]] for a in arrays) for i in range(0, len(order), BATCH)], order


def _tensor(value: Any, dtype: Any) -> Tensor:
    array = np.asarray(getattr(value, "_data", value))
    return Tensor(array.astype(dtype)) if dtype is not None and array.dtype.kind == "f" else as_tensor(array)


def _stacked(batches: list[Batch]) -> Batch:
    parts = list(zip(*((*inputs, target) for inputs, target in batches), strict=True))
    try:
        *inputs, target = (Tensor(np.concatenate([t._data for t in part])) for part in parts)
    except ValueError:
        return batches[0]
    return tuple(inputs), target


def _said(output: Array, y: Array, threshold: float | None) -> Array | None:
    """The class that each output stands for, or None for regression."""
    if y.dtype.kind in "iu" and output.ndim == y.ndim + 1 and output.shape[1] > 1:
        return output.argmax(axis=1)
    if output.size == y.size and y.size and np.isin(y, (0, 1)).all():
        probabilities = output.min() >= 0 and output.max() <= 1
        return output.reshape(y.shape) > (threshold if threshold is not None else 0.5 if probabilities else 0.0)
    return None


def _constants(output: Array, y: Array) -> Iterator[Array]:
    """Rows that a network which ignores its inputs could give."""
    if y.dtype.kind in "iu" and output.ndim == y.ndim + 1:
        counts = np.bincount(np.clip(y.ravel(), 0, output.shape[1] - 1), minlength=output.shape[1]) + 1e-6
        prior = counts / counts.sum()
        shape = (1, -1, *(1,) * (output.ndim - 2))
        yield np.log(prior).reshape(shape)
        yield prior.reshape(shape)
    elif y.size and y.size == output.size:
        mean = float(y.mean(dtype=np.float64))
        yield np.array(mean)
        yield np.array(float(np.median(y)))
        if 0 < mean < 1:
            yield np.array(math.log(mean / (1 - mean)))
    elif y.size:
        yield y.mean(axis=0, dtype=np.float64)
