"""Seconds to `import backlit`, against `import torch` and `import numpy`, each in fresh interpreters taking turns.

Run it: python benchmarks/import_time.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
from harness import report


def once(module: str) -> float:
    settings = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # compiled once, as installed
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, env=settings)
    return time.perf_counter() - start


def main():
    modules = ("backlit", "torch", "numpy")
    for module in modules:
        once(module)
    times = {module: [] for module in modules}
    for _ in range(10):
        for module in modules:
            times[module].append(once(module))
    report(
        "import, whole process (targets: 250,000 µs and 0.20 of torch)",
        {m: np.array(t) for m, t in times.items()},
        "torch",
    )


if __name__ == "__main__":
    main()
