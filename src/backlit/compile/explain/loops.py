"""A compiled step written as loops in Python's manner, each with the lines of the program that it came from."""

from __future__ import annotations

from collections.abc import Mapping

from ..assemble.build import Built
from ..assemble.products import product_of
from ..assemble.regions import Way
from ..codegen.gemm_plan import plan
from ..codegen.target import host_target
from ..ir.program import Instruction, Value
from ..loops.groups import Group
from .names import Names
from .titles import places, title, work_name

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
_FOLDS = {"sum": "Σ", "prod": "Π", "max": "max", "min": "min"}


def explained(built: Built, numbers: Mapping[Value, float] | None = None) -> str:
    """The whole step as text; ``numbers`` are values of inputs that are worked out at each call."""
    names = Names(built)
    kept = built.order.stored | set(built.order.in_place)
    parts = _numbers(numbers or {}, names)
    for region in built.regions:
        if region.parts > 1:
            parts.append(f"### {len(region.groups)} loops in {region.parts} shares, one after the other in each:")
        ways: list[Way | None] = [*region.ways] or [None] * len(region.groups)
        parts += [_group(g, way, names, kept, built) for g, way in zip(region.groups, ways, strict=True)]
    results = ", ".join(names(v) for v in built.program.outputs)
    return "\n\n".join([*parts, f"return {results}"])


def _numbers(numbers: Mapping[Value, float], names: Names) -> list[str]:
    if not numbers:
        return []
    shown = ", ".join(f"{names(value)} = {number:.7g}" for value, number in numbers.items())
    return [f"# The optimizer's numbers, worked out anew at each call; at the last one:\n# {shown}"]


def _group(group: Group, way: Way | None, names: Names, kept: set[Value], built: Built) -> str:
    lines = [f"## {title(group.members, built, names)}", *[f"# {place}" for place in places(group.members)]]
    indent = ""
    if group.space is not None:
        lines.append(f"for each of {_count(group.space)}:")
        indent = "    "
    for member in group.members:
        note = ""
        if any(v in built.order.in_place for v in member.results):
            note = f"  # → {names(built.order.in_place[member.results[0]])}, in place"
        elif group.space is not None and any(v in kept for v in member.results):
            note = "  # kept"
        if member.opcode == "matmul" and _by_lists(member, way, built):
            note += f"  # passes over zeros of {names(member.operands[0])}"
        note += _together(member, names)
        made = ", ".join(names(v) for v in member.results)
        lines.append(f"{indent}{made + ' = ' if made else ''}{_expression(member, names)}{note}")
    return "\n".join(lines)


def _together(member: Instruction, names: Names) -> str:
    """A note where a kernel writes several arrays as parts of one."""
    parts = [part.result for part in member.params.get("parts", ())]
    several = [i for i in dict.fromkeys(parts) if parts.count(i) > 1]
    return "".join(f"  # {names(member.results[i])}: {parts.count(i)} arrays in one" for i in several)


def _by_lists(member: Instruction, way: Way | None, built: Built) -> bool:
    """Whether a product goes by lists of what is not zero on its left."""
    product = product_of(member, built.layouts)
    if way is not None:
        product = product.share(way.axis - member.result.ndim, *way.shares.run(0))
    return plan(product.spec, host_target()).sparse is not None


def _count(space: tuple[int, ...]) -> str:
    """``32×10 elements``: dimensions of one element are not worth a word."""
    sizes = [str(n) for n in space if n != 1]
    return f"{'×'.join(sizes)} elements" if sizes else "one element"


def _expression(member: Instruction, names: Names) -> str:
    operands = [names(v) for v in member.operands]
    if member.opcode in _INFIX and len(operands) == 2:
        return f"{operands[0]} {_INFIX[member.opcode]} {operands[1]}"
    if member.opcode == "reduce":
        return f"{_FOLDS[member.params['kind']]} over {member.params['axes']} of {operands[0]}"
    if member.opcode == "where":
        return f"{operands[1]} if {operands[0]} else {operands[2]}"
    if member.opcode == "require":
        return f"run the function eagerly unless {operands[0]} == 0"
    if member.opcode in ("copy", "move"):
        return operands[0]
    return f"{work_name(member)}({', '.join(operands)})"
