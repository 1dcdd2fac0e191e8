"""A call that finds everything as the last one did, as one function that is written for a program.

Most calls are such, and the step of a small network takes ten microseconds. What :mod:`.conditions` and
:mod:`..signature` compare in loops takes 0.6 of the time where it stands one after the other, and what
:meth:`.binding.Binding.call` does by way of a dozen methods 0.7 of it where a simple program's calls do without them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...dtypes import get_default_dtype
from ...graph import mode
from ...storage import wrote_all
from ...tensor import Tensor
from ...threads import chosen_threads
from ..errors import Misfit, Unforeseen
from ..signature import Likeness
from ..trace.histories import Histories
from ..trace.sharing import Identity
from ..trace.sources import Argument, ByReference, Fixed, Variable
from .conditions import Conditions
from .executable import Executable

if TYPE_CHECKING:
    from .binding import Binding

_TOGETHER = 64
"""Comparisons that are compiled at a time: Python's compiler takes 3 KB for each."""

_KEYS = (int, str, type(None))
_SINGLE = (True, False, None)


class _Named:
    """Objects under names of their own, for source text that speaks of them."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def key(self, x: Any) -> str:
        """What stands for a key: an equal one will do."""
        return repr(x) if type(x) in _KEYS else self.of(x)

    def of(self, x: Any) -> str:
        """What stands for an object."""
        if any(x is single for single in _SINGLE):
            return repr(x)
        name = self._names.setdefault(id(x), f"x{len(self._names)}")
        self.objects[name] = x
        return name


def written_out(binding: Binding, likeness: Likeness, steady: bool) -> Callable[[Any], Any]:
    """A function of a call's arguments that gives what :meth:`.binding.Binding.call` gives where they are like those
    of ``likeness``, all conditions hold and references have the arrays that they had at the last call; else
    ``NotImplemented``, and nothing was done.

    Args:
        binding: the program, which was called just now.
        likeness: what the arguments of that call were like.
        steady: whether variables must hold the tensors that they hold now, too, and these the same arrays.

    Raises:
        Misfit, Unforeseen: as that does.
    """
    named = _Named()
    around = [*_surroundings(binding.conditions, named), *(_variables(binding, named) if steady else ())]
    around += _relations(binding.conditions.shared, steady, named)
    once = list(dict.fromkeys(around))  # a variable may be read, share memory and require gradients
    comparisons = [*_arguments(binding, likeness, named.of), *_in_parts(once, named)]
    simple = _is_simple(binding, steady)
    call = f"return {named.of(binding.call)}(arguments, True, {steady})"
    rest = _whole_call(binding, named.of) if simple else [call]
    lines = [
        "def repeat(arguments):",
        " try:",
        f"  if not ({' and '.join(comparisons)}):",
        "   return NotImplemented",
        f" except {named.of((KeyError, IndexError, ValueError))}:",  # something is missing
        "  return NotImplemented",
        *(f" {line}" for line in rest),
    ]
    return _function(lines, named)


def _in_parts(comparisons: list[str], named: _Named) -> Iterator[str]:
    """Many comparisons as calls of functions that make some of them each."""
    yield from comparisons[:_TOGETHER]
    for begin in range(_TOGETHER, len(comparisons), _TOGETHER):
        some = " and ".join(comparisons[begin : begin + _TOGETHER])
        yield f"{named.of(_function(['def repeat(arguments):', f' return {some}'], named))}(arguments)"


def _function(lines: list[str], named: _Named) -> Callable[[Any], Any]:
    text = "\n".join(lines)
    names = {name: named.objects[name] for name in re.findall(r"\bx\d+\b", text) if name in named.objects}
    exec(text, names)
    found: Callable[[Any], Any] = names.pop("repeat")  # or it would hold itself
    return found


def _arguments(binding: Binding, likeness: Likeness, of: Callable[[Any], str]) -> Iterator[str]:
    places = {index: i for i, index in binding.arguments}
    yield f"len(arguments) == {len(likeness.tensors)} and {of(mode)}.recording is {likeness.recording}"
    for k, (shape, dtype, strides, requires_grad, without) in enumerate(likeness.tensors):
        yield f"(x := arguments[{k}]).__class__ is {of(Tensor)} and x._requires_grad is {requires_grad}"
        if requires_grad:
            yield f"(x._grad is None) is {without}"
        yield f"(a := x._data).shape == {of(shape)}"
        form = f"a.dtype is {of(dtype)} and a.strides == {of(strides)}"
        yield f"(a is {of(binding.held)}[{places[k]}] or {form})" if k in places else form
    yield f"{of(chosen_threads)}() == {likeness.threads} and {of(get_default_dtype)}() is {of(likeness.dtype)}"


def _surroundings(c: Conditions, named: _Named) -> Iterator[str]:
    of = named.of
    yield from (f"len({of(container)}) == {size}" for container, size in c.sizes)
    yield from (f"[*{of(mapping)}] == {of(keys)}" for mapping, keys in c.orders)
    yield from (f"len({of(held[0])}) == {of(held)}[1]" for held in c.lacking)
    yield f"{of(c.changes)}.count == {of(c.changed)}[0]"
    yield from (f"{of(cell)}.cell_contents is {of(held)}" for cell, held in c.cells)
    yield from (f"{of(holder)}[{named.key(key)}] is {of(held)}" for holder, key, held in c.entries)
    yield from (f"{of(x)}._requires_grad is {flag} and not {of(x)}._hooks" for x, flag in c.requiring)
    yield from (f"{of(leaf)}._grad is None" for leaf in c.gradient_free)
    yield from (f"{of(source)}.now(arguments)._grad is None" for source in c.moving_gradient_free)
    yield from (f"{of(x)}._data is {of(c.seen)}[{i}]" for i, x in enumerate(c.references))


def _variables(binding: Binding, named: _Named) -> Iterator[str]:
    """That variables hold what they hold now."""
    of = named.of
    for i, holder, key in binding.variables:
        found, same = _as_now(holder, key, named)
        yield same
        if isinstance(found, Tensor):
            yield f"{of(found)}._data is {of(binding.held)}[{i}]"
            yield f"{of(found)}._requires_grad is {binding.capture.requiring[i]}"


def _as_now(holder: Any, key: Any, named: _Named) -> tuple[Any, str]:
    """What a variable holds, and that it holds that again."""
    try:
        found = holder[key]
    except (KeyError, IndexError, ValueError):  # the function deleted it
        return None, "False"
    return found, f"{named.of(holder)}[{named.key(key)}] is {named.of(found)}"


def _relations(shared: list[Any], steady: bool, named: _Named) -> Iterator[str]:
    """What tensors have to do with each other. Those that are the same as before share memory as before, and have no
    history as before."""
    for relation in shared:
        history = isinstance(relation, Histories)
        sources = relation.moving if history else (relation.first, relation.second)
        known = all(isinstance(source, (Variable, ByReference, Fixed)) for source in sources)
        if not steady or not known or (history and not relation.told_by_nodes):
            yield _relation(relation, named.of)
            continue
        for source in sources:
            yield from _same_tensor(source, named, history)


def _same_tensor(source: Any, named: _Named, leaf: bool) -> Iterator[str]:
    """That a tensor that is known lies where it lies now; or, if it is a ``leaf``, that it still is one."""
    x: Any = None
    if isinstance(source, Variable):
        x, same = _as_now(source.holder, source.key, named)
        yield same
    elif isinstance(source, ByReference):
        x = source.tensor
    if isinstance(x, Tensor):
        name = named.of(x)
        yield f"{name}._node is None and {name}._view is None" if leaf else f"{name}._data is {named.of(x._data)}"


def _relation(shared: Any, of: Callable[[Any], str]) -> str:
    if isinstance(shared, Identity) and isinstance(shared.first, Argument) and isinstance(shared.second, Argument):
        return f"arguments[{shared.first.index}] {'is' if shared.same else 'is not'} arguments[{shared.second.index}]"
    return f"{of(shared)}.holds(arguments)"


def _is_simple(binding: Binding, steady: bool) -> bool:
    """Whether a call gives one small tensor, by one piece of native code on one thread, and what it reads and leaves
    behind are arguments, tensors that are known and optimizers."""
    executable = binding.executable
    return (
        not binding.leaves_a_node
        and type(executable) is Executable
        and binding.single
        and (steady or not binding.variables)
        and not (binding.gradients or binding.streams or binding.left or binding.written_inputs)
        and all(numbers.update.at is None for numbers in binding.numbers)
        and executable.alone is not None
    )


def _whole_call(binding: Binding, of: Callable[[Any], str]) -> Iterator[str]:
    """The lines of :meth:`.binding.Binding.call` for such a program."""
    executable, held, writes = binding.executable, of(binding.held), of(binding.writes)
    for i, index in binding.arguments:
        yield f"a = arguments[{index}]._data"
        yield f"if a is not {held}[{i}]: {of(binding._hold)}({i}, a)"
    yield f"if {writes}.moved and {writes}.collide({held}): raise {of(Unforeseen)}"
    for k, numbers in enumerate(binding.numbers):
        yield from _numbers(f"step{k}", numbers, of)
    assert executable.alone is not None
    function, argument, output = executable.alone
    yield f"if {of(executable)}.arena is not {of(executable.scratch)}.block: {of(executable)}.find_arena()"
    yield f"{of(function)}({of(argument)})"
    yield f"if {of(executable.status)}.value: {of(executable.status)}.value = 0; raise {of(Unforeseen)}"
    for k, numbers in enumerate(binding.numbers):
        yield f"{of(numbers.update.steps)}.fill(step{k}); {of(numbers.update.optimizer)}._stepped = True"
    yield f"for leaf, gradient in {of(binding)}.consumed:"
    yield f" if leaf._grad is not gradient or gradient is None: {of(binding)}.use_up_gradients(); break"
    yield f"{of(wrote_all)}({of(binding.written_storages)}, None)"
    yield f"return {of(Tensor)}({of(output)}.copy())"


def _numbers(step: str, numbers: Any, of: Callable[[Any], str]) -> Iterator[str]:
    """The lines of :meth:`.binding.Numbers.renew`."""
    update = numbers.update
    yield f"steps = {of(update.steps)}.tolist()"
    group = of(update.group)
    unlike = [f"bool({group}[{name!r}]) is not {answer}" for name, answer in update.truths]
    yield f"if {' or '.join(['steps.count(steps[0]) != len(steps)', *unlike])}: raise {of(Misfit)}"
    yield f"{step} = int(steps[0]) + {1 + update.ahead}"
    yield f"numbers = {of(update.optimizer)}.constants({group}, {step})"
    yield f"if numbers != {of(numbers)}.last:"
    yield f" {of(numbers)}.last = numbers"
    yield from (f" {of(held)}[:] = numbers" for held in numbers.kept.values())


__all__ = ["written_out"]
