"""``backlit.compile``: a function that is traced at its first call and runs as native code from then on."""

from __future__ import annotations

import functools
import os
import warnings
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock, get_ident
from types import MethodType
from typing import TYPE_CHECKING, Any

from ..graph import mode
from ..tensor import Tensor
from .errors import Misfit, TraceError, Unforeseen
from .forms import Forms
from .signature import Arguments, Likeness, signature_of

if TYPE_CHECKING:
    from .runtime.binding import Binding


class Compiled:
    """A function with its compiled forms, one for each combination of shapes, dtypes and settings it was called with.

    Made by :func:`compile`. Calling it is calling the function.
    """

    def __init__(self, function: Callable[..., Any], *, gradients: bool = False, fallback: bool = False) -> None:
        self.function = function
        self.gradients = gradients
        self.fallback = fallback
        self.reason: TraceError | None = None
        """Why the function runs eagerly, where it does."""
        self._forms = Forms(getattr(function, "__qualname__", type(function).__name__))
        self._lock = Lock()
        self._thread: int | None = None
        _ALL.add(self)
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.reason is not None or mode.tracer is not None or mode.observers or mode.walkers:
            return self.function(*args, **kwargs)
        thread = get_ident()
        if self._thread == thread:  # called from inside itself: its memory is in use
            return self.function(*args, **kwargs)
        with self._lock:
            self._thread = thread
            try:
                return self._run(args, kwargs)
            finally:
                self._thread = None

    def native(self, undone: Callable[[], AbstractContextManager[Any]], *args: Any) -> Any:
        """The call by native code, or not at all; where the function has to be traced first, that run is undone.

        Args:
            undone: makes a block at whose end everything that the function changes inside is as it was.
            args: the function's arguments.

        Raises:
            Unforeseen: this call cannot run natively: somebody watches, or the values do not suit the program. Nothing
                was written.
            TraceError: the function cannot be compiled.
        """
        if mode.tracer is not None or mode.observers or mode.walkers or self._thread == get_ident():
            raise Unforeseen
        arguments = args if all(map(_is_tensor, args)) else Arguments(args, {})
        signature = signature_of(args, {}, arguments)
        with self._lock:
            self._thread = get_ident()
            try:
                self._forms.calls += 1
                hidden = -1
                for _ in range(3):
                    for form in self._forms.get(signature, ()):
                        try:
                            form.make(arguments)
                            return form.call(arguments)
                        except Misfit:
                            continue
                    if hidden != len(self._forms.hidden):  # the first time, and where the run showed more to look at
                        hidden = len(self._forms.hidden)
                        with undone():
                            self._trace(signature, args, {}, natively=True)
                raise Unforeseen
            finally:
                self._thread = None

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        forms = self._forms
        forms.calls += 1
        latest = forms.latest
        if latest is not None and not kwargs and latest.likeness is not None:
            try:
                if latest.repeat is not None:
                    result = latest.repeat(args)
                    if result is not NotImplemented:
                        latest.used, forms.vain = forms.calls, 0
                        return result
                if latest.likeness.holds(args):
                    return latest.call(args)
            except Unforeseen:
                return self.function(*args)
            except Misfit:
                latest = None  # another one may do
        return self._search(args, kwargs)

    def _search(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        arguments = args if not kwargs and all(map(_is_tensor, args)) else Arguments(args, kwargs)
        try:
            signature = signature_of(args, kwargs, arguments)
            for form in self._forms.get(signature, ()):
                try:
                    return form.call(arguments)
                except Misfit:
                    continue
        except Unforeseen:
            return self.function(*args, **kwargs)
        except TraceError as error:
            if not self.fallback:
                raise
            self.reason = error
            return self.function(*args, **kwargs)
        return self._trace(signature, args, kwargs)

    # -- the glass box ----------------------------------------------------------------------------------------------

    def explain(self) -> str:
        """The step as it was compiled last, as readable loops, each with the lines of the program it came from.

        Raises:
            TraceError: nothing is compiled yet, or the function runs eagerly.
        """
        from .explain.loops import explained

        binding = self._latest()
        return explained(binding.executable.built, binding.worked_out())

    def plan(self) -> Any:
        """The regions of the step: bytes moved, arithmetic, the least time by the roofline, and the arena's size.

        Returns:
            A :class:`~.explain.plan.Plan`; print it.
        """
        from .explain.plan import planned

        return planned(self._latest().executable.built)

    def profile(self, *args: Any, steps: int = 20, **kwargs: Any) -> Any:
        """Make ``steps`` calls with these arguments, their effects included, and measure each region.

        Returns:
            The :class:`~.explain.plan.Plan` with the median seconds of each region.
        """
        from .explain.profile import profiled

        for _ in range(2):
            self(*args, **kwargs)
        return profiled(self._latest(), Arguments(args, kwargs), steps)

    def _latest(self) -> Binding:
        forms = self._forms.all()
        if not forms:
            raise self.reason or TraceError("compile: call the function first: it is compiled for its arguments.")
        return (self._forms.latest or forms[-1]).binding

    def _trace(self, signature: Any, args: tuple[Any, ...], kwargs: dict[str, Any], natively: bool = False) -> Any:
        from .trace.capture import capture

        likeness = Likeness(args) if signature[0] is None else None
        if self._forms.in_vain(signature):
            self._give_up(quietly=natively)
        if self.reason is not None or not self._forms.make_room(signature):
            if natively:
                raise self.reason or Unforeseen
            return self.function(*args, **kwargs)
        forms = self._forms
        result, seen = capture(
            self.function, args, kwargs, not self.fallback, self.gradients, forms.moving, forms.hidden
        )
        if seen is None:
            return result
        if isinstance(seen, TraceError):
            if natively or not self.fallback:
                raise seen
            self.reason = seen
            return result
        forms.hidden += seen.hidden
        if not seen.hidden:
            forms.add(signature, seen, likeness)
        for change in reversed(seen.outcome.assigned):
            if natively:
                change.undo()
            change.release()
        return result

    def _give_up(self, quietly: bool = False) -> None:
        self.reason = TraceError(
            f"compile: what {self._forms.name} sees around it is different at each call (a counter that it reads, a "
            "list that grows, a list or dictionary that is made anew where a tuple would do), so no compiled form can "
            "be used twice. Pass what changes as an argument."
        )
        self._forms.clear()
        if not quietly:
            warnings.warn(f"{self.reason} It runs eagerly from now on.", stacklevel=6)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: each object has compiled forms of its own, kept among its attributes."""
        if instance is None:
            return self
        held = getattr(instance, "__dict__", None)
        if held is None:
            return functools.partial(self, instance)
        name = f"_compiled_{self.function.__name__}"
        own = held.get(name)
        if own is None or not _is_method(own.function, instance, self.function):
            own = held[name] = Compiled(MethodType(self.function, instance), **self._options)
        return own

    def __reduce__(self) -> Any:
        return _again, (self.function, self._options)

    @property
    def _options(self) -> dict[str, bool]:
        return {"gradients": self.gradients, "fallback": self.fallback}


def _again(function: Any, options: dict[str, bool]) -> Any:
    """What a copy of a compiled function is made by: it is compiled anew."""
    return function if isinstance(function, Compiled) else compile(function, **options)


def _is_method(found: Any, instance: Any, function: Any) -> bool:
    """Whether a callable is this function as a method of this very object: a copy has that of its original."""
    return getattr(found, "__func__", None) is function and getattr(found, "__self__", None) is instance


_ALL: weakref.WeakSet[Compiled] = weakref.WeakSet()


def _after_fork() -> None:
    """In a new process only one thread is left, and what others were calling nobody calls any more."""
    for compiled in list(_ALL):
        compiled._lock = Lock()
        compiled._thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _is_tensor(x: Any) -> bool:
    return x.__class__ is Tensor


def compile(function: Any = None, *, gradients: bool = False, fallback: bool = False) -> Any:
    """Compile a function of tensors, a module, or a whole training step to native code.

    The first call with arguments of certain shapes runs the function as it is and watches; the following ones run one
    native function that does the same: results, updated parameters, optimizer state. Tensors that the function reaches
    through variables, modules and optimizers are read anew at each call.

    Results that require gradients can be differentiated outside: ``model = backlit.compile(model)`` is enough for a
    loop whose loss, ``backward()`` and optimizer stay as they are. Faster still is to compile the whole step. A
    compiled module shares attributes, parameters and modes with the module. While hooks or observers (a record, anomaly
    detection) watch, a compiled function runs as it is written.

    Without llvmlite, or on a machine that it does not know, the function is given back as it is, with one warning.

    Args:
        function: a function, a method or an ``nn.Module``; without it, a decorator is returned.
        gradients: keep the gradients of parameters that an optimizer updates inside in ``.grad``.
        fallback: where the function cannot be compiled, run it eagerly from then on; ``.reason`` says why. Without it
            that raises.

    Returns:
        A :class:`Compiled`; of a module, a module.

    Raises:
        TraceError: at the call, where the function cannot be compiled; the line and the ways out are named.

    >>> import backlit as bl
    >>> @bl.compile
    ... def f(x):
    ...     return (x * x).sum()
    >>> [float(f(bl.tensor([1.0, 2.0]))) for _ in range(3)]
    [5.0, 5.0, 5.0]
    """
    if function is None:
        return functools.partial(compile, gradients=gradients, fallback=fallback)
    if not available():
        _warn_once()
        return function
    from ..nn.module import Module

    if isinstance(function, Module):
        from .module import compiled_module

        return compiled_module(function, gradients=gradients, fallback=fallback)
    return Compiled(function, gradients=gradients, fallback=fallback)


@functools.cache
def available() -> bool:
    """Whether code can be generated here: llvmlite is installed and knows this machine."""
    try:
        from .codegen.target import host_target

        host_target()
    except (ImportError, OSError, RuntimeError):
        return False
    return True


@functools.cache
def _warn_once() -> None:
    warnings.warn("backlit.compile: llvmlite is not available, so everything runs eagerly.", stacklevel=4)


__all__ = ["Compiled", "TraceError", "available", "compile"]
