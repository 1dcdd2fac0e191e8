"""``gradcheck`` and ``gradgradcheck`` with PyTorch's signatures, over the report of :mod:`backlit.check.examine`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import autograd
from ...containers import flatten
from ...errors import GradientError, OperationError, UnsupportedError
from ...graph import enable_grad
from ...ops.joining import stack
from ...random import fork_rng
from ...tensor import Tensor, constant
from .causes import Cause
from .examine import examine
from .leaf import LeafCheck, Settings
from .report import GradientReport
from .subject import Subject, double_copy


class GradcheckError(GradientError):
    """A gradient is wrong; the message is the whole report, which is also in ``report``."""

    def __init__(self, message: str, report: GradientReport | None = None) -> None:
        super().__init__(message)
        self.report = report


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Check gradients by backpropagation against differences, as ``torch.autograd.gradcheck`` does.

    Every entry of every input that requires gradients is compared, for outputs weighted with random numbers (which
    stand for the whole Jacobian: a wrong entry of it is missed with probability zero). float32 inputs are checked in
    float64. Kinks, where the gradient lies between the slopes of both sides, are no failures. For what is wrong and
    where, see :func:`backlit.check.gradients`; the error raised here carries the same report.

    Args:
        func: called with the inputs; returns a tensor or several.
        inputs: a tensor or a tuple; at least one must require gradients.
        eps: the smallest step of the differences.
        atol, rtol: a gradient may differ by ``atol + rtol · |difference|``.
        raise_exception: raise instead of returning False.
        nondet_tol: how far two backward passes may differ.
        check_undefined_grad: also check that gradients are right when only one of several outputs has an upstream
            gradient.
        check_grad_dtypes: also check that gradients have their inputs' dtypes, as given.
        check_forward_ad: also compare forward mode with differences, along a random direction.
        check_backward_ad: compare backpropagation with differences.
        fast_mode: compare along random directions and in a few entries instead of all.
        check_batched_grad, check_batched_forward_grad, masked: must stay off; there is no batching of gradients and
            there are no sparse tensors.

    Random numbers of the library are the same in every run, so that dropout can be checked.

    Returns:
        True if all is well, else False.

    Raises:
        GradcheckError: a gradient is wrong, or could not be checked; the message is the report.
        OperationError: no input requires gradients, or nothing was asked to be checked.

    >>> import backlit as bl
    >>> x = bl.tensor([1.0, 2.0], dtype=bl.float64, requires_grad=True)
    >>> gradcheck(lambda x: x.exp(), x)
    True
    """
    _unsupported(check_batched_grad=check_batched_grad, check_batched_forward_grad=check_batched_forward_grad)
    _unsupported(masked=masked)
    if not (check_backward_ad or check_forward_ad):
        raise OperationError(
            "gradcheck: there is nothing to check; leave check_backward_ad (or, for gradgradcheck, check_rev_over_rev) "
            "on, or ask for forward mode with check_forward_ad (check_fwd_over_rev)."
        )
    args, chosen = _chosen("gradcheck", inputs)
    names = [f"input {i}" for i in chosen]
    settings = Settings(rtol, atol, eps, entries=8, whole=0 if fast_mode else 1 << 62)
    given, rebuild = flatten(args)
    with fork_rng():
        subject = Subject(_placed(func, given, rebuild, chosen), [double_copy(given[i]) for i in chosen], names)
        report = GradientReport([])
        if check_backward_ad:
            report = examine(subject, settings, [given[i].dtype.name for i in chosen], nondet_tol)
        if check_undefined_grad and report.ok and len(subject.cotangents) > 1:
            _undefined(subject, report)
        if check_forward_ad and report.ok:
            _forward(subject, settings, report)
        if check_grad_dtypes and report.ok:
            _dtypes(func, args, chosen, report)
    return _concluded("gradcheck", report, raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool | None = False,
) -> bool:
    """Check second derivatives: the gradient, as a function of the inputs and the upstream gradients, is gradchecked.

    Args:
        func, inputs: as for :func:`gradcheck`.
        grad_outputs: upstream gradients, one an output; random by default.
        gen_non_contig_grad_outputs: hand upstream gradients over as views with gaps in memory.
        check_fwd_over_rev: also differentiate the gradient by forward mode.
        check_rev_over_rev: differentiate the gradient by backpropagation.

    The other options, the result and the error are those of :func:`gradcheck`.

    >>> import backlit as bl
    >>> gradgradcheck(lambda x: x.exp(), bl.tensor([1.0, 2.0], requires_grad=True))
    True
    """
    args, chosen = _chosen("gradgradcheck", inputs)
    count = len(args)
    with fork_rng():
        seeds = _upstream(func, args, chosen, grad_outputs)

    def gradient(*everything: Any) -> Any:
        flat, rebuild = flatten(everything[:count])
        for i in chosen:
            if not flat[i].requires_grad:  # constants, where differences are taken or tangents are carried along
                flat[i] = constant(flat[i]._data).requires_grad_()
        with enable_grad():
            outs = [t for t in flatten(func(*rebuild(flat)))[0] if t.dtype.kind == "f"]
            given = [_with_gaps(u) if gen_non_contig_grad_outputs else u for u in everything[count:]]
            live = [(o, u) for o, u in zip(outs, given, strict=True) if o.requires_grad]
            return autograd.grad(
                [o for o, _ in live],
                [flat[i] for i in chosen],
                [u for _, u in live],
                create_graph=True,
                materialize_grads=True,
            )

    return gradcheck(
        gradient,
        (*args, *seeds),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _with_gaps(tensor: Tensor) -> Tensor:
    """The same values, every second element of memory."""
    return stack([tensor, tensor * 2.0], -1)[..., 0]


def _upstream(func: Any, args: Any, chosen: list[int], given: Any) -> list[Tensor]:
    """Upstream gradients that require gradients themselves."""
    if given is not None:
        return [double_copy(t) for t in flatten((given,))[0]]
    flat, rebuild = flatten(args)
    subject = Subject(_placed(func, flat, rebuild, chosen), [double_copy(flat[i]) for i in chosen], [])
    rng = np.random.default_rng(1)
    return [constant(np.asarray(rng.normal(size=u.shape))).requires_grad_() for u in subject.cotangents]


def _chosen(name: str, inputs: Any) -> tuple[tuple[Any, ...], list[int]]:
    """The arguments, and which of their tensors are checked."""
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    chosen = [i for i, t in enumerate(flatten(args)[0]) if t.requires_grad]
    if not chosen:
        raise OperationError(f"{name}: no input requires gradients; set requires_grad=True on those to check.")
    return args, chosen


def _placed(func: Any, given: list[Tensor], rebuild: Any, chosen: list[int]) -> Callable[[list[Tensor]], Any]:
    """The function of the chosen tensors alone; other floating ones are float64 constants."""
    others = {i: double_copy(t).detach() for i, t in enumerate(given) if i not in chosen and t.dtype.kind == "f"}

    def run(leaves: list[Tensor]) -> Any:
        placed = dict(zip(chosen, leaves, strict=True))
        return func(*rebuild([placed.get(i, others.get(i, t)) for i, t in enumerate(given)]))

    return run


def _undefined(subject: Subject, report: GradientReport) -> None:
    """With one output's upstream gradient undefined after the other, gradients are those for zeros in its place."""
    full = subject.cotangents
    for k in range(len(full)):
        zeros = [u if i == k else np.zeros_like(u) for i, u in enumerate(full)]
        subject.cotangents = zeros
        wanted = subject.backward()
        with enable_grad():
            out = subject.outputs(subject.leaves)[k]
        if out.requires_grad:
            found = autograd.grad([out], subject.leaves, [constant(full[k].astype(out.dtype))], allow_unused=True)
            if not all(_same(None if f is None else f._data, w) for f, w in zip(found, wanted, strict=True)):
                report.failures.append(
                    Cause("error", f"undefined upstream gradients are not treated as zeros (only output {k} has one)")
                )
    subject.cotangents = full


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return (one is None or not one.any()) and (other is None or not other.any())
    return bool(np.allclose(one, other, rtol=1e-9, equal_nan=True))


def _forward(subject: Subject, settings: Settings, report: GradientReport) -> None:
    """Forward mode against differences, along a random direction, whatever backpropagation says."""
    for k, (name, leaf) in enumerate(zip(subject.names, subject.leaves, strict=True)):
        direction = np.random.default_rng([settings.seed, k, 1]).normal(size=leaf.shape)
        value = subject.forward_mode(k, direction)
        if value is None:
            report.failures.append(Cause("error", f"forward mode is not possible in {name}"))
            continue
        check = LeafCheck(subject, k, np.zeros(leaf.shape), settings)
        estimate, agrees, kink = check.compare(direction, value, 1.0)
        if kink is None and not agrees and np.isfinite(estimate.value):
            found = f"forward mode gives {value:.8g}, differences {estimate.value:.8g}"
            report.failures.append(Cause("error", f"in {name}, along a random direction, {found}"))


def _dtypes(func: Any, args: Any, chosen: list[int], report: GradientReport) -> None:
    flat, rebuild = flatten(args)
    leaves = [t.detach().requires_grad_() if i in chosen else t for i, t in enumerate(flat)]
    with enable_grad():
        outs = [t.sum() for t in flatten(func(*rebuild(leaves)))[0] if t.requires_grad]
    wanted = [leaves[i] for i in chosen]
    for i, x, g in zip(chosen, wanted, autograd.grad(outs, wanted, allow_unused=True), strict=True):
        if g is not None and g.dtype != x.dtype:
            report.failures.append(Cause("dtype", f"input {i} is {x.dtype.name}, its gradient {g.dtype.name}"))


def _concluded(name: str, report: GradientReport, raise_exception: bool) -> bool:
    if report.ok or not raise_exception:
        return report.ok
    raise GradcheckError(f"{name}: {report}", report)


def _unsupported(**options: Any) -> None:
    for option, value in options.items():
        if value:
            raise UnsupportedError(f"gradcheck: {option}={value!r} is not supported; leave it out.")


__all__: Sequence[str] = ["GradcheckError", "gradcheck", "gradgradcheck"]
