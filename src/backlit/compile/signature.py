"""What makes two calls of a compiled function alike, so that one form serves both."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..containers import flatten
from ..dtypes import get_default_dtype
from ..graph import mode
from ..tensor import Tensor
from ..threads import chosen_threads
from .errors import TraceError


class _Itself:
    """An object that only it is equal to; kept, so that its id stays its own."""

    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held

    def __hash__(self) -> int:
        return id(self.held)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.held is self.held


class Likeness:
    """What :func:`signature_of` says of calls with tensors only, in a form that takes less time to compare.

    ``holds`` is asked at each call, where a step of a small network takes ten microseconds.
    """

    __slots__ = ("dtype", "recording", "tensors", "threads")

    def __init__(self, arguments: Any) -> None:
        self.recording, self.threads, self.dtype = mode.recording, chosen_threads(), get_default_dtype()
        arrays = [x._data for x in arguments]
        pairs = zip(arrays, arguments, strict=True)
        self.tensors = [(a.shape, a.dtype, a.strides, x._requires_grad, x._grad is None) for a, x in pairs]

    def holds(self, args: Any) -> bool:
        """Whether a call with these arguments is surely alike."""
        if len(args) != len(self.tensors) or mode.recording is not self.recording:
            return False
        for x, (shape, dtype, strides, requires_grad, without) in zip(args, self.tensors, strict=False):
            if x.__class__ is not Tensor or x._requires_grad is not requires_grad:
                return False
            if requires_grad and (x._grad is None) is not without:
                return False
            array = x._data
            if array.shape != shape or array.dtype is not dtype or array.strides != strides:
                return False
        return chosen_threads() == self.threads and get_default_dtype() is self.dtype


class Arguments(list[Tensor]):
    """The tensors among a call's arguments, in order, and ``given``: the arguments themselves."""

    def __init__(self, args: Any, kwargs: Any) -> None:
        self.given = args, kwargs
        super().__init__(flatten(self.given)[0])


def signature_of(args: Any, kwargs: Any, arguments: Any) -> Any:
    """The structure and the plain values of the arguments; shapes, dtypes and layouts of the tensors among them; and
    settings of the library that decide what is computed.

    Args:
        args, kwargs: what the function is called with.
        arguments: the tensors in it; ``args`` itself where it holds nothing else.

    Raises:
        TraceError: an argument is a NumPy array, which cannot be told apart from another one of other values.
    """
    settings = None if arguments is args else (_plain(args), _plain(kwargs))
    described = []
    for x in arguments:
        array = x._data
        described += [array.shape, array.dtype.num, array.strides, x._requires_grad and 1 + (x._grad is None)]
    return settings, mode.recording, chosen_threads(), get_default_dtype().num, *described


def _plain(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return Tensor
    if isinstance(tree, dict):
        return tuple((key, _plain(value)) for key, value in tree.items())
    if isinstance(tree, (list, tuple)):
        return type(tree), tuple(map(_plain, tree))
    if isinstance(tree, float):
        return tree.hex()
    if isinstance(tree, np.ndarray):
        raise TraceError(
            f"compile: an argument is a NumPy array of shape {tree.shape}, and compiled functions take tensors. Pass "
            "backlit.as_tensor(array), which shares its memory."
        )
    if isinstance(tree, slice):
        return slice, _plain((tree.start, tree.stop, tree.step))
    return type(tree), tree if _is_hashable(tree) else _Itself(tree)


def _is_hashable(x: Any) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True


__all__ = ["Arguments", "Likeness", "signature_of"]
