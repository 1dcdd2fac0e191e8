"""Modules that hold modules, and parameters, in order or by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import index as as_index
from typing import Any

from ..tensor import Tensor
from .module import Module
from .parameter import Parameter
from .representation import enclosed, list_repr

__all__ = [
    "ModuleDict",
    "ModuleList",
    "ParameterDict",
    "ParameterList",
    "Sequential",
]


class _Numbered(Module):
    """Members under the names "0", "1", …: what Sequential and the two lists have in common."""

    _kind = "module"

    def _names(self) -> list[str]:
        return list(self.__dict__[f"_{self._kind}_names"])

    def _name_at(self, index: Any) -> str:
        names = self._names()
        try:
            return names[as_index(index)]
        except IndexError:
            raise IndexError(
                f"index {index} is out of range: {type(self).__name__} holds {len(names)} {self._kind}s."
            ) from None

    def __len__(self) -> int:
        return len(self.__dict__[f"_{self._kind}_names"])

    def __iter__(self) -> Iterator[Any]:
        attributes = self.__dict__
        return iter([attributes[name] for name in self._names()])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(*self._as_arguments([self.__dict__[name] for name in self._names()[index]]))
        return self.__dict__[self._name_at(index)]

    def __setitem__(self, index: Any, value: Any) -> None:
        setattr(self, self._name_at(index), self._member(value))

    def __delitem__(self, index: Any) -> None:
        names = self._names()
        gone = set(names[index]) if isinstance(index, slice) else {self._name_at(index)}
        self._renumber([self.__dict__[name] for name in names if name not in gone])

    def __contains__(self, value: Any) -> bool:
        return any(member is value for member in self)

    def _as_arguments(self, members: list[Any]) -> tuple[Any, ...]:
        return (members,)

    def _member(self, value: Any) -> Any:
        """``value`` as something this container holds."""
        if not isinstance(value, Module):
            raise TypeError(
                f"{type(self).__name__} holds modules, got {type(value).__name__}"
                + ("; pass an instance, not the class." if isinstance(value, type) else ".")
            )
        return value

    def _renumber(self, members: Iterable[Any]) -> None:
        members = [self._member(member) for member in members]
        for name in self._names():
            delattr(self, name)
        for i, member in enumerate(members):
            self._put(self._kind, str(i), member)

    def append(self, value: Any) -> Any:
        """Add at the end; returns the container."""
        self._put(self._kind, str(len(self)), self._member(value))
        return self

    def extend(self, values: Iterable[Any]) -> Any:
        """Add several at the end; returns the container."""
        for value in list(values):
            self.append(value)
        return self

    def insert(self, index: int, value: Any) -> Any:
        """Add before ``index``; returns the container."""
        members = list(self)
        members.insert(index, value)
        self._renumber(members)
        return self

    def pop(self, index: int = -1) -> Any:
        """Take out and return the member at ``index``."""
        member = self[index]
        del self[index]
        return member

    def __iadd__(self, values: Iterable[Any]) -> Any:
        return self.extend(values)

    def __add__(self, other: Iterable[Any]) -> Any:
        if not isinstance(other, (list, tuple, _Numbered)):
            return NotImplemented
        return type(self)(*self._as_arguments([*self, *other]))


class Sequential(_Numbered):
    """Modules called one after another, each on what the one before returned.

    Takes modules, or one ordered dictionary of them. Slices are again Sequential and share the modules.

    >>> import backlit as bl
    >>> from backlit import nn
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> net[:2]
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.add_module(name, self._member(module))
        else:
            for i, module in enumerate(args):
                self._put("module", str(i), self._member(module))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)({name: self.__dict__[name] for name in self._names()[index]})
        return super().__getitem__(index)

    def _as_arguments(self, members: list[Any]) -> tuple[Any, ...]:
        return tuple(members)

    def forward(self, input: Any) -> Any:
        attributes = self.__dict__
        for name in attributes["_module_names"]:
            input = attributes[name](input)
        return input


class ModuleList(_Numbered):
    """A list of modules. Unlike a plain list, it makes their parameters part of the module that holds it."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def __repr__(self) -> str:
        return list_repr(self)


class ParameterList(_Numbered):
    """A list of parameters; tensors put into it become parameters."""

    _kind = "parameter"

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(() if values is None else values)

    def _member(self, value: Any) -> Any:
        return _as_parameter(self, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a ParameterList cannot be called; it only holds parameters.")

    def __repr__(self) -> str:
        return _parameters_repr(self)


class _Named(Module):
    """Members by name, with the methods of a dictionary: what ModuleDict and ParameterDict have in common."""

    _kind = "module"

    def _member(self, value: Any) -> Any:
        if value is not None and not isinstance(value, Module):
            raise TypeError(f"{type(self).__name__} holds modules, got {type(value).__name__}.")
        return value

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        return self.__dict__[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._check_name(self._kind, key)
        self._put(self._kind, key, self._member(value))

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        delattr(self, key)

    def __len__(self) -> int:
        return len(self.__dict__[f"_{self._kind}_names"])

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self.__dict__[f"_{self._kind}_names"]))

    def __contains__(self, key: object) -> bool:
        return key in self.__dict__[f"_{self._kind}_names"]

    def keys(self) -> Iterable[str]:
        """The names."""
        return list(self)

    def values(self) -> Iterable[Any]:
        """What is held."""
        return [self.__dict__[key] for key in self]

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of name and what is held under it."""
        return [(key, self.__dict__[key]) for key in self]

    def update(self, members: Any) -> None:
        """Add members from a dictionary or from pairs; the same name replaces."""
        for key, value in members.items() if hasattr(members, "items") else members:
            self[key] = value

    def pop(self, key: str) -> Any:
        """Take out and return the member of this name."""
        member = self[key]
        del self[key]
        return member

    def clear(self) -> None:
        """Take everything out."""
        for key in self:
            del self[key]


class ModuleDict(_Named):
    """Modules by name; their parameters become part of the module that holds the dictionary."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        self.update({} if modules is None else modules)


class ParameterDict(_Named):
    """Parameters by name; tensors put into it become parameters."""

    _kind = "parameter"

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self.update({} if parameters is None else parameters)

    def _member(self, value: Any) -> Any:
        return None if value is None else _as_parameter(self, value)

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of this name, or ``default``."""
        return self.__dict__[key] if key in self else default

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a ParameterDict cannot be called; it only holds parameters.")

    def __repr__(self) -> str:
        return _parameters_repr(self)


def _as_parameter(container: Module, value: Any) -> Parameter:
    if isinstance(value, Parameter):
        return value
    if isinstance(value, Tensor):
        return Parameter(value)
    raise TypeError(f"{type(container).__name__} holds parameters and tensors, got {type(value).__name__}.")


def _parameters_repr(module: Module) -> str:
    lines = [
        f"({name}): Parameter of shape {value.shape}, {value.dtype.name}" for name, value in module._held("parameter")
    ]
    return enclosed(module._get_name(), [], lines)
