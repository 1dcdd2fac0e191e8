"""What the compiler raises."""

from __future__ import annotations

from ..errors import BacklitError


class TraceError(BacklitError):
    """A function cannot be compiled as it is written; the message names the line and the ways out."""


class Misfit(Exception):
    """The world is not as it was when the program was made; another program is needed."""


class Unforeseen(Exception):
    """The values are none that the program was made for; nothing was written, and the function must run eagerly."""
