"""Memory between inputs and outputs, shared by programs that never run at the same time."""

from __future__ import annotations

import numpy as np

from ...memory import LINE, address

Array = np.ndarray


def aligned(size: int) -> Array:
    """``size`` bytes that begin at a multiple of a cache line, with as much free room again before and behind."""
    block = np.empty(size + 3 * LINE, np.uint8)
    start = LINE + -address(block) % LINE
    return block[start : start + size]


class Scratch:
    """One block of memory that is as large as the largest arena asked for."""

    def __init__(self) -> None:
        self.block = aligned(0)

    def reserve(self, size: int) -> None:
        """Let there be at least so many bytes.

        Raises:
            MemoryError: there are not. What there was stays.
        """
        if self.block.size < size:
            try:
                self.block = aligned(size)
            except MemoryError as error:
                raise MemoryError(
                    f"compile: the step needs {size:,} bytes of memory to compute in, and the system has not so many "
                    "left. Nothing was written. Use smaller batches, or run the function eagerly."
                ) from error
