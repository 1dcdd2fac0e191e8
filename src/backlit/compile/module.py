"""A compiled ``nn.Module`` is still that module: same attributes, parameters, state and modes, in the same memory."""

from __future__ import annotations

from typing import Any

from .function import Compiled


def compiled_module(module: Any, **options: Any) -> Any:
    """A twin of a module that shares everything with it, save that calling it runs native code.

    The twin's class is derived from the module's, and its attributes are the module's own dictionary: what is set on
    one is set on both.
    """
    kind = type(module)
    compiled = Compiled(module, **options)
    body = {"__call__": _call, "__reduce_ex__": _reduce, "__module__": kind.__module__, "__doc__": kind.__doc__}
    twin: Any = object.__new__(type(kind.__name__, (kind,), {**body, "_compiled": property(lambda self: compiled)}))
    object.__setattr__(twin, "__dict__", module.__dict__)
    return twin


def _call(self: Any, *args: Any, **kwargs: Any) -> Any:
    return self._compiled(*args, **kwargs)


def _reduce(self: Any, protocol: Any) -> Any:
    return self._compiled.__reduce__()
