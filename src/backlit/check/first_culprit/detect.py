"""Anomaly detection on demand: ``backlit.autograd.detect_anomaly``."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any

from ...graph import mode
from .culprit import Watch


class detect_anomaly(ContextDecorator):
    """Trace NaN and infinity to the operation that produced them. A ``with`` block or a decorator.

    Inside, ``backward()`` and ``grad()`` raise an :class:`~backlit.errors.AnomalyError` when they start at a value that
    is not finite, or when a gradient rule makes something not finite of a finite upstream gradient. The error names the
    first operation that produced it (not those that passed it on), the offending entries of its operands, your line,
    the module, the cause and a remedy; ``error.anomaly`` holds the same as data. NaN and infinities that never reach
    the loss or a gradient, such as those of attention masks, are no anomalies.

    Run the forward pass inside as well, or the way back cannot be found. The cost is one sum of squares for each array
    made.

    Args:
        check_nan: False watches nothing, as PyTorch's does.

    >>> import backlit as bl
    >>> x = bl.tensor([4.0, 0.0], requires_grad=True)
    >>> with bl.autograd.detect_anomaly():
    ...     try:
    ...         bl.sqrt(x).sum().backward()
    ...     except bl.errors.AnomalyError as error:
    ...         print(error.anomaly.cause, error.anomaly.result.indices)
    infinite slope of sqrt at 0 ((1,),)
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self._watches: list[Watch] = []

    def _recreate_cm(self) -> detect_anomaly:
        return type(self)(self.check_nan)

    def __enter__(self) -> None:
        self._watches.append(Watch())
        if self.check_nan:
            self._watches[-1].begin()

    def __exit__(self, *exc: object) -> None:
        self._watches.pop().end()


class set_detect_anomaly(detect_anomaly):
    """Turn anomaly detection on or off at once, and in a ``with`` statement until the end of the block."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(check_nan)
        self._mode = mode
        self._before = _active()
        _replace(Watch() if mode and check_nan else None)

    def _recreate_cm(self) -> Any:
        return type(self)(self._mode, self.check_nan)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        _replace(self._before)


def is_anomaly_enabled() -> bool:
    """Whether anomaly detection is on in this thread."""
    return _active() is not None


def _active() -> Watch | None:
    return next((observer for observer in reversed(mode.walkers) if isinstance(observer, Watch)), None)


def _replace(watch: Watch | None) -> None:
    """Watch with this and no other."""
    for observer in mode.walkers:
        if isinstance(observer, Watch):
            observer.end()
    if watch is not None:
        watch.begin()
