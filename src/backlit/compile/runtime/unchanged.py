"""Whether a call finds everything as the last one did, as one function that is written for a program.

Most calls do, and the step of a small network takes ten microseconds. The comparisons that :mod:`.conditions` and
:mod:`..signature` make in loops take 0.6 of the time where they stand one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...dtypes import get_default_dtype
from ...graph import mode
from ...tensor import Tensor
from ...threads import chosen_threads
from ..signature import Likeness
from ..trace.sharing import Identity
from ..trace.sources import Argument
from .conditions import Conditions

if TYPE_CHECKING:
    from .binding import Binding

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


def written_out(binding: Binding, likeness: Likeness) -> Callable[[Any], bool]:
    """A function of a call's arguments that gives true only where they are like those of ``likeness``, and where all
    conditions hold and references have the arrays that they had at the last call.

    Where it gives false, or does not find an entry (KeyError, IndexError, ValueError), all may still be well.
    """
    named = _Named()
    comparisons = (*_arguments(binding, likeness, named.of), *_surroundings(binding.conditions, named))
    exec(f"def unchanged(arguments):\n return {' and '.join(comparisons)}", named.objects)
    found: Callable[[Any], bool] = named.objects.pop("unchanged")  # or it would hold itself
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
    yield from (_shared(shared, of) for shared in c.shared)


def _shared(shared: Any, of: Callable[[Any], str]) -> str:
    first, second = shared.first, shared.second
    if isinstance(shared, Identity) and isinstance(first, Argument) and isinstance(second, Argument):
        return f"arguments[{first.index}] {'is' if shared.same else 'is not'} arguments[{second.index}]"
    return f"{of(shared)}.holds(arguments)"


__all__ = ["written_out"]
