"""A whole training step in every engine: Backlit compiled, PyTorch, torch.compile, JAX, Keras. Needs the `peers` extra.

Run it: python benchmarks/training_step.py [--threads 1|2] [--workload PART OF A NAME] [--rounds 60] [--seconds 20]
        [--no-torch-compile] [--json FILE]

Each workload is measured in a fresh process. All engines start from the same weights and batch, and must show the same
losses over the first steps, or nothing is measured. Then they take turns.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any

from apart import Failed, apart, hand_back, keep
from harness import in_turns, use_threads

OWN, PRODUCT = "Backlit", "sgemm"
SIZE = 1024
"""Rows and columns of the matrices whose product, in NumPy's BLAS, shows what the machine's arithmetic can do."""

REGIONS = 6
"""How many kinds of regions are listed, the longest first."""


def measured(name: str, threads: int, rounds: int, seconds: float, torch_compile: bool) -> dict[str, Any]:
    """Times, losses, arithmetic and regions of one workload, in this process."""
    use_threads(threads)
    import numpy as np
    from agreement import disagreement, first_losses
    from workloads import ENGINES, PROBLEMS, contestants

    steps = contestants(name, [engine for engine in ENGINES if torch_compile or engine != "torch.compile"])
    own: Any = steps[OWN]
    losses, notes = first_losses(steps)
    wrong = disagreement(losses)
    if wrong:
        raise SystemExit(f"{name}: {wrong}")
    times = in_turns({**steps, PRODUCT: _product()}, rounds, seconds)
    product = times.pop(PRODUCT)
    plan = own.func.profile(*own.args)
    whole = plan.seconds + plan.around
    return {
        "workload": name,
        "threads": threads,
        "aim": PROBLEMS[name].aims[min(threads, 2) - 1],
        "times": {
            engine: {
                "median": float(np.median(t)),
                "low": float(np.percentile(t, 10)),
                "calls": len(t),
            }
            for engine, t in times.items()
        },
        "losses": losses,
        "flops": plan.flops,
        "product": 2 * SIZE**3 / float(np.median(product)),
        "regions": _longest(plan, whole),
        "around": plan.around / whole,
        "notes": notes,
    }


def _product() -> Any:
    """A product of two large matrices, in as many threads as NumPy's BLAS was given."""
    import numpy as np

    a, b = np.random.default_rng(0).random((2, SIZE, SIZE), dtype=np.float32)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)


def _longest(plan: Any, total: float) -> list[dict[str, Any]]:
    """The kinds of regions that take longest, with their shares of a step's ``total`` time.

    Regions that differ only in a layer's number are of one kind.
    """
    kinds: dict[str, dict[str, Any]] = {}
    for region in plan.regions:
        title = re.sub(r"\.\d+(?=\.)", ".*", region.title)
        kind = kinds.setdefault(title, {"title": title, "count": 0, "seconds": 0.0, "flops": 0, "least": 0.0})
        kind["count"] += 1
        kind["seconds"] += region.seconds
        kind["flops"] += region.flops
        kind["least"] += region.least
    ordered = sorted(kinds.values(), key=lambda kind: -kind["seconds"])[:REGIONS]
    return [{**kind, "share": kind["seconds"] / total} for kind in ordered]


def best_peer(result: dict[str, Any]) -> str | None:
    """The quickest of the other engines, by its median."""
    others = {name: t["median"] for name, t in result["times"].items() if name != OWN}
    return min(others, key=others.__getitem__) if others else None


def ratios(result: dict[str, Any]) -> tuple[float, float] | None:
    """Backlit's time over the best peer's: of the medians, and of the 10th percentiles."""
    peer = best_peer(result)
    if peer is None:
        return None
    own, other = result["times"][OWN], result["times"][peer]
    return own["median"] / other["median"], own["low"] / min(t["low"] for n, t in result["times"].items() if n != OWN)


def show(result: dict[str, Any]) -> None:
    """Print one workload's tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    found, peer = ratios(result), best_peer(result)
    title = f"{result['workload']}, {result['threads']} thread(s)"
    table = Table("engine", "median ms", "10th pct ms", "Backlit / engine", title=title)
    own = result["times"][OWN]["median"]
    for name, t in result["times"].items():
        table.add_row(name, f"{1e3 * t['median']:.3f}", f"{1e3 * t['low']:.3f}", f"{own / t['median']:.2f}")
    console.print(table)
    if found is not None:
        verdict = "reached" if found[0] <= result["aim"] else "MISSED"
        console.print(
            f"Backlit / {peer}: {found[0]:.2f} (10th percentiles {found[1]:.2f}); target {result['aim']:.2f}: {verdict}"
        )
    rate = result["flops"] / own
    console.print(
        f"{rate * 1e-9:.1f} GFLOP/s, {100 * rate / result['product']:.0f} % of the product of two {SIZE}×{SIZE} "
        f"matrices ({result['product'] * 1e-9:.1f} GFLOP/s)"
    )
    table = Table("where the time goes", "regions", "share", "µs", "GFLOP/s")
    for kind in result["regions"]:
        rate = kind["flops"] / max(kind["seconds"], 1e-9) * 1e-9
        share = f"{100 * kind['share']:.0f} %"
        table.add_row(kind["title"], str(kind["count"]), share, f"{1e6 * kind['seconds']:.1f}", f"{rate:.1f}")
    console.print(table)
    console.print(f"Around the native code: {100 * result['around']:.0f} % of a step.")
    for note in result["notes"]:
        console.print(f"Note: {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workload", default="", help="only those with this in their names")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=20.0, help="at most, for each workload's rounds")
    parser.add_argument("--no-torch-compile", action="store_true")
    parser.add_argument("--json", help="write the numbers to this file")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        hand_back(measured(given.alone, given.threads, given.rounds, given.seconds, not given.no_torch_compile))
        return
    from workloads.problems import PROBLEMS  # not above: a measuring process tells NumPy its threads first

    options = ["--threads", given.threads, "--rounds", given.rounds, "--seconds", given.seconds]
    options += ["--no-torch-compile"] if given.no_torch_compile else []
    results, failed = [], []
    for name in PROBLEMS:
        if given.workload.lower() not in name.lower():
            continue
        try:
            results.append(apart("training_step.py", "--alone", name, *options))
            show(results[-1])
        except Failed as error:
            failed.append(f"{name}: {error}")
            print(failed[-1], file=sys.stderr)
        keep(given.json, results)
    if failed:
        raise SystemExit(f"{len(failed)} workload(s) failed.")


if __name__ == "__main__":
    main()
