"""Variables that a function gives another value while it runs: attributes, globals, entries of lists and dictionaries.

They are compared before and after the run that is watched. Each change is carried out again at every call of the
compiled form: with tensors that the program makes, with tensors that were there before, or with plain values. Those may
depend on nothing but what the form was made for, so they are the same each time. What cannot be done again is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...tensor import Tensor
from ..errors import TraceError
from .before import MISSING, WAY_OUT
from .guards import Within, place_of
from .sources import Attributes, Source, Variable


@dataclass
class Assigned:
    """A variable with another value.

    Attributes:
        holder, key: the mapping or list, and the entry in it.
        before: what it held, for :meth:`undo`.
        make: makes the value from a call's tensors.
        where: where the holder is found, if it is another one at each call.
    """

    holder: Any
    key: Any
    before: Any
    make: Any
    where: Source | None

    @property
    def place(self) -> tuple[Any, Any] | None:
        """What tells the variable from others; None for an entry of an argument."""
        if self.where is None:
            return place_of(self.holder, self.key)
        variable = self.where.of if isinstance(self.where, Attributes) else self.where
        if not isinstance(variable, Variable):
            return None
        return place_of(Within(variable.holder, variable.key), self.key)

    def target(self, arguments: Sequence[Tensor]) -> Any:
        """The mapping or list of this call."""
        return self.holder if self.where is None else self.where.now(arguments)

    def put(self, holder: Any, value: Any) -> None:
        """Give the variable another value."""
        if isinstance(self.key, int) and hasattr(holder, "append") and self.key == len(holder):
            holder.append(value)
        else:
            holder[self.key] = value

    def undo(self) -> None:
        """Put back what was there before the function ran."""
        if self.before is MISSING:
            del self.holder[self.key]
        else:
            self.holder[self.key] = self.before

    def release(self) -> None:
        """Keep nothing alive that the call which was watched found."""
        self.before = None
        if self.where is not None:
            self.holder = None


def assigned(tracer: Any, makers: Any) -> list[Assigned]:
    """The changes that a run made; what they are made of is noted by its :class:`~.structure.Makers`.

    Raises:
        TraceError: one of them cannot be made again.
    """
    found = []
    _refuse_written_arrays(tracer)
    changes = list(tracer.surroundings.before.changes())
    for holder, key, before, now in changes:
        if hasattr(holder, "__setitem__"):
            make = makers.maker(now, f"sets {key!r} to")
            found.append(Assigned(holder, key, before, make, tracer.surroundings.exchanged.find(holder)))
        elif not _follows(tracer, holder, key, now, changes):
            raise TraceError(f"compile: the function sets {key!r} of a class, which a compiled one cannot. {WAY_OUT}")
    return found


def _refuse_written_arrays(tracer: Any) -> None:
    """Refuse NumPy arrays that were written to; those that share a tensor's memory change with it."""
    written = tracer.surroundings.before.arrays_written()
    inputs = [(value, tracer.targets[value]) for value in tracer.inputs] if written else []
    for array in written:
        if not any(tracer.memory.get(x) is not value and np.may_share_memory(array, x) for value, x in inputs):
            raise TraceError(
                f"compile: the function writes to a NumPy array of shape {array.shape}, which a compiled one cannot. "
                "Use a tensor in its place, or return the value and write it outside."
            )


def _follows(tracer: Any, holder: Any, key: Any, now: Any, changes: list[Any]) -> bool:
    """Whether a view of a mapping shows another value because the mapping does, which is in sight too.

    Raises:
        TraceError: a view of a mapping that is out of sight.
    """
    if not tracer.surroundings.before.shows_another(holder):
        return False
    if any(k == key and x is now and hasattr(other, "__setitem__") for other, k, _, x in changes):
        return True
    raise TraceError(
        f"compile: {key!r} of a read-only view of a mapping changes inside the function, by something that cannot be "
        f"seen. {WAY_OUT}"
    )


__all__ = ["Assigned", "assigned"]
