"""Hooks on modules: functions called before and after ``forward``, and when gradients pass through a module.

Gradient hooks need to see all gradients that enter or leave a module at once, while a node of the graph has one
output. So a module with gradient hooks puts a *gate* around its inputs and another around its outputs: an anchor node
that takes all tensors, and a tap for each tensor that takes the tensor and the anchor. In the reverse walk the taps
run first and lay their gradients aside; then the anchor runs once, with all of them, and hands on what the hooks say.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from ..graph import mode
from ..ops.definition import Op, apply
from ..tensor import HookHandle, Tensor

_next_key = count().__next__
KINDS = ("forward_pre", "forward", "backward_pre", "backward")


class Hooks:
    """The hooks of one module, by kind, in the order in which they run. Each is ``(function, options)``."""

    __slots__ = KINDS

    forward_pre: dict[int, Any]
    forward: dict[int, Any]
    backward_pre: dict[int, Any]
    backward: dict[int, Any]

    def __init__(self) -> None:
        for kind in KINDS:
            setattr(self, kind, {})

    def add(self, kind: str, hook: Callable[..., Any], prepend: bool, options: dict[str, bool]) -> int:
        """Add a hook and return the key that removes it."""
        hooks: dict[int, Any] = getattr(self, kind)
        key = _next_key()
        entry = {key: (hook, options)}
        setattr(self, kind, {**entry, **hooks} if prepend else {**hooks, **entry})
        return key

    def remove(self, kind: str, key: int) -> None:
        """Take a hook off; doing it twice is harmless."""
        getattr(self, kind).pop(key, None)

    def __bool__(self) -> bool:
        return any(getattr(self, kind) for kind in KINDS)

    def functions(self, kind: str) -> list[Callable[..., Any]]:
        """The hooks of a kind without their options."""
        return [hook for hook, _ in getattr(self, kind).values()]


def call(module: Any, hooks: Hooks, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module.forward`` between its hooks."""
    try:
        args, kwargs = _before(module, hooks, args, kwargs)
        if not (mode.recording and (hooks.backward or hooks.backward_pre)):
            return _after(module, hooks, args, kwargs, module.forward(*args, **kwargs), False)
        passage = _Passage(module, hooks)
        args = passage.enter(args)
        return passage.leave(_after(module, hooks, args, kwargs, module.forward(*args, **kwargs), False))
    except Exception:
        _after(module, hooks, args, kwargs, None, True)
        raise


def _before(module: Any, hooks: Hooks, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    for hook, options in tuple(hooks.forward_pre.values()):
        if options["with_kwargs"]:
            replaced = hook(module, args, kwargs)
            if replaced is not None:
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise TypeError("a forward pre-hook with kwargs must return None or a pair (args, kwargs).")
                args, kwargs = replaced
        else:
            replaced = hook(module, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
    return args, kwargs


def _after(module: Any, hooks: Hooks, args: Any, kwargs: Any, out: Any, failed: bool) -> Any:
    """Run the forward hooks; after an error only those registered with ``always_call``, with None as the output."""
    for hook, options in tuple(hooks.forward.values()):
        if failed and not options["always_call"]:
            continue
        replaced = hook(module, args, kwargs, out) if options["with_kwargs"] else hook(module, args, out)
        if replaced is not None:
            out = replaced
    return out


class _Gate:
    """What an anchor and its taps share: the gradients laid aside so far, and what to do when all are there."""

    def __init__(self, size: int, places: list[int], finish: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> None:
        self.places = places
        self.finish = finish
        self.parts: list[Any] = [None] * size


class Anchor(Op):
    """All tensors that pass a gate. Its output is empty; it exists to be reached once, after all its taps."""

    name = "module_gate"
    formula = "passes gradients through a module's gradient hooks"
    fresh = False

    def forward(*xs, gate):
        return np.zeros((), xs[0].dtype)

    def vjp(ctx, g):
        gate = ctx.params["gate"]
        parts, gate.parts = tuple(gate.parts), [None] * len(gate.parts)
        handed = gate.finish(tuple(_as_tensor(part) for part in parts))
        return [_like(handed[place], g) for place in gate.places]

    def jvp(ctx, tangents):
        return Tensor(np.zeros((), ctx.dtype))


class Tap(Op):
    """One tensor that passes a gate. A copy, so that writing to it in place stays inside the module."""

    name = "module_tap"
    formula = "y = x"
    gate = "passes through the module's gradient hooks"

    def forward(x, anchor, *, gate, place):
        return x.copy()

    def vjp(ctx, g):
        gate, place = ctx.params["gate"], ctx.params["place"]
        gate.parts[place] = g
        zero = np.zeros((), g.dtype)
        return [None, Tensor(zero) if isinstance(g, Tensor) else zero]

    def jvp(ctx, tangents):
        return tangents[0]


def _as_tensor(gradient: Any) -> Any:
    return gradient if gradient is None or isinstance(gradient, Tensor) else Tensor(gradient)


def _like(gradient: Any, like: Any) -> Any:
    """A gradient in the form in which the walk carries them: tensors when it is recorded, arrays otherwise."""
    return gradient if gradient is None or isinstance(like, Tensor) else gradient._data


def _through(values: tuple[Any, ...], finish: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> tuple[Any, ...]:
    """Lead the tensors among ``values`` that require gradients through a gate; the others pass beside it."""
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
    if not places:
        return values
    gate = _Gate(len(values), places, finish)
    anchor = apply(Anchor, tuple(values[i] for i in places), {"gate": gate})
    tapped = list(values)
    for i in places:
        tapped[i] = apply(Tap, (values[i], anchor), {"gate": gate, "place": i})
    return tuple(tapped)


class _Passage:
    """One call of a module with gradient hooks: keeps the gradient at its output until that at its input is known."""

    def __init__(self, module: Any, hooks: Hooks) -> None:
        self.module = module
        self.pre = hooks.functions("backward_pre")
        self.post = hooks.functions("backward")
        self.at_output: Any = None
        self.inputs = 0
        self.gated = False

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.inputs = len(args)
        if not self.post:
            return args
        entered = _through(args, self._inputs_done)
        self.gated = entered is not args
        return entered

    def leave(self, out: Any) -> Any:
        values = tuple(out) if isinstance(out, (tuple, list)) else (out,)
        passed = _through(values, self._outputs_done)
        if passed is values:
            return out
        if not isinstance(out, (tuple, list)):
            return passed[0]
        return type(out)(*passed) if hasattr(out, "_fields") else type(out)(passed)

    def _outputs_done(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.pre:
            gradients = _replaced(hook(self.module, gradients), gradients, "backward pre-hook")
        self.at_output = gradients
        if not self.gated:
            self._inputs_done((None,) * self.inputs)
        return gradients

    def _inputs_done(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.post:
            gradients = _replaced(hook(self.module, gradients, self.at_output), gradients, "backward hook")
        return gradients


def _replaced(returned: Any, before: tuple[Any, ...], kind: str) -> tuple[Any, ...]:
    if returned is None:
        return before
    after = returned if isinstance(returned, (tuple, list)) else (returned,)
    if len(after) != len(before):
        raise RuntimeError(f"a {kind} returned {len(after)} gradients where there are {len(before)}.")
    return tuple(after)


class Hookable:
    """What gives modules their hooks."""

    _hooks: Hooks | None = None

    def _hook(self, kind: str, hook: Callable[..., Any], prepend: bool, **options: bool) -> HookHandle:
        if self._hooks is None:
            self.__dict__["_hooks"] = Hooks()
        hooks = self.__dict__["_hooks"]
        key = hooks.add(kind, hook, prepend, options)

        def remove() -> None:
            hooks.remove(kind, key)
            if not hooks and self._hooks is hooks:
                self.__dict__["_hooks"] = None

        return HookHandle(remove)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args)`` before ``forward``; what it returns, unless None, replaces the arguments.

        With ``with_kwargs`` it is ``hook(module, args, kwargs)``, which may return ``(args, kwargs)``.
        """
        return self._hook("forward_pre", hook, prepend, with_kwargs=with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args, output)`` after ``forward``; what it returns, unless None, replaces the output.

        With ``with_kwargs`` it is ``hook(module, args, kwargs, output)``; with ``always_call`` it also runs, with None
        as the output, when ``forward`` raises.
        """
        return self._hook("forward", hook, prepend, with_kwargs=with_kwargs, always_call=always_call)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(module, grad_input, grad_output)`` once the gradients of the positional inputs are known.

        Both are tuples with None where there is no gradient. A returned tuple replaces ``grad_input``. Inputs and
        outputs that require gradients are copied while a gradient hook is registered.
        """
        return self._hook("backward", hook, prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(module, grad_output)`` when the outputs' gradients are known; a returned tuple replaces them."""
        return self._hook("backward_pre", hook, prepend)
