"""From measured numbers to Markdown: what stands between the marks of docs/benchmarks.md and of the README."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from busy_neighbour import AIM as NEIGHBOUR_AIM
from memory import AIM as MEMORY_AIM
from training_step import OWN, SIZE, best_peer, ratios

Numbers = dict[str, Any]

_PART = re.compile(r"<!-- begin (\w+) -->(\n?).*?<!-- end \1 -->", re.S)


def filled(page: str, numbers: Numbers) -> str:
    """A page with its marked parts written anew; parts whose numbers are missing stay as they are."""

    def part(match: re.Match[str]) -> str:
        name, line = match[1], match[2]
        text = _written(name, numbers)
        if text is None:
            return match[0]
        body = f"\n\n{text}\n\n" if line else text
        return f"<!-- begin {name} -->{body}<!-- end {name} -->"

    return _PART.sub(part, page)


def _written(name: str, numbers: Numbers) -> str | None:
    source, write = PARTS[name]
    found = numbers.get(source)
    if found is None or (isinstance(found, str) and name == "speed"):
        return None
    if isinstance(found, str):
        return f"Could not be measured on this machine ({found})."
    text = write(found)
    return text if name == "speed" else f"{text}\n\n{_surroundings(numbers['surroundings'][source])}"


def _surroundings(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        f"*{found['processor']}, {found['cores']} core(s); {found['system']}, Python {found['python']}; "
        f"{versions}; {found['date']}.*"
    )


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def milliseconds(seconds: float) -> str:
    """Three digits."""
    return f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:.0f}"


def _judged(value: float, aim: float) -> str:
    return f"**{value:.2f}**" if value <= aim else f"{value:.2f}"


def training_step(results: list[dict[str, Any]]) -> str:
    """Times of all engines with the ratio to the best peer, what was missed, rates, and where the time goes."""
    engines = list(dict.fromkeys(engine for result in results for engine in result["times"]))
    rows, missed = [], []
    for result in results:
        times = [milliseconds(result["times"][e]["median"]) if e in result["times"] else "–" for e in engines]
        found = ratios(result) or (float("nan"), float("nan"))
        rows.append(
            [result["workload"], *times, _judged(found[0], result["aim"]), f"{found[1]:.2f}", f"≤ {result['aim']:.2f}"]
        )
        if found[0] > result["aim"]:
            missed.append(
                f"{result['workload']} ({found[0]:.2f} of {best_peer(result)}'s time, wanted {result['aim']:.2f})"
            )
    first = table(["workload", *[f"{e}, ms" for e in engines], f"{OWN} / best", "10th pct", "target"], rows)
    verdict = f"Missed: {'; '.join(missed)}." if missed else "All targets are reached."
    notes = [f"{result['workload']}: {note}" for result in results for note in result["notes"]]
    return "\n\n".join([first, verdict, *notes, _rates(results)])


def _rates(results: list[dict[str, Any]]) -> str:
    rows = []
    for result in results:
        rate = result["flops"] / result["times"][OWN]["median"]
        kinds = [f"around the native code {100 * result['around']:.0f} %"] if result["around"] > 0.02 else []
        kinds += [
            f"{kind['title']} {100 * kind['share']:.0f} % ({kind['flops'] / max(kind['seconds'], 1e-9) * 1e-9:.0f})"
            for kind in result["regions"][:4]
        ]
        share = f"{100 * rate / result['product']:.0f} %"
        rows.append(
            [result["workload"], f"{rate * 1e-9:.1f}", f"{result['product'] * 1e-9:.0f}", share, "; ".join(kinds)]
        )
    head = ["workload", "GFLOP/s", f"product of {SIZE}×{SIZE}", "share", "where the time goes (GFLOP/s there)"]
    return table(head, rows)


def compile_time(results: list[dict[str, Any]]) -> str:
    """Seconds with an empty cache and in later processes."""
    rows = []
    for result in results:
        own = result["seconds"][OWN]
        others = [f"{t['cold']:.1f}" for engine, t in result["seconds"].items() if engine != OWN]
        cold, warm = result["aims"]
        rows.append(
            [
                result["workload"],
                _judged(own["cold"], cold),
                f"≤ {cold:.1f}",
                _judged(own["warm"], warm),
                " to ".join(f"{x:.2f}" for x in own["range"]),
                f"≤ {warm:.1f}",
                *others,
            ]
        )
    others = [f"{engine}, s" for engine in results[0]["seconds"] if engine != OWN]
    head = ["workload", "empty cache, s", "target", "later processes, s", "from least to most", "target", *others]
    return table(head, rows)


def memory(results: list[dict[str, Any]]) -> str:
    """Growth of the process, beside PyTorch's."""
    rows = []
    for result in results:
        own, other = result["growth"][OWN], result["growth"].get("PyTorch")
        if other is None:
            continue
        ratio = _judged(own["step"] / other["step"], MEMORY_AIM)
        whole = f"{own['whole'] / other['whole']:.2f}"
        sizes = [_megabytes(n) for n in (own["arena"], 4 * own["parameters"])]
        both = [_megabytes(g["step"]) for g in (own, other)]
        rows.append([result["workload"], *both, ratio, f"≤ {MEMORY_AIM:.2f}", whole, *sizes])
    head = ["workload", "Backlit, MB", "PyTorch, MB", "ratio", "target", "first steps and compiling included"]
    head += ["arena, MB", "weights, gradients, Adam's state, MB"]
    return table(head, rows)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


def busy_neighbour(results: list[dict[str, Any]]) -> str:
    """Quiet and busy, beside PyTorch."""
    rows = []
    for result in results:
        cells = [result["workload"]]
        for engine, t in result["seconds"].items():
            ratio = t["busy"] / t["quiet"]
            cells += [
                milliseconds(t["quiet"]),
                milliseconds(t["busy"]),
                _judged(ratio, NEIGHBOUR_AIM) if engine == OWN else f"{ratio:.2f}",
            ]
        rows.append(cells)
    heads = [head for e in results[0]["seconds"] for head in (f"{e} quiet, ms", "busy, ms", "busy / quiet")]
    return table(["workload", *heads], rows) + f"\n\nThe target is {NEIGHBOUR_AIM} times the quiet time."


def sweeps(found: dict[str, list[dict[str, Any]]]) -> str:
    """The pictures, and the smallest and largest point of each."""
    rows = []
    for sweep, points in found.items():
        for p in (points[0], points[-1]):
            times = [milliseconds(t) for t in p["seconds"].values()]
            rate = p["flops"] / p["seconds"][OWN] * 1e-9
            rows.append([f"{sweep} {p['size']}", f"{p['flops'] / 1e6:.3g}", *times, f"{rate:.1f}"])
    engines = [f"{engine}, ms" for engine in next(iter(found.values()))[0]["seconds"]]
    pictures = "\n".join(f"![a training step as its {sweep} grows](pictures/sweep-{sweep}.svg)" for sweep in found)
    return pictures + "\n\n" + table(["the ends of each line", "MFLOP", *engines, "Backlit, GFLOP/s"], rows)


def speed(results: list[dict[str, Any]]) -> str:
    """A sentence for the README."""
    found = sorted(pair[0] for pair in map(ratios, results) if pair is not None)
    return (
        f"compiled, a whole training step takes {found[0]:.2f} to {found[-1]:.2f} of the time of the quickest of "
        f"PyTorch, `torch.compile`, JAX and Keras, over {len(found)} networks on one core"
    )


PARTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "training_step_1": ("training_step_1", training_step),
    "training_step_2": ("training_step_2", training_step),
    "compile_time": ("compile_time", compile_time),
    "memory": ("memory", memory),
    "busy_neighbour": ("busy_neighbour", busy_neighbour),
    "sweeps": ("sweeps", sweeps),
    "speed": ("training_step_1", speed),
}
"""By mark: which measurement's numbers, and who writes them."""
