"""Python's search for garbage, put off while a function is traced and compiled.

Both make many objects that stay, and each few thousand of them Python looks through all objects of the program for
cycles, which takes as long as the tracing itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_blocks = 0
_was_on = False
_frozen = False  # once seen: counting goes through all that is frozen, 50 ms for some millions of objects


@contextmanager
def no_collection() -> Iterator[None]:
    """A block in which no garbage is looked for, unless somebody says so; what is there at its end counts as old, or
    the search would come right behind it. Blocks may lie inside each other, and in several threads."""
    global _blocks, _was_on, _frozen
    with _lock:
        if not _blocks:
            _was_on = gc.isenabled()
            gc.disable()
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks and _was_on:
                _frozen = _frozen or gc.get_freeze_count() > 0
                if not _frozen:  # what the program has frozen would be thawed with the rest
                    gc.freeze()
                    gc.unfreeze()
                gc.enable()


__all__ = ["no_collection"]
