"""Per-thread switches: whether operations are recorded, who watches them, and in which module they run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import TYPE_CHECKING, Any

from .source import Mark, mark

if TYPE_CHECKING:
    from .graph import WalkObserver


class Mode(threading.local):
    """Per-thread switches. ``observers`` see every operation as it is applied; ``scope`` is the stack of modules;
    ``stopped`` says which switch turned ``recording`` off, and on which line."""

    recording: bool = True
    stopped: tuple[str, Mark | None] | None = None
    observers: tuple[Any, ...] = ()
    walkers: tuple[WalkObserver, ...] = ()
    scope: tuple[Any, ...] | None = None
    tracer: Any = None
    """What writes down a function that is being compiled; see :mod:`backlit.compile`."""
    applying: Callable[..., Any] | None = None
    """What runs operations then, by applying them once more with this switched off."""


mode = Mode()


class _Switch(ContextDecorator):
    """A grad mode that can be a ``with`` block or a decorator. Nesting and re-entry are safe."""

    recording: bool

    def __init__(self) -> None:
        self._before: list[tuple[bool, tuple[str, Mark | None] | None]] = []

    def _recreate_cm(self) -> _Switch:
        return type(self)()

    def __enter__(self) -> None:
        self._before.append((mode.recording, mode.stopped))
        mode.recording = self.recording
        if not self.recording:
            mode.stopped = type(self).__name__, mark()

    def __exit__(self, *exc: object) -> None:
        mode.recording, mode.stopped = self._before.pop()


class no_grad(_Switch):
    """Record nothing inside: results do not require gradients. A ``with`` block or a decorator.

    >>> import backlit as bl
    >>> x = bl.tensor(2.0, requires_grad=True)
    >>> with bl.no_grad():
    ...     y = x * 3
    >>> y.requires_grad
    False
    """

    recording = False

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        """Allow ``@no_grad`` without parentheses, as PyTorch does."""
        if function is None:
            return super().__new__(cls)
        return cls()(function)


class enable_grad(no_grad):
    """Record inside, also within :class:`no_grad`."""

    recording = True


class set_grad_enabled(_Switch):
    """Turn recording on or off: at once when called, and until the end of the block in a ``with`` statement."""

    def __init__(self, enabled: bool) -> None:
        super().__init__()
        self.recording = bool(enabled)
        self._outside = mode.recording, mode.stopped
        mode.recording = self.recording
        if not self.recording:
            mode.stopped = "set_grad_enabled", mark()

    def _recreate_cm(self) -> set_grad_enabled:
        return set_grad_enabled(self.recording)

    def __enter__(self) -> None:
        self._before.append(self._outside)
        mode.recording = self.recording


class inference_mode(_Switch):
    """As :class:`no_grad`, under PyTorch's other name; ``inference_mode(False)`` changes nothing."""

    def __init__(self, enabled: bool = True) -> None:
        super().__init__()
        self.enabled = enabled

    def _recreate_cm(self) -> inference_mode:
        return inference_mode(self.enabled)

    def __enter__(self) -> None:
        self._before.append((mode.recording, mode.stopped))
        if self.enabled:
            mode.recording = False
            mode.stopped = "inference_mode", mark()


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return mode.recording
