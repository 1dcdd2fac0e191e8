"""The members that a module holds itself, as dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .module import Module

KINDS = {"parameter": "_parameter_names", "buffer": "_buffer_names", "module": "_module_names"}
"""The kinds of members, and the module's attribute that holds their names in order."""


class _Changes:
    """How often members were added or removed, in all modules together."""

    count = 0


changes = _Changes()


class Members(MutableMapping[str, Any]):
    """The members of one kind that a module holds itself, by name. Writing here is assigning the attribute."""

    def __init__(self, module: Module, kind: str) -> None:
        self._module, self._kind = module, kind
        self._names: dict[str, Any] = module.__dict__[KINDS[kind]]

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._module.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._module._put(self._kind, name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self._names:
            raise KeyError(name)
        delattr(self._module, name)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))
