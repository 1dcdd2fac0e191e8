"""The torch-shaped door onto the graph: ``backward`` and ``grad``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from .errors import BacklitError, GradientError, OperationError, UnsupportedError
from .function import Function, custom_vjp, once_differentiable
from .graph import Node, enable_grad, inference_mode, mode, no_grad, run_hooks, set_grad_enabled, walk
from .journal import failed, started
from .numerics import hush, unhush
from .tensor import Tensor, constant

__all__ = [
    "Function",
    "GradcheckError",
    "backward",
    "custom_vjp",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_anomaly_enabled",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
]

Tensors = Tensor | Sequence[Tensor]

kept_graphs: WeakSet[Node] = WeakSet()
"""Where backward passes started that kept their graph: a released one tells by itself that it was walked."""

if TYPE_CHECKING:
    from .check.first_culprit.detect import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
    from .check.gradient_check.gradcheck import GradcheckError, gradcheck, gradgradcheck

_CHECKS = frozenset({"GradcheckError", "gradcheck", "gradgradcheck"})
_ANOMALIES = frozenset({"detect_anomaly", "is_anomaly_enabled", "set_detect_anomaly"})


def __getattr__(name: str) -> Any:
    """The checkers, imported when they are first asked for: they stand above this file."""
    if name in _CHECKS:
        from .check.gradient_check import gradcheck as checks

        return getattr(checks, name)
    if name in _ANOMALIES:
        from .check.first_culprit import detect

        return getattr(detect, name)
    if name == "functional":
        from . import jacobians

        return jacobians
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=None)


def backward(
    tensors: Tensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Add the gradients of ``tensors`` to the ``.grad`` of the leaves they depend on; see ``Tensor.backward``."""
    outputs = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    wanted = None if inputs is None else [inputs] if isinstance(inputs, Tensor) else list(inputs)
    started("backward", outputs, wanted)
    try:
        roots = _roots(outputs, grad_tensors, create_graph)
        keep = create_graph if retain_graph is None else retain_graph
        if wanted is None:
            _walk(roots, create_graph=create_graph, keep=keep)
        else:
            for tensor, gradient in zip(wanted, _gradients(roots, wanted, keep, create_graph), strict=True):
                if gradient is not None and not tensor.retains_grad:  # one that does has kept it already
                    tensor.collect(gradient if create_graph else gradient._data)
    except BacklitError as error:
        failed(error)
        raise


def _backward_of_tensor(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Compute the gradient of this tensor with respect to every leaf it depends on, and add it to their ``.grad``.

    Args:
        gradient: the upstream gradient; may be left out when the tensor has one element.
        retain_graph: keep saved values for another backward (default: the value of ``create_graph``).
        create_graph: record the backward pass, so that gradients can be differentiated.
        inputs: collect only into these tensors.

    Raises:
        GradientError: nothing here requires gradients, or a gradient must be given and is not.
        OverwrittenError: a needed value was overwritten in place; both lines are named.
    """
    backward(self, gradient, retain_graph, create_graph, inputs)


_backward_of_tensor.__name__ = "backward"
setattr(Tensor, "backward", _backward_of_tensor)  # noqa: B010  (the walk stands above Tensor, which must not import it)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` (summed) with respect to ``inputs``, without touching any ``.grad``.

    ``only_inputs`` and ``is_grads_batched`` are accepted at their defaults only.

    Raises:
        GradientError: an input does not require gradients, or was not used (unless ``allow_unused``).

    >>> import backlit as bl
    >>> x = bl.tensor(3.0, requires_grad=True)
    >>> (dy,) = bl.autograd.grad(x ** 3, x, create_graph=True)
    >>> bl.autograd.grad(dy, x)
    (tensor(18.),)
    """
    if not only_inputs or is_grads_batched:
        raise UnsupportedError(
            "grad: only_inputs=False and is_grads_batched=True are not supported; use backward(), or a call a gradient."
        )
    started("grad", [outputs] if isinstance(outputs, Tensor) else outputs, None)
    roots = _roots(outputs, grad_outputs, create_graph)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, tensor in enumerate(wanted):
        if not tensor.requires_grad:
            raise GradientError(
                f"grad: input {i} does not require gradients; set requires_grad=True before the computation."
            )
    keep = create_graph if retain_graph is None else retain_graph
    found = _gradients(roots, wanted, keep, create_graph)
    if materialize_grads:
        found = [constant(np.zeros_like(t._data)) if g is None else g for t, g in zip(wanted, found, strict=True)]
    elif not allow_unused and any(g is None for g in found):
        i = next(i for i, g in enumerate(found) if g is None)
        raise GradientError(
            f"grad: the outputs do not depend on input {i} (shape {wanted[i].shape}). "
            "Pass allow_unused=True to get None for it, or materialize_grads=True for zeros."
        )
    return tuple(found)


def _gradients(roots: Any, wanted: list[Tensor], keep: bool, create_graph: bool) -> list[Tensor | None]:
    places = [t.grad_fn or t for t in wanted]
    found = _walk(roots, create_graph=create_graph, keep=keep, targets=set(places))
    out = []
    for place in places:
        gradient = found.get(place)
        if gradient is not None and isinstance(place, Tensor) and place._hooks is not None:
            gradient = run_hooks(place._hooks, gradient if isinstance(gradient, Tensor) else Tensor(gradient))
        if gradient is not None and not isinstance(gradient, Tensor):
            gradient = Tensor(np.array(gradient))
        out.append(gradient)
    return out


def _walk(roots: Any, *, create_graph: bool, keep: bool, targets: Any = None) -> dict[Any, Any]:
    if mode.tracer is not None:
        return mode.tracer.walk(roots, create_graph=create_graph, keep=keep, targets=targets)
    before = mode.recording
    mode.recording = create_graph
    if keep and targets is None:
        kept_graphs.update(place for place, _ in roots if isinstance(place, Node))
    token = hush()
    try:
        return walk(roots, create_graph=create_graph, keep=keep, targets=targets, arrive=Tensor.accumulate)
    finally:
        unhush(token)
        mode.recording = before


def _roots(tensors: Tensors, gradients: Any, create_graph: bool) -> list[tuple[Any, Any]]:
    outputs = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    seeds = [gradients] * len(outputs) if gradients is None or isinstance(gradients, Tensor) else list(gradients)
    roots = []
    for tensor, seed in zip(outputs, seeds, strict=True):
        if not tensor.requires_grad:
            raise GradientError(
                "backward: this tensor does not require gradients: nothing it was computed from has "
                "requires_grad=True, or it was detached or computed under no_grad()."
            )
        roots.append((tensor._node or tensor, _seed(tensor, seed, create_graph or mode.tracer is not None)))
    return roots


def _seed(tensor: Tensor, seed: Any, create_graph: bool) -> Any:
    if seed is None:
        if tensor._data.size != 1:
            raise GradientError(
                f"backward: the tensor has shape {tensor.shape}; without an upstream gradient only one-element tensors "
                "can start a backward pass. Reduce it (.sum(), .mean()) or pass gradient=."
            )
        array = np.ones(tensor.shape, tensor.dtype)
        return Tensor(array) if create_graph else array
    if not isinstance(seed, Tensor):
        seed = Tensor(np.asarray(seed, dtype=tensor.dtype))
    if seed.shape != tensor.shape:
        raise OperationError(
            f"backward: the upstream gradient has shape {seed.shape}, the tensor {tensor.shape}; they must agree."
        )
    # A copy: the seed may be the .grad of a leaf, to which this walk adds in place.
    return seed if create_graph else seed._data.copy()
