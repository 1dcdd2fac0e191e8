"""Containers and objects in whose place each call finds another one: state that is made anew, and arguments."""

from __future__ import annotations

from argparse import Namespace
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Iterator
from functools import partial
from types import FunctionType, MappingProxyType, MemberDescriptorType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from ...tensor import Tensor
from ..signature import contents_of, keys_of
from .before import Before
from .libraries import Libraries, own_attributes
from .sources import Attributes, Given, Source, Variable

CONTAINERS = (list, tuple, dict, set, frozenset, deque, UserDict, UserList, ChainMap, MappingProxyType)

SHORT = 64
"""Larger containers and objects must be the same ones at each call."""

_OTHERS = (*CONTAINERS, Tensor, np.ndarray, type, FunctionType, MethodType, ModuleType, partial, Iterator)


class Exchanged:
    """Those that were found, with where calls find what stands in their places."""

    def __init__(self, before: Before, given: tuple[Any, Any]) -> None:
        """``before`` compares what is in them; ``given`` are a call's arguments."""
        self._before = before
        self.kinds: set[type] = set()
        """The types of containers and dataclasses among the arguments."""
        self._sources: dict[int, tuple[Any, Source]] = {}
        self._take_arguments(given, ())

    def find(self, x: Any) -> Source | None:
        """Where calls find what stands in the place of a container or object, or of an object's attributes."""
        entry = self._sources.get(id(x))
        return None if entry is None else entry[1]

    def places(self) -> list[tuple[Any, Any]]:
        """The variables that hold lists, dictionaries and objects."""
        found = [(held, source) for held, source in self._sources.values() if isinstance(source, Variable)]
        return [(source.holder, source.key) for held, source in found if not isinstance(held, tuple)]

    def add(self, held: Any, source: Source) -> Any:
        """Take in what is found at a source; what is in it: itself, or an object's attributes."""
        contents = held
        self._sources[id(held)] = held, source
        if not isinstance(held, (tuple, list, dict)):
            contents = own_attributes(held)
            self._sources[id(contents)] = contents, Attributes(source)
        if not isinstance(contents, tuple):
            self._before.mapping(contents, None)
            for key in keys_of(contents):
                self._before.entry(contents, key, contents[key])
        return contents

    def _take_arguments(self, held: Any, path: tuple[Any, ...]) -> None:
        contents = contents_of(held)
        if contents is None:
            return
        if path and id(held) not in self._sources:
            self.add(held, Given(path))
            self.kinds.add(type(held))
        for key in keys_of(contents):
            self._take_arguments(contents[key], (*path, key))


def can_be_exchanged(held: Any, libraries: Libraries) -> bool:
    """Whether a variable may hold another such object at each call, which is then taken for what it holds: containers,
    and objects of the program's own classes."""
    if isinstance(held, tuple):
        return True
    if type(held) in (list, dict):
        return len(held) <= SHORT
    kind = type(held)
    if isinstance(held, _OTHERS) or not (holds_data(kind) or libraries.programs(kind.__module__)):
        return False
    return len(own_attributes(held)) <= SHORT and not any(map(_has_slots, kind.__mro__))


def holds_data(kind: type) -> bool:
    """Whether objects of a class of Python's are nothing but their attributes."""
    return kind in (SimpleNamespace, Namespace)


def is_slot(kind: type, key: str) -> bool:
    """Whether an attribute of a class stands for one that objects keep without a dictionary."""
    return isinstance(vars(kind)[key], MemberDescriptorType)


def _has_slots(kind: type) -> bool:
    return any(is_slot(kind, key) for key in vars(kind))


__all__ = ["CONTAINERS", "Exchanged", "can_be_exchanged", "holds_data", "is_slot"]
