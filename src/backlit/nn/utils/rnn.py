"""Sequences of different lengths in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import OperationError
from ...missing import Missing
from ...ops import pad, stack
from ...source import describe, mark
from ...tensor import Tensor

__all__ = ["pad_sequence", "unpad_sequence"]


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences of shapes (Lᵢ, *) as one tensor, filled up to the longest with ``padding_value``.

    Args:
        batch_first: the result has shape (batch, longest, *) instead of (longest, batch, *).
        padding_side: ``"right"`` fills up after the sequences, ``"left"`` before them.

    >>> import backlit as bl
    >>> pad_sequence([bl.tensor([1, 2]), bl.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    sequences = list(sequences)
    if not sequences or len({x.shape[1:] for x in sequences}) > 1:
        shapes = [x.shape for x in sequences]
        raise OperationError(
            f"pad_sequence at {describe(mark())}: needs at least one sequence, all of one shape behind the first "
            f"dimension; got {shapes}."
        )
    if padding_side not in ("left", "right"):
        raise OperationError(
            f"pad_sequence at {describe(mark())}: padding_side={padding_side!r} is neither left nor right."
        )
    longest = max(x.shape[0] for x in sequences)
    rest = (0, 0) * (sequences[0].ndim - 1)
    widths = [(0, longest - x.shape[0]) if padding_side == "right" else (longest - x.shape[0], 0) for x in sequences]
    filled = [pad(x, (*rest, *width), value=padding_value) for x, width in zip(sequences, widths, strict=True)]
    return stack(filled, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch, each cut to its length."""
    batch = padded_sequences if batch_first else padded_sequences.swapaxes(0, 1)
    return [row[: int(n)] for row, n in zip(batch, lengths, strict=True)]


def __getattr__(name: str) -> Any:
    if "pack" in name.lower():
        raise Missing(
            f"nn.utils.rnn.{name}: packed sequences are not supported; keep the batch padded, and mask what lies "
            "behind each sequence's end (its hidden state there does not reach the loss)."
        )
    raise AttributeError(f"module 'backlit.nn.utils.rnn' has no attribute {name!r}")
