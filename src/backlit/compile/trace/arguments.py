"""What is among a call's arguments, and what it is called: by the function's own parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from ..signature import contents_of, keys_of


def named_leaves(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
    """The arguments, and the parts of containers among them, with a name for each; tensors are in the order of
    :class:`~..signature.Arguments`.

    >>> named_leaves(lambda x, pair, scale: x, (1.0, (2, ["text"])), {"scale": 3})
    [('x', 1.0), ('pair.0', 2), ('pair.1.0', 'text'), ('scale', 3)]
    """
    named = [*zip(_positional(function, len(args)), args, strict=True), *kwargs.items()]
    return [leaf for start, part in named for leaf in _leaves(start, part)]


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
    contents = contents_of(part)
    if contents is None:
        yield name, part
        return
    for key in keys_of(contents):
        yield from _leaves(f"{name}.{key}", contents[key])
