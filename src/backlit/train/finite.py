"""Whether gradients are finite, asked before every update and so made cheap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ..numerics import hush, unhush

_LARGE = 4096  # entries from which reading a whole gradient once more would be felt


def product_weights(model: Any) -> dict[int, bool]:
    """The weights whose gradients are matrix products dYᵀX and nothing else, by identity.

    The value tells whether a column must be looked at: not where a bias, whose gradient is the sum of dY, shows it too.
    """
    from ..nn.attention import MultiheadAttention
    from ..nn.convolution import _Conv
    from ..nn.linear import Linear
    from ..nn.recurrent import _Recurrent

    products: dict[int, bool] = {}
    others: set[int] = set()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        one_product = isinstance(module, Linear) or (isinstance(module, _Conv) and module.groups == 1)
        if one_product or isinstance(module, (MultiheadAttention, _Recurrent)):
            bias = getattr(module, "bias", None) if one_product else None
            column = bias is None or not bias.requires_grad
            products.update((id(p), column or products.get(id(p), False)) for p in own)
        else:
            others.update(id(p) for p in own)
    return {place: column for place, column in products.items() if place not in others}


def squares(parameters: Iterable[Any], products: Mapping[int, bool] = MappingProxyType({})) -> float:
    """A sum of squares over all gradients, finite only if none of them holds NaN or infinity.

    Of large gradients in ``products`` one row, and where need be one column, are enough: in a product dYᵀX an entry of
    dY that is not finite spoils a whole row, and one of X a whole column. All others are added up whole. Large finite
    entries overflow the sum as well, so that it only raises a suspicion.
    """
    token = hush()
    total = 0.0
    for parameter in parameters:
        gradient = parameter._grad
        if gradient is not None:
            part = gradient._data
            if part.ndim > 1:
                if part.size > _LARGE and (column := products.get(id(parameter))) is not None:
                    if column:
                        first = part[:, 0].ravel("K")
                        total += float(first.dot(first))
                    part = part[0]
                part = part.ravel("K")
            total += float(part.dot(part))
    unhush(token)
    return total


def parts_to_check(parameters: Iterable[Any], products: Mapping[int, bool]) -> list[tuple[Any, bool, bool]]:
    """Of which parameters' gradients :func:`squares` looks at one row only, and at one column too."""
    found = []
    for parameter in parameters:
        column = products.get(id(parameter)) if parameter.ndim > 1 and parameter.numel() > _LARGE else None
        found.append((parameter, column is not None, bool(column)))
    return found


def finite_sum(parts: list[tuple[Any, bool, bool]]) -> Any:
    """:func:`squares` in operations on tensors, to be compiled: a 0-d tensor, or None where there are no gradients."""
    total = None
    for parameter, row, column in parts:
        gradient = parameter.grad
        if gradient is None:
            continue
        looked_at = [gradient[0] if row else gradient] + ([gradient[:, 0]] if column else [])
        for part in looked_at:
            square = (part * part).sum()
            total = square if total is None else total + square
    return total


def first_not_finite(parameters: Iterable[Any]) -> Any:
    """The first parameter whose gradient holds NaN or infinity, or None."""
    spoiled = (p for p in parameters if p._grad is not None and not np.isfinite(p._grad._data).all())
    return next(spoiled, None)
