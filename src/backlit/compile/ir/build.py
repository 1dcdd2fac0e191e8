"""Appending instructions to a program that is being made, with shapes and dtypes worked out."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from .primitives import dtypes_of
from .program import Instruction, Value

Number = bool | int | float
Operand = Value | Number


class Builder:
    """A list of instructions that grows. ``mark`` and ``scope`` say where the next ones come from."""

    def __init__(self) -> None:
        self.body: list[Instruction] = []
        self.mark: Any = None
        self.scope: Any = None

    def emit(self, opcode: str, operands: Iterable[Value], shape: tuple[int, ...], dtype: Any, **params: Any) -> Value:
        """Append an instruction with one result."""
        value = Value(shape, dtype)
        self.body.append(Instruction(opcode, tuple(operands), (value,), params, self.mark, self.scope))
        return value

    def require(self, wrong: Value) -> None:
        """Go on only if a 0-d floating value is 0; otherwise nothing is written, and the function runs eagerly."""
        self.body.append(Instruction("require", (wrong,), (), {}, self.mark, self.scope))

    # -- elementwise ------------------------------------------------------------------------------------------------

    def constant(self, number: Any, dtype: Any) -> Value:
        """A 0-d constant."""
        dtype = np.dtype(dtype)
        return self.emit("constant", (), (), dtype, value=dtype.type(number).item())

    def elementwise(self, opcode: str, *operands: Operand) -> Value:
        """An elementwise function of values and Python numbers, broadcast; conversions are written out."""
        made, wanted = dtypes_of(opcode, tuple([x.dtype if x.__class__ is Value else type(x) for x in operands]))
        values, shapes = [], set()
        for x, dtype in zip(operands, wanted, strict=True):
            if x.__class__ is not Value or (dtype is not None and x.dtype is not dtype):
                x = self.as_value(x, dtype)
            values.append(x)
            if x.shape:
                shapes.add(x.shape)
        shape = np.broadcast_shapes(*shapes) if len(shapes) > 1 else next(iter(shapes), ())
        return self.emit(opcode, values, shape, made)

    def as_value(self, x: Operand, dtype: Any) -> Value:
        """A number as a constant, a value converted to ``dtype`` (None: as it is)."""
        if isinstance(x, Value):
            return x if dtype is None else self.cast(x, dtype)
        return self.constant(x, np.dtype(type(x)) if dtype is None else dtype)

    def cast(self, x: Value, dtype: Any) -> Value:
        """Convert to another dtype as ``astype`` does."""
        dtype = np.dtype(dtype)
        return x if x.dtype == dtype else self.emit("cast", (x,), x.shape, dtype)

    def iota(self, count: int) -> Value:
        """0, 1, 2 … as int64."""
        return self.emit("iota", (), (count,), np.dtype(np.int64))

    # -- shape ------------------------------------------------------------------------------------------------------

    def reshape(self, x: Value, shape: tuple[int, ...]) -> Value:
        """The same elements in row-major order in another shape; one size may be −1."""
        if -1 in shape:
            rest = prod(n for n in shape if n != -1)
            shape = tuple((x.size // rest if rest else 0) if n == -1 else n for n in shape)
        return x if x.shape == shape else self.emit("reshape", (x,), tuple(shape), x.dtype)

    def permute(self, x: Value, dims: tuple[int, ...]) -> Value:
        """Dimensions reordered."""
        dims = tuple(d % x.ndim for d in dims)
        if dims == tuple(range(x.ndim)):
            return x
        return self.emit("permute", (x,), tuple(x.shape[d] for d in dims), x.dtype, dims=dims)

    def expand(self, x: Value, shape: tuple[int, ...]) -> Value:
        """Dimensions of size 1 stretched, missing ones put in front."""
        return x if x.shape == tuple(shape) else self.emit("expand", (x,), tuple(shape), x.dtype)

    def slice(self, x: Value, starts: tuple[int, ...], steps: tuple[int, ...], shape: tuple[int, ...]) -> Value:
        """Elements ``start + step · i`` of each dimension."""
        return self.emit("slice", (x,), shape, x.dtype, starts=starts, steps=steps)

    # -- sums and products ------------------------------------------------------------------------------------------

    def reduce(self, kind: str, x: Value, axis: Any = None, keepdims: bool = False) -> Value:
        """``"sum"``, ``"max"``, ``"min"`` (both NaN where one is) or ``"prod"`` over ``axis``."""
        axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        over = tuple(sorted({a % x.ndim for a in axes})) if x.ndim else ()
        if not over:
            return x
        kept = tuple(1 if i in over else n for i, n in enumerate(x.shape))
        made = self.emit("reduce", (x,), kept, x.dtype, kind=kind, axes=over)
        return made if keepdims else self.reshape(made, tuple(n for i, n in enumerate(x.shape) if i not in over))

    def matmul(self, a: Value, b: Value) -> Value:
        """The product of matrices, batched over leading dimensions that broadcast; both have at least 2."""
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return self.emit("matmul", (a, b), (*lead, a.shape[-2], b.shape[-1]), a.dtype)
