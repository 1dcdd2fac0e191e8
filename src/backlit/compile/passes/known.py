"""What rules that go through a program from its beginning may ask about the values so far."""

from __future__ import annotations

from ..ir.program import Instruction, Value


class Known:
    """What is known about the values so far: the instructions that make them, and their numbers."""

    def __init__(self) -> None:
        self.makers: dict[Value, Instruction] = {}

    def opcode(self, value: Value) -> str:
        """The opcode that makes a value; empty for inputs."""
        maker = self.makers.get(value)
        return "" if maker is None else maker.opcode

    def constant(self, value: Value) -> float | None:
        """The number that a value holds everywhere, where that is known."""
        maker = self.makers.get(value)
        if maker is not None and maker.opcode == "expand":
            return self.constant(maker.operands[0])
        return maker.params["value"] if maker is not None and maker.opcode == "constant" else None
