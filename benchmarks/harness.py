"""Side-by-side timing: contestants take turns in one process, so that a slower moment hits them all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import numpy as np


def one_thread() -> None:
    """Single-threaded BLAS and PyTorch, pinned to one core; call before importing anything that computes."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def interleaved(
    contestants: dict[str, Callable[[], object]], rounds: int = 200, inner: int = 5
) -> dict[str, np.ndarray]:
    """Seconds of every timed call: in each round each runs ``inner`` times in a row, after an untimed call."""
    import numpy as np  # not above: the BLAS reads the number of threads when NumPy is imported

    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        for _ in range(10):
            run()
    for _ in range(rounds):
        for name, run in contestants.items():
            run()
            for _ in range(inner):
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in times.items()}


def report(title: str, times: dict[str, np.ndarray], baseline: str) -> float:
    """Print median and 10th percentile as times and as ratios to the baseline; return the first ratio of medians."""
    import numpy as np

    table = Table(
        "contestant", "median µs", "10th percentile µs", f"median / {baseline}", f"10th pct / {baseline}", title=title
    )
    reference = times[baseline]
    for name, values in times.items():
        low, low_reference = np.percentile(values, 10), np.percentile(reference, 10)
        table.add_row(
            name,
            f"{np.median(values) * 1e6:.1f}",
            f"{low * 1e6:.1f}",
            f"{np.median(values) / np.median(reference):.2f}",
            f"{low / low_reference:.2f}",
        )
    Console().print(table)
    return float(np.median(next(iter(times.values()))) / np.median(reference))
