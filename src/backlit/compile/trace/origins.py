"""Where a tensor or an array is to be read from that an operation uses and that was never seen before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...source import describe, mark
from ...tensor import Tensor
from ..errors import TraceError
from .sources import ByReference, Fixed, Source
from .watch import given_by_user

if TYPE_CHECKING:
    from .tracer import Tracer


def source_of(tracer: Tracer, x: Any) -> Source:
    """Where an array that was never seen before is to be read from when the program runs.

    Raises:
        TraceError: nobody can tell: it may be another one at each call.
    """
    known = tracer.surroundings.find(x)
    if known is None and isinstance(x, Tensor) and not tracer.was_made_inside(x) and not tracer.in_rule:
        known = _in_sight(tracer, x)
    if known is not None:
        if isinstance(x, Tensor):
            tracer.watch_version(x)
        return known
    if tracer.in_rule:
        return Fixed(np.array(x._data if isinstance(x, Tensor) else x))
    if tracer.drawn:
        raise tracer.randomness()
    return _of_new(tracer, x) if isinstance(x, Tensor) else _of_array(x)


def _in_sight(tracer: Tracer, x: Tensor) -> Source:
    """A tensor that was there before, reached through something in sight."""
    if not tracer.surroundings.may_hold(x):
        raise TraceError(
            f"compile: the tensor of shape {x.shape} used at {describe(mark())} is reached in a way that "
            "cannot be seen (through a weak reference, a variable of a thread, or an object of another "
            "library), so it may be another one each time. Keep it in a variable or an attribute, or pass it "
            "as an argument."
        )
    return tracer.surroundings.add(x, ByReference(x))


def _of_array(x: np.ndarray) -> Source:
    """An array that is nobody's: the library's own, or one that the user made."""
    if not (x.size and given_by_user(x)):
        return Fixed(np.array(x))
    raise TraceError(
        f"compile: the NumPy array of shape {x.shape} used at {describe(mark())} is neither an argument nor a "
        "variable around the function, so it may be new each time. Pass it as an argument."
    )


def _of_new(tracer: Tracer, x: Tensor) -> Source:
    """A tensor that was made while tracing, by another way than an operation."""
    origin = tracer.origin_of(x)
    if origin == "detach":
        whole = tracer.surroundings.showing(x._data)
        if whole is not None:
            tracer.watch_version(whole)
            source = tracer.surroundings.find(whole)
            assert source is not None
            return source
    if not origin or not (x._data.size or x._requires_grad):  # nothing in it can be another time
        return Fixed(np.array(x._data))
    raise TraceError(
        f"compile: the tensor of shape {x.shape} used at {describe(mark())} was made inside the function by "
        f"{origin}, which is not an operation that can be compiled. Make it outside and pass it as an argument."
    )


__all__ = ["source_of"]
