"""What every module of a PyTorch model gives on a batch, forward and backward, under the names Backlit uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...autograd import grad
from ...tensor import Tensor
from .batches import loss_of

Named = dict[str, NDArray[Any]]


def is_torch(model: Any) -> bool:
    """Whether a model is a module of PyTorch; PyTorch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def torch_results(model: Any, inputs: Sequence[Any], target: Any, loss: Any, output: str) -> Named:
    """Weights, activations and, with a loss, gradients of a PyTorch model, which is left as it is.

    The loss is Backlit's: PyTorch's backward pass starts from its gradient at the output.
    """
    import torch

    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    found = {f"{name} (weight)": _array(p) for name, p in model.named_parameters()}
    outputs: dict[str, Any] = {}

    def hook_of(name: str) -> Any:
        def hook(module: Any, given: Any, made: Any) -> None:
            first = made[0] if isinstance(made, tuple | list) else made
            if isinstance(first, torch.Tensor):
                found[name] = _array(first)
                if loss is not None and first.requires_grad:
                    first.retain_grad()
                    outputs[name] = first

        return hook

    handles = [module.register_forward_hook(hook_of(name or output)) for name, module in model.named_modules()]
    try:
        with _unchanged(model, torch), torch.enable_grad():
            tensors = [torch.as_tensor(np.asarray(part)) for part in inputs]
            made = model(*[t.to(dtype) if t.is_floating_point() else t for t in tensors])
            if loss is not None:
                made.backward(torch.as_tensor(_at_output(_array(made), target, loss)))
                found |= {f"{name}.grad": _array(t.grad) for name, t in outputs.items() if t.grad is not None}
                found |= {f"{n}.grad": _array(p.grad) for n, p in model.named_parameters() if p.grad is not None}
    finally:
        for handle in handles:
            handle.remove()
    return found


def _at_output(values: NDArray[Any], target: Any, loss: Any) -> NDArray[Any]:
    """The gradient of a loss at a model's output."""
    out = Tensor(values).requires_grad_()
    array = np.asarray(getattr(target, "_data", target))
    wanted = Tensor(array.astype(values.dtype) if array.dtype.kind == "f" else array)
    (gradient,) = grad(loss_of(loss)(out, wanted), [out], materialize_grads=True)
    return np.array(gradient._data)  # type: ignore[union-attr]


@contextmanager
def _unchanged(model: Any, torch: Any) -> Iterator[None]:
    """Gradients, statistics and random numbers are those of before in the end."""
    gradients = [(p, p.grad) for p in model.parameters()]
    buffers = [(b, b.clone()) for b in model.buffers()]
    for p, _ in gradients:
        p.grad = None
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for p, kept in gradients:
            p.grad = kept
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)


def _array(tensor: Any) -> NDArray[Any]:
    return np.array(tensor.detach().cpu().numpy())
