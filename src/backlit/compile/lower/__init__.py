"""How each operation becomes instructions: one file a family, registered in ``table``."""

from . import cross_entropy, elementwise, products, reductions, shape  # noqa: F401  (they fill the table)
from .table import lowering_of, pull_of, rules_are_traced

__all__ = ["lowering_of", "pull_of", "rules_are_traced"]
