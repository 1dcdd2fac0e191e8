"""Blocks in which tests run on another number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from backlit import threads

_REGIONS = "backlit.compile.assemble.regions"  # by its name: it needs llvmlite


@contextmanager
def threads_as_before() -> Iterator[None]:
    """A block behind which the number of threads is what it was."""
    chosen, count = threads._chosen, threads.get_num_threads()
    try:
        yield
    finally:
        threads.set_num_threads(count)
        threads._chosen = chosen


@contextmanager
def shared_out(count: int | None = None) -> Iterator[None]:
    """A block in which so many threads (as many as before) share everything that can be shared."""
    with threads_as_before(), mock.patch.multiple(_REGIONS, WORTH_SHARING=0.0, WORTH_THREADS=0.0):
        if count is not None:
            threads.set_num_threads(count)
        yield
