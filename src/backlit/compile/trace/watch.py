"""While a function is traced: who reads a value, and which tensors are made out of nothing.

A compiled program cannot answer Python: what a traced tensor holds is different each time. Methods of ``Tensor`` that
give values away are therefore exchanged, for the time of the trace, by ones that refuse and name the line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from ...graph import mode
from ...ops.definition import apply
from ...source import describe, inside, mark
from ...tensor import Tensor
from ..errors import TraceError
from .calls import unnoticed_if_librarys

_P = ParamSpec("_P")
_R = TypeVar("_R")

_READS = {
    "item": "item()",
    "tolist": "tolist()",
    "numpy": "numpy()",
    "__bool__": "its truth value (if, while, and, or, not)",
    "__float__": "float()",
    "__int__": "int()",
    "__index__": "its value as an index",
    "__array__": "its values as a NumPy array",
    "__format__": "its value as text",
    "__repr__": "its value as text",
}

_PURE = frozenset({"zeros", "ones", "full", "arange", "linspace", "eye", "zeros_like", "ones_like", "full_like"})
"""Functions of :mod:`backlit.creation` whose results depend on nothing but shapes and numbers."""

_TELLING = {apply.__code__}
"""The code of functions that tell the tracer of each tensor that they make."""

_PLAIN_DATA = frozenset({"tensor", "as_tensor"})

_WITHOUT_VALUES = ("backlit.ops.", "backlit.autograd", "backlit.func")
"""How the names of modules begin (``function`` too) that make constants of nothing but shapes and settings: zeros in
place of a gradient, seeds of Jacobians."""


class _OneAtATime:
    """Methods are exchanged for the whole process, so one thread traces at a time."""

    def __init__(self) -> None:
        self.lock = Lock()


_one_at_a_time = _OneAtATime()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_at_a_time.__init__)  # type: ignore[misc]


@contextmanager
def watching(tracer: Any) -> Iterator[None]:
    """A block in which the tracer sees what is computed, made and read in this thread; threads take turns."""
    with _one_at_a_time.lock:
        yield from _watched(tracer)


def _watched(tracer: Any) -> Iterator[None]:
    originals = {name: Tensor.__dict__[name] for name in (*_READS, "__init__", "grad")}
    outer = mode.tracer, mode.observers, mode.applying
    mode.tracer, mode.observers, mode.applying = tracer, (*mode.observers, tracer), _apply_librarys
    try:
        for name, what in _READS.items():
            setattr(Tensor, name, _guarded(originals[name], what))
        Tensor.__init__ = _noting(originals["__init__"])  # type: ignore[method-assign]
        Tensor.grad = _asking(originals["grad"])  # type: ignore[method-assign, assignment]
        yield
    finally:
        for name, method in originals.items():
            setattr(Tensor, name, method)
        mode.tracer, mode.observers, mode.applying = outer


def _apply_librarys(op: Any, *given: Any) -> Any:
    """Apply an operation; nobody needs to know which functions the library's own operations call."""
    here, mode.applying = mode.applying, None
    try:
        return unnoticed_if_librarys(op, apply, op, *given)
    finally:
        mode.applying = here


def _guarded(method: Any, what: str) -> Any:
    def read(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        tracer = mode.tracer
        if tracer is not None and tracer.error is None and tracer.varies(self):
            tracer.read(
                TraceError(
                    f"compile: {what} of a tensor of shape {self.shape} is asked for at {describe(mark())}. It is "
                    "different at each call, and a compiled function cannot go back to Python for it. Choose between "
                    "values with backlit.where, read the value outside (return it), or run this function eagerly."
                )
            )
        return method(self, *args, **kwargs)

    read.__name__ = method.__name__
    read.__doc__ = method.__doc__
    return read


def _noting(init: Any) -> Any:
    def noted(self: Tensor, data: Any) -> None:
        init(self, data)
        tracer = mode.tracer
        if tracer is not None and tracer.error is None:
            frame = sys._getframe(1)
            tracer.made(self, "an operation" if frame.f_code in _TELLING else _origin(frame))

    return noted


def telling(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """For a function that tells the tracer of each tensor that it makes: nobody asks where those come from."""
    _TELLING.add(function.__code__)
    return function


def _asking(grad: Any) -> Any:
    """The property ``grad``, by which code may find out whether there is one."""

    def asked(self: Tensor) -> Any:
        tracer = mode.tracer
        if tracer is not None and tracer.error is None:
            tracer.asked_for_gradient(self)
        return self._grad

    return property(asked, grad.fset, doc=grad.__doc__)


def _origin(frame: Any) -> str:
    """The library function that made a tensor, where its values may depend on more than numbers and shapes; else ''."""
    code = frame.f_code
    name = code.co_name
    module = frame.f_globals.get("__name__", "")
    if module == "backlit.creation":
        if name in _PURE or (name in _PLAIN_DATA and not hasattr(frame.f_locals.get("data"), "__array__")):
            return ""
        outer = frame.f_back
        if outer is not None and outer.f_globals.get("__name__") == module:
            return _origin(outer)
    if module == "backlit.tensor" and name == "_outside":
        return "detach"
    if (module, name) == ("backlit.autograd", "_seed") or _is_constant_of_the_library(frame):
        return ""
    return _outermost(frame).f_code.co_name if module.startswith("backlit") else f"Tensor() at {describe(mark())}"


def _is_constant_of_the_library(frame: Any) -> bool:
    """Whether an operation or a walk wraps an array of its own; those are made of shapes and settings."""
    if frame.f_code.co_name != "constant" or frame.f_globals.get("__name__") != "backlit.tensor":
        return False
    caller = frame.f_back
    return caller is not None and caller.f_globals.get("__name__", "").startswith(_WITHOUT_VALUES)


def _outermost(frame: Any) -> Any:
    """The library's frame that the user's program called."""
    while frame.f_back is not None and inside[frame.f_back.f_code.co_filename]:
        frame = frame.f_back
    return frame


def given_by_user(array: Any) -> bool:
    """Whether an array that an operation computes with was handed to the library, rather than made by it."""
    frame: Any = sys._getframe(1)
    while frame is not None and not inside[frame.f_code.co_filename]:
        frame = frame.f_back
    if frame is None:
        return False
    outermost = _outermost(frame)
    names = outermost.f_code.co_varnames[: outermost.f_code.co_argcount + outermost.f_code.co_kwonlyargcount + 1]
    return any(_holds(outermost.f_locals.get(name), array) for name in names)


def _holds(value: Any, array: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds(part, array) for part in value)
    return value is array
