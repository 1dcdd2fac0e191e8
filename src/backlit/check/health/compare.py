"""Two implementations of one network side by side: where do they first differ?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import OperationError
from ...graph import WalkObserver, mode
from ...train.sources import unpack
from ..finding import Finding, Findings, listed
from .batches import as_batch, loss_of
from .probe import first_tensor
from .restore import unchanged
from .torch_results import is_torch, torch_results

Named = dict[str, NDArray[Any]]

OUTPUT = "output"


@dataclass(frozen=True)
class Difference:
    """One activation, gradient or weight in both implementations.

    Attributes:
        name: the module's path (``output`` is the whole model's), with ``.grad`` for a gradient.
        agrees: whether all entries agree within the tolerances.
        largest: the largest absolute difference, at ``index``, where the values are ``first`` and ``second``.
        relative: that of all entries, as norm of the difference over norm of ``a``'s.
        hint: a simple relation between the two, such as "transposed" or "2 times as large"; empty if none is seen.
    """

    name: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    agrees: bool
    largest: float = 0.0
    index: tuple[int, ...] = ()
    first: float = 0.0
    second: float = 0.0
    relative: float = 0.0
    hint: str = ""


@dataclass(frozen=True)
class Differences:
    """What :func:`compare` found.

    Attributes:
        entries: everything that both have a name for, in the order of ``a``: weights, activations, then gradients in
            the order of the backward pass.
        only_a, only_b: names that the other does not have.
        findings: the first difference in each of the three, if any.
    """

    entries: list[Difference]
    only_a: list[str]
    only_b: list[str]
    findings: Findings = field(default_factory=Findings)

    @property
    def first(self) -> Difference | None:
        """The first entry that differs."""
        return next((entry for entry in self.entries if not entry.agrees), None)

    def __bool__(self) -> bool:
        """Whether the two differ."""
        return bool(self.findings)

    def __str__(self) -> str:
        return str(self.findings)

    def table(self) -> str:
        """One line an entry."""
        lines = [f"{'name':<32} {'relative':>10} {'largest':>10}"]
        lines += [
            f"{e.name:<32} {e.relative:>10.2g} {e.largest:>10.2g}{'' if e.agrees else '  differs'} {e.hint}".rstrip()
            for e in self.entries
        ]
        return "\n".join(lines)


def compare(a: Any, b: Any, batch: Any, loss: Any = None, *, rtol: float = 1e-4, atol: float = 1e-5) -> Differences:
    """Run two implementations on one batch and find the first module whose results differ.

    Args:
        a: an ``nn.Module``, or anything as for ``b``.
        b: an ``nn.Module``, a ``torch.nn.Module``, or a callable: it gets the inputs as NumPy arrays (and, where there
            is a loss, the target after them) and returns a mapping of names to arrays, or to anything NumPy reads, such
            as detached PyTorch tensors. Names are those of the modules (``"layers.0"``), ``"output"`` for the result,
            ``name + ".grad"`` for the gradient at an output, and the path of a parameter with ``".grad"`` for its
            gradient. What only one of the two names is left out.
        batch: ``(inputs, target)``; without a loss the inputs alone will do, as a tuple of one.
        loss: with one, gradients are compared as well.
        rtol, atol: entries agree where ``|a - b| <= atol + rtol * largest |a|``.

    Returns:
        :class:`Differences`, true where there is one. Both models are left as they are.

    >>> import backlit as bl
    >>> a = bl.nn.Sequential(bl.nn.Linear(3, 4), bl.nn.Tanh())
    >>> b = bl.nn.Sequential(bl.nn.Linear(3, 4), bl.nn.Sigmoid())
    >>> keys = b.load_state_dict(a.state_dict())
    >>> compare(a, b, (bl.randn(5, 3),)).first.name
    '1'
    """
    first, second = (_results(model, batch, loss) for model in (a, b))
    shared = [name for name in first if name in second]
    if not shared:
        raise OperationError(
            f"compare: the two have no name in common; a has {listed(list(first))}, b has {listed(list(second))}."
        )
    entries = [_difference(name, first[name], second[name], rtol, atol) for name in shared]
    findings = Findings(_verdicts(entries, shared))
    return Differences(entries, _alone(first, second), _alone(second, first), findings)


def _alone(first: Named, second: Named) -> list[str]:
    return [name for name in first if name not in second and _kind(name) != "weights"]


class _Upstream(WalkObserver):
    """Keeps the gradients at the outputs of modules."""

    def __init__(self) -> None:
        self.names: dict[Any, list[str]] = {}
        self.found: Named = {}

    def enter(self, node: Any, upstream: Any) -> None:
        for name in self.names.get(node, ()):
            self.found[f"{name}.grad"] = np.array(getattr(upstream, "_data", upstream))


def _results(model: Any, batch: Any, loss: Any) -> Named:
    """Everything a model or a callable gives a name to."""
    if is_torch(model):
        inputs, target = (_inputs(batch), None) if loss is None else unpack(batch)
        return torch_results(model, [getattr(part, "_data", part) for part in inputs], target, loss, OUTPUT)
    if not hasattr(model, "named_modules") or not hasattr(model, "_held"):
        return _called(model, batch, loss)
    found: Named = {f"{name} (weight)": np.array(p._data) for name, p in model.named_parameters()}
    upstream = _Upstream()

    def left(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            out = first_tensor(output)
            if out is not None:
                found[name] = np.array(out._data)
                upstream.names.setdefault(out._node, []).append(name)

        return hook

    handles = [module.register_forward_hook(left(name or OUTPUT)) for name, module in model.named_modules()]
    try:
        with unchanged(model):
            if loss is None:
                inputs = as_batch(model, (*_inputs(batch), np.zeros(1)))[0]
                model(*inputs)
                return found
            inputs, target = as_batch(model, batch)
            value = loss_of(loss)(model(*inputs), target)
            mode.walkers = (*mode.walkers, upstream)
            try:
                value.backward()
            finally:
                mode.walkers = tuple(o for o in mode.walkers if o is not upstream)
            upstream.found.pop("None.grad", None)
            found |= upstream.found
            found |= {f"{n}.grad": np.array(p._grad._data) for n, p in model.named_parameters() if p._grad is not None}
            return found
    finally:
        for handle in handles:
            handle.remove()


def _called(model: Any, batch: Any, loss: Any) -> Named:
    if not callable(model):
        raise OperationError(f"compare: {type(model).__name__} is neither a module nor a function.")
    parts = _inputs(batch) if loss is None else tuple(batch)
    result = model(*(np.asarray(getattr(part, "_data", part)) for part in parts))
    if not isinstance(result, Mapping):
        result = {OUTPUT: result}
    return {str(name): _array(value) for name, value in result.items()}


def _inputs(batch: Any) -> tuple[Any, ...]:
    """The inputs of a batch; the last part is the target where there are several."""
    parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
    return parts[:-1] if len(parts) > 1 else parts


def _array(value: Any) -> NDArray[Any]:
    """Anything NumPy reads; tensors of other libraries are detached first."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    for method in ("detach", "cpu"):
        value = getattr(value, method, lambda value=value: value)()
    return np.asarray(getattr(value, "_data", value)).copy()


def _difference(name: str, a: NDArray[Any], b: NDArray[Any], rtol: float, atol: float) -> Difference:
    shapes = (a.shape, b.shape)
    if a.shape != b.shape:
        same = a.ndim > 1 and a.shape == b.shape[::-1] and _close(a, b.T, rtol, atol)
        return Difference(name, shapes, False, np.inf, relative=np.inf, hint="transposed" if same else "other shape")
    if not a.size:
        return Difference(name, shapes, True)
    x, y = a.astype(np.float64), b.astype(np.float64)
    gap = np.abs(x - y)
    gap[(x == y) | (np.isnan(x) & np.isnan(y))] = 0.0  # equal infinities, and NaN in both
    gap = np.where(np.isnan(gap), np.inf, gap)
    index = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    size = float(np.linalg.norm(x))
    relative = float(np.linalg.norm(gap)) / size if size else float(np.linalg.norm(gap))
    agrees = _close(x, y, rtol, atol)
    hint = "" if agrees else _hint(x, y, rtol, atol)
    return Difference(name, shapes, agrees, float(gap[index]), index, float(x[index]), float(y[index]), relative, hint)


def _close(x: Any, y: Any, rtol: float, atol: float) -> bool:
    largest = float(np.abs(x[np.isfinite(x)]).max(initial=0.0))
    return bool(np.allclose(x, y, rtol=0, atol=atol + rtol * largest, equal_nan=True))


def _hint(x: NDArray[np.float64], y: NDArray[np.float64], rtol: float, atol: float) -> str:
    """A relation that explains the whole difference."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return "not finite in one of the two"
    if x.ndim > 1 and x.shape[0] == x.shape[-1] and _close(x, np.swapaxes(y, 0, -1), rtol, atol):
        return "transposed"
    power = float(np.vdot(x, x))
    factor = float(np.vdot(x, y)) / power if power else 0.0
    if abs(factor) > 1e-6 and _close(x, y / factor, rtol, atol):
        return "the sign is turned" if abs(factor + 1) < 1e-3 else f"{factor:.4g} times as large in b"
    shift = float((y - x).mean())
    if _close(x, y - shift, rtol, atol):
        return f"{abs(shift):.3g} {'more' if shift > 0 else 'less'} everywhere in b"
    return ""


def _verdicts(entries: list[Difference], shared: list[str]) -> list[Finding]:
    """The first difference among weights, activations and gradients; earlier kinds explain later ones."""
    kinds = {"weights": [], "activations": [], "gradients": []}  # type: dict[str, list[Difference]]
    for entry in entries:
        kinds[_kind(entry.name)].append(entry)
    for kind, members in kinds.items():
        differing = [entry for entry in members if not entry.agrees]
        if differing:
            before = members[: members.index(differing[0])]
            return [_finding(kind, differing, before)]
    return []


def _kind(name: str) -> str:
    return "weights" if name.endswith(" (weight)") else "gradients" if name.endswith(".grad") else "activations"


def _finding(kind: str, differing: list[Difference], before: list[Difference]) -> Finding:
    entry = differing[0]
    if entry.shapes[0] != entry.shapes[1]:
        numbers = f"a has shape {entry.shapes[0]}, b {entry.shapes[1]}"
    else:
        numbers = f"at {entry.index} a has {entry.first:.6g} and b {entry.second:.6g} (relative {entry.relative:.2g})"
    hint = f"; {entry.hint}" if entry.hint else ""
    after = f" All {len(before)} {kind} before it agree." if before else ""
    cause = {
        "weights": "the two were not given the same parameters.",
        "activations": "this module, or what is done between it and the one before, is computed differently.",
        "gradients": "the backward rule of what follows this place differs, or the losses do.",
    }[kind]
    remedy = {
        "weights": "load one's state_dict into the other, then compare again.",
        "activations": "look at this module's settings (eps, bias, momentum, approximation, mode, dimensions).",
        "gradients": "check it with check.gradients, and compare the two losses.",
    }[kind]
    name = entry.name.removesuffix(" (weight)")
    return Finding(
        f"different_{kind}",
        f"The first of {len(differing)} {kind} that differ: {numbers}{hint}.{after}",
        cause,
        remedy,
        where=name,
        likelihood=0.95,
        data={"names": [e.name for e in differing]},
    )
