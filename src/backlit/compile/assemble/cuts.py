"""Which part of a value's memory each share of a loop touches, when one of the loop's axes is shared out.

Two loops that cut the memory they have in common in the same way can run one after the other without waiting for each
other's shares: the second reads only what the same share of the first has written.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

from ..ir.layout import Strides


class Cut(NamedTuple):
    """Element ``o`` of a block of memory belongs to share ``o % period // step``; the last share takes the rest."""

    period: int
    step: int


class Shares(NamedTuple):
    """``size`` positions along an axis in ``parts`` runs of ``step``, the last one shorter."""

    size: int
    parts: int
    step: int

    def run(self, part: int) -> tuple[int, int]:
        """Where a share begins, and how long it is."""
        begin = part * self.step
        return begin, min(self.step, self.size - begin)


def shares(size: int, parts: int, grain: int = 1) -> Shares | None:
    """``size`` positions in ``parts`` shares of about the same size, all but the last multiples of ``grain``; None
    where there is not enough for each."""
    step = -(-size // (parts * grain)) * grain
    return Shares(size, parts, step) if size > (parts - 1) * step else None


def cut_of(size: int, sizes: tuple[int, ...], strides: Strides, offset: int, axis: int, step: int) -> Cut | None:
    """How a loop over ``sizes`` that goes through memory of ``size`` elements by ``strides`` cuts it.

    None where every share may touch anything: the axis does not move through this memory, or not in runs.
    """
    own, count = strides[axis], sizes[axis]
    if own <= 0 or count == 1:
        return None
    inner, period = offset % own, 0
    for n, stride in zip(sizes, strides, strict=True):
        if n == 1 or stride == 0 or stride == own:
            continue
        if stride < own:
            inner += (n - 1) * stride
        else:
            period = gcd(period, stride)  # a slice with a step may move by 6 and by 4
            if stride % (own * count):
                return None
    period = period or size
    doubled = sum(s == own and n > 1 for n, s in zip(sizes, strides, strict=True)) > 1
    if doubled or inner >= own or min(strides) < 0 or offset // own % max(period // own, 1):
        return None
    return Cut(period, step * own)


__all__ = ["Cut", "Shares", "cut_of", "shares"]
