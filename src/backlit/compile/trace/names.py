"""Which names of attributes a function's code uses, which it asks for, and whether it makes some up."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from types import CodeType
from typing import Any, NamedTuple

_BY_NAME = frozenset({"getattr", "setattr", "hasattr", "delattr"})
"""Functions whose second argument is the name of an attribute."""

_WHOLE = frozenset({"__dict__", "vars", "dir", "asdict", "astuple", "attrgetter", "methodcaller", "deepcopy", "copy"})
"""Names by which code takes an object apart without saying what is in it."""

_ASKING = frozenset({"getattr", "hasattr", "AttributeError", "Exception", "BaseException", "suppress"})
"""Names of code that lives with an attribute's absence."""


class Names(NamedTuple):
    """The names in a function's code.

    Attributes:
        used: names of variables and attributes, and all its strings, which may be names of attributes or entries.
        asked: those among them of which the code may find out that they are missing.
        made_up: whether it looks for attributes whose names are not among these.
        identity: whether it asks if two objects are one.
    """

    used: frozenset[str]
    asked: frozenset[str]
    made_up: bool
    identity: bool


@lru_cache(maxsize=4096)
def names_of(code: CodeType) -> Names:
    """The names in one function's code, without those defined inside it."""
    used = frozenset(code.co_names).union(_strings(code.co_consts))
    asks = not _ASKING.isdisjoint(code.co_names)
    return Names(used, used if asks else frozenset(), _takes_apart(code) or _makes_up(code), _compares(code))


def _compares(code: CodeType) -> bool:
    """Whether ``is`` compares what is no constant."""
    if dis.opmap["IS_OP"] not in code.co_code[::2]:
        return False
    found = list(dis.get_instructions(code))
    return any(b.opname == "IS_OP" and a.opname != "LOAD_CONST" for a, b in pairwise(found))


def _strings(constants: Any) -> Iterator[str]:
    for x in constants:
        if isinstance(x, str):
            yield x
        elif isinstance(x, (tuple, frozenset)):
            yield from _strings(x)


def _takes_apart(code: CodeType) -> bool:
    """Whether objects are taken apart as a whole; ``copy`` may be the module, but not a method of a container."""
    found = _WHOLE.intersection(code.co_names)
    if found == {"copy"}:
        return any(i.argval == "copy" and i.opname == "LOAD_GLOBAL" for i in dis.get_instructions(code))
    return bool(found)


def _makes_up(code: CodeType) -> bool:
    """Whether ``getattr`` or one of its kind is called with a name that does not stand in the code."""
    if _BY_NAME.isdisjoint(code.co_names):
        return False
    instructions = list(dis.get_instructions(code))
    loads = [i for i, x in enumerate(instructions) if x.argval in _BY_NAME and x.opname.startswith("LOAD_")]
    return not all(_says_the_name(instructions[i + 1 :]) for i in loads)


def _says_the_name(following: list[dis.Instruction]) -> bool:
    """Whether the second argument of a call, whose function was just put on the stack, is a constant."""
    depth, second = 0, None
    for instruction in following:
        if depth < 3 and (instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs):
            return False
        depth += dis.stack_effect(instruction.opcode, instruction.arg)
        if depth == 2:
            second = instruction
        if depth <= 0 or instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
            break
    return second is not None and second.opname == "LOAD_CONST"


__all__ = ["Names", "names_of"]
