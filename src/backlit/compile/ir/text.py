"""A program as text: everything that its machine code follows from, and nothing else.

Programs that differ in names, numbers of values, lines and modules only have the same text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from .program import Instruction, Program, Value

_PLAIN = (bool, int, float, str, type(None))

_UNREAD = frozenset({"meaning", "draw"})
"""Settings that say the same once more, as functions of arrays."""


class Unwritable(Exception):
    """Something has no text of its own, such as a Python function that a program calls."""


def text_of(program: Program) -> str:
    """The text of a program.

    Raises:
        Unwritable: the program calls Python functions.
    """
    number: dict[Value, int] = {}
    forms = _Forms()
    for value in program.inputs:
        number[value] = len(number)
    lines = [" ".join([forms[value.shape, value.dtype] for value in program.inputs])]
    lines += [_line(instruction, number, forms) for instruction in program.body]
    writes = [(number[target], number[value]) for target, value in program.writes]
    return "\n".join([*lines, repr(([number[v] for v in program.outputs], writes))])


def _line(instruction: Instruction, number: dict[Value, int], forms: _Forms) -> str:
    operands = [number[v] for v in instruction.operands]
    made = []
    for value in instruction.results:
        number[value] = len(number)
        made.append(forms[value.shape, value.dtype])
    settings = _settings(instruction.params.items()) if instruction.params else ""
    return f"{instruction.opcode} {operands} {' '.join(made)} {settings}"


class _Forms(dict[Any, str]):
    """Shapes and dtypes as text, each written once."""

    def __missing__(self, form: Any) -> str:
        shape, dtype = form
        text = self[form] = f"{None if dtype is None else dtype.str}{shape}"
        return text


def _settings(items: Iterable[tuple[str, Any]]) -> Any:
    return [(name, _written(x)) for name, x in items if name not in _UNREAD]


def _written(x: Any) -> Any:
    """A setting as plain data."""
    if type(x) in _PLAIN:
        return x
    if type(x) in (tuple, list):
        return [type(x).__name__, *map(_written, x)]
    if isinstance(x, np.dtype):
        return x.str
    if is_dataclass(x) and not isinstance(x, type):
        return type(x).__qualname__, _settings((f.name, getattr(x, f.name)) for f in fields(x))
    raise Unwritable(f"{x!r} has no text")


__all__ = ["Unwritable", "text_of"]
