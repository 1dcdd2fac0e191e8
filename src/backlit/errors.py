"""The errors users see: each names the operation, the values or shapes, the user's line, and what to do."""

from __future__ import annotations

from typing import Any


class BacklitError(Exception):
    """Base of every error that Backlit raises on purpose."""


class OperationError(BacklitError, RuntimeError, ValueError):
    """An operation was given shapes, dtypes or values that it cannot take."""


class OutOfRangeError(OperationError, IndexError):
    """An index or a dimension that does not exist."""


class GradientError(BacklitError, RuntimeError):
    """The backward pass cannot give a gradient, and a silent one would be wrong."""


class OverwrittenError(GradientError):
    """A value that the backward pass needs was overwritten after it was saved."""


class UnsupportedError(BacklitError, NotImplementedError):
    """A feature of PyTorch's vocabulary that Backlit does not have."""


class CheckpointError(BacklitError, ValueError):
    """A saved file cannot be read, is damaged, or does not fit what it is loaded into; one sentence says which."""


class RecordError(BacklitError, ValueError):
    """A record of a computation does not hold what was asked for, or its file is damaged."""


class NonFiniteError(BacklitError, ArithmeticError):
    """Training met a NaN or an infinity and stopped before it reached the weights."""


class AnomalyError(NonFiniteError, RuntimeError):
    """A NaN or an infinity, traced to the operation that produced it; ``anomaly`` is the report as data."""

    def __init__(self, message: str, anomaly: Any = None) -> None:
        super().__init__(message)
        self.anomaly = anomaly

    def __rich__(self) -> Any:
        """The report, for ``rich.print``."""
        return str(self) if self.anomaly is None else self.anomaly
