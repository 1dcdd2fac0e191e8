"""What a compiled step will do: its regions with bytes moved, arithmetic, and the least time that they can take."""

from __future__ import annotations

import time
from functools import cache
from typing import NamedTuple

import numpy as np

from ..assemble import regions as assembled
from ..assemble.build import Built
from ..ir.program import Instruction, Value
from ..loops.fusion import Group
from .loops import places


class Region(NamedTuple):
    """What runs without waiting for other threads: a loop, product or kernel, or several that are shared out alike.

    ``parts`` is the number of shares, ``bytes`` are read or written in memory, ``flops`` counts additions and
    multiplications (an elementary function as one), ``least`` is the shortest time in seconds by the roofline: the
    longer of arithmetic at the machine's measured rate, for each share, and memory at its measured rate. ``seconds`` is
    what was measured, where it was.
    """

    what: str
    space: tuple[int, ...]
    bytes: int
    flops: int
    least: float
    lines: list[str]
    parts: int = 1
    seconds: float | None = None


class Plan(NamedTuple):
    """The regions of a step in order, and the bytes of its arena."""

    regions: list[Region]
    arena: int

    def __str__(self) -> str:
        measured = any(r.seconds is not None for r in self.regions)
        head = f"{'region':<44}{'bytes':>12}{'flops':>14}{'least µs':>10}" + (f"{'µs':>10}" if measured else "")
        lines = [head]
        for r in self.regions:
            line = f"{r.what[:43]:<44}{r.bytes:>12,}{r.flops:>14,}{r.least * 1e6:>10.1f}"
            lines.append(line + (f"{r.seconds * 1e6:>10.1f}" if r.seconds is not None else ""))
        total = sum(r.least for r in self.regions)
        lines.append(f"{len(self.regions)} regions, arena {self.arena:,} bytes, at least {total * 1e6:.1f} µs")
        return "\n".join(lines)


def planned(built: Built, seconds: list[float] | None = None) -> Plan:
    """The plan of a built program, with measured times beside it where they are given."""
    regions = [_region(region, built) for region in built.regions]
    if seconds is not None:
        regions = [r._replace(seconds=s) for r, s in zip(regions, seconds, strict=True)]
    return Plan(regions, built.arena.size)


def _region(region: assembled.Region, built: Built) -> Region:
    groups, parts = region.groups, region.parts
    moved = sum(_moved(group, built) for group in groups)
    flops = sum(_flops(m) for group in groups for m in group.members)
    rate, bandwidth = machine()
    first = groups[0].members[0]
    return Region(
        "; ".join(", ".join(_name(m) for m in group.members) for group in groups),
        groups[0].space or (first.results[0].shape if first.results else ()),
        moved,
        flops,
        max(flops / (rate * parts), moved / bandwidth),
        list(dict.fromkeys(line for group in groups for line in places(group))),
        parts,
    )


def _moved(group: Group, built: Built) -> int:
    """Bytes that a group reads and writes."""
    own = {v for m in group.members for v in m.results}
    taken = {built.layouts[o].base for m in group.members for o in m.operands} - own
    return sum(_bytes(v) for v in taken) + sum(_bytes(v) for v in own if v in built.places)


def _name(member: Instruction) -> str:
    if member.opcode == "leaf":
        return type(member.params["leaf"]).__name__
    return member.params["call"].__name__ + " (NumPy)" if member.opcode == "extern" else member.opcode


def _bytes(value: Value) -> int:
    return value.size * (value.dtype.itemsize if value.dtype is not None else 0)


def _flops(member: Instruction) -> int:
    if member.opcode == "matmul":
        return 2 * member.result.size * member.operands[0].shape[-1]
    if member.opcode == "leaf":
        return int(member.params["leaf"].flops)
    return member.operands[0].size if member.opcode == "reduce" else sum(v.size for v in member.results)


@cache
def machine() -> tuple[float, float]:
    """Floating-point operations and bytes a second of one thread, measured once: a product of matrices, and a copy."""
    a = np.ones((384, 384), np.float32)
    block = np.zeros(1 << 24, np.uint8)
    target = np.empty_like(block)
    product = min(_timed(lambda: a.dot(a)) for _ in range(5))
    copy = min(_timed(lambda: np.copyto(target, block)) for _ in range(5))
    return 2 * 384**3 / product, 2 * block.nbytes / copy


def _timed(run: object) -> float:
    start = time.perf_counter()
    run()  # type: ignore[operator]
    return time.perf_counter() - start
