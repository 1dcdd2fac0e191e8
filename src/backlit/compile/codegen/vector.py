"""A builder of functions over explicit vectors: loads and stores, multiply-add, selection, sums, loops.

>>> module = ir.Module()
>>> with function(module, "double_all", ["float32", "float32"]) as (b, x, y):  # y[i] = 2 x[i] for i < 100
...     b.sweep(100, lambda i, mask: y.store(x.load(i, mask=mask) * 2.0, i, mask))

Kernels are written with :class:`Value` operators and the methods here. Floating-point flags are ``contract`` unless a
kernel asks for others: products and sums may fuse, nothing else changes, so NaN, infinity and signed zero flow as
written.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import DTypeLike

from ...memory import LINE
from .target import Target, host_target
from .values import BOOL, DOUBLE, FLOAT, INT8, INT32, INT64, Pointer, Value, constant, element_type, type_of

_BITS = {FLOAT: INT32, DOUBLE: INT64}
_BYTES = {FLOAT: 4, DOUBLE: 8, INT32: 4, INT64: 8, INT8: 1, BOOL: 1}


class VectorBuilder:
    """Emits instructions at the end of ``builder``'s block.

    ``dtype`` is the floating type of the kernel and ``lanes`` how many of them a register of ``target`` holds.
    """

    def __init__(
        self,
        builder: ir.IRBuilder,
        target: Target | None = None,
        dtype: DTypeLike = np.float32,
        flags: Sequence[str] = ("contract",),
    ) -> None:
        self.ir = builder
        self.target = target or host_target()
        self.element = element_type(dtype)
        self.lanes = self.target.lanes(dtype)
        self.flags = tuple(flags)

    @property
    def bytes(self) -> int:
        """Bytes of one element of the kernel's floating type."""
        return _BYTES[self.element]

    def inside(self, function: ir.Function) -> VectorBuilder:
        """A builder with the same settings for another function's first block."""
        other = copy.copy(self)
        other.ir = ir.IRBuilder(function.append_basic_block("entry"))
        return other

    # Constants and conversions

    def lanes_of(self, element: ir.Type) -> int:
        """As many elements as the kernel's vectors have lanes, so that masks and indices line up with them."""
        return max(self.target.vector_bytes // _BYTES[element], 1) if element in _BITS else self.lanes

    def a_line(self, element: ir.Type) -> int:
        """How many elements a cache line holds."""
        return LINE // _BYTES[element]

    def number(self, number: float, lanes: int | None = None) -> Value:
        """A constant of the kernel's floating type in every lane (``lanes=0``: a scalar)."""
        return Value(self, constant(number, type_of(self.element, self.lanes if lanes is None else lanes)))

    def index(self, number: Any) -> Value:
        """A Python integer as a 64-bit value."""
        return number if isinstance(number, Value) else Value(self, ir.Constant(INT64, number))

    def splat(self, scalar: Value, lanes: int | None = None) -> Value:
        """A scalar copied into every lane."""
        lanes = self.lanes if lanes is None else lanes
        if not lanes or scalar.lanes:
            return scalar
        empty = ir.Constant(type_of(scalar.element, lanes), ir.Undefined)
        first = self.ir.insert_element(empty, scalar.ir, ir.Constant(INT32, 0))
        return Value(self, self.ir.shuffle_vector(first, empty, _order((0,) * lanes)))

    def iota(self, element: ir.Type = INT32, lanes: int | None = None) -> Value:
        """0, 1, 2 … in the lanes."""
        lanes = lanes or self.lanes
        return Value(self, ir.Constant(type_of(element, lanes), [ir.Constant(element, i) for i in range(lanes)]))

    def first(self, count: Any, lanes: int | None = None) -> Value:
        """The mask that is true in the first ``count`` lanes (a Python integer or an integer scalar)."""
        lanes = lanes or self.lanes
        if isinstance(count, int):
            bits = [ir.Constant(BOOL, int(i < count)) for i in range(lanes)]
            return Value(self, ir.Constant(type_of(BOOL, lanes), bits))
        return self.iota(count.element, lanes) < count

    def bits_of(self, element: ir.Type) -> ir.Type:
        """The integers of a floating type's width."""
        return _BITS[element]

    def bits(self, x: Value) -> Value:
        """A floating value's bits as integers of the same width."""
        return Value(self, self.ir.bitcast(x.ir, type_of(_BITS[x.element], x.lanes)))

    def from_bits(self, x: Value) -> Value:
        """Integers read as the bits of floating numbers of the same width."""
        element = FLOAT if x.element == INT32 else DOUBLE
        return Value(self, self.ir.bitcast(x.ir, type_of(element, x.lanes)))

    def convert(self, x: Value, element: ir.Type) -> Value:
        """Between integers and floats and between widths; floats outside an integer's range saturate, NaN gives 0."""
        if x.element == element:
            return x
        wanted = type_of(element, x.lanes)
        if x.is_float and element in _BITS:
            widen = _BYTES[element] > _BYTES[x.element]
            return Value(self, (self.ir.fpext if widen else self.ir.fptrunc)(x.ir, wanted))
        if x.is_float:
            return Value(self, self.call("llvm.fptosi.sat", wanted, [x.ir], [wanted, x.type]))
        if element in _BITS:
            return Value(self, (self.ir.uitofp if x.element == BOOL else self.ir.sitofp)(x.ir, wanted))
        if element.width < x.element.width:
            return Value(self, self.ir.trunc(x.ir, wanted))
        return Value(self, (self.ir.zext if x.element in (BOOL, INT8) else self.ir.sext)(x.ir, wanted))

    # Memory

    def pointer(self, address: Any, element: ir.Type | None = None) -> Pointer:
        """An LLVM pointer as :class:`Pointer` to ``element`` (default: the kernel's floating type)."""
        return Pointer(self, address, element or self.element)

    def array(self, count: int, element: ir.Type | None = None) -> Pointer:
        """``count`` elements on the stack, aligned for vectors. Call it before any loop."""
        element = element or self.element
        with self.ir.goto_entry_block():
            space = self.ir.alloca(element, count)
        space.align = LINE
        space.type = ir.PointerType()  # llvmlite still gives it a typed pointer, which LLVM no longer reads
        return Pointer(self, space, element)

    def load(self, address: Pointer, lanes: int | None = None, mask: Value | None = None) -> Value:
        """See :meth:`Pointer.load`."""
        lanes = self.lanes_of(address.element) if lanes is None else lanes
        wanted = type_of(address.element, lanes)
        align = _BYTES[address.element]
        if mask is None:
            return Value(self, self.ir.load(address.ir, typ=wanted, align=align))
        arguments = [address.ir, ir.Constant(INT32, align), mask.ir, constant(0, wanted)]
        return Value(self, self.call("llvm.masked.load", wanted, arguments, [wanted, ir.PointerType()]))

    def store(self, value: Value, address: Pointer, mask: Value | None = None) -> None:
        """See :meth:`Pointer.store`."""
        align = _BYTES[address.element]
        only = _only_lane(mask)
        if mask is None or only is not None:
            # LLVM (22) turns a masked store of one known lane of narrowed integers into a store of the wide ones.
            stored = value if only is None else self.lane(value, only)
            self.ir.store(stored.ir, (address + (only or 0)).ir, align=align)
            return
        arguments = [value.ir, address.ir, ir.Constant(INT32, align), mask.ir]
        self.call("llvm.masked.store", ir.VoidType(), arguments, [value.type, ir.PointerType()])

    def prefetch(self, address: Pointer, count: int = 1, near: int = 3, write: bool = False) -> None:
        """Ask for so many elements from an address on, which will be read or written soon: into a first-level cache,
        or only a second-level one with ``near`` 2."""
        numbers = [ir.Constant(INT32, x) for x in (int(write), near, 1)]  # what for, how near, data
        for place in range(0, count, self.a_line(address.element)):
            line = address + place
            self.call("llvm.prefetch", ir.VoidType(), [line.ir, *numbers], [ir.PointerType()])

    # Arithmetic

    def call(self, name: str, result: ir.Type, arguments: Sequence[Any], overloads: Sequence[ir.Type] = ()) -> Any:
        """Call an intrinsic, whose name carries the types that it is overloaded by."""
        full = name + "".join("." + _spelled(t) for t in overloads)
        known = self.ir.module.globals.get(full)
        if known is None:
            known = ir.Function(self.ir.module, ir.FunctionType(result, [a.type for a in arguments]), full)
        return self.ir.call(known, arguments)

    def intrinsic(self, name: str, *operands: Value) -> Value:
        """``llvm.<name>`` of operands of one type, which is also the result's."""
        return Value(self, self.call(f"llvm.{name}", operands[0].type, [x.ir for x in operands], [operands[0].type]))

    def fma(self, a: Value, b: Any, c: Any) -> Value:
        """``a b + c``, rounded once: in one instruction where there is one, slowly elsewhere."""
        return self.intrinsic("fma", a, a.like(b), a.like(c))

    def muladd(self, a: Value, b: Any, c: Any) -> Value:
        """``a b + c``, rounded once where that is one instruction, twice elsewhere."""
        return self.intrinsic("fma" if self.target.fma else "fmuladd", a, a.like(b), a.like(c))

    def where(self, condition: Any, x: Any, y: Any) -> Value:
        """``x`` in lanes where the condition holds, ``y`` elsewhere."""
        if not isinstance(condition, Value):
            return x if condition else y
        if not isinstance(x, Value):
            typed = y if isinstance(y, Value) else self.number(0, condition.lanes)
            x = typed.like(x)
        y = x.like(y)
        x = y.like(x)
        return Value(self, self.ir.select(self.splat(condition, x.lanes).ir, x.ir, y.ir))

    def maximum(self, x: Value, y: Any) -> Value:
        """The larger; NaN where either is NaN, like ``numpy.maximum``."""
        return self._extreme(x, y, lambda a, b: a > b)

    def minimum(self, x: Value, y: Any) -> Value:
        """The smaller; NaN where either is NaN, like ``numpy.minimum``."""
        return self._extreme(x, y, lambda a, b: a < b)

    def _extreme(self, x: Any, y: Any, beats: Callable[[Value, Value], Value]) -> Value:
        if not isinstance(x, Value):
            x, y = y, x
        if not isinstance(y, Value):  # a number is not NaN: one instruction, whose second operand passes NaN on
            number = x.like(y)
            return self.where(beats(number, x), number, x)
        y = x.like(y)
        x = y.like(x)
        larger = self.where(beats(x, y), x, y)
        return self.where(x != x, x, larger) if x.is_float else larger

    # Across lanes

    def sum(self, x: Value) -> Value:
        """All lanes added, pairwise by halves."""
        return self._fold_lanes(x, lambda a, b: a + b)

    def prod(self, x: Value) -> Value:
        """All lanes multiplied, pairwise by halves."""
        return self._fold_lanes(x, lambda a, b: a * b)

    def max(self, x: Value) -> Value:
        """The largest lane, NaN where any lane is."""
        return self._fold_lanes(x, self.maximum)

    def min(self, x: Value) -> Value:
        """The smallest lane, NaN where any lane is."""
        return self._fold_lanes(x, self.minimum)

    def _fold_lanes(self, x: Value, combine: Callable[[Value, Value], Value]) -> Value:
        count = x.lanes
        if count & (count - 1):
            raise ValueError(f"codegen: a fold over {count} lanes; the number of lanes must be a power of two")
        while count > 1:
            count //= 2
            x = combine(self.lanes_at(x, range(count)), self.lanes_at(x, range(count, 2 * count)))
        return self.lane(x, 0)

    def any(self, mask: Value) -> Value:
        """Whether the mask is true in any lane."""
        return Value(self, self.call("llvm.vector.reduce.or", BOOL, [mask.ir], [mask.type]))

    def lane(self, x: Value, i: int) -> Value:
        """One lane as a scalar."""
        return Value(self, self.ir.extract_element(x.ir, ir.Constant(INT32, i)))

    def lanes_at(self, x: Value, order: Sequence[int], y: Value | None = None) -> Value:
        """The lanes of ``x`` (and, counted on, of ``y``) picked by a constant order."""
        other = ir.Constant(x.type, ir.Undefined) if y is None else y.ir
        return Value(self, self.ir.shuffle_vector(x.ir, other, _order(tuple(order))))

    # Control

    def loop(
        self,
        start: Any,
        stop: Any,
        step: int,
        body: Callable[..., Sequence[Value] | None],
        carried: Sequence[Value] = (),
    ) -> list[Value]:
        """Run ``body(i, *carried)`` for i in ``range(start, stop, step)``; it returns the next carried values.

        Bounds are Python integers or 64-bit values; the carried values after the last round are returned. A loop of no
        rounds emits nothing, and one of a single known round emits the body alone with a Python integer as ``i``.
        """
        known = isinstance(start, int) and isinstance(stop, int)
        rounds = len(range(start, stop, step)) if known else None
        if rounds == 0:
            return list(carried)
        if rounds == 1:
            return list(body(start, *carried) or ())
        return self._emit_loop(self.index(start), self.index(stop), step, body, carried, bool(rounds))

    def _emit_loop(
        self, start: Value, stop: Value, step: int, body: Any, carried: Sequence[Value], runs: bool
    ) -> list[Value]:
        """A loop tested at its end; one that may have no rounds is jumped over by a test before it."""
        emit = self.ir
        before = emit.block
        inside, after = emit.append_basic_block("loop"), emit.append_basic_block("after")
        if runs:
            emit.branch(inside)
        else:
            emit.cbranch((start < stop).ir, inside, after)
        emit.position_at_end(inside)
        index = emit.phi(INT64)
        index.add_incoming(start.ir, before)
        phis = [emit.phi(x.type) for x in carried]
        for phi, x in zip(phis, carried, strict=True):
            phi.add_incoming(x.ir, before)
        following = list(body(Value(self, index), *[Value(self, phi) for phi in phis]) or ())
        behind = emit.block
        index_next = emit.add(index, ir.Constant(INT64, step), flags=("nsw",))
        index.add_incoming(index_next, behind)
        for phi, x in zip(phis, following, strict=True):
            phi.add_incoming(x.ir, behind)
        emit.cbranch(emit.icmp_signed("<", index_next, stop.ir), inside, after)
        emit.position_at_end(after)
        if runs:
            return following
        return [Value(self, self._either(x, before, y, behind)) for x, y in zip(carried, following, strict=True)]

    def _either(self, x: Value, before: Any, y: Value, behind: Any) -> Any:
        phi = self.ir.phi(x.type)
        phi.add_incoming(x.ir, before)
        phi.add_incoming(y.ir, behind)
        return phi

    def sweep(self, count: int, body: Callable[[Any, Value | None], None], unroll: int = 1) -> None:
        """Run ``body(i, mask)`` for every vector of ``range(count)``; the mask is None but for the ragged last one."""
        step, whole = self.lanes * unroll, count - count % self.lanes

        def several(i: Any) -> None:
            for u in range(unroll):
                body(i + u * self.lanes, None)

        unrolled = whole - whole % step
        self.loop(0, unrolled, step, several)
        for i in range(unrolled, whole, self.lanes):
            body(i, None)
        if whole < count:
            body(whole, self.first(count - whole))

    def either(
        self, condition: Value, yes: Callable[[], Sequence[Value] | None], no: Callable[[], Sequence[Value] | None]
    ) -> list[Value]:
        """Run one of two pieces of code by a scalar condition; what the one that ran returned is returned."""
        with self.ir.if_else(condition.ir) as (then, otherwise):
            with then:
                first = list(yes() or ())
                after_first = self.ir.block
            with otherwise:
                second = list(no() or ())
                after_second = self.ir.block
        return [Value(self, self._either(x, after_first, y, after_second)) for x, y in zip(first, second, strict=True)]

    @contextmanager
    def when(self, condition: Value, likely: bool | None = None) -> Iterator[None]:
        """Emit a block that runs only where a scalar condition holds."""
        with self.ir.if_then(condition.ir, likely=likely):
            yield

    def patched(self, value: Value, rare: Value, slow: Callable[[], Value]) -> Value:
        """``value``, but ``slow()`` in the lanes of ``rare``; the slow code is jumped over where there are none."""
        emit, before = self.ir, self.ir.block
        with self.when(self.any(rare) if rare.lanes else rare, likely=False):
            repaired = self.where(rare, slow(), value)
            behind = emit.block
        return Value(self, self._either(value, before, repaired, behind))

    @contextmanager
    def flagged(self, *flags: str) -> Iterator[None]:
        """Other floating-point flags for the operators in a block; none at all for code that counts roundings."""
        kept, self.flags = self.flags, flags
        try:
            yield
        finally:
            self.flags = kept


@functools.cache
def _order(lanes: tuple[int, ...]) -> ir.Constant:
    """A constant vector of lane numbers, made once: the same few come again and again."""
    return ir.Constant(type_of(INT32, len(lanes)), [ir.Constant(INT32, i) for i in lanes])


def _only_lane(mask: Value | None) -> int | None:
    """The lane of a constant mask that is true in no other."""
    lanes = getattr(mask.ir, "constant", None) if mask is not None else None
    if not isinstance(lanes, (list, tuple)):
        return None
    inside = [i for i, lane in enumerate(lanes) if lane.constant]
    return inside[0] if len(inside) == 1 else None


def _spelled(type_: ir.Type) -> str:
    """A type as intrinsic names spell it: v8f32, f64, p0."""
    if isinstance(type_, ir.VectorType):
        return f"v{type_.count}{_spelled(type_.element)}"
    if isinstance(type_, ir.PointerType):
        return "p0"
    if isinstance(type_, ir.IntType):
        return f"i{type_.width}"
    return "f32" if type_ == FLOAT else "f64"


@contextmanager
def function(
    module: ir.Module,
    name: str,
    pointers: Sequence[DTypeLike],
    target: Target | None = None,
    dtype: DTypeLike = np.float32,
) -> Iterator[tuple[Any, ...]]:
    """Define ``void name(pointer, …)`` in a module and yield its builder followed by the pointers.

    ``pointers`` are the element dtypes that the arguments point to.
    """
    kind = ir.FunctionType(ir.VoidType(), [ir.PointerType()] * len(pointers))
    defined = ir.Function(module, kind, name)
    builder = VectorBuilder(ir.IRBuilder(defined.append_basic_block("entry")), target, dtype)
    addresses = [builder.pointer(a, element_type(t)) for a, t in zip(defined.args, pointers, strict=True)]
    yield (builder, *addresses)
    builder.ir.ret_void()


__all__ = ["VectorBuilder", "function"]
