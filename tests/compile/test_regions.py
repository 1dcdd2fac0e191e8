"""Regions: what may run without waiting for other threads, held against which elements each share really touches."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sharing import shared_out

import backlit as bl
from backlit.compile.assemble.build import build
from backlit.compile.assemble.cuts import cut_of, shares
from backlit.compile.ir.build import Builder
from backlit.compile.ir.layout import row_major
from backlit.compile.ir.program import Program, Value

pytestmark = pytest.mark.usefixtures("planned_anew")

FLOAT = np.dtype("float32")


@given(st.integers(1, 200), st.integers(1, 9), st.sampled_from([1, 4, 16]))
def test_shares_cover_everything_once(size: int, parts: int, grain: int) -> None:
    cut = shares(size, parts, grain)
    if cut is None:
        assert size <= (parts - 1) * -(-size // (parts * grain)) * grain
        return
    runs = [cut.run(part) for part in range(parts)]
    assert [i for begin, count in runs for i in range(begin, begin + count)] == list(range(size))
    assert all(count > 0 for _, count in runs) and all(count % grain == 0 for _, count in runs[:-1])


@st.composite
def walks(draw: Any) -> tuple[int, tuple[int, ...], tuple[int, ...], int, int]:
    """A loop through memory as views make them: permuted, sliced, stretched or of a part of it."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    memory = np.arange(int(np.prod(shape))).reshape(shape)
    view = memory
    for d, n in enumerate(shape):
        begin = draw(st.integers(0, n - 1))
        step = draw(st.sampled_from([1, 1, 1, 2]))
        view = view[(slice(None),) * d + (slice(begin, None, step) if draw(st.booleans()) else slice(None),)]
    view = view.transpose(draw(st.permutations(range(view.ndim))))
    if draw(st.booleans()):
        view = np.broadcast_to(view, (draw(st.integers(1, 3)), *view.shape))
    strides = tuple(s // 8 for s in view.strides)
    axis = draw(st.integers(0, view.ndim - 1))
    return memory.size, view.shape, strides, int(view.flat[0]), axis


@example((12, (2, 2, 2), (6, 4, 1), 0, 2), 2)  # every second row of 2×3×2
@given(walks(), st.integers(2, 3))
def test_a_cut_says_which_elements_a_share_touches(walk: Any, parts: int) -> None:
    size, sizes, strides, offset, axis = walk
    split = shares(sizes[axis], parts)
    if split is None:
        return
    cut = cut_of(size, sizes, strides, offset, axis, split.step)
    if cut is None:
        return
    for index in product(*map(range, sizes)):
        element = offset + sum(i * s for i, s in zip(index, strides, strict=True))
        assert element % cut.period // cut.step == index[axis] // split.step


@pytest.mark.parametrize("shape", [(6,), (6, 4), (6, 4, 3)])
def test_whole_arrays_are_cut_along_every_axis(shape: tuple[int, ...]) -> None:
    """None is always a right answer of cut_of; it must not be the only one."""
    for axis in range(len(shape)):
        assert cut_of(int(np.prod(shape)), shape, row_major(shape), 0, axis, 2) is not None


def parts_of(function: Any, *arguments: Any) -> list[tuple[int, int]]:
    """The number of shares and of groups of each region of a function on two threads."""
    with shared_out(2):
        compiled = bl.compile(function)
        for _ in range(2):
            found, wanted = compiled(*arguments), function(*arguments)
            np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-5)
        return [(r.parts, len(r.groups)) for r in compiled._latest().executable.built.regions]


def test_rows_go_through_two_products_without_waiting() -> None:
    x, v, w = bl.randn(40, 8), bl.randn(8, 64), bl.randn(64, 16)
    assert parts_of(lambda x: (x @ v).relu() @ w, x) == [(2, 2)]


def test_who_needs_all_rows_waits() -> None:
    x = bl.randn(40, 40)
    assert parts_of(lambda x: x.exp() @ x.exp().T, x) == [(2, 1), (2, 1)]


def test_a_small_batch_times_a_large_matrix_is_shared_by_columns() -> None:
    """Its transpose is computed: shares of the rows would each go through all of the matrix."""
    b, x, w = Builder(), Value((64, 512), FLOAT), Value((2048, 512), FLOAT)
    program = Program([x, w], b.body, [b.matmul(x, b.permute(w, (1, 0)))])
    (region,) = build(program, {}, threads=2).regions
    assert (region.parts, region.ways[0].axis) == (2, 1)


def test_a_few_microseconds_of_packing_are_no_reason_to_wait() -> None:
    """Columns would save 2.5 µs of packing, and wait for all rows of what is normalised."""
    x, w, gain = bl.randn(768, 128), bl.randn(384, 128), bl.ones(128)
    assert parts_of(lambda x: bl.nn.functional.layer_norm(x, (128,), gain) @ w.T, x) == [(2, 2)]


def test_long_regions_end_so_that_memory_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = bl.randn(512, 64), bl.randn(64, 64) / 8

    def layers(x: Any) -> Any:
        for _ in range(6):
            x = (x @ w).tanh()
        return x

    assert parts_of(layers, x) == [(2, 12)]
    monkeypatch.setattr("backlit.compile.assemble.regions.LONG_ENOUGH", 200_000.0)
    assert parts_of(layers, x) == [(2, 4)] * 3


def test_a_sum_over_the_shared_rows_is_put_together_at_the_end() -> None:
    x = bl.randn(4096, 3)
    assert parts_of(lambda x: x.exp().sum(0), x) == [(2, 1)]


def test_checks_run_before_what_they_have_to_allow() -> None:
    """Weight gradients and updates would otherwise all wait for the check of the embedding, behind everything else."""
    table, w = bl.nn.Embedding(9, 16), bl.nn.Linear(16, 9)
    optimizer = bl.optim.Adam([*table.parameters(), *w.parameters()])

    def step(x: Any, y: Any) -> Any:
        loss = bl.nn.functional.cross_entropy(w(table(x)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    compiled = bl.compile(step)
    for _ in range(2):
        compiled(bl.randint(0, 9, (12,)), bl.randint(0, 9, (12,)))
    built = compiled._latest().executable.built
    groups = [[m.opcode for m in region.groups[0].members] for region in built.regions]
    checks = [i for i, opcodes in enumerate(groups) if opcodes == ["require"]]
    assert checks and max(checks) < next(i for i, opcodes in enumerate(groups) if "exp" in opcodes)
