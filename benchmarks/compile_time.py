"""Seconds until a training step is compiled: with an empty cache, and in later processes. Needs the `peers` extra.

Run it: python benchmarks/compile_time.py [--workload PART OF A NAME] [--torch-compile] [--json FILE]

Measured is what the calls that compile take beyond a step that is compiled already, in a fresh process in which the
engine and the network are loaded; one thread. Later processes, which find what the first one kept, are several: the
median and the range of them are shown.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from typing import Any

from apart import apart, hand_back, keep
from harness import use_threads

WORKLOADS = {  # seconds that are aimed at: cold, and from the cache
    "784-256-10, batch 32": (1.0, 0.2),
    "CNN 1x28x28, batch 64": (3.0, 0.2),
    "GPT 4 layers, batch 12": (6.0, 0.2),
}
FIRST, LATER = 3, 5
"""Calls within which all engines have compiled what they compile, and calls of the finished step."""
AGAIN = {"Backlit": 7}
"""Processes that start from a filled cache; one where an engine is not named, which takes seconds or minutes."""


def seconds_of(name: str, engine: str) -> float:
    """What compiling takes in this process."""
    use_threads(1)
    from workloads import contestants

    step = contestants(name, [engine])[engine]
    if engine == "Backlit":
        _load_compiler()
    calls = []
    for _ in range(FIRST + LATER):
        start = time.perf_counter()
        loss = step()
        if hasattr(loss, "item"):
            loss.item()  # wait for it
        calls.append(time.perf_counter() - start)
    return sum(calls[:FIRST]) - FIRST * sorted(calls[FIRST:])[LATER // 2]


def _load_compiler() -> None:
    """Import the compiler, as `import jax` imports JAX's."""
    from backlit.compile.assemble import build, stored  # noqa: F401
    from backlit.compile.function import available
    from backlit.compile.runtime import differentiable, repeated  # noqa: F401
    from backlit.compile.trace import capture, pullback  # noqa: F401

    available()


def compared(name: str, engines: list[str]) -> dict[str, Any]:
    """Cold and warm seconds of one workload in each engine, each in processes of its own."""
    seconds = {}
    for engine in engines:
        with tempfile.TemporaryDirectory() as folder:
            # Python's own compiled files are there as they are after an installation, whatever this process does.
            caches = dict.fromkeys(("BACKLIT_CACHE", "TORCHINDUCTOR_CACHE_DIR"), folder)
            settings = {**caches, "PYTHONDONTWRITEBYTECODE": ""}
            cold, *again = [
                apart("compile_time.py", "--alone", name, "--engine", engine, settings=settings)
                for _ in range(1 + AGAIN.get(engine, 1))
            ]
            seconds[engine] = {"cold": cold, "warm": statistics.median(again), "range": [min(again), max(again)]}
    return {"workload": name, "aims": WORKLOADS[name], "seconds": seconds}


def with_range(found: dict[str, Any]) -> str:
    """The median of the later processes, with the least and the most."""
    least, most = found["range"]
    return f"{found['warm']:.2f} ({least:.2f} to {most:.2f})"


def show(results: list[dict[str, Any]]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("workload", "engine", "empty cache, s", "target", "later, s", "target", title="Compiling")
    for result in results:
        for engine, found in result["seconds"].items():
            aims = [f"{aim:.1f}" for aim in result["aims"]] if engine == "Backlit" else ["", ""]
            table.add_row(result["workload"], engine, f"{found['cold']:.2f}", aims[0], with_range(found), aims[1])
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", default="", help="only those with this in their names")
    parser.add_argument("--torch-compile", action="store_true", help="measure it too; it takes minutes")
    parser.add_argument("--json", help="write the numbers to this file")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        hand_back(seconds_of(given.alone, given.engine))
        return
    from workloads import installed

    engines = installed(["Backlit", "JAX", *(["torch.compile"] if given.torch_compile else [])])
    results = [compared(name, engines) for name in WORKLOADS if given.workload.lower() in name.lower()]
    show(results)
    keep(given.json, results)


if __name__ == "__main__":
    main()
