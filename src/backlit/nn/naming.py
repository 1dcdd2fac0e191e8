"""Names for people: what the user called a module, and the name that was probably meant."""

from __future__ import annotations

import sys
from inspect import CO_NEWLOCALS, CO_OPTIMIZED
from types import FrameType
from typing import Any

from ..source import inside
from ..spelling import did_you_mean

_FRAMES = 20  # how far out to look for a variable; deeper call stacks fall back to the class name
_FUNCTION = CO_OPTIMIZED | CO_NEWLOCALS


def variable_name(value: object) -> str | None:
    """The name of the variable that holds ``value`` in the innermost user frame that has one, or None.

    Locals come before globals, inner frames before outer ones; ``self.net`` counts as ``net``.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_FRAMES):
        while frame is not None and inside[frame.f_code.co_filename]:
            frame = frame.f_back
        if frame is None:
            return None
        found = _in_frame(frame, value)
        if found is not None:
            return found
        frame = frame.f_back
    return None


def _in_frame(frame: FrameType, value: object) -> str | None:
    names = frame.f_locals
    found = _key_of(names, value)
    if found is None and (owner := names.get("self")) is not None:
        found = _key_of(getattr(owner, "__dict__", {}), value)
    _forget(frame, names)
    return found if found is not None else _key_of(frame.f_globals, value)


def _forget(frame: FrameType, names: Any) -> None:
    """Empty a snapshot of a function's variables, which would keep them alive after the function lets go of them.

    Before Python 3.13 ``f_locals`` of a function is a dict that the frame keeps. It is left alone when the user holds
    it too (``settings = locals()``): then it has more than the frame's, the caller's and the two references here.
    """
    if sys.version_info < (3, 13) and frame.f_code.co_flags & _FUNCTION == _FUNCTION and sys.getrefcount(names) <= 4:
        names.clear()


def _key_of(names: Any, value: object) -> str | None:
    for name, held in list(names.items()):
        if held is value and isinstance(name, str) and _given_by_user(name):
            return name
    return None


def _given_by_user(name: str) -> bool:
    """Not ``self``, and not a name that an interactive shell or a rewriter made up (``_``, ``_12``, ``@x``)."""
    return name.isidentifier() and name != "self" and not name.startswith("__") and name.strip("_0123456789") != ""


class UnknownAttribute(AttributeError):
    """An attribute that an object does not have. The near match is looked for only when the message is read: most of
    these errors answer ``hasattr`` and are never seen."""

    def __init__(self, owner: object, name: str) -> None:
        super().__init__(name=name)
        self._owner, self._wanted = owner, name

    def __str__(self) -> str:
        hint = "" if self._wanted.startswith("_") else did_you_mean(self._wanted, dir(self._owner))
        return f"{type(self._owner).__name__} has no attribute {self._wanted!r}{hint}"

    def __reduce__(self) -> Any:
        return AttributeError, (str(self),)
