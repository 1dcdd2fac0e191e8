"""A program as text: everything that its machine code follows from, and nothing else.

Programs that differ in names, numbers of values, lines and modules only have the same text.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from .program import Program, Value

_PLAIN = frozenset({bool, int, float, str, type(None)})

_UNREAD = frozenset({"meaning", "draw"})
"""Settings that say the same once more, as functions of arrays."""


class Unwritable(Exception):
    """Something has no text of its own, such as a Python function that a program calls."""


def text_of(program: Program) -> str:
    """The text of a program.

    Raises:
        Unwritable: the program calls Python functions.
    """
    number: dict[Value, int] = {value: i for i, value in enumerate(program.inputs)}
    forms = _Forms()
    lines: list[Any] = [[forms[value.shape, value.dtype] for value in program.inputs]]
    for instruction in program.body:
        line: list[Any] = [instruction.opcode]
        line += [number[v] for v in instruction.operands]
        for value in instruction.results:
            number[value] = len(number)
            line.append(forms[value.shape, value.dtype])
        if instruction.params:
            line.append([(name, _written(x)) for name, x in instruction.params.items() if name not in _UNREAD])
        lines.append(line)
    writes = [(number[target], number[value]) for target, value in program.writes]
    return repr((lines, [number[v] for v in program.outputs], writes))


class _Forms(dict[Any, str]):
    """Shapes and dtypes as text, each written once."""

    def __missing__(self, form: Any) -> str:
        shape, dtype = form
        text = self[form] = f"{None if dtype is None else dtype.str}{shape}"
        return text


def _written(x: Any) -> Any:
    """A setting as plain data."""
    kind: Any = type(x)
    if kind in _PLAIN:
        return x
    if kind is tuple or kind is list:
        return [kind.__name__, *(x if _PLAIN.issuperset(map(type, x)) else map(_written, x))]
    if isinstance(x, np.dtype):
        return x.str
    names = _fields_of(kind)
    if names is None:
        raise Unwritable(f"{x!r} has no text")
    return kind.__qualname__, [(name, _written(getattr(x, name))) for name in names]


@cache
def _fields_of(kind: type) -> tuple[str, ...] | None:
    """The names of a dataclass's fields that count; None for another class."""
    if not is_dataclass(kind):
        return None
    return tuple([field.name for field in fields(kind) if field.name not in _UNREAD])


__all__ = ["Unwritable", "text_of"]
