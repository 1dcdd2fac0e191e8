"""What a call needs to know of a compiled program.

The table of addresses that native code is given has two entries of its own, then those of inputs and outputs, of the
arena and of the clock's readings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..codegen.engine import NativeCode
from ..ir.program import Instruction

STATUS_SLOT = 0
"""The first entry of the table: the address of a number that is 0 unless an assumption of the program failed."""

CONTROL_SLOT = 1
"""The second: the address of the thread pool's control block."""

FIRST_INPUT = 2
"""Then inputs, outputs and the arena."""


class Frame(NamedTuple):
    """What a call needs to know of a compiled program.

    Attributes:
        inputs: how many arrays it reads and writes.
        outputs: shape and dtype of each array that it makes.
        arena: bytes of memory in between.
        regions: how many there are.
        shared: whether any of them is shared out among threads.
        sequence: names of native functions, and instructions that call Python, in the order in which they run.
        code: the native functions.
    """

    inputs: int
    outputs: list[tuple[tuple[int, ...], Any]]
    arena: int
    regions: int
    shared: bool
    sequence: list[str | Instruction]
    code: NativeCode

    @property
    def first_output(self) -> int:
        """The table entry of the first output."""
        return FIRST_INPUT + self.inputs

    @property
    def arena_slot(self) -> int:
        """The table entry of the arena."""
        return self.first_output + len(self.outputs)

    @property
    def clock_slot(self) -> int:
        """The table entry of the clock's readings."""
        return self.arena_slot + 1


__all__ = ["CONTROL_SLOT", "FIRST_INPUT", "STATUS_SLOT", "Frame"]
