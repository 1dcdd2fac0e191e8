"""How each operation becomes instructions: one file a family, registered in ``table``."""

from . import (  # noqa: F401  (they fill the table)
    attention,
    convolution,
    cross_entropy,
    dropout,
    elementwise,
    joining,
    lookups,
    normalization,
    products,
    reductions,
    shape,
)
from .table import drawing_of, lowering_of, pull_of, rules_are_traced

__all__ = ["drawing_of", "lowering_of", "pull_of", "rules_are_traced"]
