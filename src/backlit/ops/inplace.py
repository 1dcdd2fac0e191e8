"""Writing into tensors: ``x += y``, ``x.add_(y)``, ``x[i] = v`` and their relatives, with a correct history.

An in-place operation computes its result out of place, with everything that recording it needs, and then the tensor
*becomes* the result: the values are copied into its memory and it takes over the result's history. When the tensor is a
view, its base gets a new history too (the old base with a region replaced), and other views follow when next used.
Values that were saved before the write are noticed through the storage's version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..breadcrumbs import written
from ..errors import GradientError, OperationError
from ..graph import Node, last_id, mode
from ..numerics import quiet
from ..source import describe, mark
from .arithmetic import div
from .definition import REGISTRY, Op, Tensor, apply, constant, look, record
from .elementwise import operand
from .selecting import masked_fill
from .shape import expand

_FOREVER = 1 << 62


class ViewWrite(Op):
    """A tensor with the region that a view shows replaced by other values."""

    name = "view_write"
    formula = "y = x with a region replaced by v"
    gate = "routes: the region's gradient goes to the new values, the rest to the old tensor"

    def forward(base, value, *, chain):
        out = np.array(base, order="C")  # a copy that can be written to even where NumPy made a 0-d result a scalar
        region = look(out, chain)
        if np.may_share_memory(region, out):
            _let_write(region)
            region[...] = value
        else:  # a reshape that was a view in the tensor's memory layout, but is not in this one
            out.reshape(-1)[look(np.arange(out.size).reshape(out.shape), chain)] = value
        return out

    def vjp_base(ctx, g):
        nothing = np.zeros((), g.dtype)
        if isinstance(g, Tensor):
            return apply(ViewWrite, (g, expand(constant(nothing), ctx.shapes[1])), ctx.params)
        return apply(ViewWrite, (g, np.broadcast_to(nothing, ctx.shapes[1])), ctx.params)

    def vjp_value(ctx, g):
        return look(g, ctx.params["chain"])

    def jvp(ctx, tangents):
        base, value = (
            constant(np.zeros(shape, ctx.dtype)) if t is None else t
            for t, shape in zip(tangents, ctx.shapes, strict=True)
        )
        return apply(ViewWrite, (base, value), ctx.params)


def become(target: Tensor, value: Tensor, since: int = _FOREVER) -> Tensor:
    """Write ``value`` into ``target`` and give ``target`` its history.

    Nodes with a number above ``since`` belong to this write; what they saved of the target is kept for them.
    """
    value = _fit(target, value)
    _check_writable(target)
    value.refresh()
    if mode.recording:
        _check_history(target, value)
        _keep_old_value(target, value, since)
    with quiet():
        np.copyto(target._data, value._data, casting="unsafe")
    if mode.recording:
        _take_history(target, value)
    target.storage().wrote()
    if value._cut is not None or (value._requires_grad and not mode.recording):
        written(target, value, "copy_")
    for observer in mode.observers:
        observer.wrote(target, value)
    return target


def _fit(target: Tensor, value: Tensor) -> Tensor:
    """Bring a value to the target's shape and dtype, recorded."""
    if value.shape != target.shape:
        if np.broadcast_shapes(value.shape, target.shape) != target.shape:
            raise OperationError(
                f"in-place write at {describe(mark())}: the result has shape {value.shape}, the tensor {target.shape}; "
                "an in-place operation cannot change the shape. Use the out-of-place form."
            )
        value = expand(value, target.shape)
    if value.dtype != target.dtype:
        if dtypes.promote(value.dtype, 1, target.dtype, 1).kind != target.dtype.kind:
            raise OperationError(
                f"in-place write at {describe(mark())}: a {value.dtype.name} result does not fit into a "
                f"{target.dtype.name} tensor. Convert the tensor first, for example with .float()."
            )
        value = value.to(target.dtype)
    return value


def _let_write(view: Any) -> None:
    """NumPy keeps every part of an expanded array read-only, also those that show each of their elements once."""
    reach = view.itemsize
    for step, n in sorted((abs(step), n) for step, n in zip(view.strides, view.shape, strict=True) if n > 1):
        if step < reach:
            return
        reach = step * n
    view.flags.writeable = True


def _check_writable(target: Tensor) -> None:
    view = target._view
    if view is not None and not target._data.flags.writeable and view.base._data.flags.writeable:
        _let_write(target._data)
    if not target._data.flags.writeable:
        raise OperationError(
            f"in-place write at {describe(mark())}: this tensor shows one memory location several times (it was "
            "expanded), or wraps a read-only array. Write to a copy: x = x.clone()."
        )


def _check_history(target: Tensor, value: Tensor) -> None:
    """Refuse writes whose gradient would have nowhere to go."""
    base = target if target._view is None else target._view.base
    if base._requires_grad and base._node is None:
        what = "a view of a leaf tensor" if base is not target else "a leaf tensor"
        raise GradientError(
            f"in-place write at {describe(mark())} to {what} that requires gradients. Its gradient would be for a "
            "value that no longer exists. Do it under backlit.no_grad(), or on a copy: x = x.clone()."
        )
    if target._view is not None and target._view.frozen and (value._requires_grad or base._requires_grad):
        raise GradientError(
            f"in-place write at {describe(mark())} to a view that was made under no_grad(): its base cannot follow. "
            "Make the view outside no_grad(), or write under no_grad()."
        )


def _keep_old_value(target: Tensor, value: Tensor, since: int) -> None:
    """Give the nodes of this very write a copy of the old value where they saved it: ``x *= w`` needs the old x.

    They may have saved a view of it, such as one with another shape.
    """
    snapshots: dict[int, Tensor] = {}
    stack = [value._node]
    while stack:
        node = stack.pop()
        if type(node) is not Node or node.id <= since:
            continue
        for i, saved in enumerate(node.saved or ()):
            shared = isinstance(saved, Tensor) and saved._storage is not None and saved._storage is target._storage
            if saved is target or shared:
                node.saved[i] = snapshots.setdefault(id(saved), _snapshot(saved))
        stack.extend(node.edges)


def _snapshot(target: Tensor) -> Tensor:
    """A copy of a tensor's values with its history."""
    old = Tensor(target._data.copy())
    old._node, old._requires_grad = target._node, target._requires_grad
    if mode.tracer is not None:
        mode.tracer.copied(target, old)
    return old


def _take_history(target: Tensor, value: Tensor) -> None:
    storage = target.storage()
    view = target._view
    if view is None or view.frozen:
        if value._requires_grad and value._node is None:
            value = expand(value, value.shape)  # a node between a leaf and the tensor that takes its values
        changed = value._requires_grad or target._requires_grad
        if value._requires_grad or not target._requires_grad:
            target._node, target._requires_grad = value._node, value._requires_grad
        else:  # as zero_(): what the tensor was computed from receives zeros
            record(ViewWrite, (target, value), [target._data, value._data], {"chain": ()}, 1, target, None)
    else:
        base = view.base
        base.refresh()
        needs = (1 if base._requires_grad else 0) | (2 if value._requires_grad else 0)
        changed = needs != 0
        if changed:
            record(ViewWrite, (base, value), [base._data, value._data], {"chain": view.chain}, needs, base, None)
    if changed:
        storage.history += 1


def write(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """The in-place method of a function."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        since = last_id()
        return become(self, function(self, *args, **kwargs), since)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In-place :func:`backlit.{name.rstrip('_')}`: writes the result into this tensor and returns it."
    return method


def arithmetic_write(name: str, ufunc: Any) -> Callable[..., Tensor]:
    """An in-place operator. Where nothing is recorded it is one NumPy call without a temporary."""
    function = REGISTRY[name].function

    def method(self: Tensor, other: Any, *, alpha: Any = None) -> Tensor:
        if alpha is not None:
            other = operand(other) * alpha
        array = other._data if isinstance(other, Tensor) else other
        if not mode.recording and not mode.observers and _fits_in_place(self._data, array):
            with quiet():
                ufunc(self._data, array, out=self._data)
            self.storage().wrote()
            if isinstance(other, Tensor) and (other._requires_grad or other._cut is not None):
                written(self, other, f"{name}_")
            return self
        since = last_id()
        return become(self, function(self, other), since)

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"In-place :func:`backlit.{name}`; ``alpha`` scales the operand first."
    return method


_divide = arithmetic_write("div", np.divide)


def div_(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """In-place :func:`backlit.div`."""
    if rounding_mode is None:
        return _divide(self, other)
    since = last_id()
    return become(self, div(self, other, rounding_mode=rounding_mode), since)


def _fits_in_place(target: Any, operand: Any) -> bool:
    """Whether NumPy may write the result straight into the target: floats of one dtype, the target not broadcast."""
    same = type(operand) in (float, int) or getattr(operand, "dtype", None) == target.dtype
    return same and target.dtype.kind == "f" and target.flags.writeable and getattr(operand, "ndim", 0) <= target.ndim


def copy_(self: Tensor, source: Any) -> Tensor:
    """Write the values of ``source`` (broadcast, converted) into this tensor."""
    source = operand(source)
    if not isinstance(source, Tensor):
        source = constant(source)
    if source.dtype != self.dtype:
        source = source.to(self.dtype)
    return become(self, source)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to a number, or to the value of a 0-d tensor."""
    return copy_(self, value if isinstance(value, Tensor) else constant(np.asarray(value, self.dtype)))


def zero_(self: Tensor) -> Tensor:
    """Set every element to 0."""
    return fill_(self, 0)


def fill_diagonal_(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Set the main diagonal of a matrix (of equal sizes, with more dimensions than 2) to a number.

    ``wrap`` starts the diagonal anew below the square part of a tall matrix.
    """
    shape = self.shape
    if self.ndim < 2 or (self.ndim > 2 and len(set(shape)) > 1):
        raise OperationError(
            f"fill_diagonal_ at {describe(mark())}: needs a matrix, or several equal sizes; the shape is {shape}."
        )
    on = np.zeros(shape, np.bool_)
    np.fill_diagonal(on, True, wrap=wrap)
    return _masked_fill_(self, constant(on), fill_value)


_masked_fill_ = write(masked_fill, "fill_diagonal_")


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value``: the value is broadcast; gradients go to the value and to the elements left alone.

    Dimensions of 1 that the value has in front of the region's are dropped, as in PyTorch and NumPy.
    """
    from .indexing import copied_ndim, getitem, index_put

    ndim = copied_ndim(self, index)
    region = getitem(self, index) if ndim is None else None
    value, ndim = operand(value), region.ndim if region is not None else ndim
    while value.ndim > ndim and value.shape[0] == 1:
        value = value.reshape(value.shape[1:])
    if region is not None and region._storage is not None and region._storage is self._storage:
        copy_(region, value)
        return
    since = last_id()
    become(self, index_put(self, index, value if value.dtype == self.dtype else value.astype(self.dtype)), since)
