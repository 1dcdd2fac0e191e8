"""What a function gives back and what it sets variables to: taken apart when it was traced, made anew at each call.

The parts are tensors. What is one object in eager mode is one object again: a tensor or a list that is given back
twice, a list that a variable also holds, a view and what it is a view of, a gradient and the ``.grad`` of its leaf.
What was in sight before the function ran is given back itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ...graph import no_grad
from ...ops.definition import look
from ...tensor import Tensor
from ..errors import TraceError
from .before import PLAIN
from .memory import memory_key
from .sources import Argument, ByReference, Gradient, Source, Variable

Maker = Callable[[list[Any], dict[Any, Any]], Any]
"""Makes a value from a call's tensors; what was made before in the same call is remembered."""

_CONSTANT = (*PLAIN, complex, np.generic, np.dtype, type, ModuleType, type(Ellipsis))

_TENSORS = (Argument, ByReference, Variable)
"""Sources of tensors that were there before the call."""


class Shown:
    """A view of another part: the region that operations show, or all of it as a constant to the graph."""

    __slots__ = ("base", "chain", "frozen")

    def __init__(self, base: int, chain: Any, frozen: bool) -> None:
        self.base = base
        self.chain = chain
        self.frozen = frozen

    def of(self, parts: list[Any]) -> Tensor:
        """The view, once what it is a view of is there."""
        base = parts[self.base]
        if not self.chain:
            return base.detach()  # type: ignore[no-any-return]
        with no_grad() if self.frozen else nullcontext():
            return look(base, self.chain)  # type: ignore[no-any-return]


Part = int | Source | Shown
"""Where a tensor is found: among those that a call made, where it was before, or in another one's memory."""


class Parts:
    """The tensors in what one run gave and set, each once, and where calls find them."""

    def __init__(self, tracer: Any) -> None:
        self.made: list[Tensor] = []
        """What the program must make."""
        self.places: list[Part] = []
        self.used_gradients: set[int] = set()
        """The ids of leaves whose gradients are among them."""
        self._tracer = tracer
        self._index: dict[int, int] = {}
        self._waiting: list[tuple[int, Tensor]] = []

    def index(self, x: Tensor, where: str, constant: bool) -> int:
        """The number of a tensor; ``where`` says what it is for, in errors, ``constant`` that no gradients may be
        wanted of it.

        Raises:
            TraceError: it is of a kind that only the function can make.
        """
        place = self.place_before(x)
        if place is None and constant and x._requires_grad and (x._node is None or x._node.saved is not None):
            raise TraceError(
                f"compile: the function {where} a tensor of shape {x.shape} that requires gradients. Set it to "
                "x.detach(), or return it."
            )
        known = self._index.get(id(x))
        if known is not None:
            return known
        if place is None and type(x) is not Tensor:
            raise TraceError(f"compile: the function {where} a new {type(x).__name__}. Make it outside.")
        if place is not None:
            return self.add(x, place)
        number = self._index[id(x)] = len(self.places)
        self.places.append(-1)
        self._waiting.append((number, x))
        return number

    def place_before(self, x: Tensor) -> Source | None:
        """Where a tensor is found that was there before the call, or is the gradient of one that was."""
        tracer = self._tracer
        source = tracer.surroundings.find(x)
        if isinstance(source, _TENSORS):
            return source if x._node not in tracer.applications else None
        for leaf in tracer.gradients.values():
            if leaf._grad is x and tracer.outlives(leaf):
                self.used_gradients.add(id(leaf))
                return Gradient(tracer.surroundings.find(leaf) or ByReference(leaf))
        return None

    def add(self, x: Any, source: Source) -> int:
        """The number of something that every call finds at a source."""
        number = self._index.get(id(x))
        if number is None:
            number = self._index[id(x)] = len(self.places)
            self.places.append(source)
        return number

    def settle(self) -> None:
        """Say of each new tensor whether the program makes it or it shows the memory of another part."""
        for number, x in self._waiting:
            shown = self._shown(x)
            if shown is None:
                self.places[number] = len(self.made)
                self.made.append(x)
            else:
                self.places[number] = shown
        self._waiting.clear()

    def in_turn(self) -> list[tuple[int, Shown]]:
        """The views, each after what it is a view of."""

        def depth(place: Part) -> int:
            return 1 + depth(self.places[place.base]) if isinstance(place, Shown) else 0

        views = [(number, place) for number, place in enumerate(self.places) if isinstance(place, Shown)]
        return sorted(views, key=lambda view: depth(view[1]))

    def _shown(self, x: Tensor) -> Shown | None:
        view = x._view
        if view is None:
            base = None if x._requires_grad else self._showing(x)
            return None if base is None else Shown(base, (), True)
        base = self._known(view.base)
        if base is None and not view.base._requires_grad:
            base = self._showing(view.base)
        if base is None or memory_key(look(view.base._data, view.chain)) != memory_key(x._data):
            return None
        return Shown(base, view.chain, not x._requires_grad)

    def _known(self, x: Tensor) -> int | None:
        known = self._index.get(id(x))
        if known is not None:
            return known
        source = self.place_before(x)
        return None if source is None else self.add(x, source)

    def _showing(self, x: Tensor) -> int | None:
        """The part whose memory a tensor without history shows as a whole."""
        key, own = memory_key(x._data), self._index.get(id(x), len(self.places))
        for number, other in self._waiting:
            if other is not x and other._view is None and memory_key(other._data) == key:
                return number if other._requires_grad or number < own else None
        found = self._tracer.surroundings.showing(x._data)
        return None if found is None else self._known(found)


class Makers:
    """How the values of one run are made again, of the same parts."""

    def __init__(self, tracer: Any) -> None:
        self.parts = Parts(tracer)
        self.constant = False
        """Whether tensors that gradients are wanted of are refused."""
        self._surroundings = tracer.surroundings
        self._makers: dict[int, Maker] = {}
        self._kept: list[Any] = []

    def maker(self, x: Any, where: str) -> Maker:
        """What makes a value at each call; ``where`` says what it is for, in errors.

        Raises:
            TraceError: it, or something in it, cannot be made without the function.
        """
        known = self._makers.get(id(x))
        if known is not None:
            return known
        if isinstance(x, Tensor):
            return _part(self.parts.index(x, where, self.constant))
        source = self._surroundings.exchanged.find(x)
        if source is not None:
            return _part(self.parts.add(x, source))
        if self._is_constant(x):
            return lambda parts, memo: x
        number = len(self._kept)
        self._kept.append(x)  # so that its id stays its own

        def made(parts: list[Any], memo: dict[Any, Any]) -> Any:
            return memo[number] if number in memo else new(parts, memo, number)

        self._makers[id(x)] = made  # known from here on: it may contain itself
        new = self._new(x, where)
        return made

    def _is_constant(self, x: Any) -> bool:
        """Whether every call gives the same object, or one that nobody can tell from it."""
        from ..function import Compiled

        if isinstance(x, (*_CONSTANT, Compiled)) or self._surroundings.knew(x):
            return True
        if isinstance(x, (MethodType, BuiltinFunctionType)):
            return x.__self__ is None or self._is_constant(x.__self__)
        if isinstance(x, FunctionType):
            return all(map(self._is_constant, map(_content, x.__closure__ or ())))
        return False

    def _new(self, x: Any, where: str) -> Callable[[list[Any], dict[Any, Any], int], Any]:
        """What makes a container or an object that the function made, and notes it under a number."""
        kind = type(x)
        if kind is dict:
            return _dict({key: self.maker(held, where) for key, held in x.items()})
        if kind is list:
            return _list([self.maker(held, where) for held in x])
        if isinstance(x, tuple) and (kind is tuple or hasattr(x, "_fields")):
            return _tuple(kind, [self.maker(held, where) for held in x])
        return self._object(x, where)

    def _object(self, x: Any, where: str) -> Callable[[list[Any], dict[Any, Any], int], Any]:
        """The same for an object that says how it is copied."""
        function, args, *more = self._copied(x, where)
        state, items, entries, setter = (*more, None, None, None, None)[:4]
        make_args = [self.maker(part, where) for part in args]
        make_state = None if state is None else self.maker(state, where)
        make_items = [self.maker(part, where) for part in items or ()]
        make_entries = [(key, self.maker(part, where)) for key, part in entries or ()]

        def made(parts: list[Any], memo: dict[Any, Any], number: int) -> Any:
            new = memo[number] = function(*[make(parts, memo) for make in make_args])
            if make_state is not None:
                (setter or _set_state)(new, make_state(parts, memo))
            for make in make_items:
                new.append(make(parts, memo))
            for key, make in make_entries:
                new[key] = make(parts, memo)
            return new

        return made

    def _copied(self, x: Any, where: str) -> Any:
        from ...nn.module import Module
        from ...optim.optimizer import Optimizer
        from ...random import Generator

        try:
            found = None if isinstance(x, (FunctionType, Module, Optimizer, Generator)) else x.__reduce_ex__(4)
            if isinstance(found, tuple):
                found[0](*found[1])  # whether that works: some classes ask for arguments that copying does not know
        except Exception:
            found = None
        if not isinstance(found, tuple):
            raise TraceError(
                f"compile: the function {where} an object that it made ({type(x).__name__}), which a compiled one "
                "cannot make. Make it outside, or return tensors, in containers or plain objects."
            )
        return found


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def _part(number: int) -> Maker:
    return lambda parts, memo: parts[number]


def _dict(makers: dict[Any, Maker]) -> Any:
    def made(parts: list[Any], memo: dict[Any, Any], number: int) -> Any:
        new: dict[Any, Any] = {}
        memo[number] = new
        for key, make in makers.items():
            new[key] = make(parts, memo)
        return new

    return made


def _list(makers: list[Maker]) -> Any:
    def made(parts: list[Any], memo: dict[Any, Any], number: int) -> Any:
        new: list[Any] = []
        memo[number] = new
        new.extend([make(parts, memo) for make in makers])
        return new

    return made


def _tuple(kind: type, makers: list[Maker]) -> Any:
    def made(parts: list[Any], memo: dict[Any, Any], number: int) -> Any:
        values = [make(parts, memo) for make in makers]
        memo[number] = new = tuple(values) if kind is tuple else kind(*values)
        return new

    return made


def _set_state(x: Any, state: Any) -> None:
    """What copying does with the state of an object."""
    if hasattr(x, "__setstate__"):
        x.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if attributes:
        x.__dict__.update(attributes)
    for name, held in (slots or {}).items():
        object.__setattr__(x, name, held)


class Outcome:
    """A call's result, and what variables hold after it."""

    def __init__(self, parts: Parts, result: Maker, single: bool, assigned: list[Any]) -> None:
        """``single`` says that the result is one tensor."""
        self.assigned = assigned
        self.single = single and not assigned and parts.places == [0]
        self._result = result
        self._places = [None if isinstance(place, Shown) else place for place in parts.places]
        self._views = parts.in_turn()

    def __call__(self, made: list[Tensor], arguments: Sequence[Tensor]) -> Any:
        """Of the tensors that a call made: its result, once variables hold what they are given."""
        if self.single:
            return made[0]
        parts: list[Any] = [
            made[place] if isinstance(place, int) else place and place.now(arguments) for place in self._places
        ]
        for number, view in self._views:
            parts[number] = view.of(parts)
        memo: dict[Any, Any] = {}
        if self.assigned:
            changes = [(change, change.target(arguments), change.make(parts, memo)) for change in self.assigned]
            result = self._result(parts, memo)
            for change, holder, value in changes:
                change.put(holder, value)
            return result
        return self._result(parts, memo)


__all__ = ["Makers", "Outcome", "Parts"]
