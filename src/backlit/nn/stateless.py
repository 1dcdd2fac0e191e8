"""Calling a module with other parameters than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..errors import OperationError
from ..source import describe, mark
from ..spelling import did_you_mean
from .module import Module

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module as if it held other tensors; gradients flow to them, and the module is left as it was.

    Args:
        module: what to call.
        parameter_and_buffer_dicts: tensors by their names in ``module.state_dict()``, or several such dictionaries.
            Names left out keep the module's own tensors.
        args: the arguments: a tuple, or a single one.
        kwargs: the arguments given by name.
        tie_weights: a parameter that the module holds under several names is replaced under all of them.
        strict: all parameters and buffers must be named.

    Raises:
        OperationError: a name that the module does not have, or with ``strict`` one that is missing.

    >>> import backlit as bl
    >>> layer = bl.nn.Linear(1, 1)
    >>> w = bl.tensor([[2.0]], requires_grad=True)
    >>> y = bl.func.functional_call(layer, {"weight": w, "bias": bl.zeros(1)}, bl.tensor([3.0]))
    >>> y.item(), bl.autograd.grad(y, w)
    (6.0, (tensor([[3.]]),))
    """
    given = parameter_and_buffer_dicts
    merged: dict[str, Any] = {}
    for part in [given] if isinstance(given, Mapping) else given:
        merged.update(part)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _holding(module, _places(module, merged, tie_weights, strict)):
        return module(*arguments, **(kwargs or {}))


def _places(module: Module, given: dict[str, Any], tie: bool, strict: bool) -> list[tuple[Module, str, Any]]:
    """Which module is to hold what under which name."""
    kinds = (module.named_parameters, module.named_buffers)
    own = {name: tensor for named in kinds for name, tensor in named(remove_duplicate=False)}
    for name in given:
        if name not in own:
            raise OperationError(
                f"functional_call at {describe(mark())}: {type(module).__name__} has no parameter or buffer "
                f"{name!r}{did_you_mean(name, own)}."
            )
    if strict and len(given) < len(own):
        missing = [name for name in own if name not in given]
        raise OperationError(f"functional_call at {describe(mark())}: strict=True, and {missing} are missing.")
    wanted = dict(given)
    if tie:
        by_tensor = {id(own[name]): value for name, value in given.items()}
        wanted |= {n: by_tensor[id(t)] for n, t in own.items() if id(t) in by_tensor and n not in given}
    places = []
    for path, value in wanted.items():
        owner, _, name = path.rpartition(".")
        places.append((module.get_submodule(owner), name, value))
    return places


@contextmanager
def _holding(module: Module, places: list[tuple[Module, str, Any]]) -> Iterator[None]:
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in places]
    try:
        for owner, name, value in places:
            owner.__dict__[name] = value
        yield
    finally:
        for owner, name, value in before:
            owner.__dict__[name] = value
