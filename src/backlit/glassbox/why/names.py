"""What the user calls a tensor."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from ...nn.module import Module
from ...nn.naming import _forget, _given_by_user
from ...source import inside
from ...tensor import Tensor
from ..record.naming import variables

FRAMES = 10
"""How many of the user's frames are searched for a module."""


def name_of(tensor: Tensor, nodes: Iterable[Any] = (), otherwise: str = "") -> str:
    """The variable that holds it, the path of a parameter in a module that a variable holds or that was applied on the
    way, else ``otherwise``."""
    found = variables().tensors.get(id(tensor)) or _in_modules(tensor, _held()) or _in_modules(tensor, _applied(nodes))
    if found or otherwise:
        return found or otherwise
    size = "×".join(map(str, tensor.shape)) or "scalar"
    return f"this {'parameter' if tensor.is_leaf and tensor.requires_grad else 'tensor'} ({size})"


def _in_modules(tensor: Tensor, modules: Iterable[tuple[str, Module]]) -> str | None:
    for name, module in modules:
        for path, parameter in module.named_parameters():
            if parameter is tensor:
                return f"{name}.{path}" if name else path
    return None


def _held() -> Iterator[tuple[str, Module]]:
    """The modules in variables of the user's frames, inner frames first."""
    frame: FrameType | None = sys._getframe(1)
    outside = 0
    while frame is not None and outside < FRAMES:
        if not inside[frame.f_code.co_filename]:
            outside += 1
            names = frame.f_locals
            yield from [(k, v) for k, v in list(names.items()) if isinstance(v, Module) and _given_by_user(k)]
            if frame.f_code.co_name == "<module>":
                return
            _forget(frame, names)
        frame = frame.f_back


def _applied(nodes: Iterable[Any]) -> Iterator[tuple[str, Module]]:
    """The outermost modules that nodes were made in."""
    found: dict[int, Module] = {}
    for node in nodes:
        scope = node.scope
        while scope is not None and scope[0] is not None:
            scope = scope[0]
        if scope is not None:
            found.setdefault(id(scope[1]), scope[1])
    yield from (("", module) for module in found.values())
