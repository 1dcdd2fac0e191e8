"""Where an operation was called: the user's own file and line, kept for every node at the cost of a frame walk."""

from __future__ import annotations

import contextlib
import copy
import linecache
import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import NamedTuple

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep

Mark = tuple[CodeType, int]
"""A place in running code: the code object and the instruction offset, resolved to a line when asked."""


_BETWEEN = (contextlib.__file__, copy.__file__)
"""Files of the standard library that call us back: decorators and deepcopy."""


class _Inside(dict[str, bool]):
    """Whether a file belongs to the library; a plain dict look-up after the first time a file is seen."""

    def __missing__(self, filename: str) -> bool:
        inside = filename in _BETWEEN or filename.startswith((PACKAGE, "<frozen ", "<string>"))
        self[filename] = inside
        return inside


inside = _Inside()


_knowing: CodeType | None = None
_known: Callable[[], Mark | None] = lambda: None  # noqa: E731


def shortcut(code: CodeType, place: Callable[[], Mark | None]) -> None:
    """Let :func:`mark` stop at frames of ``code``: ``place()`` tells what it would find further out.

    Modules nested in modules make call stacks deep, and looking at a frame costs a tenth of a microsecond.
    """
    global _knowing, _known
    _knowing, _known = code, place


def mark() -> Mark | None:
    """The innermost place outside the library in the current call stack; None when the library runs by itself."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code is _knowing:
            return _known()
        if not inside[code.co_filename]:
            return code, frame.f_lasti
        frame = frame.f_back
    return None


class Source(NamedTuple):
    """A resolved place in the user's program: ``file``, ``line``, enclosing ``function``, and the line's ``text``."""

    file: str
    line: int
    function: str
    text: str

    def __str__(self) -> str:
        place = f"{os.path.basename(self.file)}:{self.line}"
        return f"{place}: {self.text}" if self.text else place


def resolve(place: Mark | None) -> Source | None:
    """Turn a mark into file, line, function and the line's text."""
    if place is None:
        return None
    code, offset = place
    line = _line_at(code, offset)
    text = linecache.getline(code.co_filename, line).strip()
    return Source(code.co_filename, line, code.co_qualname, text)


def _line_at(code: CodeType, offset: int) -> int:
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno


def describe(place: Mark | None) -> str:
    """``train.py:12: y = x @ w`` for messages, or a phrase that says the place is not in user code."""
    source = resolve(place)
    return str(source) if source else "inside backlit (no line of your program was on the call stack)"
