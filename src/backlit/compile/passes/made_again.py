"""Results that are cheap to make are made again for the backward pass instead of being kept until then.

A normalised row is an example: the layer behind it takes it in the forward pass, and once more for its weight's
gradient. What it is made from has to be kept for its own gradient anyway, and making it takes as long as reading it.
"""

from __future__ import annotations

from ..ir.layout import VIEWS
from ..ir.program import Instruction, Program, Value

WORTH = 1 << 16
"""Bytes of a result from which on this pays."""


def with_cheap_results_made_again(program: Program) -> Program:
    """Leaves that are ``cheap`` once more in front of what takes their results in the backward pass."""
    for instruction in program.body:
        if instruction.opcode == "leaf" and instruction.params["leaf"].cheap and _size(instruction.result) >= WORTH:
            program = _Again(program, instruction).run()
    return program


class _Again:
    """One instruction, and who takes its first result."""

    def __init__(self, program: Program, made: Instruction) -> None:
        self.program = program
        self.made = made
        self.shown = {made.result: made.result}
        """The views of the result, with what each is a view of."""
        self.following: set[Value] = set()
        """What is made from the result, not counting its views."""

    def run(self) -> Program:
        """The program with the instruction made again, where its operand is kept for longer than its result."""
        late = self._late()
        kept = {v for i in self._behind(late[-1]) for v in i.operands} if late else set()
        if not late or self.made.operands[0] not in kept or self.shown.keys() & {*self.program.results()}:
            return self.program
        again, views = self._again(late[0])
        body = []
        for i in self.program.body:
            if i is late[0]:
                body += again
            body.append(i.replaced(tuple(views.get(v, v) for v in i.operands)) if i in late else i)
        return self.program.replaced(body)

    def _late(self) -> list[Instruction]:
        """What takes the result together with something that is made from it."""
        late = []
        for i in self._behind(self.made):
            own = [v for v in i.operands if v in self.shown]
            if own and i.opcode in VIEWS:
                self.shown[i.result] = own[0]
                continue
            if own and any(v in self.following for v in i.operands):
                late.append(i)
            if own or any(v in self.following for v in i.operands):
                self.following.update(i.results)
        return late

    def _behind(self, instruction: Instruction) -> list[Instruction]:
        return self.program.body[self.program.body.index(instruction) + 1 :]

    def _again(self, user: Instruction) -> tuple[list[Instruction], dict[Value, Value]]:
        """The instruction and the views of its result, and what stands for what in them."""
        other = next(v for v in user.operands if v in self.following)
        stands = {v: Value(v.shape, v.dtype, v.name) for v in (*self.made.results, *self.shown)}
        makers = self.program.makers()
        copies = [_copied(self.made, stands, {**self.made.params, "after": other})]
        copies += [_copied(makers[v], stands, makers[v].params) for v in self.shown if v is not self.made.result]
        return copies, stands


def _copied(i: Instruction, stands: dict[Value, Value], params: dict[str, object]) -> Instruction:
    operands, results = (tuple(stands.get(v, v) for v in vs) for vs in (i.operands, i.results))
    return Instruction(i.opcode, operands, results, params, i.mark, i.scope)


def _size(value: Value) -> int:
    return value.size * (value.dtype.itemsize if value.dtype is not None else 0)


__all__ = ["with_cheap_results_made_again"]
