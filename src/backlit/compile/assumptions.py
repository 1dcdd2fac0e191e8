"""What a compiled function takes for granted, checked at each call before anything is written."""

from __future__ import annotations

from ..graph import mode
from ..tensor import Tensor


def assume(condition: Tensor) -> None:
    """Compile the function that runs for values where a 0-d boolean tensor is True; for others it runs eagerly.

    Outside a function that is being compiled this does nothing.
    """
    if mode.tracer is not None:
        mode.tracer.assume(condition)
