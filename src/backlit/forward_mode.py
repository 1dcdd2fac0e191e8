"""Forward mode: tangents carried along with values, by an observer of the operations as they are applied.

Every active level keeps its own tangents. The rule of a level runs with only the outer levels active, so that nested
differentiation never confuses one perturbation with another.
"""

from __future__ import annotations

from typing import Any

from .graph import mode
from .ops.definition import Context
from .ops.shape import expand
from .tensor import Tensor


class Tangents:
    """The tangents of one level, kept by the array that holds the value: a saved output is another tensor."""

    def __init__(self) -> None:
        self._outer = mode.observers
        self._by_array: dict[int, tuple[Any, Tensor]] = {}

    def __enter__(self) -> Tangents:
        self._outer = mode.observers
        mode.observers = (*self._outer, self)
        return self

    def __exit__(self, *exc: object) -> None:
        mode.observers = self._outer

    def get(self, value: Any) -> Tensor | None:
        """The tangent of a tensor, or None where it is zero."""
        entry = self._by_array.get(id(value._data)) if isinstance(value, Tensor) else None
        return None if entry is None else entry[1]

    def set(self, value: Tensor, tangent: Tensor) -> None:
        """Attach a tangent (the array is kept alive, so that its identity stays unique)."""
        self._by_array[id(value._data)] = (value._data, tangent)

    def applied(self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], extra: Any, result: Tensor) -> None:
        """Push the inputs' tangents through an operation that was just applied."""
        tangents = [self.get(x) for x in inputs]
        if all(t is None for t in tangents) or not op.differentiable or result.dtype.kind != "f":
            return
        inside = mode.observers
        mode.observers = self._outer
        try:
            self._push(op, inputs, params, extra, result, tangents)
            for position, maker, settings, array in op.intermediates(params, extra):
                if tangents[position] is not None:
                    kept = Tensor(array)  # the backward pass, where it is recorded, computes with this array
                    self._push(maker, (inputs[position],), settings, None, kept, [tangents[position]])
        finally:
            mode.observers = inside

    def _push(
        self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], extra: Any, result: Tensor, tangents: list[Any]
    ) -> None:
        ctx = Context()
        ctx.params, ctx.extra, ctx.shape, ctx.dtype = params, extra, result.shape, result.dtype
        ctx.shapes = tuple(getattr(x, "shape", ()) for x in inputs)
        ctx.edges = tuple(tangents)
        tangent = op.push(ctx, inputs, result, tangents)
        if tangent is not None:
            self.set(result, tangent if tangent.shape == result.shape else expand(tangent, result.shape))

    def wrote(self, target: Tensor, value: Tensor) -> None:
        """A tensor took over another's value: its tangent is the other's now. A view hands the change to its base."""
        tangent = self.get(value)
        self._replace(target, tangent)
        view = target._view
        if view is None or target is value:
            return
        inside = mode.observers
        mode.observers = self._outer
        try:
            self._write_through(target, view, tangent)
        finally:
            mode.observers = inside

    def _write_through(self, target: Tensor, view: Any, tangent: Tensor | None) -> None:
        from .creation import zeros_like
        from .ops.inplace import ViewWrite, apply

        before = self.get(view.base)
        if before is None and tangent is None:
            return
        parts = (
            zeros_like(view.base) if before is None else before,
            zeros_like(target) if tangent is None else tangent,
        )
        self.set(view.base, apply(ViewWrite, parts, {"chain": view.chain}))

    def _replace(self, target: Tensor, tangent: Tensor | None) -> None:
        if tangent is None:
            self._by_array.pop(id(target._data), None)
        else:
            self.set(target, tangent)
