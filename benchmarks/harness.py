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

PAUSE = 0.01
"""Seconds without work between contestants: threads of the one before have stopped spinning by then."""

_WARM = 0.003
"""Seconds of untimed calls at the beginning of a turn, one call at least."""

_TURN = 0.02
"""Seconds that a contestant's turn lasts about."""


def use_threads(count: int) -> None:
    """Let every engine use ``count`` threads, on as many cores; call before importing anything that computes.

    Engines that have no variable for it (JAX, Keras on it) take as many threads as the process has cores.

    Raises:
        SystemExit: this process may not use so many cores.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BACKLIT_NUM_THREADS"):
        os.environ[variable] = str(count)
    # OpenBLAS's threads spin for 2^26 ticks by default, some 25 ms: longer than a pause, on a core of whoever is next.
    os.environ["OPENBLAS_THREAD_TIMEOUT"] = "20"
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if count > 1 else 'false'}"
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < count:
            raise SystemExit(f"{count} threads need as many cores; this process may use {len(cores)}.")
        os.sched_setaffinity(0, cores[-count:])


def one_thread() -> None:
    """Single-threaded BLAS and PyTorch, pinned to one core; call before importing anything that computes."""
    use_threads(1)


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


def in_turns(
    contestants: dict[str, Callable[[], object]], rounds: int, seconds: float = 20.0, pause: float = PAUSE
) -> dict[str, np.ndarray]:
    """Seconds of every timed call of contestants that have threads of their own, or steps of very different lengths.

    A turn is a pause, some untimed calls (which also wake threads that sleep), then timed calls for about 20 ms, two at
    least. There are ``rounds`` rounds, fewer if ``seconds`` are over before, but five at least.
    """
    import numpy as np

    times: dict[str, list[float]] = {name: [] for name in contestants}
    inner = {name: max(2, min(50, round(_TURN / _settled(run)))) for name, run in contestants.items()}
    end = time.perf_counter() + seconds
    for number in range(rounds):
        if number >= 5 and time.perf_counter() > end:
            break
        for name, run in contestants.items():
            time.sleep(pause)
            warm = time.perf_counter() + _WARM
            run()
            while time.perf_counter() < warm:
                run()
            for _ in range(inner[name]):
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in times.items()}


def _settled(run: Callable[[], object]) -> float:
    """Seconds of a call, once three have been made."""
    for _ in range(3):
        run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


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
