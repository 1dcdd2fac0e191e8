"""What the user calls a tensor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...tensor import Tensor
from ..record.naming import variables


def name_of(tensor: Tensor, nodes: Iterable[Any] = (), otherwise: str = "") -> str:
    """The path of a parameter in the modules that were applied, else the variable that holds it, else ``otherwise``."""
    for module in _outermost(nodes):
        path = next((path for path, held in module.named_parameters() if held is tensor), None)
        if path is not None:
            return str(path)
    found = variables().get(id(tensor))
    if found is not None:
        return found
    if otherwise:
        return otherwise
    size = "×".join(map(str, tensor.shape)) or "scalar"
    return f"this {'parameter' if tensor.is_leaf and tensor.requires_grad else 'tensor'} ({size})"


def _outermost(nodes: Iterable[Any]) -> list[Any]:
    found: dict[int, Any] = {}
    for node in nodes:
        scope = node.scope
        while scope is not None and scope[0] is not None:
            scope = scope[0]
        if scope is not None:
            found.setdefault(id(scope[1]), scope[1])
    return list(found.values())
