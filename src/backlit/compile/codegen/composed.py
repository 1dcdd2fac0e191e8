"""Kernels composed of other kernels' functions: a workspace cut into named pieces, and calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir

from .images import Images
from .target import Target, host_target
from .values import Pointer
from .vector import VectorBuilder

_LINE = 16  # pieces begin at multiples of so many elements, which is at least a cache line


def total_size(pieces: Mapping[str, int]) -> int:
    """Elements of a workspace with these pieces."""
    return sum(_whole(size) for size in pieces.values())


def places(workspace: Pointer, pieces: Mapping[str, int]) -> dict[str, Pointer]:
    """Where each piece begins."""
    found, begin = {}, 0
    for name, size in pieces.items():
        found[name] = workspace + begin
        begin += _whole(size)
    return found


def _whole(size: int) -> int:
    return -(-size // _LINE) * _LINE


def call(b: VectorBuilder, called: ir.Function, *pointers: Pointer) -> None:
    """Call a kernel's function."""
    b.ir.call(called, [p.ir for p in pointers])


def clear(b: VectorBuilder, begin: Pointer, size: int) -> None:
    """Fill with zeros."""
    zero = b.number(0.0)
    b.sweep(size, lambda i, mask: begin.store(zero, i, mask))


class Composed:
    """Defines other kernels' functions inside a module, for one kernel alone."""

    def __init__(self, module: ir.Module, name: str, dtype: str, target: Target | None) -> None:
        self.module, self.name, self.dtype, self.target = module, name, dtype, target or host_target()

    def internal(self, emit: Callable[..., ir.Function], *arguments: Any, **options: Any) -> ir.Function:
        """What ``emit`` defines, under a name of its own."""
        name = f"{self.name}.{len(self.module.globals)}"
        made = emit(self.module, name, *arguments, target=self.target, **options)
        made.linkage = "internal"
        return made

    def turn(self, emit: Callable[..., ir.Function], images: Images) -> ir.Function:
        """A change of layout."""
        return self.internal(emit, images, dtype=self.dtype)


__all__ = ["Composed", "call", "clear", "places", "total_size"]
