"""A compiled step written as loops in Python's manner, each with the lines of the program that it came from."""

from __future__ import annotations

from ...graph import scope_path
from ...source import describe
from ..assemble.build import Built
from ..ir.layout import VIEWS
from ..ir.program import Instruction, Value
from ..loops.fusion import Group

_INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "·",
    "div": "/",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
    "and": "and",
    "or": "or",
    "matmul": "@",
}
_FOLDS = {"sum": "Σ", "max": "max", "min": "min"}


class Names:
    """What values are called: inputs by their own names, views by what they show, all others by a number."""

    def __init__(self, built: Built) -> None:
        self.makers = built.program.makers()
        self.given: dict[Value, str] = {}
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
        return "positions" if maker is not None and maker.opcode == "iota" else f"t{value.number}"

    def _view(self, view: Instruction) -> str:
        inner = self(view.operands[0])
        if view.opcode == "permute":
            return f"{inner}.T" if view.params["dims"] == (1, 0) else f"{inner}.permute{view.params['dims']}"
        if view.opcode == "slice":
            sizes = zip(view.params["starts"], view.params["steps"], view.result.shape, strict=True)
            return f"{inner}[{', '.join(f'{a}:{a + s * n}' + (f':{s}' if s != 1 else '') for a, s, n in sizes)}]"
        return f"{inner}.{view.opcode}{view.result.shape}"


def explained(built: Built) -> str:
    """The whole step as text."""
    names = Names(built)
    kept = built.order.stored | set(built.order.in_place)
    parts = [_group(group, names, kept, built) for group in built.order.groups]
    results = ", ".join(names(v) for v in built.program.outputs)
    return "\n\n".join([*parts, f"return {results}"])


def _group(group: Group, names: Names, kept: set[Value], built: Built) -> str:
    lines = [f"# {place}" for place in places(group)]
    indent = ""
    if group.space is not None:
        lines.append(f"for each of {'×'.join(map(str, group.space)) or 'one'} elements:")
        indent = "    "
    for member in group.members:
        note = ""
        if any(v in built.order.in_place for v in member.results):
            note = f"  # → {names(built.order.in_place[member.results[0]])}, in place"
        elif group.space is not None and any(v in kept for v in member.results):
            note = "  # kept"
        made = ", ".join(names(v) for v in member.results)
        lines.append(f"{indent}{made + ' = ' if made else ''}{_expression(member, names)}{note}")
    return "\n".join(lines)


def _expression(member: Instruction, names: Names) -> str:
    operands = [names(v) for v in member.operands]
    if member.opcode in _INFIX and len(operands) == 2:
        return f"{operands[0]} {_INFIX[member.opcode]} {operands[1]}"
    if member.opcode == "reduce":
        return f"{_FOLDS[member.params['kind']]} over {member.params['axes']} of {operands[0]}"
    if member.opcode == "where":
        return f"{operands[1]} if {operands[0]} else {operands[2]}"
    if member.opcode in ("copy", "move"):
        return operands[0]
    name = member.opcode
    if name == "leaf":
        name = type(member.params["leaf"]).__name__
    elif name == "extern":
        name = f"numpy: {member.params['call'].__name__}"
    return f"{name}({', '.join(operands)})"


def places(group: Group) -> list[str]:
    """The user's lines that a group came from, with the modules, each once."""
    found: dict[str, None] = {}
    for member in group.members:
        if member.mark is not None:
            module = scope_path(member.scope)
            found[describe(member.mark) + (f"   ({module})" if module else "")] = None
    return list(found)
