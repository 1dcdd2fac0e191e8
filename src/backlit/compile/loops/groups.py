"""Groups: the instructions of a loop, or one instruction of another kind."""

from __future__ import annotations

from collections.abc import Iterable

from ..ir.program import Instruction

FREE = frozenset({"constant", "iota"})
"""What is written into each loop that needs it, rather than computed anywhere."""


class Group:
    """Instructions that run together: a loop, or one instruction of another kind."""

    __slots__ = ("members", "space")

    def __init__(self, members: Iterable[Instruction], space: tuple[int, ...] | None) -> None:
        self.members = list(members)
        self.space = space

    def __repr__(self) -> str:
        return f"<{'×'.join(map(str, self.space or ())) or 'one'}: {', '.join(m.opcode for m in self.members)}>"
