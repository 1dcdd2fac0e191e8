"""What the compiler raises."""

from __future__ import annotations

from ..errors import BacklitError


class TraceError(BacklitError):
    """A function cannot be compiled as it is written; the message names the line and the ways out."""
