"""One key at a time from the terminal, on POSIX and Windows; where that cannot be had, whole lines."""

from __future__ import annotations

import os
import sys
from typing import Any

_ARROWS = {
    "[C": "right",
    "[D": "left",
    "[A": "up",
    "[B": "down",
    "[H": "home",
    "[F": "end",
    "[1~": "home",
    "[4~": "end",
}
_WINDOWS_ARROWS = {"M": "right", "K": "left", "H": "up", "P": "down", "G": "home", "O": "end"}
END, INTERRUPT = "\x04", "\x03"


def has_keys() -> bool:
    """Whether standard input is a terminal from which single keys can be read."""
    try:
        if not sys.stdin.isatty():
            return False
        _cooked()
    except (ImportError, OSError, ValueError, AttributeError):
        return False
    return True


class Keyboard:
    """Standard input read key by key for the time of a ``with`` block; afterwards it is as it was, whatever happens.

    Keys pressed while something else is done are kept: the terminal stays in this state between two keys.
    """

    def __enter__(self) -> Keyboard:
        self._before = _cooked()
        self._listen()
        return self

    def __exit__(self, *exc: object) -> None:
        self._restore()

    def key(self) -> str:
        """Wait for a key: the character, or ``left``, ``right``, ``home``, ``end`` …

        Raises:
            EOFError: the input has ended.
            KeyboardInterrupt: Ctrl-C.
        """
        key = _windows_key() if os.name == "nt" else _posix_key(sys.stdin.fileno())
        if key == INTERRUPT:
            raise KeyboardInterrupt
        if key in ("", END):
            raise EOFError
        return key

    def line(self, prompt: str) -> str:
        """Ask for a whole line, with echo and the usual editing."""
        self._restore()
        try:
            return input(prompt)
        finally:
            self._listen()

    def _listen(self) -> None:
        if os.name != "nt":
            import termios
            import tty

            tty.setcbreak(sys.stdin.fileno(), termios.TCSANOW)  # not the default, which drops what was typed ahead

    def _restore(self) -> None:
        if os.name != "nt":
            import termios

            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._before)


def _cooked() -> Any:
    """The terminal's settings; None on Windows, where they are left alone."""
    if os.name == "nt":
        return None
    import termios

    return termios.tcgetattr(sys.stdin.fileno())


def _windows_key() -> str:
    import msvcrt

    first: str = msvcrt.getwch()  # type: ignore[attr-defined,unused-ignore]
    if first in ("\x00", "\xe0"):
        return _WINDOWS_ARROWS.get(msvcrt.getwch(), "escape")  # type: ignore[attr-defined,unused-ignore]
    return first


def _posix_key(descriptor: int) -> str:
    first = _character(descriptor)
    return first if first != "\x1b" else _ARROWS.get(_rest(descriptor), "escape")


def _character(descriptor: int) -> str:
    """One character of UTF-8, read past Python's buffer, which would swallow what follows."""
    data = os.read(descriptor, 1)
    while data and len(data) < 4:
        try:
            return data.decode()
        except UnicodeDecodeError:
            data += os.read(descriptor, 1)
    return data.decode(errors="replace")


def _rest(descriptor: int) -> str:
    """What follows an escape within a twentieth of a second: an arrow key sends it at once, a finger does not."""
    import select

    text = ""
    while select.select([descriptor], [], [], 0.05)[0]:
        character = os.read(descriptor, 1).decode(errors="replace")
        text += character
        if not character or (len(text) > 1 and "@" <= character <= "~"):  # the end of the sequence
            break
    return text.replace("O", "[")
