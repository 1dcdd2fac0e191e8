"""Floating-point behaviour shared by all operations: infinities and NaN flow silently, as in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

_state: Any = None
try:
    # np.errstate costs 1 µs a block, this 0.14 µs; both do the same thing to the same context variable.
    from numpy._core import umath as _umath

    _state = _umath._extobj_contextvar  # type: ignore[attr-defined]
    _ignore_all = _umath._make_extobj(all="ignore")  # type: ignore[attr-defined]
except (ImportError, AttributeError):  # another NumPy: the public way will do
    pass


class _QuietFast:
    """Re-entrant only through separate instances; see :func:`quiet`."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _state.set(_ignore_all)

    def __exit__(self, *exc: object) -> None:
        _state.reset(self._token)


def quiet() -> Any:
    """A context in which NumPy does not warn about NaN, infinity, overflow or division by zero."""
    return np.errstate(all="ignore") if _state is None else _QuietFast()
