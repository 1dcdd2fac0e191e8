"""What the C library does with the memory of arrays that are gone.

glibc gives large blocks back to the system when they are freed, and the arrays of the next operation lie on pages that
the kernel has to find and clear: up to a third of the time of an eager step whose activations take a megabyte or more.
"Large" means more than 128 KB at first, and then more than the largest block that was ever freed, up to 32 MB; twice as
much free memory is kept. So one block is taken, none of whose pages is touched, and freed. That is done when an
optimizer is made: step after step will want the same arrays then.

The kernel clears pages of 4 KB one by one, for 1 to 5 us each. NumPy asks it for pages of 2 MB where an array is of 4
MB or more (and `NUMPY_MADVISE_HUGEPAGE` does not forbid it), but most arrays of a step are smaller. So as much memory
as is kept is taken once more in blocks of that size: smaller arrays will lie where NumPy has asked for large pages. The
first step of a small transformer then takes a sixth less. A network that is smaller than such a page would fill none.
"""

from __future__ import annotations

import contextlib

import numpy as np

BLOCK = 31 << 20
"""Bytes: arrays up to here are made of memory that was freed before, of which twice as much is kept. glibc takes the
size of what was freed as its measure up to 32 MB only."""

KEPT = (29 << 20, 29 << 20)
"""Blocks that are kept together when they are freed, and so neither is given back."""

LARGE_PAGE = 2 << 20


def keep_freed_memory(parameters: int) -> None:
    """Let large arrays be made of memory that earlier ones left, and, where the network's ``parameters`` are of so many
    bytes, lie in large pages. With other allocators than glibc's nothing changes."""
    with contextlib.suppress(MemoryError):  # where a process may not even reserve so much, all stays as it is
        np.empty(BLOCK, np.uint8)
        if parameters >= LARGE_PAGE:
            held = [np.empty(size, np.uint8) for size in KEPT]
            held.clear()


__all__ = ["keep_freed_memory"]
