"""Things chosen by name: ``"relu"``, ``"adam"``, ``"sparse_categorical_crossentropy"``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ..errors import OperationError
from ..spelling import did_you_mean

Thing = TypeVar("Thing")


def look_up(kind: str, name: Any, table: Mapping[str, Thing]) -> Thing:
    """The entry of a table, or an error that lists the names and suggests the nearest one."""
    key = name.lower() if isinstance(name, str) else name
    if not isinstance(key, str) or key not in table:
        hint = did_you_mean(str(name), table)
        raise OperationError(f"unknown {kind} {name!r}{hint}; the names are {', '.join(table)}.")
    return table[key]
