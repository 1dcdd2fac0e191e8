"""Errors about arguments: the operation, the user's line, the problem."""

from __future__ import annotations

from ..errors import OperationError, OutOfRangeError
from ..source import describe, mark


def misuse(name: str, problem: str) -> OperationError:
    """The error for arguments that an operation cannot take."""
    return OperationError(f"{name} at {describe(mark())}: {problem}")


def out_of_range(name: str, problem: str) -> OutOfRangeError:
    """The error for an index or a dimension that does not exist."""
    return OutOfRangeError(f"{name} at {describe(mark())}: {problem}")
