"""Values that a later loop makes from what an earlier loop has at hand, computed there where less must be kept so.

The slope of an activation is the common case: its backward loop would read all that the slope is made of, which the
forward loop has in registers. Computed forwards, it is the only array between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir.program import Instruction, Value
from .groups import FREE, Group

if TYPE_CHECKING:
    from .fusion import _Fusion


def compute_early(fusion: _Fusion) -> None:
    """Move instructions from later loops to earlier ones over the same space."""
    for late in dict.fromkeys(fusion.group[i] for i in fusion.program.body if i in fusion.group):
        if late.space is None or late.members[0].opcode == "move":
            continue
        for early in _suppliers(fusion, late):
            moved = _computable(fusion, early, late)
            if moved and len(moved) < len(late.members) and _keeps_less(fusion, early, late, moved):
                late.members = [m for m in late.members if m not in moved]
                early.members += moved
                fusion.group.update(dict.fromkeys(moved, early))


def _suppliers(fusion: _Fusion, late: Group) -> dict[Group, None]:
    """Loops over the same space that make what a loop takes."""
    makers = [fusion.makers.get(x) for m in late.members for x in m.operands]
    groups = [fusion.group.get(maker) for maker in makers if maker is not None]
    return {g: None for g in groups if g is not None and g is not late and g.space == late.space}


def _computable(fusion: _Fusion, early: Group, late: Group) -> dict[Instruction, None]:
    """What the early loop could compute of the late one, with nothing more to read. Its reductions are not known before
    its end."""
    known = {x for m in early.members for x in m.operands}
    known.update(m.result for m in early.members if m.opcode != "reduce")
    moved: dict[Instruction, None] = {}
    for member in late.members:
        if member.opcode != "reduce" and all(x in known or _is_free(fusion, x) for x in member.operands):
            moved[member] = None
            known.update(member.results)
    return moved


def _is_free(fusion: _Fusion, x: Value) -> bool:
    maker = fusion.makers.get(fusion.root(x))
    return maker is not None and maker.opcode in FREE


def _keeps_less(fusion: _Fusion, early: Group, late: Group, moved: dict[Instruction, None]) -> bool:
    """Whether fewer arrays need be in memory between the loops afterwards."""
    results = set(fusion.program.results())
    inside = {*early.members, *moved}

    def only_inside(x: Value) -> bool:
        return x not in results and all(user in inside and direct for user, direct in fusion.users.get(x, []))

    taken = {x for m in moved for x in m.operands if x.shape == late.space and not _is_free(fusion, x)}
    made = {x for m in moved for x in m.results}
    gone = [x for x in taken - made if only_inside(x) and _in_registers(fusion, x, early)]
    new = [x for x in made if not only_inside(x)]
    return len(new) < len(gone)


def _in_registers(fusion: _Fusion, x: Value, early: Group) -> bool:
    """Whether the early loop need not read a value from memory: it makes it, or finishes the product that does."""
    maker = fusion.makers.get(x)
    return maker is not None and (fusion.group.get(maker) is early or maker.opcode == "matmul")


__all__ = ["compute_early"]
