"""Rows taken from a table by number, added up in one, or put into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..codegen.row_lookup import RowLookup, emit_add, emit_put, emit_take
from ..codegen.target import Target
from .leaf import Leaf


@dataclass(frozen=True)
class TakeRows(Leaf):
    """``table, numbers → rows, how many numbers lie outside``."""

    spec: RowLookup

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_take(module, name, self.spec, target)


@dataclass(frozen=True)
class AddRows(Leaf):
    """``rows, numbers → table``, zeros but for the sums of rows with the same number."""

    spec: RowLookup

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_add(module, name, self.spec, target)


@dataclass(frozen=True)
class PutRows(Leaf):
    """``table before, rows, numbers → table``; of rows with the same number the last one stays."""

    spec: RowLookup

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_put(module, name, self.spec, target)

    def arguments(self, operands: Sequence[Any], results: Sequence[Any], workspace: Any) -> list[Any]:
        before, rows, numbers = operands
        return [before, rows, numbers, *results]
