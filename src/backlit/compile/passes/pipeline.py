"""The passes in the order in which they run."""

from __future__ import annotations

from ..ir.program import Program
from .common_subexpressions import without_repetitions
from .constant_folding import with_folded_constants
from .dead_code import without_dead_code
from .gates import with_known_zeros
from .made_again import with_cheap_results_made_again
from .max_pooling import with_native_max_pooling
from .pooled_convolutions import with_pooled_convolutions
from .results_as_read import with_results_as_read
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
    with_results_as_read,
    simplified,
    with_cheap_results_made_again,  # nothing may put repetitions together behind it
    without_dead_code,
    with_known_zeros,
)


ONE_THREAD = frozenset({with_cheap_results_made_again})
"""Passes that save memory between groups that run one after the other; where groups run at once, they save none."""


def optimised(program: Program, threads: int = 1) -> Program:
    """A program that computes the same with less, for so many threads."""
    for run in PASSES:
        if threads == 1 or run not in ONE_THREAD:
            program = run(program)
    return program
