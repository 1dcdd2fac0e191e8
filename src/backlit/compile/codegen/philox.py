"""Random bits where they are used: the generator of :mod:`backlit.random`, Philox 4×64 with ten rounds.

(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.) Word n of a stream depends on nothing but n and
the stream's keys, so code may make any words, in any order, and gives those that NumPy's implementation gives in turn.
A processor multiplies two 64-bit words in one instruction; ten rounds of two such products make four words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .target import Target
from .values import BOOL, INT8, INT32, INT64, Pointer, Value
from .vector import VectorBuilder, function

ROUNDS = 10
MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
WEYL = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
INT128 = ir.IntType(128)


@dataclass(frozen=True)
class Chances:
    """``count`` truth values, each from 32 bits of a stream: whether they are below ``threshold``."""

    count: int
    threshold: int


def emit_chances(module: ir.Module, name: str, spec: Chances, target: Target | None = None) -> ir.Function:
    """Define ``void name(stream, skip, out)``.

    ``stream`` (int64) holds the number of words that are used up, the three higher words of the counter and the two
    keys; ``skip[0]`` (int64) says how many further words belong to others; ``out`` are ``count`` bytes.
    """
    with function(module, name, ["int64", "int64", "uint8"], target) as (b, stream, skip, out):
        used, *rest = (stream.load(i, 0) for i in range(6))
        first = used + skip.load(0, 0)
        block = Value(b, b.ir.lshr(first.ir, ir.Constant(INT64, 2)))
        halves = (first - block * 4) * 2  # of the first block, that are used up

        def of_block(j: Any) -> None:
            words = philox(b, [block + j + 1, *rest[:3]], rest[3:])
            below = _below(b, words, spec.threshold)
            _store_chosen(b, below, out, j * 8 - halves, spec.count)

        b.loop(0, (spec.count + 1) // 8 + 2, 1, of_block)
    return module.globals[name]


def philox(b: VectorBuilder, counter: list[Value], keys: list[Value]) -> list[Value]:
    """The four words of a counter."""
    a, c, d, e = counter
    k, m = keys
    for i in range(ROUNDS):
        if i:
            k, m = k + _word(b, WEYL[0]), m + _word(b, WEYL[1])
        high, low = _product(b, a, MULTIPLIERS[0])
        other_high, other_low = _product(b, d, MULTIPLIERS[1])
        a, c, d, e = other_high ^ c ^ k, other_low, high ^ e ^ m, low
    return [a, c, d, e]


def _word(b: VectorBuilder, number: int) -> Value:
    return Value(b, ir.Constant(INT64, number))


def _product(b: VectorBuilder, x: Value, multiplier: int) -> tuple[Value, Value]:
    """The high and the low word of a product."""
    whole = b.ir.mul(b.ir.zext(x.ir, INT128), ir.Constant(INT128, multiplier))
    high = b.ir.trunc(b.ir.lshr(whole, ir.Constant(INT128, 64)), INT64)
    return Value(b, high), Value(b, b.ir.trunc(whole, INT64))


def _below(b: VectorBuilder, words: list[Value], threshold: int) -> Any:
    """Which of the eight halves of four words, lower ones first, are below a threshold: eight bytes."""
    vector: Any = ir.Constant(ir.VectorType(INT64, 4), ir.Undefined)
    for i, word in enumerate(words):
        vector = b.ir.insert_element(vector, word.ir, ir.Constant(INT32, i))
    halves = b.ir.bitcast(vector, ir.VectorType(INT32, 8))
    limit = ir.Constant(ir.VectorType(INT32, 8), [ir.Constant(INT32, threshold)] * 8)
    return b.ir.zext(b.ir.icmp_unsigned("<", halves, limit), ir.VectorType(INT8, 8))


def _store_chosen(b: VectorBuilder, eight: Any, out: Pointer, start: Value, count: int) -> None:
    """Eight bytes at a place, of which those outside the array are left out."""
    whole = (start >= 0) & (start <= count - 8)
    with b.when(whole, likely=True):
        out.store(Value(b, eight), start)
    with b.when(~whole if whole.element == BOOL else whole == 0, likely=False):
        for i in range(8):
            place = start + i
            with b.when((place >= 0) & (place < count)):
                out.store(Value(b, b.ir.extract_element(eight, ir.Constant(INT32, i))), place)


__all__ = ["Chances", "emit_chances", "philox"]
