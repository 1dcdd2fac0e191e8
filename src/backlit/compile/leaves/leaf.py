"""What a hand-written kernel looks like to the compiler.

An instruction ``leaf`` names a :class:`Leaf`, plain data that says which function is wanted; equal ones share it.
Operands and results are row-major arrays, unless the leaf says that it reads or writes others.

What the function writes may lie in the instruction's results in another order, or be a part of one: then
``params["parts"]`` has a :class:`Part` for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, ClassVar, NamedTuple

from ..codegen.target import Target
from ..ir.build import Builder
from ..ir.layout import Layout, Strides
from ..ir.program import Instruction, Value


class Split(NamedTuple):
    """How a kernel's work falls apart into shares that need nothing of each other.

    Attributes:
        size: positions along the axis that can be shared out (images, heads, rows).
        operands: for each operand whether a share reads only its own positions, which come first in its shape.
        results: for each array that the function writes ``"slice"`` if a share writes its own positions, ``"sum"`` if
            the shares' results add up to it.
        share: the kernel for so many positions.
    """

    size: int
    operands: tuple[bool, ...]
    results: tuple[str, ...]
    share: Callable[[int], Leaf]


class Part(NamedTuple):
    """An array of ``shape`` that a function writes: a view of the instruction's result number ``result``, which is
    row-major."""

    result: int
    shape: tuple[int, ...]
    strides: Strides
    offset: int = 0


class Leaf:
    """Base of the descriptions; subclasses are frozen dataclasses.

    ``cheap``: the results are as quickly made again from the first operand as read from memory.
    """

    cheap: ClassVar[bool] = False

    def emit(self, module: Any, name: str, target: Target) -> Any:
        """Define the function in an LLVM module."""
        raise NotImplementedError

    @property
    def flops(self) -> int:
        """Additions and multiplications; 0 where nobody counted."""
        return 0

    def workspace(self, target: Target) -> int:
        """Elements of scratch memory, in the dtype of the first result."""
        return 0

    def split(self) -> Split | None:
        """How the work can be shared out; None where it cannot."""
        return None

    def reads(self, position: int, shape: tuple[int, ...], strides: Strides) -> bool:
        """Whether an operand that is not row-major can be read as it lies."""
        return False

    def writes(self, position: int, shape: tuple[int, ...], strides: Strides) -> bool:
        """Whether an array can be written so that it is not row-major."""
        return False

    def lying(self, operands: Sequence[Strides], results: Sequence[Strides]) -> Leaf:
        """The same for operands and results that lie so in memory."""
        return self

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        """The function's pointers in its order; None for one that is never looked at."""
        return [*operands, *results]


def leaf_of(instruction: Instruction, layouts: dict[Value, Layout]) -> Leaf:
    """The leaf of an instruction, for where its operands and results lie."""
    leaf: Leaf = instruction.params["leaf"]
    written = [layout.strides for _, layout in written_by(instruction, layouts)]
    return leaf.lying([layouts[v].strides for v in instruction.operands], written)


def written_by(instruction: Instruction, layouts: dict[Value, Layout]) -> list[tuple[tuple[int, ...], Layout]]:
    """Shape and place of each array that a leaf's function writes."""
    parts = instruction.params.get("parts")
    if parts is None:
        return [(v.shape, layouts[v]) for v in instruction.results]
    return [(part.shape, Layout(instruction.results[part.result], part.strides, part.offset)) for part in parts]


def by_positions(shape: tuple[int, ...], strides: Strides, size: int) -> tuple[tuple[int, ...], Strides]:
    """Sizes and strides of an array with the ``size`` positions that can be shared out in front.

    They are either its first dimension, or the outer ones of a row-major array together.
    """
    if shape[:1] == (size,):
        return shape, strides
    inner = prod(shape) // size
    return (size, inner), (inner, 1)


def emit_leaf(
    builder: Builder,
    leaf: Leaf,
    operands: Sequence[Value],
    results: Sequence[tuple[tuple[int, ...], Any]],
    meaning: Callable[..., tuple[Any, ...]],
) -> tuple[Value, ...]:
    """Append a leaf. ``results`` are shapes and dtypes, ``meaning`` computes the same in NumPy."""
    made = tuple(Value(shape, dtype) for shape, dtype in results)
    params = {"leaf": leaf, "meaning": meaning}
    builder.body.append(Instruction("leaf", tuple(operands), made, params, builder.mark, builder.scope))
    return made
