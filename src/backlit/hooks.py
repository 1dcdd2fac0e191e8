"""Hooks: functions that see, or change, a gradient on its way; taken off again by a handle."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any

from .graph import Hook


class HookHandle:
    """Removes a hook when called, or through ``.remove()``."""

    def __init__(self, remove: Callable[[], None]) -> None:
        self._remove: Callable[[], None] | None = remove

    def remove(self) -> None:
        """Take the hook off; doing it twice is harmless."""
        if self._remove is not None:
            self._remove()
            self._remove = None

    __call__ = remove

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def on_tensors(hook: Hook, wrap: type) -> Hook:
    """Adapt a hook on tensors (``wrap``) to the walk, which carries plain arrays unless it is being recorded."""

    @wraps(hook)
    def adapted(gradient: Any) -> Any:
        if isinstance(gradient, wrap):
            return hook(gradient)
        replaced = hook(wrap(gradient))
        return replaced._data if isinstance(replaced, wrap) else replaced  # type: ignore[attr-defined]

    return adapted


class Keeper:
    """Writes the upstream gradient of a node into the ``.grad`` of the tensor it made, without keeping it alive."""

    def __init__(self, tensor: Any, wrap: type) -> None:
        self.tensor = weakref.ref(tensor)
        self.wrap = wrap

    def __call__(self, gradient: Any) -> None:
        tensor = self.tensor()
        if tensor is None:
            return
        if not isinstance(gradient, self.wrap):
            gradient = self.wrap(gradient.copy())
        tensor._grad = gradient if tensor._grad is None else tensor._grad + gradient
