"""What is among a call's arguments, and what it is called: by the function's own parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from ...tensor import Tensor


def objects_among(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
    """The arguments, and parts of containers among them, that are neither tensors nor containers, with their names.

    >>> objects_among(lambda x, pair: x, (1.0, (2, [object])), {})
    [('x', 1.0), ('pair.0', 2), ('pair.1.0', <class 'object'>)]
    """
    named = [*zip(_positional(function, len(args)), args, strict=True), *kwargs.items()]
    return [found for start, part in named for found in _leaves(start, part) if not isinstance(found[1], Tensor)]


def argument_names(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """A name for each tensor, in the order of ``flatten((args, kwargs))``.

    >>> import backlit as bl
    >>> one = bl.tensor(1.0)
    >>> argument_names(lambda x, pair, scale: x, (one, (one, one)), {"scale": one})
    ['x', 'pair.0', 'pair.1', 'scale']
    """
    named = [*zip(_positional(function, len(args)), args, strict=True), *kwargs.items()]
    return [name for start, part in named for name, leaf in _leaves(start, part) if isinstance(leaf, Tensor)]


def _positional(function: Callable[..., Any], count: int) -> list[str]:
    """The names of the parameters that ``count`` positional arguments go to."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a function that does not tell
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "argument")
    return names + [f"{rest}{i}" for i in range(count - len(names))]


def _leaves(name: str, part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, dict):
        for key, held in part.items():
            yield from _leaves(f"{name}.{key}", held)
    elif isinstance(part, (list, tuple)):
        for i, held in enumerate(part):
            yield from _leaves(f"{name}.{i}", held)
    else:
        yield name, part
