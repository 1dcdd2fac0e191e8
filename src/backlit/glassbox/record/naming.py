"""The user's names for values: parameter paths, variables, and what the line of code says.

Names come, in this order, from the module that holds a parameter, from variables that hold the tensor, from the
assignment whose right side computed it, from the expression it was used as, and last from the operation.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, NamedTuple

from ...nn.naming import _forget, _given_by_user
from ...source import Mark, inside
from ...tensor import Tensor
from .entries import Entry

_FRAMES = 10


@dataclass(frozen=True)
class Place:
    """The expression that an instruction belongs to: its ``text``, the variable it is assigned to (or None), the texts
    of its ``operands`` (both sides of an operator, the arguments of a call), and in ``x.f(y)`` the ``owner``, x."""

    text: str
    variable: str | None
    operands: tuple[str, ...]
    owner: str | None = None

    def names(self, count: int) -> tuple[str, ...]:
        """The texts of an operation's ``count`` inputs, as far as the expression shows them; else nothing."""
        if len(self.operands) == count:
            return self.operands
        return (self.owner, *self.operands) if self.owner and len(self.operands) + 1 == count else ()


class Names(NamedTuple):
    """What the user calls tensors: by the tensor's id, and by the number of the node that computed it."""

    tensors: dict[int, str]
    nodes: dict[int, str]

    def add(self, name: str, tensor: Tensor) -> None:
        """A name for a tensor, unless it has one."""
        self.tensors.setdefault(id(tensor), name)
        if tensor._node is not None:
            self.nodes.setdefault(tensor._node.id, name)


def variables(names: Mapping[str, Tensor] | None = None) -> Names:
    """The names given, then those of the variables of the frames of the user, inner ones first."""
    found = Names({}, {})
    for given, tensor in (names or {}).items():
        found.add(given, tensor)
    frame: FrameType | None = sys._getframe(1)
    outside = 0
    while frame is not None and outside < _FRAMES:
        if not inside[frame.f_code.co_filename]:
            outside += 1
            held = frame.f_locals
            for name, value in list(held.items()):
                if isinstance(value, Tensor) and _given_by_user(name):
                    found.add(name, value)
            if frame.f_code.co_name == "<module>":
                break
            _forget(frame, held)
        frame = frame.f_back
    return found


def name_entries(entries: Sequence[Entry], found: Mapping[int, str], held: Mapping[int, str]) -> None:
    """Give every entry a name of its own.

    Args:
        entries: in the order in which they were written down.
        found: names by the id of a tensor, for leaves.
        held: names by the number of an entry, for results that a variable still holds.
    """
    paths = _parameter_paths(entries)
    places = [place_of(entry.mark) if entry.op is not None else None for entry in entries]
    used_as = _used_as(entries, places)
    taken: set[str] = set()
    for number, entry in enumerate(entries):
        if entry.op is None:
            name = paths.get(id(entry.tensor)) or found.get(id(entry.tensor)) or used_as.get(number) or _plain(entry)
        else:
            name = held.get(number) or _assigned(entries, places, number) or _by_operation(entry)
        entry.name = _unique(name, taken)


def _unique(name: str, taken: set[str]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}#{count}"
    taken.add(candidate)
    return candidate


def _plain(entry: Entry) -> str:
    """A constant number by its value, an array as ``input``."""
    if entry.kind == "constant" and entry.kept is not None and entry.kept.array is not None and entry.shape == ():
        value = entry.kept.array.item()
        return f"{value:g}" if isinstance(value, float) else str(value)
    return "input" if entry.kind == "constant" else entry.kind


def _by_operation(entry: Entry) -> str:
    from .capture import module_path

    path = module_path(entry)
    inner = path.partition(".")[2]
    return f"{inner}.{entry.op.name}" if inner else entry.op.name


def _assigned(entries: Sequence[Entry], places: Sequence[Place | None], number: int) -> str | None:
    """The variable of an assignment, for the last of the operations that its right side applied."""
    place = places[number]
    if place is None or place.variable is None:
        return None
    after = number + 1
    while after < len(entries) and entries[after].op is None:
        after += 1
    same = after < len(entries) and entries[after].mark == entries[number].mark
    return None if same else place.variable


def _used_as(entries: Sequence[Entry], places: Sequence[Place | None]) -> dict[int, str]:
    """Names of leaves from the operands of the expressions that used them."""
    found: dict[int, str] = {}
    for entry, place in zip(entries, places, strict=True):
        if place is None:
            continue
        given = [number for number in entry.inputs if number is not None]
        for number, text in zip(given, place.names(len(given)), strict=False):
            if entries[number].op is None and _is_name(text):
                found.setdefault(number, text.removeprefix("self."))
    return found


def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _parameter_paths(entries: Iterable[Entry]) -> dict[int, str]:
    """Paths of parameters and buffers by id, from the outermost modules that operations were applied in."""
    roots: dict[int, Any] = {}
    for entry in entries:
        scope = entry.scope
        while scope is not None and scope[0] is not None:
            scope = scope[0]
        if scope is not None:
            roots.setdefault(id(scope[1]), scope[1])
    paths: dict[int, str] = {}
    for root in roots.values():
        prefix = f"{root.scope_name(None)}." if len(roots) > 1 else ""
        for path, tensor in (*root.named_parameters(), *root.named_buffers()):
            paths.setdefault(id(tensor), prefix + path)
    return paths


# -- reading the line ------------------------------------------------------------------------------------------


def place_of(mark: Mark | None) -> Place | None:
    """The expression that an instruction of the user's code belongs to; None where the source is not at hand."""
    if mark is None:
        return None
    return _place(*mark)


@lru_cache(maxsize=4096)
def _place(code: CodeType, offset: int) -> Place | None:
    position = next((p for i, p in enumerate(code.co_positions()) if 2 * i == offset), None)
    if position is None or None in position:
        return None
    line, end_line, column, end_column = position
    found = _expressions(code.co_filename, len(linecache.getlines(code.co_filename)))
    return found.get((line, column, end_line, end_column))  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def _expressions(filename: str, lines: int) -> dict[tuple[int, int, int, int], Place]:
    """Every operator, call and subscript of a file by its place (``lines`` tells files of one name apart)."""
    source = "".join(linecache.getlines(filename))
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    assigned = _assignments(tree)
    found: dict[tuple[int, int, int, int], Place] = {}
    split = source.splitlines(keepends=True)
    for node in ast.walk(tree):
        operands = _operands(node)
        if operands is not None:
            key = (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
            texts = tuple(_segment(split, operand) for operand in operands)
            owner = _segment(split, node.func.value) if _is_method(node) else None  # type: ignore[attr-defined]
            found[key] = Place(_segment(split, node), assigned.get(id(node)), texts, owner)
    return found


def _is_method(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


def _segment(lines: list[str], node: ast.AST) -> str:
    """The text of an expression on one line, as :func:`ast.get_source_segment` without splitting the file again."""
    first, last = node.lineno - 1, node.end_lineno - 1  # type: ignore[attr-defined]
    start, end = node.col_offset, node.end_col_offset  # type: ignore[attr-defined]
    if first == last:
        return lines[first].encode()[start:end].decode()
    parts = [lines[first].encode()[start:].decode(), *lines[first + 1 : last], lines[last].encode()[:end].decode()]
    return " ".join(" ".join(parts).split())


def _assignments(tree: ast.AST) -> dict[int, str]:
    found: dict[int, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.AST() as value):
                name = _target(target)
            case ast.NamedExpr(target=target, value=value):
                name = _target(target)
            case ast.AugAssign(target=target):
                name, value = _target(target), node  # type: ignore[assignment]
            case _:
                continue
        if name is not None:
            found[id(value)] = name
    return found


def _target(target: ast.expr) -> str | None:
    match target:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return name if owner == "self" else f"{owner}.{name}"
    return None


def _operands(node: ast.AST) -> tuple[ast.expr, ...] | None:
    match node:
        case ast.BinOp(left=left, right=right):
            return left, right
        case ast.UnaryOp(operand=operand):
            return (operand,)
        case ast.AugAssign(target=target, value=value):
            return target, value
        case ast.Call(args=arguments):
            return tuple(arguments)
        case ast.Subscript(value=value):
            return (value,)
        case ast.Compare(left=left, comparators=[right]):
            return left, right
    return None
