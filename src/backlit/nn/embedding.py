"""Embedding: a table of vectors, looked up by index."""

from __future__ import annotations

from typing import Any

from ..errors import OperationError, UnsupportedError
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import empty_parameter
from .module import Module
from .parameter import Parameter, overwrite

__all__ = [
    "Embedding",
]


class Embedding(Module):
    """Row ``i`` of a learned table for each index ``i``.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: size of a row.
        padding_idx: a row that starts as zeros and receives no gradient.
        _weight: the table to start from.
        device: only ``"cpu"``.
        dtype: of the table.

    Attributes:
        weight: shape (num_embeddings, embedding_dim), initially standard normal.

    Shape: integers of any shape (...) to (..., embedding_dim).

    Raises:
        UnsupportedError: ``max_norm``, ``scale_grad_by_freq`` or ``sparse``.
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if max_norm is not None or scale_grad_by_freq or sparse:
            raise UnsupportedError(
                "Embedding: max_norm, scale_grad_by_freq and sparse are not supported; leave them out."
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = _row(padding_idx, num_embeddings)
        if _weight is None:
            self.weight = empty_parameter(num_embeddings, embedding_dim, device=device, dtype=dtype)
            self.reset_parameters()
        elif _weight.shape != (num_embeddings, embedding_dim):
            raise OperationError(
                f"Embedding: the given weight has shape {_weight.shape}, not {(num_embeddings, embedding_dim)}."
            )
        else:
            self.weight = Parameter(_weight)
        self.weight.requires_grad = not _freeze

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, **options: Any
    ) -> Embedding:
        """A layer whose table is given, shape (rows, size); not learned while ``freeze``."""
        if embeddings.ndim != 2:
            raise OperationError(f"from_pretrained: the table must be a matrix, got shape {embeddings.shape}.")
        rows, size = embeddings.shape
        return cls(rows, size, padding_idx=padding_idx, _weight=embeddings, _freeze=freeze, **options)

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            values = self.weight._data.copy()
            values[self.padding_idx] = 0.0
            overwrite(self.weight, values)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


def _row(padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise OperationError(f"Embedding: padding_idx {padding_idx} is outside a table of {rows} rows.")
    return padding_idx % rows
