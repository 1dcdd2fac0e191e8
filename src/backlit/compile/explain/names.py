"""What values are called in a description of a compiled step."""

from __future__ import annotations

from ..assemble.build import Built
from ..ir.layout import VIEWS
from ..ir.program import Instruction, Value


class Names:
    """Inputs by their own names, views by what they show, all others by a number."""

    def __init__(self, built: Built) -> None:
        self.makers = built.program.makers()
        self.given: dict[Value, str] = {}
        self._numbers: dict[Value, int] = {}
        taken: set[str] = set()
        for i, value in enumerate(built.program.inputs):
            name = value.name or f"given{i}"
            while name in taken:
                name += "'"
            taken.add(name)
            self.given[value] = name

    def __call__(self, value: Value) -> str:
        """The name of a value, or the expression that it is a view of."""
        if value in self.given:
            return self.given[value]
        maker = self.makers.get(value)
        if maker is not None and maker.opcode == "constant":
            return f"{maker.params['value']:g}"
        if maker is not None and maker.opcode in VIEWS:
            return self._view(maker)
        if maker is not None and maker.opcode == "iota":
            return "positions"
        return f"t{self._numbers.setdefault(value, len(self._numbers) + 1)}"

    def _view(self, view: Instruction) -> str:
        operand = view.operands[0]
        inner = self(operand)
        if view.opcode == "permute":
            return f"{inner}.T" if view.params["dims"] == (1, 0) else f"{inner}.permute{view.params['dims']}"
        if view.opcode == "slice":
            sizes = zip(view.params["starts"], view.params["steps"], view.result.shape, operand.shape, strict=True)
            return f"{inner}[{', '.join(_range(*size) for size in sizes)}]"
        if view.opcode == "reshape" and _is_plain(operand.shape, view.result.shape):
            return inner
        return f"{inner}.{view.opcode}({', '.join(map(str, view.result.shape))})"


def _range(start: int, step: int, count: int, size: int) -> str:
    if (start, step, count) == (0, 1, size):
        return ":"
    end = start + step * count
    return f"{start}:{end if end >= 0 else ''}" + (f":{step}" if step != 1 else "")


def _is_plain(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether shapes differ by dimensions of one element only, which nobody needs to read about."""
    return [n for n in shape if n != 1] == [n for n in other if n != 1]
