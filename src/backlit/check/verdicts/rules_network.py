"""Faults of the network and its loss, seen in one forward and backward pass."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...graph import no_grad
from ...numerics import quiet
from ...tensor import constant
from ..faults import finding
from ..finding import Finding
from ..health.flow import flow
from ..health.heads import kind_of_loss, mismatches
from .observed import Pass
from .situation import Situation

_HARMLESS = frozenset({
    "dead_units", "saturation", "vanishing_gradients", "exploding_gradients", "update_too_large", "update_too_small",
    "zero_gradient",
})  # fmt: skip
"""Found in networks that learned nevertheless, these are no fault."""


def network_faults(s: Situation) -> Iterator[Finding]:
    """Everything that the pass shows."""
    seen: Pass = s.notes["pass"]
    if seen.error is not None:
        yield from stopped(seen)
        return
    if s.broken:
        yield from overflowed(s)
        return
    if any(p.requires_grad for p in s.model.parameters()):
        yield from (f for f in _flow(s) if not (s.learned and f.kind in _HARMLESS))
    assert seen.output is not None
    yield from broadcast(s)
    yield from mismatches(kind_of_loss(seen.loss, seen.output, seen.target), seen.output, seen.target)


def _flow(s: Situation) -> Iterator[Finding]:
    """The health of the layers, in training mode."""
    model, _ = s.copies()
    inputs, target = s.notes["pass"].batch
    yield from flow(model.train(), (*inputs, target), s.loss.function, pieces=0).findings


def stopped(seen: Pass) -> Iterator[Finding]:
    """The pass raised an error: some of them have a name here."""
    text = str(seen.error)
    if "probabilities" in text and "class indices" not in text:
        yield finding("wrong_loss_for_logits", text.split(". ")[0].rstrip(".") + ".", "loss")
    else:
        first = text.splitlines()[0] if text else "no message"
        yield finding("does_not_run", f"A pass over the training rows raises {type(seen.error).__name__}: {first}")


def broadcast(s: Situation) -> Iterator[Finding]:
    """Outputs in a column and targets in a row, which a loss of one's own lets through."""
    output, target = s.notes["pass"].output, s.notes["pass"].target
    if output.ndim != 2 or output.shape[1] != 1 or target.ndim != 1 or len(target._data) < 2:
        return
    try:
        with no_grad(), quiet():
            matched = float(s.loss.function(output, target.reshape(output.shape)))
            given = float(s.loss.function(output, target))
            shifted = float(s.loss.function(output, constant(np.roll(target._data, 1))))
    except Exception:
        return
    # A loss that compares row by row notices when the targets are shifted against the outputs.
    if abs(given - shifted) < 1e-5 * abs(given) and abs(given - matched) > 1e-3 * abs(given):
        text = (
            f"The outputs have shape {tuple(output.shape)} and the targets {tuple(target.shape)}: the loss is "
            f"{given:.4g}, and {matched:.4g} when row is compared with row."
        )
        yield finding("broadcast_target", text, "loss")


def overflowed(s: Situation) -> Iterator[Finding]:
    """Weights or outputs that are not finite, though the data are."""
    bad = [name for name, p in s.model.named_parameters() if not np.isfinite(p._data).all()]
    largest = max((float(np.abs(p._data).max(initial=0.0)) for p in s.model.parameters()), default=0.0)
    text = (
        f"{len(bad)} parameters hold NaN or infinity: {', '.join(bad[:3])}."
        if bad
        else f"The loss is not finite, and the largest weight is {largest:.3g}."
    )
    yield finding("diverged", text, bad[0] if bad else "loss")


def single_rows(s: Situation) -> Iterator[Finding]:
    """Batches of one row, and batch normalization of rows that are vectors."""
    sizes = [len(target._data) if target.ndim else 1 for _, target in s.batches]
    norms = [name for name, m in s.model.named_modules() if type(m).__name__ == "BatchNorm1d"]
    small = sizes.count(1)
    if norms and small and s.rows[0][0].ndim == 2:
        text = f"{small} of {len(sizes)} batches have a single row, and {norms[0]} normalizes over the batch."
        yield finding("batch_norm_single_row", text, norms[0], batches=small)
