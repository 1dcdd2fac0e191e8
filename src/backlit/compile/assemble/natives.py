"""The native functions that a step is made of, as plain data; equal ones are one function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from ...memory import LINE
from ..codegen.gemm import emit_gemm, workspace_size
from ..codegen.gemm_plan import Gemm, as_row, plan
from ..codegen.target import Target
from ..leaves.leaf import Leaf
from ..loops.emit import emit_kernel
from ..loops.epilogue import emit_product
from ..loops.kernel import Kernel

Place = tuple[int, int]
"""A buffer's number in the table of addresses, and an offset in bytes."""


@dataclass(frozen=True)
class Loop:
    """A loop over elements; its pointers are the kernel's slots."""

    kernel: Kernel

    def emit(self, module: Any, name: str, target: Target) -> None:
        """Define the function."""
        emit_kernel(module, name, self.kernel, target)


@dataclass(frozen=True)
class Product:
    """A matrix product; its pointers are A, B, C and the workspace."""

    spec: Gemm

    def emit(self, module: Any, name: str, target: Target) -> None:
        """Define the function."""
        emit_gemm(module, name, self.spec, target)


@dataclass(frozen=True)
class FinishedProduct:
    """A matrix product whose tiles go through a loop; its pointers are A, B, partial sums, the workspace and the
    kernel's slots."""

    spec: Gemm
    kernel: Kernel

    def emit(self, module: Any, name: str, target: Target) -> None:
        """Define the function."""
        emit_product(module, name, self.spec, self.kernel, target)


Native = Loop | Product | FinishedProduct | Leaf


class Task(NamedTuple):
    """One call: which function, and where its pointers point; None for one that is never looked at."""

    native: Native
    places: tuple[Place | None, ...]


def moved(place: Place, offset: int) -> Place:
    """A place some bytes further on."""
    return place[0], place[1] + offset


def whole_lines(size: int) -> int:
    """A number of bytes rounded up to whole cache lines: what different threads write begins on lines of its own."""
    return -(-size // LINE) * LINE


def product_workspace(spec: Gemm, target: Target, itemsize: int) -> tuple[int, int]:
    """Bytes of scratch memory for packed operands, and for sums that are not complete yet.

    Those lie as the result does: a share of its columns leaves out those of others between its rows. There is room for
    one column both as it is and as one row.
    """
    ways = [way for way in (spec, as_row(spec, target)) if way is not None]
    workspace = max(workspace_size(way, target) for way in ways)
    sums = max(way.m * way.c_stride if plan(way, target).runs(way) > 1 else 0 for way in ways)
    return whole_lines(workspace * itemsize), whole_lines(sums * itemsize)


__all__ = [
    "FinishedProduct",
    "Loop",
    "Native",
    "Place",
    "Product",
    "Task",
    "moved",
    "product_workspace",
    "whole_lines",
]
