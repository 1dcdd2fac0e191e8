"""What a hand-written kernel looks like to the compiler.

An instruction ``leaf`` names a :class:`Leaf`, plain data that says which function is wanted; equal ones share it.
Operands and results are row-major arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from ..codegen.target import Target
from ..ir.build import Builder
from ..ir.program import Instruction, Value


class Split(NamedTuple):
    """How a kernel's work falls apart into shares that need nothing of each other.

    Attributes:
        size: positions along the axis that can be shared out (images, heads, rows).
        operands: for each operand whether a share reads only its own positions, which come first in its shape.
        results: ``"slice"`` for a result of which a share writes its own positions, ``"sum"`` for one that the shares'
            results add up to.
        share: the kernel for so many positions.
    """

    size: int
    operands: tuple[bool, ...]
    results: tuple[str, ...]
    share: Callable[[int], Leaf]


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

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        """The function's pointers in its order; None for one that is never looked at."""
        return [*operands, *results]


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
