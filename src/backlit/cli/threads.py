"""How many threads NumPy's matrix products use.

OpenBLAS splits even the small products of a small network over all cores, and its threads wait by spinning: on a busy
machine that made a run ten times slower. NumPy has no setting for it, so the library that its wheels bring is asked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .settings import Settings

WORTH_SPLITTING = 20_000_000
"""Multiplications in a batch's largest product above which more than one thread pays."""

_SETTERS = ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads", "openblas_set_num_threads")


def limit_threads(settings: Settings, rows: int, inputs: int, outputs: int) -> None:
    """Use the threads that were asked for; where nothing was asked, one if the network is too small for more."""
    threads = settings.threads
    if not threads:
        widths = (inputs, *settings.layers, outputs)
        largest = max(a * b for a, b in pairwise(widths)) * min(settings.batch_size or rows, rows)
        if largest > WORTH_SPLITTING:
            return
        threads = 1
    for setter in _setters():
        setter(threads)


def _setters() -> Iterator[Callable[[int], Any]]:
    """The function that sets the number of threads, of each OpenBLAS that NumPy brought along."""
    root = Path(np.__file__).parent
    pattern = "*openblas*"
    for path in (*root.with_name("numpy.libs").glob(pattern), *(root / ".dylibs").glob(pattern)):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        yield from (getattr(library, name) for name in _SETTERS if hasattr(library, name))
