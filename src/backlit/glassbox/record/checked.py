"""Parsed JSON that is not trusted: every part knows its place, and says so when it is not what it must be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import RecordError

_LONGEST = 60
FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What operations raise when a file gives them values and settings that do not fit together."""


class Part:
    """A value inside a parsed document, with its ``place``, such as ``nodes[3].shape``."""

    __slots__ = ("place", "value")

    def __init__(self, value: Any, place: str) -> None:
        self.value = value
        self.place = place

    def wrong(self, expected: str) -> RecordError:
        """The error for a part that is not what is ``expected`` here."""
        found = repr(self.value)
        found = found if len(found) <= _LONGEST else f"{found[:_LONGEST]}…"
        return RecordError(f"{self.place} must be {expected}, and is {found}")

    def __getitem__(self, key: str) -> Part:
        """A member that must be there."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        if key not in self.value:
            raise RecordError(f"{self.place or 'the document'} has no {key!r}")
        return Part(self.value[key], f"{self.place}.{key}".lstrip("."))

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def __iter__(self) -> Iterator[Part]:
        """The items of a list."""
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        for i, item in enumerate(self.value):
            yield Part(item, f"{self.place}[{i}]")

    @property
    def missing(self) -> bool:
        """Whether it is null."""
        return self.value is None

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            raise self.wrong("a text")
        return self.value

    def text_or_none(self) -> str | None:
        """A string or null."""
        return None if self.missing else self.text()

    def one_of(self, allowed: Sequence[str]) -> str:
        """One of a few strings."""
        if self.value not in allowed or not isinstance(self.value, str):
            raise self.wrong(f"one of {', '.join(allowed)}")
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def whole(self, limit: int | None = None) -> int:
        """A whole number from 0, below ``limit``."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise self.wrong("a whole number from 0 on")
        if limit is not None and self.value >= limit:
            raise self.wrong(f"below {limit}")
        return self.value

    def number(self) -> float:
        """A number; NaN and infinities are the texts ``nan``, ``inf`` and ``-inf``."""
        if self.value in ("nan", "inf", "-inf"):
            return float(self.value)
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self.wrong("a number, or nan, inf or -inf as a text")
        try:
            return float(self.value)
        except OverflowError:
            raise self.wrong("a number that fits into 64 bits") from None


def parse(text: bytes) -> Part:
    """A JSON document in which no name occurs twice in an object, and no NaN stands bare.

    Raises:
        RecordError: it is not such a document, or is nested too deeply.
    """
    try:
        return Part(json.loads(text, object_pairs_hook=_object, parse_constant=_refuse), "")
    except RecursionError:
        raise RecordError("it is nested too deeply") from None
    except ValueError as error:  # also what is no UTF-8, and whole numbers of thousands of digits
        raise RecordError(f"it is not a JSON document ({error})") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} occurs twice in an object")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
