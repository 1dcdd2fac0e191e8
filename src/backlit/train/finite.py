"""Whether gradients are finite, asked before every update and so made cheap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..numerics import hush, unhush

_LARGE = 4096  # entries from which reading a whole gradient once more would be felt


def product_weights(model: Any) -> frozenset[int]:
    """The identities of weights whose gradients are matrix products XᵀdY and nothing else."""
    from ..nn.attention import MultiheadAttention
    from ..nn.convolution import _Conv
    from ..nn.linear import Linear
    from ..nn.recurrent import _Recurrent

    products: set[int] = set()
    others: set[int] = set()
    for module in model.modules():
        plain = isinstance(module, (Linear, MultiheadAttention, _Recurrent))
        plain = plain or (isinstance(module, _Conv) and module.groups == 1)
        found = products if plain else others
        found.update(id(parameter) for parameter in module.parameters(recurse=False))
    return frozenset(products - others)


def squares(parameters: Iterable[Any], products: frozenset[int] = frozenset()) -> float:
    """A sum of squares over all gradients, finite only if none of them holds NaN or infinity.

    Of large gradients in ``products`` one row and one column are enough: in a product XᵀdY an entry of dY that is not
    finite spoils a whole column, and one of X a whole row. All others are added up whole. Large finite entries overflow
    the sum as well, so that it only raises a suspicion.
    """
    token = hush()
    total = 0.0
    for parameter in parameters:
        gradient = parameter._grad
        if gradient is not None:
            part = gradient._data
            if part.ndim > 1:
                if part.size > _LARGE and id(parameter) in products:
                    column = part[:, 0].ravel("K")
                    total += float(column.dot(column))
                    part = part[0]
                part = part.ravel("K")
            total += float(part.dot(part))
    unhush(token)
    return total


def first_not_finite(parameters: Iterable[Any]) -> Any:
    """The first parameter whose gradient holds NaN or infinity, or None."""
    spoiled = (p for p in parameters if p._grad is not None and not np.isfinite(p._grad._data).all())
    return next(spoiled, None)
