"""What follows a matrix product elementwise is computed in the product's own rows and columns.

``f(reshape(y))`` becomes ``reshape(f(y))`` where y is a product, or was computed from one in this way: a layer on
``(batch, length, width)`` runs its product on ``(batch · length, width)``, and a loop over that space can be the
product's epilogue. Sums over the leading dimensions follow.
"""

from __future__ import annotations

from math import prod

from ..ir.build import Builder
from ..ir.primitives import MEANING
from ..ir.program import Instruction, Program, Value

Shape = tuple[int, ...]


def with_products_spaces(program: Program) -> Program:
    """The program with reshapes moved behind what is elementwise."""
    return _Spaces(program).run()


class _Spaces:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.builder = Builder()
        self.same: dict[Value, Value] = {}
        self.makers: dict[Value, Instruction] = {}
        self.rows: set[Value] = set()
        """Matrices that are products, or computed from products element by element."""

    def run(self) -> Program:
        for instruction in self.program.body:
            instruction = instruction.replaced(tuple(self.same.get(v, v) for v in instruction.operands))
            self.builder.mark, self.builder.scope = instruction.mark, instruction.scope
            start = len(self.builder.body)
            moved = self.moved(instruction)
            if moved is None:
                self.builder.body.append(instruction)
            else:
                self.same[instruction.result] = moved
            for made in self.builder.body[start:]:
                self.makers.update(dict.fromkeys(made.results, made))
                if self.follows_product(made):
                    self.rows.add(made.result)
        return self.program.replaced(self.builder.body, self.same)

    def follows_product(self, i: Instruction) -> bool:
        if i.opcode == "matmul":
            return i.result.ndim == 2
        return _elementwise(i) and any(x in self.rows and x.shape == i.result.shape for x in i.operands)

    def moved(self, i: Instruction) -> Value | None:
        """The result of an instruction computed in the space of a product, as a reshape; None where that is not
        possible."""
        if not (_elementwise(i) or i.opcode == "reduce"):
            return None
        space = i.result.shape if i.opcode != "reduce" else i.operands[0].shape
        for x in i.operands:
            maker = self.makers.get(x)
            if maker is None or maker.opcode != "reshape" or maker.operands[0] not in self.rows or x.shape != space:
                continue
            groups = _groups(space, maker.operands[0].shape)
            if groups is not None:
                return self.reduced(i, groups) if i.opcode == "reduce" else self.computed(i, groups)
        return None

    def computed(self, i: Instruction, groups: list[Shape]) -> Value | None:
        shapes = [_merged(x.shape, groups) for x in i.operands]
        if None in shapes:
            return None
        operands = [self.reshaped(x, shape) for x, shape in zip(i.operands, shapes, strict=True) if shape is not None]
        made = self.builder.emit(i.opcode, operands, tuple(map(prod, groups)), i.result.dtype, **i.params)
        return self.builder.reshape(made, i.result.shape)

    def reduced(self, i: Instruction, groups: list[Shape]) -> Value | None:
        axes, first = [], 0
        for place, group in enumerate(groups):
            inside = [d in i.params["axes"] for d in range(first, first + len(group))]
            if any(inside) and not all(inside):
                return None
            axes += [place] * any(inside)
            first += len(group)
        x = self.reshaped(i.operands[0], tuple(map(prod, groups)))
        return self.builder.reshape(self.builder.reduce(i.params["kind"], x, tuple(axes), True), i.result.shape)

    def reshaped(self, x: Value, shape: Shape) -> Value:
        """A reshape, of what was reshaped where that is so."""
        maker = self.makers.get(x)
        while maker is not None and maker.opcode == "reshape" and x.shape != shape:
            x = maker.operands[0]
            maker = self.makers.get(x)
        return self.builder.reshape(x, shape)


def _elementwise(i: Instruction) -> bool:
    return i.opcode in MEANING or i.opcode == "cast"


def _groups(shape: Shape, merged: Shape) -> list[Shape] | None:
    """The neighbouring dimensions of ``shape`` that make up each one of ``merged``; None where they do not."""
    groups: list[Shape] = []
    first = 0
    for size in merged:
        end = first + 1
        while end <= len(shape) and prod(shape[first:end]) < size:
            end += 1
        if end > len(shape) or prod(shape[first:end]) != size:
            return None
        groups.append(shape[first:end])
        first = end
    if prod(shape[first:]) != 1:
        return None
    groups[-1] += shape[first:]
    return groups


def _merged(shape: Shape, groups: list[Shape]) -> Shape | None:
    """The shape of an operand when dimensions are merged; None where it is stretched along a part of a group."""
    full = (1,) * (sum(map(len, groups)) - len(shape)) + shape
    found, first = [], 0
    for group in groups:
        own = full[first : first + len(group)]
        if own != group and prod(own) != 1:
            return None
        found.append(prod(own))
        first += len(group)
    return tuple(found)


__all__ = ["with_products_spaces"]
