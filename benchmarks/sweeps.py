"""Time of a training step against its arithmetic, while width, depth or batch grow; one thread, pictures.

Run it: python benchmarks/sweeps.py [FOLDER FOR PICTURES] [--only width|depth|batch] [--seconds 1.5] [--json FILE]

Perceptrons with ReLU, cross-entropy and Adam in Backlit, PyTorch (fused Adam) and JAX, which take turns. Counted is the
arithmetic of the matrix products: forward, and both gradients of each layer but the first, whose input needs none.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

from apart import apart, hand_back, keep
from harness import in_turns, use_threads

SWEEPS: dict[str, list[tuple[int, tuple[int, ...], int]]] = {  # what grows, layer sizes, batch
    "width": [(n, (64, n, n, 10), 64) for n in (8, 16, 32, 64, 128, 256, 512, 1024)],
    "depth": [(n, (64, *[128] * n, 10), 64) for n in (1, 2, 4, 8, 16, 32)],
    "batch": [(n, (64, 128, 128, 10), n) for n in (1, 4, 16, 64, 256, 1024, 4096)],
}
ENGINES = ("Backlit", "PyTorch", "JAX")
COLOURS = {"Backlit": "#c0392b", "PyTorch": "#2c3e50", "JAX": "#7f8c8d"}


def flops(sizes: tuple[int, ...], batch: int) -> int:
    """Additions and multiplications of the products in a step."""
    products = [a * b for a, b in pairwise(sizes)]
    return 2 * batch * (3 * sum(products) - products[0])


def point(sweep: str, index: int, seconds: float) -> dict[str, Any]:
    """Median times of one size in every engine."""
    use_threads(1)
    import numpy as np
    from agreement import disagreement, first_losses
    from workloads import steps_of
    from workloads.problems import Problem

    size, sizes, batch = SWEEPS[sweep][index]
    steps = steps_of(Problem("relu", sizes, batch, (1.0, 1.0)), ENGINES)
    wrong = disagreement(first_losses(steps)[0])
    if wrong:
        raise SystemExit(f"{sweep} {size}: {wrong}")
    times = in_turns(steps, 30, seconds, pause=0.0)
    return {
        "size": size,
        "flops": flops(sizes, batch),
        "seconds": {engine: float(np.median(t)) for engine, t in times.items()},
    }


def picture(sweep: str, points: list[dict[str, Any]], path: Path) -> None:
    """Time against arithmetic, both logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": sweep})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 3.8), layout="constrained")
    for engine in points[0]["seconds"]:
        x, y = [p["flops"] / 1e6 for p in points], [p["seconds"][engine] * 1e3 for p in points]
        axes.loglog(x, y, marker="o", markersize=4, color=COLOURS[engine], label=engine)
    own = points[-1]
    x, rate = [p["flops"] / 1e6 for p in points], own["seconds"]["Backlit"] / own["flops"]
    line = [p["flops"] * rate * 1e3 for p in points]
    axes.loglog(x, line, "--", color="#c0392b", alpha=0.4, label="Backlit's rate at the largest")
    for p in points:
        axes.annotate(str(p["size"]), (p["flops"] / 1e6, p["seconds"]["Backlit"] * 1e3), (0, -11),
                      textcoords="offset points", ha="center", fontsize=7, color="#c0392b")  # fmt: skip
    axes.set(
        xlabel="arithmetic of a step, MFLOP", ylabel="time of a step, ms", title=f"A training step as its {sweep} grows"
    )
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def show(sweep: str, points: list[dict[str, Any]]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(sweep, "MFLOP", *[f"{e}, µs" for e in ENGINES], "Backlit, GFLOP/s", title=f"{sweep} grows")
    for p in points:
        times = [f"{1e6 * p['seconds'][e]:.1f}" if e in p["seconds"] else "" for e in ENGINES]
        rate = p["flops"] / p["seconds"]["Backlit"] * 1e-9
        table.add_row(str(p["size"]), f"{p['flops'] / 1e6:.3g}", *times, f"{rate:.1f}")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="where pictures go (matplotlib is needed)")
    parser.add_argument("--only", choices=tuple(SWEEPS))
    parser.add_argument("--sizes", type=int, help="only so many of the smallest sizes")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each size")
    parser.add_argument("--json", help="write the numbers to this file")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone is not None:
        hand_back(point(given.only, given.alone, given.seconds))
        return
    found = {}
    for sweep in [given.only] if given.only else SWEEPS:
        call = ("sweeps.py", "--only", sweep, "--seconds", given.seconds, "--alone")
        found[sweep] = [apart(*call, i) for i in range(len(SWEEPS[sweep]))[: given.sizes]]
        show(sweep, found[sweep])
        if given.folder:
            picture(sweep, found[sweep], Path(given.folder) / f"sweep-{sweep}.svg")
    keep(given.json, found)


if __name__ == "__main__":
    main()
