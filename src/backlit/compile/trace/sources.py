"""Where the inputs of a program are read from when it runs, and what its surroundings must look like for it to hold.

A function uses tensors that it is given as arguments, that its variables name (globals, closure cells, attributes of
the object it is a method of), and that modules and optimizers hold. Variables are read anew at each call; what modules
hold is compared at each call with what it was.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ...source import inside
from ...tensor import Tensor
from ..consumed import Consumed
from .memory import memory_key

Array = np.ndarray


class Source:
    """Base of all sources: ``name`` for people."""

    name: str = ""


class Fixed(Source):
    """An array that is the same at each call and is never written to."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.name = ""


class Argument(Source):
    """The tensor in a place of the flattened arguments."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.name = f"argument{index}"


class ByReference(Source):
    """A tensor object; its memory is looked up at each call. Writes to one that is not ``counted`` are nobody's
    business: an optimizer's state."""

    def __init__(self, tensor: Tensor, name: str = "", counted: bool = True) -> None:
        self.tensor = tensor
        self.counted = counted
        self.name = name


class Variable(Source):
    """A tensor (or array) that a variable names: an entry of a mapping."""

    def __init__(self, holder: Any, key: Any) -> None:
        self.holder = holder
        self.key = key
        self.name = str(key)


class Gradient(Source):
    """What ``tensor.grad`` holds when the function is called."""

    def __init__(self, tensor: Tensor, name: str = "") -> None:
        self.tensor = tensor
        self.name = f"{name}.grad"


class Number(Source):
    """A number that is worked out at each call, such as a learning rate; ``feed`` gives all of its kind."""

    def __init__(self, feed: Any, index: int, name: str = "") -> None:
        self.feed = feed
        self.index = index
        self.name = name


class Cell:
    """A closure cell as a mapping with one entry."""

    __slots__ = ("cell",)

    def __init__(self, cell: Any) -> None:
        self.cell = cell

    def __getitem__(self, key: Any) -> Any:
        return self.cell.cell_contents


class Guard:
    """An entry of a mapping that must hold a certain object (or an equal number or string)."""

    __slots__ = ("expected", "holder", "key")

    def __init__(self, holder: Any, key: Any, expected: Any) -> None:
        self.holder = holder
        self.key = key
        self.expected = expected

    def holds(self) -> bool:
        """Whether the program may be used, as far as this entry is concerned."""
        try:
            found = self.holder[self.key]
        except (KeyError, ValueError):
            return False
        return found is self.expected or (isinstance(found, PLAIN) and _same(found, self.expected))


PLAIN = (bool, int, float, str, bytes, type(None))


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def _global_names(code: CodeType) -> set[str]:
    """The global variables that a function reads, those of functions defined inside it included."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*[_global_names(c) for c in code.co_consts if isinstance(c, CodeType)])


def _own_methods(kind: type) -> Iterator[FunctionType]:
    """The methods of a class that the user's program defines, those of its bases included."""
    for base in kind.__mro__:
        for held in vars(base).values():
            if isinstance(held, FunctionType) and not inside[held.__code__.co_filename]:
                yield held


class Surroundings:
    """What a function can see when it is traced: its arguments and everything its variables lead to."""

    def __init__(self, function: Any, arguments: list[Tensor]) -> None:
        self._sources: dict[int, tuple[Any, Source]] = {}
        self.guards: list[Guard] = []
        self.modules: list[Any] = []
        self.optimizers: list[Any] = []
        self._seen: set[int] = set()
        for i, tensor in enumerate(arguments):
            self._add(tensor, Argument(i))
        self._function(function)

    def find(self, x: Any) -> Source | None:
        """The source of a tensor or array that the function was seen to reach."""
        entry = self._sources.get(id(x))
        return None if entry is None else entry[1]

    def add(self, x: Any, source: Source) -> Source:
        """Take in a tensor that was reached in another way, and its gradient."""
        self._add(x, source)
        return source

    def showing(self, array: Array) -> Tensor | None:
        """The tensor in sight whose memory an array shows as a whole."""
        key = memory_key(array)
        for x, _ in self._sources.values():
            if isinstance(x, Tensor) and memory_key(x._data) == key:
                return x
        return None

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor in sight."""
        for x, _ in self._sources.values():
            if isinstance(x, Tensor):
                yield x

    def watched(self) -> bool:
        """Whether hooks of modules or tensors in sight want to see what passes."""
        return any(module._hooks for module in self.modules) or any(x._hooks for x in self.tensors() if x._node is None)

    def _add(self, x: Any, source: Source) -> None:
        self._sources.setdefault(id(x), (x, source))
        gradient = x._grad if isinstance(x, Tensor) else None
        if gradient is not None and not isinstance(gradient, Consumed):
            self._sources.setdefault(id(gradient), (gradient, Gradient(x, source.name)))

    def _function(self, function: Any) -> None:
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        if isinstance(function, MethodType):
            self._object("self", function.__self__)
            function = function.__func__
        function = getattr(function, "__wrapped__", function)
        if not isinstance(function, FunctionType):
            self._seen.discard(id(function))
            self._object(type(function).__name__, function)
            return
        code = function.__code__
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._entry(Cell(cell), name)
        for name in sorted(_global_names(code)):
            if name in function.__globals__:
                self._entry(function.__globals__, name)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._object("default", value)

    def _entry(self, holder: Any, key: Any) -> None:
        """One variable: its tensors are read at each call, everything else must stay what it is."""
        try:
            held = holder[key]
        except ValueError:  # an empty cell
            return
        if isinstance(held, (Tensor, np.ndarray)):
            self._add(held, Variable(holder, key))
            return
        if isinstance(held, (ModuleType, type)):
            return
        if not (isinstance(held, FunctionType) and inside[held.__code__.co_filename]):
            self.guards.append(Guard(holder, key, held))
        self._object(str(key), held)

    def _object(self, name: str, held: Any) -> None:
        """Anything a variable may hold: modules and optimizers, functions of the program, containers, objects."""
        from ...nn.module import Module
        from ...optim.optimizer import Optimizer

        if isinstance(held, PLAIN) or id(held) in self._seen:
            return
        if isinstance(held, (FunctionType, MethodType)):
            code = getattr(held, "__code__", None)
            if code is None or not inside[code.co_filename]:
                self._function(held)
            return
        if callable(held) and not isinstance(held, Module) and hasattr(held, "__wrapped__"):
            self._function(held)
            return
        self._seen.add(id(held))
        if isinstance(held, (Tensor, np.ndarray)):
            self._add(held, ByReference(held, name) if isinstance(held, Tensor) else Fixed(held))
        elif isinstance(held, Module):
            self._module(name, held)
        elif isinstance(held, Optimizer):
            self.optimizers.append(held)
            for group in held.param_groups:
                for i, p in enumerate(group["params"]):
                    self._add(p, ByReference(p, f"{name}.params.{i}"))
        elif isinstance(held, (list, tuple)):
            for i, part in enumerate(held):
                self._object(f"{name}.{i}", part)
        elif isinstance(held, dict):
            for key in held:
                self._entry(held, key)
        elif hasattr(held, "__dict__") and not callable(held):
            for key in held.__dict__:
                self._entry(held.__dict__, key)

    def _module(self, name: str, module: Any) -> None:
        self.modules.append(module)
        if not module._hooks:
            module.__dict__["_hooks"] = None  # an entry that a hook would change, so that it can be guarded
        for method in _own_methods(type(module)):
            self._function(method)
        for key, held in module.__dict__.items():
            if isinstance(held, Tensor):
                self.guards.append(Guard(module.__dict__, key, held))
                self._add(held, ByReference(held, f"{name}.{key}"))
            elif isinstance(held, PLAIN) and key not in ("_path", "_root_name"):
                self.guards.append(Guard(module.__dict__, key, held))
            elif not key.startswith("_"):
                self.guards.append(Guard(module.__dict__, key, held))
                self._object(f"{name}.{key}", held)
