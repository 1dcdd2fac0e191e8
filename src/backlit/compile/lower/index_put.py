"""Values put at a key and index arrays, or wherever a mask says so, and their gradients."""

from __future__ import annotations

from math import prod
from typing import Any

from ...ops.indexing import IndexPut
from ..ir.build import Builder
from ..ir.program import Value
from .lookups import Indexed, lookups_take, put_gradients, replaced_at, taken
from .shape import Cut, cut_by, sliced, unbroadcast
from .table import lowering, pulls
from .writes import around

Params = dict[str, Any]


@lowering(IndexPut)
def index_put(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Values put at a key and index arrays."""
    x, values, *indices = inputs
    if _is_mask(indices):
        masked = _Masked.of(b, x, values, indices[0], params)
        return None if masked is None else masked.put(x, masked.spread(b.as_value(values, x.dtype)))
    if not lookups_take(x, *indices):
        return None
    shape, numbers = _places(b, x.shape, params, indices)
    return replaced_at(b, x, values, shape, numbers) if prod(shape) else x


@pulls(IndexPut)
def index_put_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """As for scatter; under a mask to the values, elsewhere to what was there."""
    x, values, *indices = pull.inputs
    if _is_mask(indices):
        masked = _Masked.of(b, x, values, indices[0], pull.params)
        return None if masked is None else masked.gradients(pull, values)
    if not lookups_take(pull.g, *indices):
        return None
    shape, numbers = _places(b, x.shape, pull.params, indices)
    return put_gradients(b, pull, values, shape, numbers) if prod(shape) else None


def _places(b: Builder, shape: tuple[int, ...], params: Params, indices: list[Value]) -> tuple[Any, Value]:
    """The shape of what a key and index arrays select, and the position of each element of it."""
    positions = sliced(b, b.reshape(b.iota(prod(shape)), shape), params["key"])
    if indices and positions.size:
        at = Indexed(b, positions.shape, indices, params["dims"])
        positions = at.result(taken(b, at.table(positions), at.numbers))
    return positions.shape, b.reshape(positions, (positions.size,))


def _is_mask(indices: list[Any]) -> bool:
    return len(indices) == 1 and indices[0].kind == "b" and indices[0].ndim > 0


class _Masked:
    """A region of a tensor and a mask over some of its dimensions, with the same values wherever the mask is true."""

    def __init__(self, b: Builder, region: tuple[int, ...], cut: Cut, mask: Value, first: int) -> None:
        self.b = b
        self.region = region
        self.cut = cut
        self.count = mask.ndim
        self.first = first
        behind = len(region) - first - mask.ndim
        self.mask = b.reshape(mask, (*mask.shape, *[1] * behind))
        self.selected = (*region[:first], 1, *region[first + mask.ndim :])
        """The shape of what is selected, were it one element of the mask."""

    @classmethod
    def of(cls, b: Builder, x: Value, values: Any, mask: Value, params: Params) -> _Masked | None:
        """None where the mask selects nothing of known shape: several values, one for each element that is true."""
        cut = cut_by(params["key"], x.shape)
        (first,) = params["dims"]
        masked = cls(b, cut.shape, cut, mask, first)
        given = getattr(values, "shape", ())
        extra = max(0, len(given) - len(masked.selected))
        place = first - len(masked.selected)  # of the dimension that counts the elements, from the end
        several = -place <= len(given) and given[place] != 1
        if several or not x.size or mask.shape != cut.shape[first : first + mask.ndim] or prod(given[:extra]) != 1:
            return None
        return masked

    def spread(self, values: Value) -> Value:
        """Values with a dimension for each one of the mask."""
        own = values.shape[max(0, values.ndim - len(self.selected)) :]
        own = (*[1] * (len(self.selected) - len(own)), *own)
        return self.b.reshape(values, (*own[: self.first], *[1] * self.count, *own[self.first + 1 :]))

    def put(self, x: Value, values: Any) -> Value:
        """The tensor with values where the mask is true."""
        b = self.b
        chosen = b.elementwise("where", self.mask, values, self._sliced(x))
        return around(b, x, b.reshape(chosen, self.cut.counts), self.cut)

    def gradients(self, pull: Any, values: Any) -> list[Value | None]:
        """Those of the tensor and of the values."""
        b, g = self.b, pull.g
        made: list[Value | None] = [None] * len(pull.needs)
        if pull.needs[0]:
            made[0] = self.put(g, b.constant(0, g.dtype))
        if pull.needs[1]:
            part = b.elementwise("where", self.mask, self._sliced(g), b.constant(0, g.dtype))
            part = b.reduce("sum", part, tuple(range(self.first, self.first + self.count)), True)
            made[1] = unbroadcast(b, b.reshape(part, self.selected), values.shape)
        return made

    def _sliced(self, x: Value) -> Value:
        b, cut = self.b, self.cut
        return b.reshape(b.slice(x, cut.starts, cut.steps, cut.counts), self.region)
