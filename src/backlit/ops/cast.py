"""Changing dtype."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import dtypes
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import operand


class Cast(Op):
    """The same values in another dtype."""

    formula = "y = x, in another precision"
    gate = "passes, converted back"
    gradients: ClassVar = {"x": "g"}

    has_extra = True  # the input's dtype, so that the input itself need not be saved

    def forward(x, *, dtype):
        return x.astype(dtype), x.dtype

    def vjp_x(ctx, g):
        return g.astype(ctx.extra)


@operation(Cast, samples=lambda rng: [Sample(rng.normal(size=(3, 4)), np.dtype(np.float64))])
def cast(x: Any, dtype: Any) -> Tensor:
    """The values in another dtype. Gradients pass between floating dtypes and stop at integers and booleans."""
    x, dtype = operand(x), dtypes.as_dtype(dtype)
    return apply(Cast, (x,), {"dtype": dtype})
