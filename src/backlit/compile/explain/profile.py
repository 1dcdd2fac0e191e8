"""Measured time of each region of a compiled step."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from ...tensor import Tensor
from ..forms import bound
from ..runtime.binding import Binding
from .plan import Plan, planned


def profiled(binding: Binding, arguments: Sequence[Tensor], steps: int) -> Plan:
    """Run a step ``steps`` times with code that reads the processor's clock between regions, after once to warm up."""
    clocked = bound(binding.capture, clocked=True)
    starts, readings, calls = [], [], []
    for _ in range(steps + 1):
        starts.append(time.perf_counter())
        clocked.call(arguments)
        calls.append(time.perf_counter() - starts[-1])
        readings.append(clocked.executable.clock.copy())
    # From the start of the first call to that of the last, in seconds and in ticks: that gives the clock's rate.
    rate = (starts[-1] - starts[0]) / max(int(readings[-1][0] - readings[0][0]), 1)
    inside = np.diff(readings[1:], axis=1) * rate
    around = max(0.0, float(np.median(calls[1:] - inside.sum(axis=1))))
    return planned(clocked.executable.built, np.median(inside, axis=0).tolist(), around)
