"""Values of a function being built: scalars and vectors with Python's operators, and pointers to them.

``x * y + 1`` on values emits the instructions; a Python number beside a value takes its type. Comparisons follow NumPy:
false where an operand is NaN, except ``!=``. Integers are signed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numpy.typing import DTypeLike

if TYPE_CHECKING:
    from .vector import VectorBuilder

BOOL, INT8, INT32, INT64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
FLOAT, DOUBLE = ir.FloatType(), ir.DoubleType()
_TYPES = {
    np.dtype(np.float32): FLOAT,
    np.dtype(np.float64): DOUBLE,
    np.dtype(np.bool_): BOOL,
    np.dtype(np.int8): INT8,
    np.dtype(np.uint8): INT8,
    np.dtype(np.int32): INT32,
    np.dtype(np.int64): INT64,
}


class _Formatted(ir.FormattedConstant):
    """A constant by its text: llvmlite's own constructor would take the text for a vector apart into letters."""

    def __init__(self, type_: ir.Type, text: str) -> None:
        self.type = type_
        self.constant = text


def element_type(dtype: DTypeLike) -> ir.Type:
    """The LLVM type of one element; raises ValueError for a dtype that kernels do not compute in."""
    try:
        return _TYPES[np.dtype(dtype)]
    except KeyError:
        raise ValueError(
            f"codegen: no native type for dtype {np.dtype(dtype)}; it computes in {list(_TYPES)}"
        ) from None


def type_of(element: ir.Type, lanes: int) -> ir.Type:
    """A vector of ``lanes`` elements, or the element itself where ``lanes`` is 0."""
    return ir.VectorType(element, lanes) if lanes else element


def constant(number: float, type_: ir.Type) -> ir.Constant:
    """A number as a constant of ``type_``, the same in every lane; rounded to the nearest value of its element type."""
    element = type_.element if isinstance(type_, ir.VectorType) else type_
    if isinstance(element, (ir.FloatType, ir.DoubleType)):
        rounded = float(np.float32(number)) if isinstance(element, ir.FloatType) else float(number)
        text = "0x" + struct.pack(">d", rounded).hex()
    else:
        text = str(int(number))
    return _Formatted(type_, text if type_ is element else f"splat ({element} {text})")


class Value:
    """A scalar or vector: ``ir`` is LLVM's value, ``builder`` the :class:`~.vector.VectorBuilder` it belongs to."""

    __slots__ = ("builder", "ir")
    __array_ufunc__ = None  # NumPy's scalars leave the operators to this class
    __hash__ = None  # type: ignore[assignment]  # == emits a comparison

    def __init__(self, builder: VectorBuilder, value: Any) -> None:
        self.builder = builder
        self.ir = value

    @property
    def type(self) -> ir.Type:
        """LLVM's type."""
        return self.ir.type

    @property
    def element(self) -> ir.Type:
        """LLVM's type of one lane."""
        return self.type.element if isinstance(self.type, ir.VectorType) else self.type

    @property
    def lanes(self) -> int:
        """How many lanes a vector has; 0 for a scalar."""
        return self.type.count if isinstance(self.type, ir.VectorType) else 0

    @property
    def is_float(self) -> bool:
        """Whether lanes are floating numbers."""
        return isinstance(self.element, (ir.FloatType, ir.DoubleType))

    def like(self, number: Any) -> Value:
        """``number`` in this value's type; values pass through, scalars are copied into every lane."""
        if not isinstance(number, Value):
            return Value(self.builder, constant(number, self.type))
        return self.builder.splat(number, self.lanes) if self.lanes and not number.lanes else number

    def _pair(self, other: Any) -> tuple[Value, Value]:
        if isinstance(other, Value) and other.lanes and not self.lanes:
            return other.like(self), other
        return self, self.like(other)

    def _arithmetic(self, other: Any, name: str, swap: bool = False) -> Value:
        if _changes_nothing(other, name) and not (swap and name == "sub") and not self.is_float:
            return self
        a, b = self._pair(other)
        if swap:
            a, b = b, a
        emit = self.builder.ir
        if self.is_float:
            return Value(self.builder, getattr(emit, "f" + name)(a.ir, b.ir, flags=self.builder.flags))
        names = {"div": "sdiv", "rem": "srem"}
        return Value(self.builder, getattr(emit, names.get(name, name))(a.ir, b.ir))

    def __add__(self, other: Any) -> Value:
        return self._arithmetic(other, "add")

    def __radd__(self, other: Any) -> Value:
        return self._arithmetic(other, "add", swap=True)

    def __sub__(self, other: Any) -> Value:
        return self._arithmetic(other, "sub")

    def __rsub__(self, other: Any) -> Value:
        return self._arithmetic(other, "sub", swap=True)

    def __mul__(self, other: Any) -> Value:
        return self._arithmetic(other, "mul")

    def __rmul__(self, other: Any) -> Value:
        return self._arithmetic(other, "mul", swap=True)

    def __truediv__(self, other: Any) -> Value:
        return self._arithmetic(other, "div")

    def __rtruediv__(self, other: Any) -> Value:
        return self._arithmetic(other, "div", swap=True)

    def __floordiv__(self, other: Any) -> Value:
        """Integers only, rounding towards zero."""
        return self._arithmetic(other, "div")

    def __mod__(self, other: Any) -> Value:
        """Integers only, with the sign of the dividend."""
        return self._arithmetic(other, "rem")

    def __neg__(self) -> Value:
        if self.is_float:
            return Value(self.builder, self.builder.ir.fneg(self.ir))
        return self.like(0) - self

    def _compare(self, other: Any, relation: str) -> Value:
        a, b = self._pair(other)
        emit = self.builder.ir
        if not a.is_float:
            return Value(self.builder, emit.icmp_signed(relation, a.ir, b.ir))
        compare = emit.fcmp_unordered if relation == "!=" else emit.fcmp_ordered
        return Value(self.builder, compare(relation, a.ir, b.ir))

    def __lt__(self, other: Any) -> Value:
        return self._compare(other, "<")

    def __le__(self, other: Any) -> Value:
        return self._compare(other, "<=")

    def __gt__(self, other: Any) -> Value:
        return self._compare(other, ">")

    def __ge__(self, other: Any) -> Value:
        return self._compare(other, ">=")

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare(other, "==")

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare(other, "!=")

    def _bitwise(self, other: Any, name: str) -> Value:
        a, b = self._pair(other)
        return Value(self.builder, getattr(self.builder.ir, name)(a.ir, b.ir))

    def __and__(self, other: Any) -> Value:
        return self._bitwise(other, "and_")

    def __or__(self, other: Any) -> Value:
        return self._bitwise(other, "or_")

    def __xor__(self, other: Any) -> Value:
        return self._bitwise(other, "xor")

    def __lshift__(self, other: Any) -> Value:
        return self._bitwise(other, "shl")

    def __rshift__(self, other: Any) -> Value:
        return self._bitwise(other, "ashr")

    def __invert__(self) -> Value:
        return self ^ -1 if self.element != BOOL else self ^ 1


def _changes_nothing(other: Any, name: str) -> bool:
    """Whether an integer is the same after an operation with this number: of addresses most are such."""
    return isinstance(other, int) and other == {"add": 0, "sub": 0, "mul": 1}.get(name)


class Pointer:
    """The address of elements of one type; ``p + n`` steps by elements (a Python integer or an integer value)."""

    __slots__ = ("builder", "element", "ir")

    def __init__(self, builder: VectorBuilder, value: Any, element: ir.Type) -> None:
        self.builder = builder
        self.ir = value
        self.element = element

    def __add__(self, offset: Any) -> Pointer:
        if isinstance(offset, int) and offset == 0:
            return self
        index = offset.ir if isinstance(offset, Value) else ir.Constant(INT64, offset)
        address = self.builder.ir.gep(self.ir, [index], inbounds=True, source_etype=self.element)
        return Pointer(self.builder, address, self.element)

    def load(self, offset: Any = 0, lanes: int | None = None, mask: Value | None = None) -> Value:
        """Read ``lanes`` neighbours (default: a register full; 0: one scalar); lanes outside ``mask`` are 0, unread."""
        return self.builder.load(self + offset, lanes, mask)

    def splat(self, offset: Any = 0, lanes: int | None = None) -> Value:
        """One element, copied into every lane."""
        value = self.builder.load(self + offset, 0)
        return self.builder.splat(value, self.builder.lanes_of(self.element) if lanes is None else lanes)

    def store(self, value: Value, offset: Any = 0, mask: Value | None = None) -> None:
        """Write a value; lanes outside ``mask`` are not touched."""
        self.builder.store(value, self + offset, mask)


__all__ = [
    "BOOL",
    "DOUBLE",
    "FLOAT",
    "INT8",
    "INT32",
    "INT64",
    "Pointer",
    "Value",
    "constant",
    "element_type",
    "type_of",
]
