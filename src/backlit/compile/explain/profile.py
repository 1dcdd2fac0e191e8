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
    """Run a step ``steps`` times with code that reads the processor's clock between regions."""
    clocked = bound(binding.capture, clocked=True)
    clocked.call(arguments)
    readings = []
    first = clocked.executable.clock[0]
    begin = time.perf_counter()
    for _ in range(steps):
        clocked.call(arguments)
        readings.append(np.diff(clocked.executable.clock))
    seconds = time.perf_counter() - begin
    ticks = int(clocked.executable.clock[0] - first)
    # From the first region of one call to that of the last lie as many steps as were made: that gives the clock's rate.
    return planned(clocked.executable.built, (np.median(readings, axis=0) * (seconds / max(ticks, 1))).tolist())
