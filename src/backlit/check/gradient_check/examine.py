"""``gradients`` and ``model``: check a function's or a network's gradients and explain what is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...containers import flatten
from ...errors import GradientError, OperationError
from ...random import fork_rng
from ...tensor import Tensor, constant
from .causes import Cause, Evidence, name_cause
from .complex_step import complex_step
from .leaf import LeafCheck, LeafResult, Settings
from .localise import evidence, localise
from .report import GradientReport, InputReport
from .subject import Subject, double_copy


def gradients(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    rtol: float = 1e-5,
    atol: float | None = None,
    eps: float = 1e-6,
    entries: int = 64,
    directions: int = 6,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> GradientReport:
    """Check the gradients of a function by backpropagation against differences, and explain every disagreement.

    Floating inputs are copied and checked in float64, whatever they are given in. Outputs of any shape are weighted
    with random numbers, so that one scalar stands for the whole Jacobian. Small inputs are checked entry by entry,
    large ones in chosen entries and along random directions. Every evaluation starts from the same state of the random
    generator.

    Args:
        fn: called with the inputs; returns a tensor, or several.
        inputs: a tensor or array, or a tuple of arguments (nested containers of tensors are fine). Those that require
            gradients are checked; all floating ones if none does.
        rtol: relative disagreement that is accepted.
        atol: absolute disagreement that is accepted; by default 1e-7 of the gradient's largest entry.
        eps: the smallest step, relative to the size of an entry; wider ones are tried first.
        entries: of an input with more than 500 entries, how many are compared.
        directions: of such an input, along how many random directions.
        seed: what weights, entries and directions are drawn with.
        names: names of the checked inputs, for the report.

    Returns:
        A :class:`GradientReport`; ``.ok`` tells whether all is well, and ``print`` shows what is not.

    >>> import backlit as bl
    >>> report = gradients(lambda x: (x * x).sum(), bl.tensor([1.0, 2.0]))
    >>> report.ok
    True
    """
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    args = tuple(constant(a) if isinstance(a, np.ndarray) else a for a in args)
    given, rebuild = flatten(args)
    floating = [i for i, t in enumerate(given) if t.dtype.kind == "f"]
    chosen = [i for i in floating if given[i].requires_grad] or floating
    if not chosen:
        raise OperationError("gradients: there is no floating-point input to differentiate with respect to.")
    if names is not None and len(names) != len(chosen):
        raise OperationError(f"gradients: {len(names)} names for {len(chosen)} inputs.")
    doubles = {i: double_copy(given[i]) for i in chosen}

    def run(leaves: list[Tensor]) -> Any:
        placed = dict(zip(chosen, leaves, strict=True))
        rest = {i: double_copy(given[i]).detach() for i in floating if i not in placed}
        return fn(*rebuild([placed.get(i, rest.get(i, t)) for i, t in enumerate(given)]))

    settings = Settings(rtol=rtol, atol=atol, eps=eps, entries=entries, directions=directions, seed=seed)
    with fork_rng():
        subject = Subject(run, list(doubles.values()), names or [f"input {i}" for i in chosen], seed=seed)
        report = examine(subject, settings, [given[i].dtype.name for i in chosen])
        if report.ok:
            _float32_noise(report, fn, given, rebuild, chosen, subject)
    return report


def model(
    model: Any,
    batch: Any,
    loss: Any = "cross_entropy",
    *,
    rtol: float = 1e-5,
    entries: int = 16,
    directions: int = 4,
    seed: int = 0,
) -> GradientReport:
    """Check the gradients of a loss in every parameter of a network, on a float64 copy of it.

    Args:
        model: a module, in the mode (training or evaluation) in which it is to be checked. It is not changed.
        batch: ``(input, target)``; the input may be a tuple of several.
        loss: a name as for :func:`backlit.train.fit`, or a function of (output, target).
        rtol: relative disagreement that is accepted.
        entries, directions: how many entries and random directions of each parameter are compared.
        seed: what they are drawn with.

    Returns:
        A :class:`GradientReport` with one entry a parameter, named as in ``named_parameters``.
    """
    from ...train.choices import resolve_loss

    function = resolve_loss(loss).function
    double = copy.deepcopy(model).double()
    x, y = _two_parts(batch)
    named = [(name, p) for name, p in double.named_parameters() if p.requires_grad]
    if not named:
        raise OperationError("model: no parameter requires gradients, so there is nothing to check.")
    double.zero_grad()
    dtypes = {name: p.dtype.name for name, p in model.named_parameters()}

    def run(_: list[Tensor]) -> Any:
        return function(double(*x) if isinstance(x, tuple) else double(x), y)

    def in_copies(leaves: list[Tensor]) -> Any:
        if all(a is b for a, (_, b) in zip(leaves, named, strict=True)):
            return run(leaves)
        kept = [p._data for _, p in named]
        try:
            for leaf, (_, p) in zip(leaves, named, strict=True):
                p._data = leaf._data
            return run(leaves)
        finally:
            for array, (_, p) in zip(kept, named, strict=True):
                p._data = array

    settings = Settings(rtol=rtol, entries=entries, whole=entries, directions=directions, seed=seed)
    with fork_rng():
        parameters, names = [p for _, p in named], [name for name, _ in named]
        subject = Subject(in_copies, parameters, names, seed=seed, copies=False)
        report = examine(subject, settings, [dtypes[name] for name, _ in named])
    if any(name != "float64" for name in dtypes.values()):
        report.notes.append("checked on a float64 copy; the network was not changed")
    return report


def examine(subject: Subject, settings: Settings, dtypes: Sequence[str], nondet_tol: float = 0.0) -> GradientReport:
    """The report on a subject; two backward passes may differ by ``nondet_tol``."""
    report = GradientReport([])
    if not _settled(subject):
        text = "non-determinism: two runs with the same inputs and random state give different values"
        report.failures.append(Cause("non-deterministic", text + "; no gradient can be checked"))
        return report
    if subject.draws:
        report.notes.append("the function draws random numbers: every run was given the same ones")
    found: list[Any] = [None] * len(subject.leaves)
    try:
        found = _repeatable(subject, report, nondet_tol)
    except (GradientError, ValueError, TypeError, IndexError) as error:
        report.failures.append(Cause("error", f"the backward pass raised {type(error).__name__}: {error}"))
    largest = max((float(np.abs(g).max(initial=0.0)) for g in found if g is not None), default=0.0)
    checks = []
    for k, (gradient, dtype) in enumerate(zip(found, dtypes, strict=True)):
        rightly_shaped = gradient is not None and gradient.shape == subject.leaves[k].shape
        used = gradient if rightly_shaped else np.zeros(subject.leaves[k].shape)
        checks.append(LeafCheck(subject, k, used, settings, largest if np.isfinite(largest) else 0.0))
        report.inputs.append(_examine_leaf(checks[-1], gradient, dtype, failed=bool(report.failures)))
    _sweep(report, checks)
    suspects = [k for k, part in enumerate(report.inputs) if not part.ok and part.status != "undefined"]
    repeatable = all(cause.kind != "non-deterministic" for cause in report.failures)
    if repeatable and (suspects or report.failures):
        report.culprits = localise(subject, suspects, settings)
    return report


def _repeatable(subject: Subject, report: GradientReport, tolerance: float) -> list[Any]:
    """The gradients, which two backward passes agree on, or the report says that they do not."""
    found, again = subject.backward(), subject.backward()
    if _differing(subject, found, again, tolerance):
        found, again = again, subject.backward()  # as for values, see _settled
    for name in _differing(subject, found, again, tolerance):
        report.failures.append(
            Cause("non-deterministic", f"non-determinism: two backward passes give {name} different gradients")
        )
    return found


def _differing(subject: Subject, found: list[Any], again: list[Any], tolerance: float) -> list[str]:
    return [
        name
        for name, one, other in zip(subject.names, found, again, strict=True)
        if one is not None and other is not None and one.shape == other.shape
        if not np.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True)
    ]


def _sweep(report: GradientReport, checks: list[LeafCheck]) -> None:
    """Sweeps of the step where something is wrong; where nothing is, at the worst entry of all, to show that.

    A gradient that is 0 but for rounding (a bias in front of batch normalization) has no V to show.
    """
    chosen = [k for k, part in enumerate(report.inputs) if not part.ok]

    def telling(k: int) -> tuple[bool, float]:
        part = report.inputs[k]
        return part.worst is not None and abs(part.worst.analytic) > checks[k].floor, part.relative

    for k in chosen or sorted(range(len(checks)), key=telling)[-1:]:
        report.inputs[k].sweep = checks[k].sweep()


def _examine_leaf(check: LeafCheck, gradient: Any, dtype: str, failed: bool) -> InputReport:
    subject, k, settings = check.subject, check.k, check.settings
    leaf, name = subject.leaves[k], subject.names[k]
    part = InputReport(name, leaf.shape, dtype, True, "ok")
    if not leaf._data.size:
        part.status = "no elements"
        return part
    rightly_shaped = gradient is not None and gradient.shape == leaf.shape
    if failed and not rightly_shaped:
        part.ok, part.status = False, "not computed"
        return part
    result = check.run()
    _fill(part, result)
    if gradient is not None and not rightly_shaped:
        part.ok = False
    part.status = _status(part, result)
    if part.status == "undefined":
        part.ok, part.cause = False, _outside(subject)
    elif not part.ok:
        part.cause = None if failed else _cause(subject, k, gradient, result)
        part.oracles = oracles(subject, k, gradient, settings) if rightly_shaped else {}
    return part


def _fill(part: InputReport, result: LeafResult) -> None:
    part.ok, part.relative, part.worst = result.ok, result.relative, result.worst
    part.checked, part.directions, part.kinks = len(result.entries), result.directions, result.kinks
    part.undefined = result.undefined


def _status(part: InputReport, result: LeafResult) -> str:
    if not part.ok:
        return "wrong"
    if not result.entries:
        return "kinks only" if result.kinks else "ok" if result.directions else "undefined"
    return "noise" if result.unsettled and part.relative > 1e-2 else "ok"


def _outside(subject: Subject) -> Cause:
    """Why no entry could be checked: there are no finite differences."""
    bad = int((~np.isfinite(subject.here)).sum())
    what = f"{bad} of {subject.here.size} results are NaN or infinite" if bad else "results a step away are not finite"
    return Cause("undefined", f"{what}: nothing was checked; choose inputs where the function is finite")


def _cause(subject: Subject, k: int, gradient: Any, result: LeafResult) -> Cause:
    numeric = result.numeric(subject.leaves[k].shape)
    if gradient is None:
        return name_cause(Evidence(None, numeric))
    return name_cause(evidence(subject, k, gradient, numeric))


def oracles(subject: Subject, k: int, gradient: NDArray[Any], settings: Settings) -> dict[str, float]:
    """How far the gradient along a random direction is from other methods: forward mode, complex step.

    Forward mode has rules of its own for most operations; where it agrees with differences and backpropagation does
    not, the fault is in a reverse rule and not in what both are made from.
    """
    direction = np.random.default_rng([settings.seed, k, 1]).normal(size=subject.leaves[k].shape)
    wanted = float((gradient * direction).sum())
    methods = {
        "forward mode": subject.forward_mode(k, direction),
        "complex step": complex_step(subject, k, direction),
    }
    return {
        name: abs(value - wanted) / max(abs(value), abs(wanted), 1e-300)
        for name, value in methods.items()
        if value is not None and np.isfinite(value)
    }


def _float32_noise(
    report: GradientReport, fn: Any, given: list[Tensor], rebuild: Any, chosen: list[int], subject: Subject
) -> None:
    """How far rounding alone moves gradients that are computed in the precision the inputs were given in."""
    if all(given[i].dtype == np.float64 for i in chosen):
        return
    narrow = {i: constant(given[i]._data.copy()).requires_grad_() for i in chosen}
    single = Subject(
        lambda leaves: fn(*rebuild([dict(zip(chosen, leaves, strict=True)).get(i, t) for i, t in enumerate(given)])),
        list(narrow.values()),
        subject.names,
        cotangents=subject.cotangents,
        state=subject.state,
    )
    for part, one, other in zip(report.inputs, single.backward(), subject.backward(), strict=True):
        if one is not None and other is not None and other.size and np.isfinite(one).all() and np.isfinite(other).all():
            part.float32 = float(np.abs(one - other).max() / (np.abs(other).max() or 1.0))
    report.notes.append("float32 inputs were checked in float64")


def _settled(subject: Subject) -> bool:
    """Whether runs repeat; the first may differ by rounding: a compiled function runs as it is written while traced."""
    again = subject.values()
    return any(np.array_equal(x, again, equal_nan=True) for x in (subject.here, subject.values()))


def _two_parts(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise OperationError("model: batch is a pair (input, target); the input may be a tuple of several.")
    return _doubled(batch[0]), _doubled(batch[1])


def _doubled(part: Any) -> Any:
    if isinstance(part, (tuple, list)):
        return tuple(_doubled(x) for x in part)
    array = np.asarray(getattr(part, "_data", part))
    return constant(array.astype(np.float64) if array.dtype.kind == "f" else array)
