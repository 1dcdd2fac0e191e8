"""Dropout: the mask is drawn from the stream that eager mode draws from, and kept for the gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...generator import threshold
from ...ops.dropout import Dropout
from ..codegen.philox import Chances
from ..ir.build import Builder
from ..ir.program import Value
from ..leaves.leaf import emit_leaf
from ..leaves.randomness import DrawChances, chances
from .table import drawing, pulls


@drawing(Dropout)
def dropout(b: Builder, inputs: list[Any], params: dict[str, Any], streams: Any) -> tuple[Value, Value]:
    """Entries times what was drawn for them."""
    kept = drawn(b, streams, params["generator"], params["p"], params["mask_shape"])
    return masked(b, inputs[0], kept, params["p"]), kept


def drawn(b: Builder, streams: Any, generator: Any, p: float, shape: tuple[int, ...]) -> Value:
    """Which entries are kept."""
    count, probability = math.prod(shape), 1.0 - p
    spec = Chances(count, threshold(probability))
    stream, skip = streams.take(generator, (count + 1) // 2)
    operands = [stream, b.constant(skip, np.int64)]

    def meaning(stream: Any, skip: Any) -> tuple[Any]:
        return (chances(stream, skip, spec).reshape(shape),)

    (kept,) = emit_leaf(b, DrawChances(spec), operands, [(shape, np.dtype(np.bool_))], meaning)
    b.body[-1].params["draw"] = generator, probability, shape
    return kept


@pulls(Dropout)
def dropout_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """The gradient goes where an entry was kept."""
    return None if pull.kept is None else [masked(b, pull.g, pull.kept, pull.params["p"])]


def masked(b: Builder, x: Value, kept: Value, p: float) -> Value:
    """``x`` where kept, divided by 1 − p; see :func:`backlit.ops.dropout.masked`."""
    factor = 0.0 if p == 1.0 else 1.0 / (1.0 - p)
    return b.elementwise("mul", b.elementwise("mul", x, b.cast(kept, x.dtype)), factor)
