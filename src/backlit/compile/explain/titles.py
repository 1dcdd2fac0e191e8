"""What a region of a compiled step is for: the modules or lines that it came from, the pass, the kind of work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ...graph import scope_path
from ...source import describe, resolve
from ..assemble.build import Built
from ..ir.marks import OfGradient
from ..ir.program import Instruction, Value
from .names import Names

_MOST = 3
"""Kinds of work that a title lists."""


def places(members: Sequence[Instruction]) -> list[str]:
    """The user's lines that instructions came from, with the modules, each once."""
    found: dict[str, None] = {}
    for member in members:
        if member.mark is not None:
            module = scope_path(member.scope)
            note = ", ".join([*([module] if module else []), *(["gradient"] if _is_gradient(member) else [])])
            found[describe(member.mark) + (f"   ({note})" if note else "")] = None
    return list(found)


def title(members: Sequence[Instruction], built: Built, names: Names) -> str:
    """One line such as ``net.0, net.1: product, add, maximum`` or ``update of net.0.weight``."""
    updated = updated_parameters(members, built, names)
    work = _kinds(members)
    if updated:
        product = [kind for kind in work if kind == "product"]
        return f"update of {_some(updated)}" + (f", with its {product[0]}" if product else "")
    where = _where(members)
    return f"{_some(where)}: {_some(work, _MOST)}" if where else _some(work, _MOST)


def updated_parameters(members: Sequence[Instruction], built: Built, names: Names) -> list[str]:
    """The parameters and buffers that instructions write to, without the state that an optimizer keeps for them."""
    written = [names(built.order.in_place[v]) for v in _results(members) if v in built.order.in_place]
    return [name for name in written if not any(name.startswith(f"{other}.") for other in written)]


def work_name(member: Instruction) -> str:
    """What an instruction does, in a word."""
    if member.opcode == "leaf":
        return type(member.params["leaf"]).__name__
    if member.opcode == "extern":
        return f"{getattr(member.params['call'], '__name__', 'call')} in NumPy"
    if member.opcode == "reduce":
        return str(member.params["kind"])
    return {"matmul": "product", "require": "check"}.get(member.opcode, member.opcode)


def _kinds(members: Sequence[Instruction]) -> list[str]:
    return list(dict.fromkeys(map(work_name, members)))


def _where(members: Sequence[Instruction]) -> list[str]:
    """Modules, or the places of lines outside of any module; marked where everything belongs to their gradients."""
    marked = [m for m in members if m.mark is not None]
    found = dict.fromkeys(scope_path(m.scope) or _line(m) for m in marked)
    gradient = marked and all(map(_is_gradient, marked))
    return [f"gradient of {name}" if gradient and not i else name for i, name in enumerate(found)]


def _line(member: Instruction) -> str:
    source = resolve(member.mark)
    return f"{os.path.basename(source.file)}:{source.line}" if source else ""


def _is_gradient(member: Instruction) -> bool:
    return isinstance(member.mark, OfGradient)


def _some(words: list[str], most: int = 2) -> str:
    return ", ".join(words[:most]) + (", …" if len(words) > most else "")


def _results(members: Sequence[Instruction]) -> Iterable[Value]:
    return (value for member in members for value in member.results)
