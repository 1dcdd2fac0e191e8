"""Every operation of the registry, compiled into memory that is watched: at sizes around multiples of vectors, in other
layouts, empty; forward and gradient are eager mode's, nothing is written out of bounds, nothing is read unwritten."""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from guarded import FREE, Watched, guards
from operation_cases import Case, samples
from operation_sizes import changed, emptied, resized, results, works
from test_operations import NAMES, READS_VALUES, SOMETIMES_READS_VALUES

import backlit as bl
from backlit.compile.runtime.executable import Executable
from backlit.ops.definition import REGISTRY, Sample
from backlit.ops.elementwise import Elementwise
from turns import turn

COMPILED = [n for n in NAMES if n not in READS_VALUES]
ELEMENTWISE = [
    n for n in COMPILED if REGISTRY[n].definition is not None and issubclass(REGISTRY[n].definition, Elementwise)
]
LAYOUTS: tuple[Callable[[Watched, np.ndarray], np.ndarray], ...] = (
    Watched.row_major,
    Watched.unaligned,
    Watched.transposed,
    Watched.reversed,
    Watched.sliced,
)
NEEDS_LAYOUT = ("view", "view_as")
"""Operations that refuse layouts that they could only copy."""

GROWTH = (0, 5, 6, 7, 14, 15, 31)
"""By how much dimensions of samples grow: their sizes are 2 to 5, so these straddle 8, 16 and 32."""

TOLERANCE = {np.float32: (2e-4, 2e-5), np.float64: (1e-10, 1e-12)}


def check(name: str, sample: Sample, dtype: Any, layout: Any, runs: int = 3) -> None:
    """Eager and compiled results on the same values in watched memory."""
    watched = Watched()
    case = Case(REGISTRY[name], sample, dtype, lambda a: layout(watched, a))
    compiled = bl.compile(case, fallback=name in SOMETIMES_READS_VALUES)
    what = f"{name}{sample!r}, {np.dtype(dtype).name}, {layout.__name__}"
    for _ in range(runs):
        wanted, found = (results(call, case) for call in (case, compiled))
        for a, b in zip(wanted, found, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape, what
            alike(a, b, dtype, what)
        watched.check(what)
        case.change()


def alike(a: np.ndarray, b: np.ndarray, dtype: Any, what: str) -> None:
    """Equal within a dtype's rounding, by the size of the largest number."""
    rtol, atol = TOLERANCE[dtype]
    size = np.abs(a[np.isfinite(a)]).max(initial=1.0) if a.dtype.kind == "f" else 1.0
    np.testing.assert_allclose(b, a, rtol=rtol, atol=atol * size, err_msg=what)


def of_its_own(name: str, among: Any) -> Any:
    """One of several choices, another for each operation."""
    return among[zlib.crc32(name.encode()) % len(among)]


def layouts(name: str) -> Any:
    return LAYOUTS[:2] if name in NEEDS_LAYOUT else LAYOUTS


@pytest.mark.parametrize("name", COMPILED)
def test_one_size_and_layout(name: str) -> None:
    chosen = next((s for s in samples(name) if works(REGISTRY[name], resized(s, 7))), None)
    growth = 0 if chosen is None else of_its_own(name, (6, 7, 14))
    sample = resized(chosen or samples(name)[0], growth)
    if not works(REGISTRY[name], sample):
        sample = resized(chosen or samples(name)[0], 7 if chosen else 0)
    with guards():
        check(name, sample, np.float32, of_its_own(name, layouts(name)), runs=2)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_operations_take_any_size(name: str) -> None:
    assert all(works(REGISTRY[name], resized(sample, 7)) for sample in samples(name))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", turn(COMPILED, 14))
def test_all_sizes_and_layouts(name: str, dtype: Any) -> None:
    with guards():
        for i, sample in enumerate(samples(name)):
            for k, growth in enumerate(GROWTH):
                grown = resized(sample, growth)
                if growth and not works(REGISTRY[name], grown):
                    continue
                for layout in layouts(name) if not growth else [layouts(name)[(i + k) % len(layouts(name))]]:
                    check(name, grown, dtype, layout)


@pytest.mark.slow
@pytest.mark.parametrize("name", turn(ELEMENTWISE, 14))
def test_every_tail_of_a_vector(name: str) -> None:
    """All sizes from 1 to 33, in one dimension."""
    sample = samples(name)[0]
    for size in range(1, 34):
        flat = changed(sample, lambda a, n=size: np.resize(a, (n,)))
        if works(REGISTRY[name], flat):
            with guards():
                check(name, flat, of_its_own(str(size), (np.float32, np.float64)), Watched.unaligned, runs=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", turn(COMPILED, 7))
@pytest.mark.filterwarnings("ignore:Mean of empty slice")  # NumPy says so of the eager variance
def test_empty_arrays(name: str) -> None:
    for sample in samples(name):
        if works(REGISTRY[name], emptied(sample)):
            with guards():
                check(name, emptied(sample), np.float32, Watched.row_major, runs=2)


# -- the watching itself ----------------------------------------------------------------------------------------------


def past_an_output(self: Any) -> None:
    array = self.arrays[self.first_output]
    ctypes.memset(array.ctypes.data + array.nbytes, 0, 1)


def between_values(self: Any) -> None:
    self.arena[np.flatnonzero(self.free)[-1]] = 0


def before_an_input(self: Any) -> None:
    ctypes.memset(self.arrays[self.first_input].ctypes.data - 1, 0, 1)


@pytest.mark.parametrize("mistake", [past_an_output, between_values, before_an_input])
def test_a_write_out_of_bounds_is_noticed(mistake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Executable.run
    monkeypatch.setattr(Executable, "run", lambda self: (run(self), mistake(self))[0])
    watched = Watched()
    x = bl.Tensor(watched.row_major(np.ones((3, 4), np.float32)))
    compiled = bl.compile(lambda x: bl.exp((x @ x.T).sum(0)))  # the product lies in the arena, or its workspace does
    with guards(), pytest.raises(AssertionError, match="something was written"):
        for _ in range(2):
            compiled(x)
        watched.check("an input")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_read_before_it_is_written_is_nan(dtype: Any) -> None:
    assert np.isnan(np.full(64, FREE, np.uint8).view(dtype)).all()
