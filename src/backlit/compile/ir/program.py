"""The program that a traced step becomes: values, instructions that make them, and effects on the outside.

A program is in static single assignment form: each :class:`Value` is made once, by an input or by one
:class:`Instruction`, and everything that it is made from stands before it. Values are arrays with a known shape and
dtype; elements have no place in memory yet. What a step does to the world (updated parameters, say) is a list of
*writes*: pairs of an input and the value that its memory holds afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import numpy as np

from ...errors import BacklitError
from ...source import Mark

_numbers = count(1).__next__


class Value:
    """One array of the program. ``dtype`` is None for what only an extern instruction understands."""

    __slots__ = ("dtype", "name", "number", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any] | None, name: str = "") -> None:
        self.shape = shape
        self.dtype = dtype
        self.name = name
        self.number = _numbers()

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def kind(self) -> str:
        """The kind of the dtype, as NumPy names it; "" for objects."""
        return "" if self.dtype is None else self.dtype.kind

    @property
    def size(self) -> int:
        """Number of elements."""
        total = 1
        for n in self.shape:
            total *= n
        return total

    def __repr__(self) -> str:
        kind = "object" if self.dtype is None else self.dtype.name
        return f"%{self.name or self.number}: {kind}[{', '.join(map(str, self.shape))}]"


class Instruction:
    """``results = opcode(operands, **params)``, with the user's line and module that it came from."""

    __slots__ = ("mark", "opcode", "operands", "params", "results", "scope")

    def __init__(
        self,
        opcode: str,
        operands: tuple[Value, ...],
        results: tuple[Value, ...],
        params: dict[str, Any],
        mark: Mark | None = None,
        scope: Any = None,
    ) -> None:
        self.opcode = opcode
        self.operands = operands
        self.results = results
        self.params = params
        self.mark = mark
        self.scope = scope

    @property
    def result(self) -> Value:
        """The first result; nearly all instructions have one."""
        return self.results[0]

    def replaced(self, operands: tuple[Value, ...]) -> Instruction:
        """The same instruction on other operands."""
        if all(a is b for a, b in zip(operands, self.operands, strict=True)):
            return self
        return Instruction(self.opcode, operands, self.results, self.params, self.mark, self.scope)

    def __repr__(self) -> str:
        made = ", ".join(map(repr, self.results)) or "()"
        settings = [f"{name}={_short(value)}" for name, value in self.params.items()]
        taken = [f"%{v.name or v.number}" for v in self.operands]
        return f"{made} = {self.opcode}({', '.join([*taken, *settings])})"


class Program:
    """Inputs, instructions in order, outputs, and writes ``(input, value)`` done when all is computed.

    While memory is planned the target of a write may also be a slice of an input.
    """

    __slots__ = ("body", "inputs", "outputs", "writes")

    def __init__(
        self,
        inputs: Iterable[Value],
        body: Iterable[Instruction],
        outputs: Iterable[Value],
        writes: Iterable[tuple[Value, Value]] = (),
    ) -> None:
        self.inputs = list(inputs)
        self.body = list(body)
        self.outputs = list(outputs)
        self.writes = list(writes)

    def results(self) -> Iterator[Value]:
        """Every value that must exist at the end: outputs and what is written."""
        yield from self.outputs
        for _, value in self.writes:
            yield value

    def uses(self) -> dict[Value, list[Instruction]]:
        """The instructions that take each value, in order."""
        found: dict[Value, list[Instruction]] = {}
        for instruction in self.body:
            for operand in dict.fromkeys(instruction.operands):
                found.setdefault(operand, []).append(instruction)
        return found

    def makers(self) -> dict[Value, Instruction]:
        """The instruction that makes each value that is not an input."""
        return {value: instruction for instruction in self.body for value in instruction.results}

    def replaced(self, body: Iterable[Instruction], by: dict[Value, Value] | None = None) -> Program:
        """The same program with another body, and with values in outputs and writes exchanged."""
        by = by or {}
        writes = [(target, by.get(value, value)) for target, value in self.writes]
        return Program(self.inputs, body, [by.get(v, v) for v in self.outputs], writes)

    def __str__(self) -> str:
        lines = [f"input {value!r}" for value in self.inputs]
        lines += [repr(instruction) for instruction in self.body]
        lines += [f"write %{t.name or t.number} ← %{v.name or v.number}" for t, v in self.writes]
        lines += [f"output %{v.name or v.number}" for v in self.outputs]
        return "\n".join(lines)


class MalformedProgramError(BacklitError):
    """A pass or the tracer made a program that makes no sense; a mistake in Backlit, not in the user's program."""


def verify(program: Program) -> Program:
    """Give the program back if every value is made once, before its first use, and writes fit their targets.

    Raises:
        MalformedProgramError: it does not hold; the instruction is named.
    """
    known = set(program.inputs)
    for instruction in program.body:
        for operand in instruction.operands:
            if operand not in known:
                raise MalformedProgramError(f"{instruction!r} uses {operand!r}, which is not made before it.")
        for value in instruction.results:
            if value in known:
                raise MalformedProgramError(f"{instruction!r} makes {value!r} a second time.")
            known.add(value)
    for value in program.results():
        if value not in known:
            raise MalformedProgramError(f"the result {value!r} is not made anywhere.")
    inputs, makers = set(program.inputs), program.makers()
    for target, value in program.writes:
        sliced = makers.get(target)
        whole = sliced.operands[0] if sliced is not None and sliced.opcode == "slice" else target
        if whole not in inputs or (target.shape, target.dtype) != (value.shape, value.dtype):
            raise MalformedProgramError(f"{value!r} cannot be written into {target!r}.")
    return program


def _short(value: Any) -> str:
    text = value.__name__ if isinstance(value, type) else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
