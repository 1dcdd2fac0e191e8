"""The compiler: a function is traced while it runs, becomes a program, and the program native code that is one call.

The floors of this folder: ``ir`` (programs and their plain meaning) and ``codegen`` (LLVM and its kernels), then
``passes`` (programs to programs), ``loops`` (elementwise instructions gathered into loops), ``lower`` (operations to
instructions), ``trace`` (functions to programs), ``assemble`` (programs to code), ``runtime`` (code to calls), and
``function``, the user's door. llvmlite is imported when something is compiled for the first time.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .errors import TraceError
from .function import Compiled, compile

__all__ = ["Compiled", "TraceError", "compile"]


class _Callable(ModuleType):
    """``backlit.compile`` is this package and the function of its name at once."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return compile(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
