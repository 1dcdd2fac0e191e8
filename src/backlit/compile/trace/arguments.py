"""What the tensors among a call's arguments are called: by the function's own parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from ...tensor import Tensor


def argument_names(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """A name for each tensor, in the order of ``flatten((args, kwargs))``.

    >>> import backlit as bl
    >>> one = bl.tensor(1.0)
    >>> argument_names(lambda x, pair, scale: x, (one, (one, one)), {"scale": one})
    ['x', 'pair.0', 'pair.1', 'scale']
    """
    named = [*zip(_positional(function, len(args)), args, strict=True), *kwargs.items()]
    return [name for start, part in named for name in _names(start, part)]


def _positional(function: Callable[..., Any], count: int) -> list[str]:
    """The names of the parameters that ``count`` positional arguments go to."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a function that does not tell
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "argument")
    return names + [f"{rest}{i}" for i in range(count - len(names))]


def _names(name: str, part: Any) -> Iterator[str]:
    if isinstance(part, Tensor):
        yield name
    elif isinstance(part, dict):
        for key, held in part.items():
            yield from _names(f"{name}.{key}", held)
    elif isinstance(part, (list, tuple)):
        for i, held in enumerate(part):
            yield from _names(f"{name}.{i}", held)
