"""The passes in the order in which they run."""

from __future__ import annotations

from ..ir.program import Program
from .common_subexpressions import without_repetitions
from .constant_folding import with_folded_constants
from .dead_code import without_dead_code
from .made_again import with_cheap_results_made_again
from .max_pooling import with_native_max_pooling
from .pooled_convolutions import with_pooled_convolutions
from .simplify import simplified
from .spaces import with_products_spaces

PASSES = (
    without_dead_code,
    with_folded_constants,
    simplified,
    without_repetitions,
    without_dead_code,
    with_pooled_convolutions,
    with_native_max_pooling,
    with_products_spaces,
    without_repetitions,
    with_cheap_results_made_again,  # nothing may put repetitions together behind it
    without_dead_code,
)


def optimised(program: Program) -> Program:
    """A program that computes the same with less."""
    for run in PASSES:
        program = run(program)
    return program
