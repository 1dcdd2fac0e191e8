"""Nested containers of tensors: taken apart into a flat list and put together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .tensor import Tensor

Rebuild = Callable[[list[Any]], Any]


def flatten(tree: Any) -> tuple[list[Tensor], Rebuild]:
    """The tensors of nested dicts, lists, tuples and named tuples in order, and how to put others in their places.

    Anything else is kept as it is.

    >>> import backlit as bl
    >>> leaves, rebuild = flatten({"w": bl.tensor(1.0), "more": [bl.tensor(2.0), "text"]})
    >>> rebuild([10, 20])
    {'w': 10, 'more': [20, 'text']}
    """
    leaves: list[Tensor] = []

    def take(part: Any) -> Callable[[Any], Any]:
        if isinstance(part, Tensor):
            leaves.append(part)
            return next
        if isinstance(part, dict):
            makers = {key: take(value) for key, value in part.items()}
            return lambda stream: type(part)((key, make(stream)) for key, make in makers.items())
        if isinstance(part, (list, tuple)):
            parts = [take(value) for value in part]
            if hasattr(part, "_fields"):
                return lambda stream: type(part)(*[make(stream) for make in parts])
            return lambda stream: type(part)(make(stream) for make in parts)
        return lambda stream: part

    make = take(tree)
    return leaves, lambda values: make(iter(values))


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors of a nested container, in order."""
    return flatten(tree)[0]


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """A container of the same structure with ``function`` applied to its tensors."""
    leaves, rebuild = flatten(tree)
    return rebuild([function(leaf) for leaf in leaves])
