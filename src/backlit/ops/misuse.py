"""Errors about arguments: the operation, the user's line, the problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import OperationError, OutOfRangeError
from ..graph import mode
from ..source import describe, mark
from ..tensor import Tensor


def misuse(name: str, problem: str) -> OperationError:
    """The error for arguments that an operation cannot take."""
    return OperationError(f"{name} at {describe(mark())}: {problem}")


def out_of_range(name: str, problem: str) -> OutOfRangeError:
    """The error for an index or a dimension that does not exist."""
    return OutOfRangeError(f"{name} at {describe(mark())}: {problem}")


def any_wrong(x: Any, wrong: Callable[[Any], Any]) -> bool:
    """Whether a condition, an expression on arrays and tensors, holds for any element: then the operation refuses them.

    A function that is being compiled checks it at each call, and runs eagerly where it holds, which raises.
    """
    if mode.tracer is not None and isinstance(x, Tensor):
        mode.tracer.assume(wrong(x).sum() == 0)
    return bool(np.any(wrong(getattr(x, "_data", x))))
