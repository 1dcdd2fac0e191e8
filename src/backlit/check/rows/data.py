"""What is wrong with data before any training: values, columns, labels, order, and leaks into validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ...datasets import Data
from ..finding import Finding, Findings
from .columns import idle_columns
from .labels import are_classes, balance, contradictions
from .order import drift, runs
from .relation import unrelated
from .split import leaks
from .table import Table, table_from
from .values import input_scale, not_finite, target_scale


def data(dataset: Any, *, validation: Any = None) -> Findings:
    """Look for what spoils training and sits in the data.

    Non-finite values, columns that are not standardized, constant or equal columns, targets on a strange scale, classes
    out of balance, rows in the order of their labels, equal rows with different targets, labels that have nothing to do
    with the inputs, rows that training and validation share (also nearly, or with other rounding), and a scaling that
    was fitted on both.

    Args:
        dataset: ``(x, y)`` arrays or tensors, a Dataset, a DataLoader (its order counts as it delivers it), or a
            :class:`~backlit.datasets.Data` (its test rows are the validation unless others are given).
        validation: rows held back, in any of these forms.

    Returns:
        :class:`Findings`, empty when all is well. At most 20,000 rows are looked at, spread evenly.

    Raises:
        OperationError: there are no inputs and targets, or not as many of one as of the other, or the inputs are no
            numbers.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 3)).astype(np.float32)
    >>> data((x, (x[:, 0] > 0).astype(np.int64)))
    <0 findings: none>
    >>> data((x * [1, 1, 500], (x[:, 0] > 0).astype(np.int64))).kinds
    ['not_standardized']
    """
    table = table_from(dataset)
    if validation is None and isinstance(dataset, Data) and len(dataset.x_test):
        validation = (dataset.x_test, dataset.y_test)
    broken = list(not_finite(table))
    if broken:
        return Findings(broken)
    found = [*input_scale(table), *target_scale(table), *idle_columns(table), *_labels(table)]
    if validation is not None:
        found += leaks(table, table_from(validation))
    return Findings(found)


def _labels(table: Table) -> Iterator[Finding]:
    """The faults of targets with one value a row."""
    y = table.y[:, 0] if table.y.ndim == 2 and table.y.shape[1] == 1 else table.y
    if y.ndim != 1:
        return
    if are_classes(y):
        yield from balance(y)
        yield from runs(y)
    elif y.dtype.kind == "f":
        yield from drift(y)
    single = replace(table, y=y)
    yield from contradictions(single)
    yield from unrelated(single)
