"""How each operation becomes instructions: one file a family, registered in ``table``."""

from . import (  # noqa: F401  (they fill the table)
    arranging,
    attention,
    contraction,
    convolution,
    cross_entropy,
    diagonals,
    dropout,
    elementwise,
    extremes,
    gated_activations,
    index_put,
    joining,
    lookups,
    margin_losses,
    moments,
    normalization,
    pooling,
    products,
    reductions,
    rules,
    scans,
    selection,
    shape,
    soft_cross_entropy,
    standardization,
    writes,
)
from .table import drawing_of, lowering_of, pull_of, rules_are_traced

__all__ = ["drawing_of", "lowering_of", "pull_of", "rules_are_traced"]
