"""Who shares a tensor's memory, who wrote to it last, and whether anybody wrote behind our back.

Every write that goes through Backlit counts up ``version``. A saved value remembers the version it was saved at, so an
overwritten value is noticed when the backward pass comes to use it. Memory that a NumPy array outside can also write
to is *exposed*: its contents are fingerprinted when a value in it is saved and compared when the value is used; a
difference counts as a write. Memory that is never exposed pays nothing for this.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .source import Mark, mark

Array = NDArray[np.generic]


class Storage:
    """One block of memory and the tensors that are views of it.

    ``version`` counts writes; ``history`` counts writes that changed what the contents were computed from, so that
    views know when to look again at their base.
    """

    __slots__ = ("array", "exposed_at", "fingerprint", "history", "version", "writer")

    def __init__(self, array: Array) -> None:
        self.array = array
        self.version = 0
        self.history = 0
        self.writer: Mark | str | None = None
        self.exposed_at: Mark | bool | None = False
        self.fingerprint: int | None = None

    def wrote(self) -> None:
        """Count a write that went through Backlit and remember the user's line."""
        wrote_all((self,), mark())

    def expose(self, place: Mark | None, *, saved: bool) -> None:
        """An outside array now shares this memory. ``saved`` says whether a node may already hold values in it."""
        if self.exposed_at is False:
            self.exposed_at = place
        if saved and self.fingerprint is None:
            self.fingerprint = _fingerprint(self.array)

    def sync(self) -> None:
        """Notice writes by outsiders since the last look, and count them as one."""
        if self.exposed_at is False:
            return
        now = _fingerprint(self.array)
        if self.fingerprint is not None and now != self.fingerprint:
            self.version += 1
            self.writer = "outside"
        self.fingerprint = now


def wrote_all(storages: Iterable[Storage], place: Mark | None) -> None:
    """Count a write to each of several storages, all made from one line, which is looked up only once."""
    for storage in storages:
        storage.version += 1
        storage.writer = place
        storage.fingerprint = None  # taken anew when a value here is next saved; what was saved before is stale anyway


_CHUNK = 1 << 20


def _fingerprint(array: Array) -> int:
    """A 64-bit keyed hash (SipHash) of the bytes, in pieces so that large arrays need no large copy."""
    if array.nbytes <= _CHUNK:
        return hash(array.tobytes())
    rows = array.reshape(-1) if array.flags.c_contiguous else array
    step = max(1, _CHUNK * len(rows) // array.nbytes)
    return hash(tuple(hash(rows[i : i + step].tobytes()) for i in range(0, len(rows), step)))
