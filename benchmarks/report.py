"""Every measurement of the compiled step, and the pages that tell them: about 25 minutes on a quiet machine.

Run it: python benchmarks/report.py [--quick] [--only NAME ...] [--render] [--docs docs] [--readme README.md]

Numbers go to `benchmarks.json` in the folder of the docs, measurement by measurement, and from there into the marked
parts of `benchmarks.md` and of the README. `--only` repeats some measurements and keeps the numbers of the others;
`--render` measures nothing. `--quick` is a smoke run: it measures little, and its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pages

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
PACKAGES = ("backlit", "numpy", "llvmlite", "torch", "jax", "optax", "keras")


def commands(docs: Path) -> dict[str, list[str]]:
    """Each measurement's script and options."""
    return {
        "training_step_1": ["training_step.py", "--threads", "1"],
        "training_step_2": ["training_step.py", "--threads", "2"],
        "compile_time": ["compile_time.py"],
        "memory": ["memory.py"],
        "busy_neighbour": ["busy_neighbour.py"],
        "sweeps": ["sweeps.py", str(docs / "pictures")],
    }


QUICK = {
    "training_step_1": ["--no-torch-compile", "--rounds", "5", "--seconds", "0.1", "--workload", "2-16"],
    "training_step_2": ["--no-torch-compile", "--rounds", "5", "--seconds", "0.1", "--workload", "2-16"],
    "compile_time": ["--workload", "784-256"],
    "memory": ["--workload", "784-256", "--steps", "2", "--processes", "1"],
    "busy_neighbour": ["--workload", "784-256", "--seconds", "0.2"],
    "sweeps": ["--seconds", "0.1", "--sizes", "1"],
}


def measured(name: str, command: list[str]) -> Any:
    """Run a script, its tables shown; its numbers, or a text that says why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "numbers.json"
        start = time.perf_counter()
        line = [sys.executable, str(FOLDER / command[0]), *command[1:], "--json", str(path)]
        done = subprocess.run(line, stderr=subprocess.PIPE, text=True, check=False)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        if done.returncode:
            print(done.stderr, file=sys.stderr, flush=True)
        if not path.exists():
            return f"not measured: {(done.stderr.strip().splitlines() or ['the script failed'])[-1]}"
        return json.loads(path.read_text(encoding="utf-8"))


def surroundings() -> dict[str, Any]:
    """The machine, the versions and the day."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES if importlib.util.find_spec(name)}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"processor": _processor(), "cores": cores, "python": platform.python_version(), "versions": versions,
            "system": platform.system(), "date": today}  # fmt: skip


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = dict(map(str.strip, line.split(":", 1)) for line in text.splitlines() if ":" in line)
    widest = next((kind for kind in ("avx512f", "avx2", "asimd") if kind in found.get("flags", "").split()), "")
    return found.get("model name", platform.machine()) + (f", {widest.upper()}" if widest else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=tuple(QUICK), default=list(QUICK), metavar="NAME")
    parser.add_argument("--render", action="store_true", help="write the pages from the numbers that are there")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    given = parser.parse_args()
    if given.quick and given.docs.resolve() == ROOT / "docs":
        raise SystemExit("--quick needs --docs and --readme: its numbers are not for the pages of the project.")
    kept = given.docs / "benchmarks.json"
    numbers = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for name in [] if given.render else given.only:
        numbers[name] = measured(name, commands(given.docs)[name] + (QUICK[name] if given.quick else []))
        numbers.setdefault("surroundings", {})[name] = surroundings()
        kept.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    for path in (given.docs / "benchmarks.md", given.readme):
        path.write_text(pages.filled(path.read_text(encoding="utf-8"), numbers), encoding="utf-8")
    missing = [name for name, found in numbers.items() if isinstance(found, str)]
    if missing:
        raise SystemExit("\n".join(f"{name} {numbers[name]}" for name in missing))


if __name__ == "__main__":
    main()
