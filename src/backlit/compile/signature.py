"""What makes two calls of a compiled function alike, so that one form serves both."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..dtypes import get_default_dtype
from ..graph import mode
from ..tensor import Tensor
from ..threads import chosen_threads
from .errors import TraceError


class _Itself:
    """An object that only it is equal to. It is not kept alive, where it allows that; once it is gone nothing is equal
    to this."""

    __slots__ = ("_held", "_number", "_reference")

    def __init__(self, held: Any) -> None:
        self._number = id(held)
        self._reference: weakref.ref[Any] | None = None
        self._held: Any = None
        try:
            self._reference = weakref.ref(held)
        except TypeError:
            self._held = held

    @property
    def is_gone(self) -> bool:
        """Whether the object is no more."""
        return self._reference is not None and self._reference() is None

    def _object(self) -> Any:
        return self._held if self._reference is None else self._reference()

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _Itself) and not self.is_gone and other._object() is self._object())


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
        super().__init__(_tensors(self.given))


def contents_of(x: Any) -> Any:
    """What is in an argument that is taken for its parts: a container itself, or the fields of a dataclass, as a
    dictionary; None of anything else."""
    if isinstance(x, (dict, list, tuple)):
        return x
    return vars(x) if hasattr(type(x), "__dataclass_fields__") and type(x).__dictoffset__ else None


def keys_of(contents: Any) -> Any:
    """The keys or positions of what a container holds."""
    return list(contents) if isinstance(contents, dict) else range(len(contents))


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
        return
    contents = contents_of(tree)
    if contents is not None:
        for part in contents.values() if isinstance(contents, dict) else contents:
            yield from _tensors(part)


def is_outdated(signature: Any) -> bool:
    """Whether no call can have this signature any more, because an object in it is gone."""
    if isinstance(signature, tuple):
        return any(map(is_outdated, signature))
    return isinstance(signature, _Itself) and signature.is_gone


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
    fields = contents_of(tree)
    if fields is not None:
        return type(tree), _plain(fields)
    return type(tree), tree if _has_a_value(tree) else _Itself(tree)


def _has_a_value(x: Any) -> bool:
    """Whether equal objects of this kind do the same: they compare by something else than who they are."""
    if type(x).__hash__ is object.__hash__:
        return False
    try:
        hash(x)
    except TypeError:
        return False
    return True


__all__ = ["Arguments", "Likeness", "contents_of", "is_outdated", "keys_of", "signature_of"]
