"""What a function can see when it is traced, and what must still be so for its program to be used.

Tensors that variables name are read anew at each call. What else the function's code can reach — numbers, settings of
modules, entries of lists, hooks — is compared at each call with what it was. Attributes of objects count where the
program's code names them; a counter that nobody in sight looks at may change freely. The code of libraries that do not
use this one is not looked through (:mod:`.libraries`): of them counts what the program itself names.
"""

from __future__ import annotations

import sys
from collections import ChainMap, UserDict
from collections.abc import Container, Iterator, Sequence
from contextvars import ContextVar
from functools import cache, partial
from types import CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import numpy as np

from ...source import Mark, inside
from ...tensor import Tensor
from ..consumed import Consumed
from ..signature import keys_of
from .before import LONG, LONGER, PLAIN, Before, foreign_generator
from .calls import is_librarys
from .exchanged import CONTAINERS, Exchanged, can_be_exchanged, holds_data, is_slot
from .guards import (
    Aspect,
    Cell,
    Contents,
    Context,
    Guard,
    Lacks,
    Missing,
    Names,
    Order,
    Others,
    Size,
    Slots,
    Within,
    form_of,
    kind_of,
    names_in,
    place_of,
)
from .libraries import FIXED, Libraries, own_attributes
from .memory import memory_key
from .names import names_of
from .sources import Argument, ByReference, Fixed, Gradient, Source, Variable

Array = np.ndarray

_KEYED = (dict, UserDict, ChainMap, MappingProxyType)

_OWN_BOOKS = ("_path", "_root_name")
"""Attributes of modules that only say how to name them."""


_CALLED = frozenset({"forward", "backward", "setup_context"})
"""Methods of the program's modules and own nodes that the library calls by these names."""


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of functions defined inside it."""
    yield code
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _codes(part)


class Surroundings:
    """What a function can see when it is traced: its arguments and everything its variables lead to."""

    def __init__(
        self,
        function: Any,
        arguments: list[tuple[str, Any]],
        moving: Container[tuple[Any, Any]] = (),
        given: tuple[Any, Any] = ((), {}),
        hidden: Sequence[Any] = (),
    ) -> None:
        """``arguments`` are the tensors and objects that the function is given, with their names, and ``given`` is what
        they come in; ``hidden`` are functions that it calls and nothing names; ``moving`` are the places of variables
        that it is known to set: what tensors, containers and objects there hold is read anew at each call."""
        self._moving = moving
        self._given = given
        self._hidden = hidden
        self._names: set[str] = set()
        self._asked: set[str] = set()
        self._made_up = False
        self.libraries = Libraries()
        while True:  # attributes are looked at where code names them, and may lead to more code
            before = len(self._names), len(self._asked), self._made_up
            self._look(function, arguments)
            if (len(self._names), len(self._asked), self._made_up) == before:
                break

    def _look(self, function: Any, arguments: list[tuple[str, Any]]) -> None:
        self._sources: dict[int, tuple[Any, Source]] = {}
        self.again: list[tuple[Any, Source]] = []
        """Tensors and arrays that were reached a second time, with the other source."""
        self.guards: list[Guard] = []
        self.before = Before()
        self.kinds: dict[int, Any] = {}
        """What kind of tensor each variable held, by the ids of the sources."""
        self.iterators: list[tuple[str, str, Mark | None]] = []
        """Names and kinds of Python's own iterators in sight, and the functions that use them."""
        self._caching = False
        self.compares = False
        """Whether code asks if two objects are one."""
        self.modules: list[Any] = []
        self.optimizers: list[Any] = []
        self._place: Mark | None = None
        self._seen: set[int] = set()
        self._entered: dict[tuple[int, Any], Any] = {}
        self.exchanged = Exchanged(self.before, self._given)
        self.codes: set[CodeType] = set()
        """Code that was looked at."""
        tensors = [(name, x) for name, x in arguments if isinstance(x, Tensor)]
        for i, (name, tensor) in enumerate(tensors):
            self._add(tensor, Argument(i, name))
        for held in (function, *self._hidden):
            self._function(held)
        for kind in self.exchanged.kinds:
            self._class(kind)
        for name, held in arguments:
            if not isinstance(held, Tensor):
                self._object(name, held)

    def find(self, x: Any) -> Source | None:
        """The source of a tensor or array that the function was seen to reach."""
        entry = self._sources.get(id(x))
        return None if entry is None else entry[1]

    def add(self, x: Any, source: Source) -> Source:
        """Take in a tensor that was reached in another way, and its gradient."""
        self._add(x, source)
        return source

    def knew(self, x: Any) -> bool:
        """Whether an object was in sight before the function ran."""
        return id(x) in self._seen and not isinstance(x, PLAIN)

    def showing(self, array: Array) -> Tensor | None:
        """The tensor in sight whose memory an array shows as a whole."""
        key = memory_key(array)
        for x, _ in self._sources.values():
            if isinstance(x, Tensor) and memory_key(x._data) == key:
                return x
        return None

    def may_hold(self, x: Tensor) -> bool:
        """Whether a tensor that is not in sight comes from something that is: a cache, or a view of it."""
        return self._caching or any(t._view is not None and t._view.base is x for t in self.tensors())

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor in sight."""
        for x, _ in self._sources.values():
            if isinstance(x, Tensor):
                yield x

    def watched(self) -> bool:
        """Whether hooks of modules or tensors in sight want to see what passes."""
        return any(module._hooks for module in self.modules) or any(x._hooks for x in self.tensors() if x._node is None)

    def places(self) -> Iterator[tuple[Any, Source]]:
        """Every tensor and array in sight with its source; one with two sources comes twice."""
        yield from self._sources.values()
        yield from self.again

    def _add(self, x: Any, source: Source) -> None:
        if id(x) not in self._sources:
            if isinstance(x, Tensor):
                self.before.leaf(x)
            else:
                self.before.array(x)
        known = self._sources.setdefault(id(x), (x, source))[1]
        if known is not source and not (isinstance(known, ByReference) and isinstance(source, ByReference)):
            self.again.append((x, source))
        gradient = x._grad if isinstance(x, Tensor) and known is source else None
        if gradient is not None and not isinstance(gradient, Consumed):
            self._add(gradient, Gradient(source))

    # -- code ---------------------------------------------------------------------------------------------------------

    def _function(self, function: Any) -> None:
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        if isinstance(function, MethodType):
            self._object("self", function.__self__)
            function = function.__func__
        self._wrapped(own_attributes(function))
        if not isinstance(function, FunctionType):
            self._seen.discard(id(function))
            self._object(type(function).__name__, function)
            return
        around, self._place = self._place, (function.__code__, 0)
        self._variables(function)
        self._place = around

    def _wrapped(self, attributes: dict[str, Any]) -> None:
        """The attributes of a function, and the function that it wraps."""
        for key in sorted(self._names & attributes.keys() - _of_compiled()):
            self._entry(attributes, key)
        self.before.mapping(attributes, self._names - _of_compiled())
        self._lacks(attributes, self._asked - _of_compiled())
        wrapped = attributes.get("__wrapped__")
        if wrapped is not None:
            self._function(wrapped)

    def _variables(self, function: FunctionType) -> None:
        """What a function's code can name; of a library that does not use us, only what it was given."""
        code = function.__code__
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._entry(Cell(cell), name)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._object("default", value)
        if self.libraries.foreign(function.__globals__.get("__name__")):
            return
        for part in _codes(code):
            self.codes.add(part)
            names = names_of(part)
            self._names |= names.used
            self._asked |= names.asked
            self._made_up |= names.made_up
            self.compares |= names.identity
            for name in part.co_names:
                if name in function.__globals__:
                    self._entry(function.__globals__, name)
            self.before.mapping(function.__globals__, set(part.co_names))

    def _class(self, kind: type) -> None:
        """The program's own classes, as far as its code names them: what their attributes hold, and their methods."""
        for base in kind.__mro__:
            if id(base) in self._seen or sys.modules.get(base.__module__) is None:
                continue
            if self.libraries.foreign(base.__module__):
                continue
            self._seen.add(id(base))
            self._lacks(vars(base), self._names)
            for name, held in list(vars(base).items()):
                special = name.startswith("__") and name != "__init__"
                whole = self._made_up and not special and not callable(held)
                if whole or name in self._names or name in _CALLED or (special and isinstance(held, FunctionType)):
                    if isinstance(held, (staticmethod, classmethod)):
                        held = held.__func__
                    elif isinstance(held, property):
                        held = held.fget
                    if isinstance(held, FunctionType):
                        self._function(held)
                    self._entry(vars(base), name)

    # -- what variables hold ------------------------------------------------------------------------------------------

    def _entry(self, holder: Any, key: Any) -> None:
        """One variable: its tensors are read at each call, everything else must stay what it is."""
        place = place_of(holder, key)
        if place in self._entered:
            return
        self._entered[place] = holder  # kept, so that its id stays its own
        try:
            held = holder[key]
        except (ValueError, KeyError):  # an empty cell or slot
            self.before.nothing(holder, key)
            self.guards.append(Guard(Missing(holder), key, True))
            return
        if not isinstance(holder, Within):
            self.before.entry(holder, key, held)
        if isinstance(held, (Tensor, np.ndarray)):
            variable = Variable(holder, key)
            self.kinds[id(variable)] = kind_of(held)
            self._add(held, variable)
            return
        if isinstance(held, ModuleType):
            if not (isinstance(holder, dict) and "__builtins__" in holder):  # import binds a name once
                self.guards.append(Guard(holder, key, held))
            self._entries_named(held, held.__name__)
            return
        if (place in self._moving or isinstance(holder, Within)) and self._is_exchanged(held):
            self.guards.append(Guard(Aspect(holder, key, form_of), None, form_of(held)))
            contents = self.exchanged.add(held, Variable(holder, key))
            if contents is not held:
                self._class(type(held))
            for part in keys_of(contents):
                self._entry(Within(holder, key), part)
            return
        if isinstance(held, Iterator) and type(held).__module__ in ("builtins", "itertools"):
            if key in self._names or isinstance(holder, Cell):
                self.iterators.append((str(key), type(held).__name__, self._place))
            return
        self.guards.append(Guard(holder, key, held))
        self._object(str(key), held)

    def _is_exchanged(self, held: Any) -> bool:
        """Whether what a variable holds may be another object at each call; not so if it was found elsewhere too."""
        if not can_be_exchanged(held, self.libraries):
            return False
        return isinstance(held, tuple) or (id(held) not in self._seen and self.exchanged.find(held) is None)

    def _entries_named(self, module: ModuleType, name: str) -> None:
        """The entries of a module that the program's code names; of a library that does not use us, only its data."""
        if name.partition(".")[0] in FIXED:
            return
        foreign, entries = self.libraries.foreign(name), module.__dict__
        named = self._names & entries.keys()
        if not foreign:
            self._lacks(entries, self._asked)
            if self._made_up:
                named |= {key for key, held in entries.items() if not (key.startswith("__") or callable(held))}
        for key in sorted(named):
            if not (foreign and callable(entries[key])):
                self._entry(entries, key)

    def _object(self, name: str, held: Any) -> None:
        """Anything a variable may hold: modules and optimizers, functions of the program, containers, objects."""
        from ...nn.module import Module
        from ...optim.optimizer import Optimizer
        from ...random import Generator

        if isinstance(held, PLAIN) or id(held) in self._seen:
            return
        if isinstance(held, (FunctionType, MethodType)):
            function: Any = getattr(held, "__func__", held)
            code = getattr(function, "__code__", None)
            if code is None or not is_librarys(code, function.__globals__.get("__name__")):
                self._function(held)
            return
        if isinstance(held, type):
            self._class(held)
            return
        self._seen.add(id(held))
        if isinstance(held, Generator):  # where its stream is, the program follows
            return
        if isinstance(held, ContextVar):
            self._entry(Context(held), name)
            return
        if foreign_generator(held):
            self.before.generator(held)
        elif isinstance(held, (Tensor, np.ndarray)):
            self._add(held, ByReference(held, name) if isinstance(held, Tensor) else Fixed(held))
        elif isinstance(held, Module):
            self._module(name, held)
        elif isinstance(held, Optimizer):
            self.optimizers.append(held)
            for group in held.param_groups:
                for i, p in enumerate(group["params"]):
                    self._add(p, ByReference(p, f"{name}.params.{i}"))
            self.before.optimizer(held)
        elif isinstance(held, CONTAINERS):
            self._container(name, held)
        elif isinstance(held, partial):
            for part in (held.func, *held.args, *held.keywords.values()):
                self._object(name, part)
        elif "__wrapped__" in (attributes := own_attributes(held)):
            self._caching |= isinstance(held, type(cache(len)))
            self._wrapped(attributes)
        else:
            self._attributes(held, attributes)

    def _container(self, name: str, held: Any) -> None:
        """A tuple holds the same for ever; entries of lists and dictionaries are variables."""
        if not self.libraries.foreign(type(held).__module__):
            self._attributes(held, own_attributes(held))
        if isinstance(held, (tuple, frozenset)):
            for i, part in enumerate(held):
                self._object(f"{name}.{i}", part)
            return
        if isinstance(held, set) or len(held) > LONG:
            self._long(name, held)
            return
        if isinstance(held, MappingProxyType):
            self.before.read_only(held)
        self.before.mapping(held, None)
        self._keys(held, isinstance(held, _KEYED))
        for key in list(held) if isinstance(held, _KEYED) else range(len(held)):
            self._entry(held, key)

    def _keys(self, held: Any, in_order: bool) -> None:
        """A container must have as many entries as it has, and maybe in this order."""
        if in_order and len(held) > 1:
            self.guards.append(Guard(Order(held), None, True))
        else:
            self.guards.append(Guard(Size(held), None, len(held)))

    def _long(self, name: str, held: Any) -> None:
        """A set, or a container that is too long for its entries to be variables: it must stay what it is."""
        self.before.long(held)
        if len(held) > LONGER:
            self.guards.append(Guard(Size(held), None, len(held)))
            return
        self.guards.append(Guard(Contents(held), None, True))
        if type(held).__module__ in FIXED or not self.libraries.foreign(type(held).__module__):
            for part in held.values() if isinstance(held, _KEYED) else held:
                self._object(name, part)

    def _lacks(self, mapping: Any, names: set[str]) -> None:
        """What the code may have found missing must be missing still."""
        missing = frozenset(names - mapping.keys())
        if missing:
            self.guards.append(Guard(Lacks(mapping, missing), None, True))

    def _attributes(self, held: Any, attributes: dict[str, Any]) -> None:
        """The attributes of an object; of one whose class the program wrote, those that its code names."""
        kind = type(held)
        self._class(kind)
        own = not inside[getattr(sys.modules.get(kind.__module__), "__file__", None) or "<string>"]
        ours = self.libraries.programs(kind.__module__)
        whole = not (own or ours) or (self._made_up and (ours or holds_data(kind)))
        for key in [key for key in attributes if whole or key in self._names]:
            self._entry(attributes, key)
        self.before.mapping(attributes, None if whole else self._names)
        slots = {key for base in kind.__mro__ for key in vars(base) if is_slot(base, key)} if own or ours else set()
        for key in sorted(slots if whole else self._names & slots):
            self._entry(Slots(held), key)
        if whole and (own or ours):
            self.guards.append(Guard(Size(attributes), None, len(attributes)))
        else:
            self._lacks(attributes, (self._names if ours else self._asked) - slots)

    def _module(self, name: str, module: Any) -> None:
        from ...nn.members import KINDS, changes

        self.modules.append(module)
        if not module._hooks:
            module.__dict__["_hooks"] = None  # an entry that a hook would change, so that it can be guarded
        self._class(type(module))
        self.before.mapping(module.__dict__, None if self._made_up else self._names, _librarys())
        ours = not self.libraries.foreign(type(module).__module__)
        self._lacks(module.__dict__, (self._names if ours else self._asked) - _librarys())
        if ours and self._made_up:
            self.guards.append(Guard(Others(module.__dict__, _librarys()), None, True))
        for key, held in module.__dict__.items():
            is_own = isinstance(held, Tensor) or key not in _librarys()
            if is_own and place_of(module.__dict__, key) in self._moving:
                self._entry(module.__dict__, key)
                continue
            if key not in _librarys():
                self.before.entry(module.__dict__, key, held)
            if isinstance(held, Tensor):
                self.guards.append(Guard(module.__dict__, key, held))
                self._add(held, ByReference(held, f"{name}.{key}"))
            elif isinstance(held, PLAIN) and key not in _OWN_BOOKS:
                self.guards.append(Guard(module.__dict__, key, held))
            elif key not in _librarys():
                self.guards.append(Guard(module.__dict__, key, held))
                self._object(f"{name}.{key}", held)
            elif key in KINDS.values():
                self.guards.append(Guard(Names(held, changes), None, names_in(held)))


@cache
def _librarys() -> frozenset[str]:
    """The attributes that the library itself gives every module."""
    from ...nn.module import Module

    return frozenset({*vars(Module()), *_OWN_BOOKS} - {"training"})


@cache
def _of_compiled() -> frozenset[str]:
    """The attributes of a compiled function that are its own."""
    from ..function import Compiled

    return frozenset(vars(Compiled(_of_compiled)))


__all__ = ["Surroundings"]
