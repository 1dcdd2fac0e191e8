"""What is wrong with an expression, and where."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import BacklitError

_WINDOW = 72


class Span(NamedTuple):
    """A part of a text: from character ``start`` up to but not including ``end``."""

    start: int
    end: int


class ExpressionError(BacklitError, ValueError):
    """An expression or a value cannot be read or computed.

    The message is one sentence, then the text with carets under the place: ``message``, ``text`` and ``span`` are kept.
    """

    def __init__(self, message: str, text: str, span: Span) -> None:
        self.message = message
        self.text = text
        self.span = span
        super().__init__(f"{message}\n{caret(text, span)}")


class EvaluationError(ExpressionError):
    """An expression can be read, but not computed at these values: shapes that do not fit, division by zero …"""


def caret(text: str, span: Span) -> str:
    """Two lines: the text, cut to a window where it is long, and carets under the span."""
    start = max(0, min(span.start, len(text)))
    end = max(start + 1, min(span.end, max(len(text), start + 1)))
    left = max(0, start - _WINDOW // 2) if len(text) > _WINDOW else 0
    window = text[left : left + _WINDOW]
    before, after = "…" if left else "", "…" if left + _WINDOW < len(text) else ""
    width = max(1, min(end, left + len(window)) - start)
    return f"  {before}{window}{after}\n  {' ' * (len(before) + start - left)}{'^' * width}"
