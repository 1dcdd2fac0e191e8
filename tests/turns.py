"""What the slow suite does in turns: a part each day, and all of it in the course of so many days.

The day is ``PROGRAM_SEED``, which CI sets to the date; where it is not set, everything is done at once. No month has
fewer than 28 days, so that nothing waits longer than a month.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def _day() -> int | None:
    given = os.environ.get("PROGRAM_SEED")
    return None if given is None else int(given)


def turn(names: Sequence[str], days: int) -> list[str]:
    """The names whose turn it is, each on one of so many days."""
    day = _day()
    return [name for name in names if day is None or (zlib.crc32(name.encode()) + day) % days == 0]


def share(things: Sequence[T], days: int) -> Sequence[T]:
    """Every so many-th of things that are much alike, beginning at another one each day."""
    day = _day()
    return things if day is None else things[day % days :: days]
