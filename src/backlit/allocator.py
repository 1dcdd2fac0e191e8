"""What the C library does with the memory of arrays that are gone.

glibc gives large blocks back to the system when they are freed, and the arrays of the next operation lie on pages that
the kernel has to find and clear: up to a third of the time of an eager step whose activations take a megabyte or more.
"Large" means more than 128 KB at first, and then more than the largest block that was ever freed, up to 32 MB; twice as
much free memory is kept. So one block is taken, none of whose pages is touched, and freed. That is done when an
optimizer is made: step after step will want the same arrays then.
"""

from __future__ import annotations

import numpy as np

BLOCK = 16 << 20
"""Bytes: arrays up to here are made of memory that was freed before, of which twice as much is kept."""


def keep_freed_memory() -> None:
    """Let large arrays be made of memory that earlier ones left. With other allocators than glibc's nothing changes."""
    np.empty(BLOCK, np.uint8)


__all__ = ["keep_freed_memory"]
