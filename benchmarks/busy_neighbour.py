"""What a step on two threads takes while another process keeps one of the two cores busy, against a quiet machine.

Run it: python benchmarks/busy_neighbour.py [--workload PART OF A NAME] [--seconds 4] [--json FILE]

Each engine runs in a fresh process, on two cores. Times are means, because a few steps that wait for a whole time slice
are what hurts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from typing import Any

from apart import apart, hand_back, keep
from harness import use_threads

WORKLOADS = ("784-256-10, batch 256", "CNN 1x28x28, batch 64", "GPT 4 layers, batch 12")
AIM = 2.5
"""The mean time of a step beside a busy neighbour, over the mean quiet time."""


def measured(name: str, engine: str, seconds: float) -> dict[str, float]:
    """Mean seconds of a step, quiet and busy."""
    use_threads(2)
    from workloads import contestants

    step = contestants(name, [engine])[engine]
    for _ in range(5):
        step()
    quiet = _mean(step, seconds)
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    neighbour = multiprocessing.get_context("spawn").Process(target=_keep_busy, args=(core,), daemon=True)
    neighbour.start()
    time.sleep(1.0)
    busy = _mean(step, seconds)
    neighbour.terminate()
    return {"quiet": quiet, "busy": busy}


def _mean(step: Any, seconds: float) -> float:
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds or count < 3:
        step()
        count += 1
    return (time.perf_counter() - start) / count


def _keep_busy(core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    while True:
        pass


def show(results: list[dict[str, Any]]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    title = f"Two threads and a busy neighbour (target: at most {AIM} times the quiet time)"
    table = Table("workload", "engine", "quiet, ms", "busy, ms", "busy / quiet", title=title)
    for result in results:
        for engine, t in result["seconds"].items():
            ratio = f"{t['busy'] / t['quiet']:.2f}"
            table.add_row(result["workload"], engine, f"{1e3 * t['quiet']:.2f}", f"{1e3 * t['busy']:.2f}", ratio)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", default="", help="only those with this in their names")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each measurement")
    parser.add_argument("--json", help="write the numbers to this file")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        hand_back(measured(given.alone, given.engine, given.seconds))
        return
    from workloads import installed

    engines = installed(["Backlit", "PyTorch"])
    results = []
    for name in WORKLOADS:
        if given.workload.lower() in name.lower():
            call = ("busy_neighbour.py", "--alone", name, "--seconds", given.seconds, "--engine")
            results.append({"workload": name, "seconds": {e: apart(*call, e) for e in engines}})
    show(results)
    keep(given.json, results)


if __name__ == "__main__":
    main()
