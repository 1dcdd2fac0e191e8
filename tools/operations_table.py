"""Write docs/operations.md, the table of every operation: what the registry says of it and what can be proved of it.

``python tools/operations_table.py`` runs the properties of ``tests/ops`` and writes the file (seconds); with
``--check`` it only tells whether the file is up to date.
"""

from __future__ import annotations

import functools
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "ops"), str(ROOT / "tests" / "compile")]

import op_properties as properties  # noqa: E402
from operation_cases import Case, called_in_numpy  # noqa: E402

from backlit.ops.definition import REGISTRY, Operation, Sample, constant  # noqa: E402
from backlit.tensor import Tensor  # noqa: E402

TARGET = ROOT / "docs" / "operations.md"

HEAD = """# Operations

Every operation Backlit can compute and differentiate, by family. The columns *dtypes*, *derivatives*, *forward* and
*compiled* are not claims but results: this file is written by `python tools/operations_table.py`, which tries each
operation at every one of its samples, and the test suite fails when the file no longer says what is found.

- **dtypes**: what its floating-point inputs may be. For 16, 32 and 64 (float16, float32, float64) every result and
  every gradient keeps the dtype; `int` and `bool` (int64 and bool in place of all of them) are computed without
  gradients.
- **derivatives**: the order proved in float64. 1: the gradient of a random combination of the results equals central
  differences in every entry of every input (at most 40 of each, drawn at random). 2: so does the gradient of that
  gradient, in the inputs and in the upstream gradient. A dash: not differentiable.
- **forward**: forward and reverse mode are adjoint, ⟨u, Jv⟩ = ⟨Jᵀu, v⟩, to rounding.
- **memory**: *view* results share memory with their input; `name_` is the method that writes in place.
- **compiled**: what `backlit.compile` makes of it in float32. *native*: machine code; *NumPy*: the compiled step calls
  the operation's NumPy rule between stretches of machine code; *partly*: native for some settings only; *no*: the
  operation decides a shape by values, so it has to stay outside (compiling says so). One word where forward and
  gradient have the same.

Functions that make tensors (`zeros`, `arange`, `rand`, `normal`, `multinomial` …) take no part in differentiation and
are not listed. Complex, quantised and sparse numbers, bfloat16 and 8-bit floats are not supported by any operation.
"""

GAPS = {
    "norm": "no nuclear and no spectral norm of matrices",
    "interpolate": "no bicubic mode",
    "unfold": "a copy, where PyTorch gives a view",
}
"""What PyTorch's operation of the same name can do and this one refuses or does otherwise."""

COLUMNS = (
    *("operation", "formula", "gate: what it does to gradients", "domain"),
    *("dtypes", "derivatives", "forward", "memory", "compiled", "known gaps"),
)


class Proof(NamedTuple):
    """What was found about an operation by trying it."""

    dtypes: str
    order: str
    forward: str


def holds(check: Callable[..., None], operation: Operation, samples: list[Sample]) -> bool:
    """Whether a property holds at every sample, and there is one."""
    try:
        for sample in samples:
            check(operation, sample)
    except Exception:  # a property fails with an AssertionError, a missing rule with an error of its own
        return False
    return bool(samples)


def _keeps(dtype: type) -> Callable[..., None]:
    """Floating-point inputs of a dtype give results and gradients of that dtype."""

    def check(operation: Operation, sample: Sample) -> None:
        def narrowed(a: np.ndarray) -> np.ndarray:
            return a.astype(dtype) if a.dtype == np.float32 and dtype is np.float16 else a

        properties.check_dtype(operation, _changed(sample, narrowed), dtype)

    return check


def _computes(dtype: type) -> Callable[..., None]:
    """Inputs of a dtype in place of float64 are taken."""

    def check(operation: Operation, sample: Sample) -> None:
        call = properties.Call(operation, sample)
        call.everything([constant(np.round(2 * leaf).astype(dtype)) for leaf in call.leaves], constant)

    return check


def _takes(dtype: type) -> Callable[..., None]:
    """Inputs of a dtype in place of any other are taken."""

    def check(operation: Operation, sample: Sample) -> None:
        call = properties.Call(operation, _changed(sample, lambda a: a.astype(dtype)))
        call.everything([constant(leaf) for leaf in call.leaves], constant)

    return check


def _changed(sample: Sample, change: Callable[[np.ndarray], np.ndarray]) -> Sample:
    args, kwargs = properties.rebuilt([sample.args, sample.kwargs], change)
    return type(sample)(*args, **kwargs)


FLOATS = {"16": np.float16, "32": np.float32, "64": np.float64}
OTHERS = {"int": np.int64, "bool": np.bool_}


def dtypes(operation: Operation, samples: list[Sample]) -> str:
    """The dtypes that work at every sample which does not ask for one."""
    plain = [s for s in samples if not any(isinstance(x, (np.dtype, type)) for x in (*s.args, *s.kwargs.values()))]
    if not plain:
        return "as asked"
    with_leaves = [s for s in plain if properties.Call(operation, s).leaves]
    if with_leaves:
        checks = {name: _keeps(dtype) for name, dtype in FLOATS.items()}
        checks |= {name: _computes(dtype) for name, dtype in OTHERS.items()}
    else:
        checks = {name: _takes(dtype) for name, dtype in {**FLOATS, **OTHERS}.items()}
    return " ".join(name for name, check in checks.items() if holds(check, operation, with_leaves or plain)) or "–"


def samples_of(operation: Operation) -> list[Sample]:
    """The samples of the property tests."""
    return list(operation.samples(np.random.default_rng(zlib.crc32(operation.name.encode()))))


@functools.cache
def proof(name: str) -> Proof:
    """Try an operation's properties at the samples of the property tests."""
    operation = REGISTRY[name]
    every = samples_of(operation)
    samples = [sample for sample in every if properties.Call(operation, sample).leaves]
    taken = dtypes(operation, every)
    if not operation.differentiable:
        return Proof(taken, "–", "–")
    first = holds(properties.check_gradient, operation, samples)
    second = first and holds(properties.check_second_order, operation, samples)
    adjoint = holds(properties.check_adjoint, operation, samples)
    return Proof(taken, str(first + second), "yes" if adjoint else "no")


@functools.cache
def compiled(name: str) -> tuple[str, str]:
    """What the compiler makes of an operation's forward rule and of its gradient, at its samples in float32."""
    operation = REGISTRY[name]
    found = []
    for sample in samples_of(operation):
        case = Case(operation, sample, np.float32)
        if all(0 not in x.shape for x in case.tensors):
            forward = called_in_numpy(case.forward, case)
            gradient = called_in_numpy(case, case) if case.leaves else 0
            found.append((how(forward, 0), how(gradient, forward or 0)))
    forward, gradient = (words.pop() if len(words := set(of)) == 1 else "partly" for of in zip(*found, strict=True))
    return forward, gradient if operation.differentiable else "–"


def how(calls: int | None, others: int) -> str:
    """The word for a function with some calls of NumPy rules, ``others`` of them not its own."""
    return "no" if calls is None else "NumPy" if calls > others else "native"


def memory(operation: Operation) -> str:
    """Whether results are views, and the method that writes in place."""
    view = "view" if operation.definition is not None and operation.definition.is_view else ""
    in_place = f"`{operation.name}_`" if hasattr(Tensor, f"{operation.name}_") else ""
    return ", ".join(filter(None, (view, in_place)))


def family(operation: Operation) -> str:
    """The module that defines the operation, as a heading."""
    return operation.function.__module__.rsplit(".", 1)[-1].replace("_", " ").capitalize()


def cell(text: str) -> str:
    """Text that may stand in a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def row(operation: Operation) -> str:
    """One line of the table."""
    name = operation.name
    told = (operation.formula, operation.gate, operation.domain)
    forward, gradient = compiled(name)
    code = forward if gradient in (forward, "–") else f"{forward}, gradient {gradient}"
    found = (*proof(name), memory(operation), code, GAPS.get(name, ""))
    return f"| `{name}` | {' | '.join(map(cell, (*told, *found)))} |"


def summary() -> str:
    """How many operations have what."""
    proofs = {name: proof(name) for name in REGISTRY}
    orders = [found.order for found in proofs.values()]
    forward = sum(found.forward == "yes" for found in proofs.values())
    made = [set(compiled(name)) - {"–"} for name in REGISTRY]
    native, outside = made.count({"native"}), made.count({"no"})
    called = len(made) - native - outside
    return (
        f"{len(REGISTRY)} operations, {sum(o.differentiable for o in REGISTRY.values())} of them differentiable: "
        f"{orders.count('2')} proved to the second order, {orders.count('1')} to the first only, "
        f"{orders.count('0')} not; {forward} with forward mode. "
        f"{native} are compiled to machine code at every sample, {called} call NumPy somewhere, "
        f"{outside} cannot be compiled."
    )


def table() -> str:
    """The whole file."""
    families: dict[str, list[Operation]] = {}
    for _, operation in sorted(REGISTRY.items()):
        families.setdefault(family(operation), []).append(operation)
    parts = [HEAD, summary()]
    for name, operations in sorted(families.items()):
        parts.append(f"\n## {name}\n")
        parts.append(f"| {' | '.join(COLUMNS)} |")
        parts.append("|" + "---|" * len(COLUMNS))
        parts.extend(row(operation) for operation in operations)
    return "\n".join(parts) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or with ``--check`` compare it; the exit status is 1 when it is out of date."""
    current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if "--check" in arguments:
        return int(current != table())
    TARGET.write_text(table(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
