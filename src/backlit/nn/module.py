"""Module: a function with parameters, made of other modules.

A module's parameters, buffers and submodules are ordinary attributes, found at the speed of ordinary attributes; the
module keeps, for each of the three kinds, the names in the order in which they were first assigned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .. import dtypes
from ..graph import mode as _mode
from ..journal import changed
from ..source import Mark, describe, mark, shortcut
from ..tensor import Tensor
from . import state as _state
from .conversion import convert, dtype_of
from .hooks import Hookable
from .hooks import call as _call_with_hooks
from .members import KINDS, Members, changes
from .naming import UnknownAttribute, variable_name
from .parameter import Buffer, Parameter
from .representation import module_repr

Self = TypeVar("Self", bound="Module")
_NOT_COPIED = ("_root_name", "_path")  # what a module is called; a copy will be called something else


def _no_forward(self: Module, *args: Any, **kwargs: Any) -> Any:
    """What the module computes. Every module defines its own.

    Raises:
        NotImplementedError: this one does not.
    """
    raise NotImplementedError(f"{type(self).__name__} does not define forward(); say there what it computes.")


class Module(Hookable):
    """Base of all networks and layers.

    Assign parameters and submodules as attributes in ``__init__`` (after ``super().__init__()``), and say in
    ``forward`` what the module computes. Calling the module calls ``forward``, between hooks if there are any.

    >>> import backlit as bl
    >>> class Net(bl.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = bl.nn.Linear(3, 4)
    ...         self.out = bl.nn.Linear(4, 1)
    ...     def forward(self, x):
    ...         return self.out(bl.relu(self.hidden(x)))
    >>> net = Net()
    >>> net(bl.ones(2, 3)).shape
    (2, 1)
    >>> [name for name, _ in net.named_parameters()]
    ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    """

    training: bool = True
    _root_name: str | None = None
    _path: str | None = None

    forward: Callable[..., Any] = _no_forward

    def __init__(self) -> None:
        self.__dict__.update(training=True, _parameter_names={}, _buffer_names={}, _module_names={})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outer = _mode.scope
        if outer is None and self._root_name is None:
            self.__dict__["_root_name"] = variable_name(self) or type(self).__name__
        _mode.scope = (outer, self, mark())
        try:
            if self._hooks is None:
                return self.forward(*args, **kwargs)
            return _call_with_hooks(self, self._hooks, args, kwargs)
        finally:
            _mode.scope = outer

    def scope_name(self, parent: Module | None) -> str:
        """What this module is called inside ``parent``, such as ``layers.0``; without one, the user's variable name.

        A module that ``parent`` uses without holding it goes by the name of its class.
        """
        if parent is None:
            return self._root_name or type(self).__name__
        if self._path is None or _find(parent, self._path) is not self:
            path = next((path for path, held in parent.named_modules() if held is self), None)
            self.__dict__["_path"] = path
        return self._path or type(self).__name__

    # -- attributes ---------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (Parameter, Module, Buffer)):
            kind = "parameter" if isinstance(value, Parameter) else "buffer" if isinstance(value, Buffer) else "module"
            if isinstance(getattr(type(self), name, None), property):
                object.__setattr__(self, name, value)
            else:
                self._put(kind, name, value)
            return
        held = self._kind_of(name)
        if held is None:
            object.__setattr__(self, name, value)
        elif value is None or (held == "buffer" and isinstance(value, Tensor)):
            self.__dict__[name] = value
        else:
            raise TypeError(
                f"{type(self).__name__}.{name} is a {held}; it can become another {held} or None, not a "
                f"{type(value).__name__}. To make it an ordinary attribute, delete it first: del module.{name}"
            )

    def __delattr__(self, name: str) -> None:
        kind = self._kind_of(name)
        if kind is not None:
            del self.__dict__[KINDS[kind]][name]
            changes.count += 1
        object.__delattr__(self, name)

    def __getattr__(self, name: str) -> Any:
        """Only reached for what is missing.

        Raises:
            AttributeError: naming the attribute that was probably meant.
        """
        if name in KINDS.values():
            raise AttributeError(_not_initialised(self, "used"), name=name)
        if isinstance(getattr(type(self), name, None), property):
            return object.__getattribute__(self, name)  # a property failed inside: raise its own error again
        raise UnknownAttribute(self, name)

    def _kind_of(self, name: str) -> str | None:
        attributes = self.__dict__
        if "_module_names" in attributes:
            for kind, names in KINDS.items():
                if name in attributes[names]:
                    return kind
        return None

    def _put(self, kind: str, name: str, value: Any) -> None:
        """Hold ``value`` under ``name`` as a member of ``kind``, whatever was there before."""
        attributes = self.__dict__
        if "_module_names" not in attributes:
            raise AttributeError(_not_initialised(self, f"given the {kind} {name!r}"))
        if name not in attributes[KINDS[kind]]:
            changes.count += 1
        for other, names in KINDS.items():
            if other != kind:
                attributes[names].pop(name, None)
        attributes[KINDS[kind]].setdefault(name, value.persistent if isinstance(value, Buffer) else True)
        attributes[name] = value

    def _check_name(self, kind: str, name: str) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"a {kind}'s name must be a non-empty string without dots, got {name!r}.")
        if self._kind_of(name) != kind and (name in self.__dict__ or hasattr(type(self), name)):
            raise KeyError(f"{type(self).__name__} already has an attribute {name!r}; give the {kind} another name.")

    @property
    def _parameters(self) -> Members:
        return Members(self, "parameter")

    @property
    def _buffers(self) -> Members:
        return Members(self, "buffer")

    @property
    def _modules(self) -> Members:
        return Members(self, "module")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Hold a parameter under a name; None keeps the place without a parameter."""
        self._check_name("parameter", name)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"register_parameter {name!r}: expected a Parameter or None, got {type(param).__name__}.")
        self._put("parameter", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Hold a tensor that is part of the state but is not learned.

        Args:
            name: the attribute's name.
            tensor: the buffer, or None.
            persistent: whether ``state_dict`` contains it.
        """
        self._check_name("buffer", name)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer {name!r}: expected a Tensor or None, got {type(tensor).__name__}.")
        self._put("buffer", name, tensor)
        self.__dict__["_buffer_names"][name] = persistent

    def register_module(self, name: str, module: Module | None) -> None:
        """Hold a submodule under a name."""
        self._check_name("module", name)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module {name!r}: expected a Module or None, got {type(module).__name__}.")
        self._put("module", name, module)

    add_module = register_module

    # -- what is inside -----------------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module (under ``prefix``) and all modules inside it, by path; a shared one once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._held("module"):
            yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all modules inside it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The submodules that this module holds itself, by name; a shared one once."""
        seen: set[Module] = set()
        for name, child in self._held("module"):
            if child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The submodules that this module holds itself."""
        for _, child in self.named_children():
            yield child

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters by path, own ones first; a shared one once."""
        return self._named("parameter", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once: what an optimizer is given."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers by path."""
        return self._named("buffer", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def _held(self, kind: str) -> Iterator[tuple[str, Any]]:
        attributes = self.__dict__
        for name in tuple(getattr(self, KINDS[kind])):
            value = attributes[name]
            if value is not None:
                yield name, value

    def _named(self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        places = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in places:
            for name, value in module._held(kind):
                if remove_duplicate and id(value) in seen:
                    continue
                seen.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path (``"layers.0"``); the empty path is this module.

        Raises:
            AttributeError: there is none; the message names where the path ends.
        """
        module: Module = self
        for name in target.split(".") if target else ():
            found = getattr(module, name)
            if not isinstance(found, Module):
                raise AttributeError(f"{name!r} in {target!r} is a {type(found).__name__}, not a module.")
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path, such as ``"layers.0.weight"``."""
        return self._get("parameter", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path, such as ``"norm.running_mean"``."""
        return self._get("buffer", target)

    def _get(self, kind: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        found = getattr(owner, name)
        if owner._kind_of(name) != kind:
            raise AttributeError(f"{target!r} is a {type(found).__name__}, not a {kind}.")
        return found

    # -- state --------------------------------------------------------------------------------------------------

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by path.

        The tensors share memory with the module's. They are detached unless ``keep_vars``.
        """
        found: dict[str, Any] = {} if destination is None else destination
        for name, parameter in self._held("parameter"):
            found[prefix + name] = parameter if keep_vars else parameter.detach()
        for name, buffer in self._held("buffer"):
            if self.__dict__["_buffer_names"][name]:
                found[prefix + name] = buffer if keep_vars else buffer.detach()
        for name, child in self._held("module"):
            child.state_dict(destination=found, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return found

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> _state.IncompatibleKeys:
        """Copy tensors (or arrays) into the parameters and buffers of the same path.

        Args:
            state_dict: what :meth:`state_dict` of a module of the same structure returned.
            strict: raise unless the keys are exactly this module's.
            assign: make the given tensors the module's own instead of copying.

        Returns:
            ``missing_keys`` and ``unexpected_keys``, both empty when ``strict``.

        Raises:
            OperationError: keys are missing or unexpected, or shapes differ (also when not ``strict``). All of them
                are named, and nothing was loaded.
        """
        return _state.load(self, state_dict, strict, assign)

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in self.__dict__.items() if key not in _NOT_COPIED}
        for names in KINDS.values():
            state[names] = dict(state[names])  # a shallow copy can gain and lose members without touching this module
        return state

    # -- modes and conversions ----------------------------------------------------------------------------------

    def train(self: Self, mode: bool = True) -> Self:
        """Put this module and all inside it in training mode (dropout drops, batch norm uses the batch)."""
        if not isinstance(mode, bool):
            raise ValueError(f"train(mode): expected True or False, got {mode!r}.")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self: Self) -> Self:
        """Put this module and all inside it in evaluation mode."""
        return self.train(False)

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call ``fn`` on every module inside and then on this one, for example to initialise weights."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of every parameter: ``requires_grad_(False)`` freezes the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        changed("zero_grad", self)
        for parameter in self.parameters():
            if set_to_none or parameter._grad is None:
                parameter._grad = None
                if _mode.tracer is not None:
                    _mode.tracer.cleared(parameter)
            else:
                parameter._grad.detach_().zero_()

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Convert floating parameters and buffers to a dtype, in place: the parameter objects stay the same.

        Takes what PyTorch's does: ``to(dtype)``, ``to(device)``, ``to(device, dtype)``, ``to(tensor)``. The only
        device is ``"cpu"``.

        Raises:
            UnsupportedError: another device.
            TypeError: the dtype is not floating.
        """
        dtype = dtype_of(args, kwargs)
        if dtype is None:
            return self
        if dtype.kind != "f":
            raise TypeError(f"Module.to: parameters need a floating dtype, got {dtype.name}.")
        seen: set[int] = set()
        for module in self.modules():
            for kind in ("parameter", "buffer"):
                for _, tensor in module._held(kind):
                    if id(tensor) not in seen:
                        seen.add(id(tensor))
                        convert(tensor, dtype)
        return self

    def float(self: Self) -> Self:
        """Floating parameters and buffers as float32."""
        return self.to(dtypes.float32)

    def double(self: Self) -> Self:
        """Floating parameters and buffers as float64."""
        return self.to(dtypes.float64)

    def half(self: Self) -> Self:
        """Floating parameters and buffers as float16."""
        return self.to(dtypes.float16)

    def cpu(self: Self) -> Self:
        """The module itself: everything is on the CPU."""
        return self

    def cuda(self: Self, device: Any = "cuda") -> Self:
        """Raises: Backlit computes on the CPU."""
        return self.to(f"cuda:{device}" if isinstance(device, int) else device)

    # -- text ---------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The settings to show in the module's representation; for subclasses."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return module_repr(self)


def _place_of_call() -> Mark | None:
    """The user's line that called the running module, as its ``__call__`` found it."""
    return None if _mode.scope is None else _mode.scope[2]


shortcut(Module.__call__.__code__, _place_of_call)


def _find(module: Module, path: str) -> Any:
    """What a module holds at a path, or None; never raises."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found


def _not_initialised(module: Module, verb: str) -> str:
    name = type(module).__name__
    return (
        f"{name} was {verb} at {describe(mark())} before Module.__init__() ran; "
        f"call super().__init__() first in {name}.__init__()."
    )
