"""How much memory training takes: growth of the process over what it held before the first step. Linux only.

Run it: python benchmarks/memory.py [--workload PART OF A NAME] [--steps 10] [--processes 5] [--json FILE]

Each engine runs in several fresh processes, of which the median one counts (PyTorch's growth with a small network is 10
to 14 MB, from one to the next). Network, optimizer and batch are made there, and another, tiny network was trained
already, so that libraries are loaded, those parts of SciPy too that larger networks need. "A step" is the peak once
three steps have been made and memory that was given back to the allocator has been given back to the system; "from the
start" is the peak over everything, the first steps and compiling included (with Backlit's code cache filled, as in
every run but the first). Growth includes the gradients, the optimizer's state and, in Backlit, the arena.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
from pathlib import Path
from typing import Any

from apart import apart, hand_back, keep
from harness import use_threads

WORKLOADS = (
    "784-256-10, batch 1024",
    "784-1024-1024-10, batch 128",
    "CNN 1x28x28, batch 64",
    "CNN 3x32x32, batch 64",
    "GPT 4 layers, batch 12",
)
AIM = 0.7
"""Backlit's growth over PyTorch's."""


def growth(name: str, engine: str, steps: int) -> dict[str, Any]:
    """Bytes by which this process grows."""
    use_threads(1)
    from workloads import PROBLEMS, contestants, steps_of
    from workloads.problems import Problem

    tiny = steps_of(Problem("relu", (4, 4, 10), 4, (1.0, 1.0)), [engine])[engine]
    for _ in range(5):
        tiny()
    for library in ("scipy.special", "scipy.sparse"):
        importlib.import_module(library)
    step: Any = contestants(name, [engine])[engine]
    _tidy()
    before = _status("VmRSS")
    for _ in range(3):
        step()
    whole = _status("VmHWM")
    _tidy()
    for _ in range(steps):
        step()
    found = {"step": _status("VmHWM") - before, "whole": max(whole, _status("VmHWM")) - before}
    if engine == "Backlit":
        executable = step.func._latest().executable
        found |= {"arena": step.func.plan().arena, "allocated": executable.arena.size}
        assert found["arena"] == found["allocated"], "the arena is not of the size that plan() says"
    found["parameters"] = _parameters(PROBLEMS[name])
    return found


def _tidy() -> None:
    """Give free memory back to the system, and forget the peak so far."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}: this measurement needs Linux.")


def _parameters(problem: Any) -> int:
    """Bytes of the weights: gradients and Adam's two averages take three times as much."""
    from workloads.problems import weights

    return sum(array.nbytes for array in weights(problem).values())


def _middle(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The median process, by how much a step takes."""
    return sorted(found, key=lambda one: int(one["step"]))[len(found) // 2]


def show(results: list[dict[str, Any]]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "workload", "engine", "a step, MB", "/ PyTorch", "from the start, MB", "/ PyTorch", "arena, MB",
        title=f"Growth of the process (target: a step in at most {AIM} of PyTorch's)",
    )  # fmt: skip
    for result in results:
        other = result["growth"].get("PyTorch")
        for engine, found in result["growth"].items():
            ratios = [f"{found[k] / other[k]:.2f}" if other else "" for k in ("step", "whole")]
            table.add_row(
                result["workload"], engine, f"{found['step'] / 1e6:.1f}", ratios[0], f"{found['whole'] / 1e6:.1f}",
                ratios[1], f"{found['arena'] / 1e6:.2f}" if "arena" in found else "",
            )  # fmt: skip
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", default="", help="only those with this in their names")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--processes", type=int, default=5, help="of each engine; the median one counts")
    parser.add_argument("--json", help="write the numbers to this file")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        hand_back(growth(given.alone, given.engine, given.steps))
        return
    from workloads import installed

    engines = installed(["Backlit", "PyTorch"])
    results = []
    for name in WORKLOADS:
        if given.workload.lower() in name.lower():
            call = ("memory.py", "--alone", name, "--steps", given.steps, "--engine")
            apart(*call, "Backlit")  # fills the code cache
            growths = {engine: [apart(*call, engine) for _ in range(given.processes)] for engine in engines}
            results.append({"workload": name, "growth": {engine: _middle(found) for engine, found in growths.items()}})
    show(results)
    keep(given.json, results)


if __name__ == "__main__":
    main()
