"""How each operation becomes instructions: one file a family, registered in ``table``."""

from . import (  # noqa: F401  (they fill the table)
    attention,
    convolution,
    cross_entropy,
    elementwise,
    joining,
    lookups,
    normalization,
    products,
    reductions,
    shape,
)
from .table import lowering_of, pull_of, rules_are_traced

__all__ = ["lowering_of", "pull_of", "rules_are_traced"]
