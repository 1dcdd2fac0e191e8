"""How many threads computing uses: NumPy's matrix products, and compiled steps.

OpenBLAS splits even the small products of a small network over all cores, and its threads wait by spinning: on a busy
machine that made a run ten times slower. NumPy has no setting for it, so the library that its wheels bring is asked.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .errors import OperationError

WORTH_SPLITTING = 20_000_000
"""Multiplications in a batch's largest product above which more than one thread pays."""

_NAMES = [
    (f"{prefix}set_num_threads{suffix}", f"{prefix}get_num_threads{suffix}")
    for prefix, suffix in (("scipy_openblas_", "64_"), ("scipy_openblas_", ""), ("openblas_", ""))
]


@cache
def _libraries() -> tuple[tuple[Any, Any], ...]:
    """The setter and the getter of each OpenBLAS that NumPy brought along."""
    root = Path(np.__file__).parent
    found = []
    for path in (*root.with_name("numpy.libs").glob("*openblas*"), *(root / ".dylibs").glob("*openblas*")):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        found += [(getattr(library, a), getattr(library, b)) for a, b in _NAMES if hasattr(library, a)]
    return tuple(found)


def get_num_threads() -> int:
    """How many threads matrix products use; the number of cores where NumPy's library does not tell."""
    return max((getter() for _, getter in _libraries()), default=os.cpu_count() or 1)


_chosen: int | None = None


def chosen_threads() -> int | None:
    """What :func:`set_num_threads` was last given; None before."""
    return _chosen


def set_num_threads(count: int) -> None:
    """Let matrix products and compiled steps use ``count`` threads from now on, in the whole process.

    Raises:
        OperationError: not a whole number of at least 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise OperationError(f"set_num_threads: needs a whole number of at least 1, got {count!r}.")
    global _chosen
    _chosen = count
    _give_products(count)


def _give_products(count: int) -> None:
    for setter, _ in _libraries():
        setter(count)


@contextmanager
def as_many_as_pay(largest_product: int) -> Iterator[None]:
    """Within the block, one thread if no product is worth splitting; ``largest_product`` counts multiplications."""
    before = get_num_threads()
    if largest_product <= WORTH_SPLITTING and before > 1:
        _give_products(1)
    try:
        yield
    finally:
        if get_num_threads() != before:
            _give_products(before)
