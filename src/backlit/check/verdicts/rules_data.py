"""Faults of the rows that a network is trained on: the rules of ``check/rows``, with what the model makes of the rows.

Where a model is at hand, what the rows show alone is often no fault: rare classes that it recognises, raw units that
it normalizes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ..faults import finding
from ..finding import Finding
from ..rows.columns import idle_columns
from ..rows.labels import label_offset, unanswered_class
from ..rows.order import like_batches
from ..rows.relation import neighbours_agree
from ..rows.split import leaks
from ..rows.table import Table, table_from
from ..rows.values import input_scale, not_finite
from .situation import Batch, Numbers, Situation


def data_faults(s: Situation) -> Iterator[Finding]:
    """Everything that the rows show, alone or together with what the model makes of them. NaN hides the rest."""
    inputs, target = s.rows
    if len(inputs) == 1 and target.ndim and len(inputs[0]._data) == len(target._data):
        table = _table(s.rows, s.numbers)
        broken = list(not_finite(table))
        yield from broken
        if broken:
            return
        yield from _of_rows(s, table)
    for rule in _RULES:
        yield from rule(s)


def _of_rows(s: Situation, table: Table) -> Iterator[Finding]:
    """What the rows show alone."""
    if not _normalizes_first(s):
        yield from (replace(f, likelihood=0.5 if s.learned else 0.92) for f in input_scale(table))
    if not _pictures(s):
        yield from idle_columns(table)
    if s.validation is not None and s.validation[0][0].shape[1:] == s.rows[0][0].shape[1:]:
        assert s.held_out_numbers is not None
        yield from leaks(table, _table(s.validation, s.held_out_numbers))


def _table(batch: Batch, numbers: Numbers) -> Table:
    """A batch as a table whose rows are numbered as they were given."""
    table = table_from((batch[0][0], batch[1]))
    return replace(table, numbers=numbers[: len(table.x)])


def _pictures(s: Situation) -> bool:
    """Many equal lowest values: pixels, counts, or one-hot rows, of which some are always 0."""
    x = s.features
    return x is None or float((x == x.min()).mean()) > 0.2


def _normalizes_first(s: Situation) -> bool:
    """Whether the first thing the model does is to normalize its inputs."""
    seen = s.notes.get("pass")
    first = [a.name for a in seen.applied if a.name not in ("reshape", "flatten")][:2] if seen else []
    return any(name in ("batch_statistics", "batch_norm", "layer_norm", "standardize") for name in first)


def order(s: Situation) -> Iterator[Finding]:
    """Batches of like targets, where the batches are those of training."""
    if s.in_order:
        yield from like_batches(s.target, [len(y._data) if y.ndim else 1 for _, y in s.batches])


def offset(s: Situation) -> Iterator[Finding]:
    """Labels that count from 1."""
    places = s.notes["pass"].output
    outputs = places.shape[1] if places is not None and places.ndim == s.target.ndim + 1 else 0
    yield from label_offset(s.target, outputs, s.notes["pass"].error is not None)


def not_learnable(s: Situation) -> Iterator[Finding]:
    """Held-out rows are answered no better than by chance, and neighbours do not share labels either."""
    held_out, score = s.validation_score, s.score
    if held_out is None or score is None or s.validation is None or not s.classes:
        return
    if held_out.accuracy is None or score.accuracy is None:
        return
    y = s.validation[1]._data
    chance = float(np.unique(y, return_counts=True)[1].max() / y.size)
    margin = 2.5 * math.sqrt(chance * (1 - chance) / y.size)
    if score.accuracy < s.majority + 0.15 or held_out.accuracy > chance + margin or chance > 0.8:
        return
    near = None if s.features is None else neighbours_agree(s.features, s.target)
    if near is None or near.score <= 3:
        text = (
            f"Training accuracy is {score.accuracy:.0%}, validation accuracy {held_out.accuracy:.0%}, where always "
            f"saying the commonest class gives {chance:.0%}"
            + ("." if near is None else f"; nearest neighbours share a label in {near.share:.0%} of cases only.")
        )
        yield finding("labels_unrelated", text, "targets")


def imbalance(s: Situation) -> Iterator[Finding]:
    """A class with few rows is never answered."""
    if s.score is not None and s.score.said is not None and s.classes:
        yield from unanswered_class(s.target.reshape(s.score.said.shape), s.score.said)


_RULES: tuple[Callable[[Situation], Iterator[Finding]], ...] = (order, offset, not_learnable, imbalance)
