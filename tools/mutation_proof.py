"""Break every gradient rule in turn, and see whether the tests and the checker notice, and what the checker says.

``python tools/mutation_proof.py`` breaks each rule of each operation in each way that changes its gradients, runs the
properties of ``tests/ops`` and ``gradcheck`` against it, and writes the figures into ``docs/trust.md``. ``--sample 40``
takes forty mutants drawn at random and writes nothing; ``--only matmul`` those of one operation.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "ops"))

import op_properties as properties  # noqa: E402

from backlit.autograd import GradcheckError, gradcheck  # noqa: E402
from backlit.check.gradient_check.causes import broadcasts  # noqa: E402
from backlit.check.gradient_check.tape import Tape  # noqa: E402
from backlit.graph import Deferred, enable_grad  # noqa: E402
from backlit.numerics import quiet  # noqa: E402
from backlit.ops import elementwise  # noqa: E402
from backlit.ops.definition import REGISTRY, Op, _positional  # noqa: E402
from backlit.tensor import Tensor, constant  # noqa: E402

TARGET = ROOT / "docs" / "trust.md"
BEGIN, END = "<!-- mutation proof: begin -->", "<!-- mutation proof: end -->"

Change = Callable[[Any, Any, Any], Any]

# -- the ways to break a rule -------------------------------------------------------------------------------------


def _dropped(ctx: Any, g: Any, part: Any) -> Any:
    return elementwise.unbroadcast(g, part.shape) if broadcasts(part.shape, g.shape) else part


def _averaged(ctx: Any, g: Any, part: Any) -> Any:
    return part * (1.0 / ctx.shape[0]) if ctx.shape and ctx.shape[0] > 2 else part


BREAKS: dict[str, tuple[Change, frozenset[str]]] = {
    "sign": (lambda ctx, g, part: -part, frozenset({"sign"})),
    "factor 2": (lambda ctx, g, part: part * 2.0, frozenset({"factor"})),
    "factor 1/n": (_averaged, frozenset({"factor"})),
    "transposed": (lambda ctx, g, part: part.mT if part.ndim > 1 else part, frozenset({"transposed"})),
    "missing sum": (lambda ctx, g, part: part, frozenset({"missing-sum"})),
    "one of the sum": (lambda ctx, g, part: part, frozenset({"missing-sum"})),
    "mean for sum": (lambda ctx, g, part: part, frozenset({"factor"})),
    "dropped slope": (_dropped, frozenset({"chain-factor"})),
    "zeroed": (lambda ctx, g, part: part * 0.0, frozenset({"zero", "detached"})),
}
"""What is done to a rule's result, and the causes that name it rightly."""


def _first(g: Any, shape: tuple[int, ...]) -> Any:
    lead = g.ndim - len(shape)
    return g[(0,) * lead + tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]


def _mean(g: Any, shape: tuple[int, ...]) -> Any:
    return _SUM(g, shape) * (np.prod(shape) / np.prod(g.shape) if np.prod(g.shape) else 1.0)


_SUM = elementwise.unbroadcast
SUMS: dict[str, Callable[..., Any]] = {
    "missing sum": lambda g, shape: g,
    "one of the sum": _first,
    "mean for sum": _mean,
}
"""What stands in for the sum over the axes along which an input was broadcast."""


@dataclass(frozen=True)
class Mutant:
    """One rule of one operation, broken in one way; ``part`` is the input concerned of a joint rule."""

    op: type[Op]
    rule: str
    part: int | None
    kind: str

    def __str__(self) -> str:
        where = self.rule if self.part is None else f"{self.rule}[{self.part}]"
        return f"{self.op.name}.{where}: {self.kind}"


@contextmanager
def broken(mutant: Mutant) -> Iterator[None]:
    """Put a broken rule into its operation, and take it out again."""
    op, name = mutant.op, mutant.rule
    original = getattr(op, name)
    before = vars(op).get(name)
    change, _ = BREAKS[mutant.kind]

    def one(ctx: Any, g: Any, part: Any) -> Any:
        if part is None:
            return None
        return change(ctx, g, part.total() if part.__class__ is Deferred else part)

    def rule(ctx: Any, g: Any, *values: Any) -> Any:
        with _summed_by(op, SUMS[mutant.kind]) if mutant.kind in SUMS else nullcontext():
            found = original(ctx, g, *values)
        if mutant.part is None:
            return one(ctx, g, found)
        return [one(ctx, g, part) if i == mutant.part else part for i, part in enumerate(found)]

    names = getattr(original, "names", None)
    rule.names = _positional(original)[2:] if names is None else names  # type: ignore[attr-defined]
    setattr(op, name, staticmethod(rule))
    _forget(op)
    try:
        yield
    finally:
        if before is None:
            delattr(op, name)
        else:
            setattr(op, name, before)
        _forget(op)


def _forget(op: type[Op]) -> None:
    """Plans hold the rules they were made with."""
    op._plans.clear()
    op._needs.clear()


@contextmanager
def _summed_by(op: type[Op], other: Callable[..., Any]) -> Iterator[None]:
    """Something else stands in for ``unbroadcast`` inside."""
    modules = {elementwise, sys.modules[op.__module__]}
    kept = [(module, module.unbroadcast) for module in modules if hasattr(module, "unbroadcast")]
    try:
        for module, _ in kept:
            module.unbroadcast = other
        yield
    finally:
        for module, function in kept:
            module.unbroadcast = function


# -- which mutants there are --------------------------------------------------------------------------------------


def calls() -> Iterator[properties.Call]:
    """Every differentiable operation at every sample that has something to differentiate."""
    for name, operation in sorted(REGISTRY.items()):
        if operation.differentiable:
            for sample in operation.samples(np.random.default_rng(zlib.crc32(name.encode()))):
                call = properties.Call(operation, sample)
                if any(leaf.size for leaf in call.leaves):
                    yield call


class Gradient:
    """The gradient of a call as a call of its own: what its recorded backward pass applies is reached through it."""

    def __init__(self, call: properties.Call) -> None:
        self.call, self.operation, self.sample = call, call.operation, call.sample
        self.count = len(call.leaves)
        self.leaves = [*call.leaves, *call.cotangents()]

    def __call__(self, leaves: list[Any]) -> list[Any]:
        given = [x if isinstance(x, Tensor) else constant(x) for x in leaves]
        given = [x if x.requires_grad else constant(x._data).requires_grad_() for x in given]
        xs, us = given[: self.count], given[self.count :]
        with enable_grad():
            return list(properties.recorded_pullback(self.call, xs, us))


def users() -> dict[type[Op], list[properties.Call]]:
    """For every definition, the calls that apply it; calls of its own operation first, large ones first."""
    found: dict[type[Op], list[properties.Call]] = {}
    for call in calls():
        with Tape() as tape, quiet():
            call(properties.tensors(call.leaves))
        for op in {step.op for step in tape.steps if step.node is not None}:
            found.setdefault(op, []).append(call)
    first = set(found)
    for call in list(calls()):
        if sum(leaf.size for leaf in call.leaves) > 400:
            continue
        gradient = Gradient(call)
        with Tape() as tape, quiet():
            try:
                gradient(gradient.leaves)
            except AssertionError:  # the result does not depend on the leaves
                continue
        for op in {step.op for step in tape.steps if step.node is not None} - first:
            found.setdefault(op, []).append(gradient)
    for op, several in found.items():
        several.sort(key=lambda c: (c.operation.definition is not op, -sum(leaf.size for leaf in c.leaves)))
        del several[12:]
    return found


def mutants(op: type[Op]) -> Iterator[Mutant]:
    """Every rule of a definition, broken in every way."""
    for kind in BREAKS:
        if getattr(op, "vjp", None) is not None:
            for part in range(len(op.inputs)):
                yield Mutant(op, "vjp", part, kind)
            continue
        for name in op.inputs:
            if op.rule("vjp", name) is not None:
                yield Mutant(op, f"vjp_{name}", None, kind)


def unreached(found: Iterable[type[Op]]) -> list[str]:
    """The operations of the library whose rules no sample runs."""
    pending, names = [Op], set()
    while pending:
        op = pending.pop()
        pending += op.__subclasses__()
        ours = op.__module__.startswith("backlit") and op.differentiable and "name" in vars(op)
        if ours and any(mutants(op)) and op not in found:
            names.add(op.__name__)
    return sorted(names)


def pulled(call: properties.Call) -> list[Any] | None:
    """A call's gradients for fixed upstream gradients; None if the backward pass raises."""
    rng = np.random.default_rng(0)
    us = [rng.normal(size=out.shape) for out in call(call.leaves)]
    try:
        with quiet():
            return properties.pullback(call, call.leaves, us)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return None


def differ(one: list[Any] | None, other: list[Any] | None) -> bool:
    """Whether two sets of gradients are not the same."""
    if one is None or other is None:
        return one is not other
    return any(
        a.shape != b.shape or not np.allclose(a, b, rtol=1e-6, atol=1e-12, equal_nan=True)
        for a, b in zip(one, other, strict=True)
    )


def only_a_factor(right: list[Any], wrong: list[Any] | None) -> bool:
    """Whether wrong gradients are the right ones times one number each: then a factor was dropped, and not a slope."""
    if wrong is None:
        return False
    for a, b in zip(right, wrong, strict=True):
        if a.shape == b.shape and a.size and a.any():
            c = float((a * b).sum() / (a * a).sum())
            if not np.allclose(b, c * a, rtol=1e-6):
                return False
    return True


# -- one mutant's trial -------------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What happened to a mutant: who noticed it, the cause that was named, the operation that was blamed."""

    mutant: Mutant
    by_properties: bool = False
    by_gradcheck: bool = False
    cause: str = ""
    text: str = ""
    blamed: str = ""

    @property
    def cause_right(self) -> bool:
        """Whether the named cause is what was done."""
        return self.cause in BREAKS[self.mutant.kind][1]

    @property
    def blame_right(self) -> bool:
        """Whether the broken operation was blamed."""
        return self.blamed == self.mutant.op.name


def trial(mutant: Mutant, where: list[properties.Call], right: dict[int, Any]) -> Verdict | None:
    """Run the properties and the checker against a mutant; None if it changes no gradient (an equivalent mutant)."""
    with broken(mutant):
        wrong = [(call, pulled(call)) for call in where]
        changed = [(call, found) for call, found in wrong if differ(right[id(call)], found)]
        if mutant.kind == "dropped slope":
            changed = [(call, found) for call, found in changed if not only_a_factor(right[id(call)], found)]
        if not changed:
            return None
        verdict = Verdict(mutant)
        verdict.by_properties = any(_fails(call) for call, _ in changed)
        for call, _ in changed:
            error = _refused(call)
            if error is not None:
                verdict.by_gradcheck = True
                cause = error.report.cause
                verdict.cause, verdict.text = (cause.kind, cause.text) if cause else ("", "")
                verdict.blamed = error.report.culprits[0].operation if error.report.culprits else ""
                break
    return verdict


def _fails(call: properties.Call) -> bool:
    if isinstance(call, Gradient):
        checks: Any = (properties.check_second_order,)
    else:
        checks = (properties.check_shapes, properties.check_gradient, properties.check_adjoint)
    for check in checks:
        try:
            with quiet():
                check(call.operation, call.sample)
        except (AssertionError, RuntimeError, ValueError, TypeError, IndexError):
            return True
    return False


def _refused(call: properties.Call) -> Any:
    inputs = [Tensor(leaf.copy()).requires_grad_() for leaf in call.leaves]
    try:
        gradcheck(lambda *xs: tuple(call(list(xs))), tuple(inputs))
    except GradcheckError as error:
        return error
    return None


# -- all of them --------------------------------------------------------------------------------------------------


@dataclass
class Proof:
    """The verdicts on all mutants, and how many changed nothing."""

    verdicts: list[Verdict] = field(default_factory=list)
    equivalent: int = 0
    seconds: float = 0.0
    unreached: list[str] = field(default_factory=list)

    def share(self, what: Callable[[Verdict], bool]) -> float:
        """Of all mutants, the share for which something holds."""
        return sum(map(what, self.verdicts)) / max(1, len(self.verdicts))


def prove(sample: int | None = None, only: str | None = None, seed: int = 0) -> Proof:
    """Break rules, all of them or a sample, and collect what was noticed."""
    start = time.perf_counter()
    proof = Proof()
    where = users()
    proof.unreached = unreached(where)
    every = [m for op in sorted(where, key=lambda op: op.name) for m in mutants(op) if only in (None, op.name)]
    if sample is not None:
        every = random.Random(seed).sample(every, min(sample, len(every)))
    right: dict[int, Any] = {}
    for mutant in every:
        for call in where[mutant.op]:
            if id(call) not in right:
                right[id(call)] = pulled(call)
        verdict = trial(mutant, where[mutant.op], right)
        if verdict is None:
            proof.equivalent += 1
        else:
            proof.verdicts.append(verdict)
    proof.seconds = time.perf_counter() - start
    return proof


def table(proof: Proof) -> str:
    """The figures as Markdown."""
    rules = {(v.mutant.op, v.mutant.rule, v.mutant.part) for v in proof.verdicts}
    kinds = Counter(v.mutant.kind for v in proof.verdicts)
    lines = [
        "## Mutation proof",
        "",
        f"{len(rules)} gradient rules of {len({op for op, _, _ in rules})} operations were broken, one at a time, in "
        f"{len(proof.verdicts)} ways that change a gradient at some sample ({proof.equivalent} more change none: a "
        "transposed vector, a dropped slope of 1, a sum over axes that nothing was broadcast along). *Properties* are "
        "those of `tests/ops`; *gradcheck* is `bl.autograd.gradcheck`; *right cause* says how often the checker's "
        "suspected cause is what was done, on the largest sample that shows it; *right operation*, how often it blames "
        "the broken one.",
        "",
        "| broken by | mutants | noticed by properties | noticed by gradcheck | right cause | right operation |",
        "|---|---|---|---|---|---|",
    ]
    tests: list[Callable[[Verdict], bool]] = [
        lambda v: v.by_properties,
        lambda v: v.by_gradcheck,
        lambda v: v.cause_right,
        lambda v: v.blame_right,
    ]
    for kind, count in kinds.items():
        own = Proof([v for v in proof.verdicts if v.mutant.kind == kind])
        lines.append(f"| {kind} | {count} | {' | '.join(f'{own.share(test):.1%}' for test in tests)} |")
    total = " | ".join(f"**{proof.share(test):.1%}**" for test in tests)
    lines.append(f"| **all** | {len(proof.verdicts)} | {total} |")
    unnoticed = [str(v.mutant) for v in proof.verdicts if not (v.by_properties and v.by_gradcheck)]
    lines += ["", f"Not noticed by one of the two: {', '.join(unnoticed) or 'none'}."]
    misnamed = Counter((v.mutant.kind, v.cause or "none") for v in proof.verdicts if not v.cause_right)
    lines += ["", "Causes named wrongly: " + (_listed(misnamed) or "none") + "."]
    lines += [
        "",
        "Definitions that no sample applies, and that are therefore not among these: "
        + (", ".join(proof.unreached) or "none")
        + ".",
    ]
    lines += ["", "Written by `python tools/mutation_proof.py`."]
    return "\n".join(lines)


def _listed(misnamed: Counter[tuple[str, str]]) -> str:
    return ", ".join(f"{kind} taken for {cause} ({n})" for (kind, cause), n in misnamed.most_common())


def write(proof: Proof) -> None:
    """Put the figures between their markers in docs/trust.md."""
    text = TARGET.read_text(encoding="utf-8") if TARGET.exists() else "# Why to trust the gradients\n"
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    TARGET.write_text(f"{head}{BEGIN}\n{table(proof)}\n{END}{tail}", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run the proof; the exit status is 1 when a mutant went unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, help="so many mutants drawn at random; nothing is written")
    parser.add_argument("--only", help="the mutants of one operation; nothing is written")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    proof = prove(options.sample, options.only, options.seed)
    print(table(proof))
    print(f"\n{proof.seconds:.0f} s")
    for verdict in proof.verdicts:
        if not (verdict.cause_right and verdict.blame_right and verdict.by_properties and verdict.by_gradcheck):
            print(f"{verdict.mutant}: {verdict.cause or 'NOT NOTICED'} ({verdict.blamed}) {verdict.text}")
    if options.sample is None and options.only is None:
        write(proof)
    return int(not all(v.by_properties and v.by_gradcheck for v in proof.verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
