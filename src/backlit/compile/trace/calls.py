"""Which of the program's functions a watched run called that nothing in sight names: found under names that are made
up, in registries, or through the library. What they name is looked at when the function is traced once more."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import CO_NEWLOCALS
from types import CellType, CodeType, FunctionType
from typing import Any, ParamSpec, TypeVar

from ...source import inside
from .libraries import Libraries

Calls = dict[CodeType, dict[str, Any]]
"""Code that ran, with the globals of its function."""

MANY = 16
"""Closures of one piece of code that are looked at."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _AtWork:
    """What writes calls down now, in the one thread that traces."""

    function: Any = None


@contextmanager
def noticing_calls() -> Iterator[Calls]:
    """A block whose calls of Python functions in this thread are written down; none where a profiler is at work."""
    calls: Calls = {}

    def called(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code not in calls:
            calls[frame.f_code] = frame.f_globals

    if sys.getprofile() is not None:
        yield calls
        return
    _AtWork.function = called
    sys.setprofile(called)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        _AtWork.function = None


def unnoticed(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """For functions that call nothing of the program's: their calls are not written down. Noticing one call takes a
    microsecond, and those of the library itself, in a step of a small transformer, a tenth of a trace's time."""

    @wraps(function)
    def quietly(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return _unnoticed_call(function, *args, **kwargs)

    return quietly


def _unnoticed_call(function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    noticing = sys.getprofile()
    if noticing is None or noticing is not _AtWork.function:
        return function(*args, **kwargs)
    sys.setprofile(None)
    try:
        return function(*args, **kwargs)
    finally:
        sys.setprofile(noticing)


def unnoticed_if_librarys(kind: type, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Call a function that calls methods of a class; unnoticed where it is this library's, for those call nothing of
    the program's."""
    if kind.__module__.startswith("backlit."):
        return _unnoticed_call(function, *args, **kwargs)
    return function(*args, **kwargs)


def hidden_functions(calls: Calls, known: set[CodeType], libraries: Libraries) -> list[FunctionType]:
    """The functions of the program among those that were called, without those whose code was looked at."""
    unseen = {}
    for code, names in calls.items():
        name = names.get("__name__")
        if code in known or not code.co_flags & CO_NEWLOCALS or is_librarys(code, name) or libraries.foreign(name):
            continue
        unseen[code] = names
    functions = _functions_of(unseen)
    found = []
    for code, names in unseen.items():
        found += functions[code][:MANY] or [FunctionType(code, names, closure=_no_cells(code))]
    return found


def _functions_of(codes: Iterable[CodeType]) -> dict[CodeType, list[FunctionType]]:
    """The functions with each of these codes, from one look through everything that the garbage collector knows."""
    functions: dict[CodeType, list[FunctionType]] = {code: [] for code in codes}
    for holder in gc.get_referrers(*functions) if functions else ():
        if isinstance(holder, FunctionType) and holder.__code__ in functions:
            functions[holder.__code__].append(holder)
    return functions


def _no_cells(code: CodeType) -> tuple[CellType, ...] | None:
    return tuple(CellType() for _ in code.co_freevars) or None


def is_librarys(code: CodeType, module: Any) -> bool:
    """Whether code is part of this library; what is made of strings belongs to the module that made it, save that
    named tuples are nobody's."""
    if code.co_filename == "<string>":
        return isinstance(module, str) and (module.partition(".")[0] == "backlit" or module.startswith("namedtuple_"))
    return inside[code.co_filename]


__all__ = ["Calls", "hidden_functions", "is_librarys", "noticing_calls", "unnoticed", "unnoticed_if_librarys"]
