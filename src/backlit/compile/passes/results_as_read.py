"""Results of kernels written by hand are made where, and in the order in which, they are read.

Attention's averages are wanted as rows of ``(batch · length, heads · width)``, whatever the order of its own
dimensions, and the gradients of queries, keys and values that are parts of one array are put together in one. A leaf
that can write such arrays does: its result is the array that is read, and what it was before becomes views of that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..ir.build import Builder
from ..ir.layout import Layout, row_major, view_layout
from ..ir.program import Instruction, Program, Value
from ..leaves.leaf import Leaf, Part


def with_results_as_read(program: Program) -> Program:
    """The program with results of leaves replaced by the arrays that permutations and joining make of them."""
    readers = _Readers(program)
    body: list[Instruction] = []
    same: dict[Value, Value] = {}
    for instruction in program.body:
        instruction = instruction.replaced(tuple(same.get(v, v) for v in instruction.operands))
        made = _Made(instruction)
        if instruction.opcode == "leaf" and "parts" not in instruction.params:
            for joined in readers.joined(instruction):
                made.put_together(joined)
            for number, result in enumerate(instruction.results):
                made.reorder(number, readers.chain(result))
        body += made.body()
        same.update(made.same)
    return program.replaced(body, same)


_Parts = Callable[[Builder, Value], dict[int, Value]]
"""What gives the results of a leaf, by their numbers, as views of an array that consists of them."""


class _Joined(NamedTuple):
    """What puts results of one leaf together, the views that lead from each result to it, and those behind it."""

    cat: Instruction
    before: dict[int, list[Instruction]]
    behind: list[Instruction]


class _Readers:
    def __init__(self, program: Program) -> None:
        self.users = program.uses()

    def chain(self, value: Value) -> list[Instruction]:
        """The views, each of the one before, through which a value is read."""
        found: list[Instruction] = []
        while True:
            users = self.users.get(value, [])
            following = next((i for i in users if i.opcode in ("reshape", "permute")), None)
            if following is None or any(i.opcode == "cat" for i in users):
                return found
            found.append(following)
            value = following.result

    def joined(self, leaf: Instruction) -> list[_Joined]:
        """What consists of results of one leaf and nothing else."""
        ends: dict[Value, int] = {}
        chains = [self.chain(result) for result in leaf.results]
        for number, (result, chain) in enumerate(zip(leaf.results, chains, strict=True)):
            ends[chain[-1].result if chain else result] = number
        cats = {i: None for end in ends for i in self.users.get(end, []) if i.opcode == "cat"}
        found = []
        for cat in cats:
            if set(cat.operands) <= ends.keys() and len(set(cat.operands)) == len(cat.operands):
                before = {ends[part]: chains[ends[part]] for part in cat.operands}
                found.append(_Joined(cat, before, self.chain(cat.result)))
        return found


class _Made:
    """An instruction whose results are being replaced."""

    def __init__(self, old: Instruction) -> None:
        self.old = old
        self.leaf: Leaf | None = old.params.get("leaf")
        self.stored: list[Value] = []
        self.views: list[Instruction] = []
        self.same: dict[Value, Value] = {}
        self.layouts: dict[Value, Layout] = {}

    def put_together(self, joined: _Joined) -> None:
        """Make several results as parts of one array, if the leaf can write them so."""
        if any(self.old.results[number] in self.same for number in joined.before):
            return

        def parts(b: Builder, whole: Value) -> dict[int, Value]:
            dim, begin, found = joined.cat.params["dim"], 0, {}
            for part, (number, chain) in zip(joined.cat.operands, joined.before.items(), strict=True):
                starts = tuple(begin if d == dim else 0 for d in range(part.ndim))
                found[number] = _undone(b, chain, b.slice(whole, starts, (1,) * part.ndim, part.shape))
                begin += part.shape[dim]
            return found

        self._made_as(joined.cat.result, joined.behind, 0, parts)

    def reorder(self, number: int, chain: list[Instruction]) -> None:
        """Make one result in the order in which it is read, if the leaf can write it so."""
        value = self.old.results[number]
        turned = [n for n, view in enumerate(chain, 1) if view.opcode == "permute"]
        if turned and value not in self.same:
            self._made_as(value, chain, turned[0], lambda b, whole: {number: whole})

    def _made_as(self, value: Value, chain: list[Instruction], least: int, parts: _Parts) -> None:
        """Make what as many as possible of a chain of views, at least so many, show of what consists of results."""
        for n in range(len(chain), least - 1, -1):
            if self._try(chain[n - 1].result if n else value, chain[:n], parts):
                return

    def _try(self, like: Value, chain: list[Instruction], parts: _Parts) -> bool:
        b, whole = Builder(), Value(like.shape, like.dtype)
        b.mark, b.scope = self.old.mark, self.old.scope
        found = parts(b, _undone(b, chain, whole))
        layouts = {whole: Layout(whole, row_major(whole.shape))}
        for view in b.body:
            layout = view_layout(view, layouts[view.operands[0]])
            if layout is None:
                return False
            layouts[view.result] = layout
        assert self.leaf is not None
        if not all(self.leaf.writes(n, v.shape, layouts[v].strides) for n, v in found.items()):
            return False
        self.stored.append(whole)
        self.views += b.body
        self.same.update({self.old.results[n]: v for n, v in found.items()})
        self.layouts.update(layouts)
        return True

    def body(self) -> list[Instruction]:
        """The instruction with its new results, and the old ones as views of them."""
        if not self.same:
            return [self.old]
        old = self.old
        results = (*self.stored, *[v for v in old.results if v not in self.same])
        parts = []
        for value in old.results:
            layout = self.layouts[self.same[value]] if value in self.same else Layout(value, row_major(value.shape))
            parts.append(Part(results.index(layout.base), value.shape, layout.strides, layout.offset))
        params = {**old.params, "parts": tuple(parts), "meaning": _in_parts(old.params["meaning"], results, parts)}
        return [Instruction("leaf", old.operands, results, params, old.mark, old.scope), *self.views]


def _undone(b: Builder, chain: list[Instruction], value: Value) -> Value:
    """What a chain of views starts from, as views of its end."""
    for view in reversed(chain):
        if view.opcode == "permute":
            dims = view.params["dims"]
            value = b.permute(value, tuple(dims.index(d) for d in range(len(dims))))
        else:
            value = b.reshape(value, view.operands[0].shape)
    return value


def _in_parts(meaning: Callable[..., Any], results: tuple[Value, ...], parts: list[Part]) -> Callable[..., Any]:
    """The same in NumPy, with what it gives put in its place."""

    def placed(*arrays: Any) -> tuple[Any, ...]:
        made = [np.empty(v.shape, v.dtype) for v in results]
        for part, given in zip(parts, meaning(*arrays), strict=True):
            flat = made[part.result].reshape(-1)
            steps = tuple(s * flat.itemsize for s in part.strides)
            np.lib.stride_tricks.as_strided(flat[part.offset :], part.shape, steps)[...] = given
        return tuple(made)

    return placed


__all__ = ["with_results_as_read"]
