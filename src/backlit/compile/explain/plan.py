"""What a compiled step will do: its regions with bytes moved, arithmetic, and the least time that they can take."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from ..assemble import regions as assembled
from ..assemble.build import Built
from ..ir.program import Instruction, Value
from ..loops.groups import Group
from .names import Names
from .titles import places, title, work_name

_WIDTH = 48
"""Characters of a title in the table."""


class Region(NamedTuple):
    """What runs without waiting for other threads: a loop, product or kernel, or several that are shared out alike.

    Attributes:
        title: the modules (or lines) that it belongs to and the kinds of work, or the parameters that it updates.
        what: every instruction's kind of work.
        space: the elements that it loops over.
        bytes: what it reads and writes in memory.
        flops: additions and multiplications; an elementary function counts as one.
        least: the shortest time in seconds by the roofline: the longer of arithmetic (each share at the rate that one
            thread of this machine was measured to have) and memory traffic (at its measured rate).
        lines: the user's lines that it came from.
        parts: the number of shares that it is cut into for the threads.
        seconds: measured time, by :meth:`~backlit.compile.Compiled.profile`.
    """

    title: str
    what: str
    space: tuple[int, ...]
    bytes: int
    flops: int
    least: float
    lines: list[str]
    parts: int = 1
    seconds: float | None = None

    @property
    def rate(self) -> float | None:
        """Measured floating-point operations a second."""
        return self.flops / self.seconds if self.seconds else None


class Plan(NamedTuple):
    """The regions of a step in order, and what belongs to the step as a whole.

    Attributes:
        regions: in the order in which they run.
        arena: bytes of the memory between inputs and results.
        around: measured seconds of a call beyond its regions: looking at arguments and surroundings, counting the step.
    """

    regions: list[Region]
    arena: int
    around: float | None = None

    @property
    def flops(self) -> int:
        """The arithmetic of the whole step."""
        return sum(r.flops for r in self.regions)

    @property
    def least(self) -> float:
        """The shortest time in seconds, by the roofline of each region."""
        return sum(r.least for r in self.regions)

    @property
    def seconds(self) -> float | None:
        """The measured time of all regions, where it was."""
        times = [r.seconds for r in self.regions if r.seconds is not None]
        return sum(times) if times else None

    def longest(self, count: int = 10) -> list[Region]:
        """The regions that take longest: as measured, or as the roofline says."""
        return sorted(self.regions, key=lambda r: -(r.least if r.seconds is None else r.seconds))[:count]

    def __str__(self) -> str:
        total = self.seconds
        head = f"{'region':<{_WIDTH}}{'bytes':>12}{'flops':>14}{'least µs':>10}"
        lines = [head + (f"{'µs':>10}{'share':>7}{'GFLOP/s':>9}" if total else "")]
        for r in self.regions:
            name = r.title if len(r.title) < _WIDTH else r.title[: _WIDTH - 2] + "…"
            lines.append(f"{name:<{_WIDTH}}{r.bytes:>12,}{r.flops:>14,}{r.least * 1e6:>10.1f}" + _measured(r, total))
        end = f"{len(self.regions)} regions, arena {self.arena:,} bytes, {self.flops:,} flops, at least "
        end += f"{self.least * 1e6:.1f} µs"
        if total:
            end += f"; measured {total * 1e6:.1f} µs, {self.flops / total * 1e-9:.1f} GFLOP/s"
            end += f", and {(self.around or 0.0) * 1e6:.1f} µs around it"
        return "\n".join([*lines, end])


def _measured(region: Region, total: float | None) -> str:
    if region.seconds is None or not total:
        return ""
    share, rate = f"{100 * region.seconds / total:.1f} %", (region.rate or 0.0) * 1e-9
    return f"{region.seconds * 1e6:>10.1f}{share:>7}{rate:>9.1f}"


def planned(built: Built, seconds: list[float] | None = None, around: float | None = None) -> Plan:
    """The plan of a built program, with measured times of regions and around them where they are given."""
    names = Names(built)
    regions = [_region(region, built, names) for region in built.regions]
    if seconds is not None:
        regions = [r._replace(seconds=s) for r, s in zip(regions, seconds, strict=True)]
    return Plan(regions, built.arena.size, around)


def _region(region: assembled.Region, built: Built, names: Names) -> Region:
    members = [m for group in region.groups for m in group.members]
    moved = sum(_moved(group, built) for group in region.groups)
    flops = sum(map(_flops, members))
    rate, bandwidth = machine()
    return Region(
        title(members, built, names),
        "; ".join(", ".join(map(work_name, group.members)) for group in region.groups),
        region.groups[0].space or (members[0].results[0].shape if members[0].results else ()),
        moved,
        flops,
        max(flops / (rate * region.parts), moved / bandwidth),
        places(members),
        region.parts,
    )


def _moved(group: Group, built: Built) -> int:
    """Bytes that a group reads and writes."""
    own = {v for m in group.members for v in m.results}
    taken = {built.layouts[o].base for m in group.members for o in m.operands} - own
    return sum(_bytes(v) for v in taken) + sum(_bytes(v) for v in own if v in built.places)


def _bytes(value: Value) -> int:
    return value.size * (value.dtype.itemsize if value.dtype is not None else 0)


def _flops(member: Instruction) -> int:
    if member.opcode == "matmul":
        return 2 * member.result.size * member.operands[0].shape[-1]
    if member.opcode == "leaf":
        return int(member.params["leaf"].flops)
    if member.opcode in ("copy", "move", "cat", "extern"):
        return 0
    return member.operands[0].size if member.opcode == "reduce" else sum(v.size for v in member.results)


@cache
def machine() -> tuple[float, float]:
    """Floating-point operations and bytes a second of one thread, measured once: a product of matrices, and a copy."""
    from ...threads import as_many_as_pay

    a = np.ones((384, 384), np.float32)
    block = np.zeros(1 << 24, np.uint8)
    target = np.empty_like(block)
    with as_many_as_pay(0):
        product = min(_timed(lambda: a.dot(a)) for _ in range(5))
    copy = min(_timed(lambda: np.copyto(target, block)) for _ in range(5))
    return 2 * 384**3 / product, 2 * block.nbytes / copy


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
