"""Parameter and Buffer: tensors that a module notices when they are assigned to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..breadcrumbs import copied
from ..creation import tensor as new_tensor
from ..errors import GradientError, OperationError
from ..source import describe, mark
from ..tensor import Tensor


def _adopt(target: Tensor, data: Any, kind: str) -> None:
    """Make ``target`` hold ``data``: a tensor's memory is shared (as in PyTorch), anything else is copied."""
    if data is None:
        data = Tensor(np.empty(0, np.float32))
    elif not isinstance(data, Tensor):
        data = new_tensor(data)
    if not data.is_leaf:
        raise GradientError(
            f"{kind} at {describe(mark())}: the tensor was computed, and a {kind.lower()} has no history. "
            f"Pass {kind}(x.detach())."
        )
    Tensor.__init__(target, data._data)
    target._storage = data.storage()
    target._cut = copied(data, kind)


class Parameter(Tensor):
    """A tensor that a module learns: assigned to a module, it appears in ``module.parameters()``.

    Args:
        data: a tensor, whose memory is shared, or an array or nested sequences, which are copied.
        requires_grad: whether gradients are computed for it.

    Raises:
        GradientError: ``data`` was computed from other tensors, or is not floating while ``requires_grad``.

    >>> import backlit as bl
    >>> bl.nn.Parameter(bl.zeros(2)).requires_grad
    True
    """

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        _adopt(self, data, "Parameter")
        if requires_grad:
            self.start_requiring()

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that belongs to a module's state but is not learned; assigning it is ``register_buffer``.

    Args:
        data: a tensor, whose memory is shared, or an array or nested sequences, which are copied.
        persistent: whether it is part of the module's ``state_dict``.
    """

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        _adopt(self, data, "Buffer")
        self.persistent = persistent

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        out = super().__deepcopy__(memo)
        out.persistent = self.persistent  # type: ignore[attr-defined]
        return out

    def __reduce__(self) -> Any:
        return (*super().__reduce__(), {"persistent": self.persistent})


def overwrite(tensor: Tensor, values: Any) -> Tensor:
    """Fill a tensor in place without recording, so that a backward pass that still needs the old values notices.

    Raises:
        OperationError: the memory is read-only, as that of an expanded tensor.
    """
    if not tensor._data.flags.writeable:
        raise OperationError(
            f"cannot write in place at {describe(mark())}: the tensor of shape {tensor.shape} is read-only "
            "(expanded, or made from a read-only array). Write to a copy: tensor.clone()."
        )
    np.copyto(tensor._data, values, casting="unsafe")
    tensor.storage().wrote()
    return tensor
