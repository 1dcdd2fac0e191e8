"""Each pass by itself: what it is for happens, and the program's meaning stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from test_passes import FLOAT, assert_alike, captured, convolution, flat

import backlit as bl
from backlit.compile.ir.build import Builder
from backlit.compile.ir.interpret import interpret
from backlit.compile.ir.layout import VIEWS, row_major
from backlit.compile.ir.program import Program, Value
from backlit.compile.leaves.leaf import Leaf, emit_leaf
from backlit.compile.loops.fusion import fuse
from backlit.compile.lower.joining import joined
from backlit.compile.passes.constant_folding import with_folded_constants
from backlit.compile.passes.dead_code import without_dead_code
from backlit.compile.passes.gates import with_known_zeros
from backlit.compile.passes.layouts import layouts_of, with_copies
from backlit.compile.passes.max_pooling import with_native_max_pooling
from backlit.compile.passes.operands import with_operands_in_memory
from backlit.compile.passes.pipeline import optimised
from backlit.compile.passes.pooled_convolutions import with_pooled_convolutions
from backlit.compile.passes.results import with_moves, with_own_results
from backlit.compile.passes.results_as_read import with_results_as_read
from backlit.compile.passes.simplify import simplified


def opcodes(program: Program) -> list[str]:
    return [i.opcode for i in program.body]


# -- parts ----------------------------------------------------------------------------------------------------------


def test_a_part_of_parts_is_looked_at_where_it_lies() -> None:
    b, x, y = Builder(), Value((2, 3), FLOAT), Value((4, 3), FLOAT)
    both = joined(b, [x, y], 0)
    middle = b.slice(both, (1, 0), (1, 1), (4, 3))
    inside = b.slice(middle, (1, 1), (2, 1), (2, 2))  # rows 0 and 2 of y, which is inside one part
    across = b.slice(both, (5, 2), (-2, -1), (3, 3))
    program = Program([x, y], b.body, [inside, across])
    changed = without_dead_code(simplified(program))
    assert_alike(program, changed)
    assert [list(i.operands) for i in changed.body if i.result is changed.outputs[0]] == [[y]]
    assert opcodes(changed) == ["cat", "slice", "slice"]


def test_parts_are_put_together_once() -> None:
    """A run of rows of what was put together, with a row behind it."""
    b, x, y = Builder(), Value((2, 3), FLOAT), Value((4, 3), FLOAT)
    first = joined(b, [x, y, x], 0)
    second = joined(b, [b.slice(first, (1, 0), (1, 1), (4, 3)), x, b.slice(first, (7, 0), (1, 1), (1, 3))], 0)
    columns = joined(b, [first, first], 1)
    program = Program([x, y], b.body, [second, columns])
    changed = without_dead_code(simplified(program))
    assert_alike(program, changed)
    (made,) = (i for i in changed.body if i.result is changed.outputs[0])
    assert [v.shape for v in made.operands] == [(1, 3), (3, 3), (2, 3), (1, 3)]
    assert opcodes(changed).count("cat") == 3  # along the columns nothing is taken apart


def test_a_part_of_a_number_is_the_number() -> None:
    b = Builder()
    zeros = b.expand(b.constant(0.0, FLOAT), (5, 6))
    program = Program([], b.body, [b.slice(b.slice(zeros, (1, 0), (1, 2), (3, 3)), (0, 1), (1, 1), (2, 1))])
    changed = without_dead_code(simplified(program))
    assert_alike(program, changed)
    assert opcodes(changed) == ["constant", "expand"]


def test_neighbouring_parts_of_one_value_are_one_part() -> None:
    b, x, y = Builder(), Value((6, 3), FLOAT), Value((2, 3), FLOAT)
    ones = [b.slice(x, (i, 0), (1, 1), (2, 3)) for i in (0, 2, 4)]
    whole = joined(b, ones, 0)
    some = joined(b, [y, ones[1], ones[2], ones[0]], 0)  # 4 rows of x, and then its first
    narrow = [b.slice(x, (i, 1), (1, 1), (3, 2)) for i in (0, 3)]
    stepped = [b.slice(x, (i, 0), (2, 1), (2, 3)) for i in (0, 2)]
    program = Program([x, y], b.body, [whole, some, joined(b, narrow, 0), joined(b, stepped, 0)])
    changed = without_dead_code(simplified(program))
    assert_alike(program, changed)
    assert changed.outputs[0] is x
    (made,) = (i for i in changed.body if i.result is changed.outputs[1])
    assert [v.shape for v in made.operands] == [(2, 3), (4, 3), (2, 3)]
    assert opcodes(changed).count("cat") == 3  # of parts of rows, and of rows apart, nothing is a run


# -- leaves ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Halves(Leaf):
    """``x → x + 1, x + 2``, anywhere but with rows as they are, if that is wanted."""

    free: bool = True

    def writes(self, position: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
        return self.free and strides[-1] == 1


def halves(b: Builder, x: Value, free: bool = True) -> tuple[Value, ...]:
    return emit_leaf(b, Halves(free), [x], [(x.shape, x.dtype)] * 2, lambda x: (x + 1, x + 2))


def test_results_are_made_in_the_order_in_which_they_are_read() -> None:
    b, x = Builder(), Value((2, 3, 4), FLOAT)
    one, two = halves(b, x)
    turned = b.reshape(b.permute(one, (1, 0, 2)), (3, 8))
    across = b.permute(two, (2, 0, 1))  # which would take rows apart
    program = Program([x], b.body, [turned, across, one])
    changed = without_dead_code(simplified(with_results_as_read(program)))
    assert_alike(program, changed)
    (leaf,) = (i for i in changed.body if i.opcode == "leaf")
    assert leaf.results[0] is changed.outputs[0] and [v.shape for v in leaf.results] == [(3, 8), (2, 3, 4)]
    assert_alike(program, with_results_as_read(changed))


@pytest.mark.parametrize("free", [True, False])
def test_results_that_are_put_together_are_made_together(free: bool) -> None:
    b, x = Builder(), Value((2, 3, 4), FLOAT)
    one, two = (b.reshape(b.permute(v, (1, 0, 2)), (3, 1, 8)) for v in halves(b, x, free))
    both = b.permute(joined(b, [two, one], 1), (1, 0, 2))
    program = Program([x], b.body, [both, one])
    changed = without_dead_code(simplified(with_results_as_read(program)))
    assert_alike(program, changed)
    (leaf,) = (i for i in changed.body if i.opcode == "leaf")
    assert (leaf.results == (changed.outputs[0],)) == free
    assert ("cat" in opcodes(changed)) != free


def test_results_that_others_are_put_together_with_stay_as_they_are() -> None:
    b, x = Builder(), Value((2, 3, 4), FLOAT)
    one, two = halves(b, x)
    program = Program([x], b.body, [joined(b, [one, x], 1), joined(b, [two, two], 0)])
    changed = with_results_as_read(program)
    assert opcodes(changed) == opcodes(program)


def test_what_was_just_copied_is_not_copied_again() -> None:
    """A leaf's operand had a dimension of size 1, of which strides say nothing, and was taken for one with gaps."""
    b, x = Builder(), Value((4, 3, 2), FLOAT)
    halves(b, b.reshape(b.permute(x, (1, 0, 2)), (12, 1, 2)))
    program = with_copies(Program([x], b.body, []), {})
    changed = with_operands_in_memory(program, layouts_of(program, {}), lambda *_: False)
    assert opcodes(changed).count("copy") == 1


# -- constants ------------------------------------------------------------------------------------------------------


def test_what_depends_on_constants_only_is_computed_once_and_for_all() -> None:
    b, x = Builder(), Value((3,), FLOAT)
    scale = b.elementwise("mul", b.elementwise("exp", b.constant(0.5, FLOAT)), 4.0)
    whole = b.cast(b.constant(2.75, FLOAT), np.int64)
    y = b.elementwise("add", b.elementwise("mul", x, scale), b.cast(whole, FLOAT))
    program = Program([x], b.body, [y])
    changed = with_folded_constants(program)
    assert_alike(program, changed)
    assert [o for o in opcodes(without_dead_code(changed)) if o != "constant"] == ["mul", "add"]
    values = [i.params["value"] for i in without_dead_code(changed).body if i.opcode == "constant"]
    assert sorted(values) == pytest.approx([2.0, 4.0 * np.exp(0.5)])


def test_what_varies_is_not_folded() -> None:
    b, x = Builder(), Value((), FLOAT)
    program = Program([x], b.body, [b.elementwise("add", x, 1.0)])
    assert opcodes(with_folded_constants(program)) == ["constant", "add"]


@pytest.mark.parametrize("number", [np.nan, np.inf, -0.0])
def test_special_constants_stay_themselves(number: float) -> None:
    b, x = Builder(), Value((2,), FLOAT)
    y = b.elementwise("div", x, b.elementwise("neg", b.constant(number, FLOAT)))
    program = Program([x], b.body, [y])
    assert_alike(program, simplified(with_folded_constants(program)))


# -- algebra --------------------------------------------------------------------------------------------------------


def test_a_gate_closes_for_an_upstream_zero_whatever_the_slope() -> None:
    """``gated(0, ∞)`` is 0, so that a zero in front of a gate must not become a plain factor."""
    b, x = Builder(), Value((3,), FLOAT)
    closed = b.elementwise("gated", b.expand(b.constant(0.0, FLOAT), (3,)), x)
    opened = b.elementwise("gated", b.expand(b.constant(2.0, FLOAT), (3,)), x)
    program = Program([x], b.body, [closed, opened])
    slopes = [np.array([np.inf, np.nan, 1.0])]
    for wanted, found in zip(
        flat(interpret(program, slopes)), flat(interpret(simplified(program), slopes)), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
    assert {"gated", "mul"} <= set(opcodes(simplified(program)))


# -- views, operands, results ---------------------------------------------------------------------------------------


def test_a_view_that_strides_cannot_express_is_copied_once() -> None:
    b, x = Builder(), Value((3, 4), FLOAT)
    turned = b.permute(x, (1, 0))
    y = b.elementwise("neg", b.reshape(turned, (12,)))
    program = Program([x], b.body, [y])
    changed = with_copies(program, {})
    assert_alike(program, changed)
    assert opcodes(changed) == ["permute", "copy", "reshape", "neg"]
    assert opcodes(with_copies(program, {x: (1, 3)})) == ["permute", "reshape", "neg"], "it lies as it is read"


def test_layouts_say_where_elements_lie() -> None:
    b, x = Builder(), Value((4, 6), FLOAT)
    part = b.slice(x, (3, 1), (-1, 2), (2, 3))
    views = [part, b.permute(part, (1, 0)), b.expand(b.reshape(part, (1, 2, 3)), (5, 2, 3)), b.reshape(x, (2, 2, 6))]
    program = Program([x], b.body, views)
    array = np.arange(24.0).reshape(4, 6)
    layouts = layouts_of(with_copies(program, {}), {})
    for value, wanted in zip(views, interpret(program, [array])[0], strict=True):
        base, strides, offset = layouts[value]
        positions = sum(np.indices(value.shape)[d] * s for d, s in enumerate(strides)) + offset
        assert base is x
        np.testing.assert_array_equal(array.reshape(-1)[positions], wanted)


def test_operands_of_products_are_in_memory() -> None:
    b, x = Builder(), Value((3, 3), FLOAT)
    ones = b.expand(b.constant(1.0, FLOAT), (3, 3))
    y = b.matmul(b.matmul(ones, x), b.permute(x, (1, 0)))
    program = Program([x], b.body, [y])
    layouts = layouts_of(program, {})
    changed = with_operands_in_memory(program, layouts, lambda shape, strides: strides != row_major(shape))
    assert_alike(program, changed)
    makers = changed.makers()
    products = [i for i in changed.body if i.opcode == "matmul"]
    assert makers[products[0].operands[0]].opcode == makers[products[1].operands[1]].opcode == "copy"
    assert opcodes(with_operands_in_memory(program, layouts, lambda *_: False)).count("copy") == 1


def test_outputs_have_memory_of_their_own() -> None:
    b, x = Builder(), Value((2, 3), FLOAT)
    y = b.elementwise("neg", x)
    row = b.reshape(b.slice(y, (0, 0), (1, 1), (1, 3)), (3,))
    program = Program([x], b.body, [x, y, y, row, b.permute(y, (1, 0)), b.constant(3.0, FLOAT)], [(x, y)])
    layouts = layouts_of(program, {})
    changed = with_own_results(program, layouts)
    assert_alike(program, changed)
    makers = changed.makers()
    assert len(set(changed.outputs)) == 6 and y not in changed.outputs, "what is written is made in its own place"
    assert all(makers[v].opcode == "copy" for v in changed.outputs)
    alone = Program([x], program.body, [y])
    assert with_own_results(alone, layouts).outputs == [y]


def test_moves_write_at_the_end() -> None:
    b, x = Builder(), Value((2, 2), FLOAT)
    y = b.elementwise("neg", b.permute(x, (1, 0)))
    program = Program([x], b.body, [b.elementwise("exp", y)], [(x, y)])
    changed = with_moves(program, program.writes)
    assert_alike(program, changed)
    ((target, moved),) = changed.writes
    assert target is x and changed.body[-1].opcode == "move" and moved is changed.body[-1].result


# -- poolings -------------------------------------------------------------------------------------------------------


def pooling(**settings: Any) -> Program:
    x = bl.tensor(np.random.default_rng(0).permutation(64.0 * np.arange(98)).reshape(2, 1, 7, 7), requires_grad=True)

    def gradients(x: Any) -> Any:
        y = bl.nn.functional.max_pool2d(x, **settings)
        return y.detach(), bl.autograd.grad((y * y).sum(), x)

    return captured(gradients, x)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 1, "padding": 1},
        {"kernel_size": (2, 3), "stride": (1, 2)},
        {"kernel_size": 2, "dilation": 2, "stride": 1},
        {"kernel_size": 2, "ceil_mode": True},
    ],
    ids=str,
)
def test_max_pooling_becomes_loops(settings: dict[str, Any]) -> None:
    program = pooling(**settings)
    changed = with_native_max_pooling(program)
    assert "extern" in opcodes(program) and "extern" not in opcodes(without_dead_code(changed))
    assert_alike(program, without_dead_code(changed))


def test_large_windows_stay_with_numpy() -> None:
    x = bl.tensor(np.random.default_rng(0).normal(size=(1, 1, 12, 12)))
    program = captured(lambda x: bl.nn.functional.max_pool2d(x, 9, 1), x)
    assert "extern" in opcodes(with_native_max_pooling(program))


def leaves_of(program: Program) -> list[str]:
    return sorted(type(i.params["leaf"]).__name__ for i in program.body if i.opcode == "leaf")


def test_a_pooled_convolution_is_one_kernel_each_way() -> None:
    program = simplified(with_folded_constants(convolution()))
    changed = without_dead_code(with_pooled_convolutions(without_dead_code(program)))
    assert_alike(program, changed)
    assert {"ConvolveAndPool", "ConvolveAndPoolBack"} <= set(leaves_of(changed))
    assert "Convolve" in leaves_of(program) and "Convolve" not in leaves_of(changed)


def test_a_convolution_that_is_needed_elsewhere_stays() -> None:
    layer = bl.nn.Conv2d(1, 3, 3, dtype=np.float64)
    x = bl.tensor(np.random.default_rng(0).normal(size=(2, 1, 6, 6)))

    def both(x: Any) -> Any:
        with bl.no_grad():
            y = layer(x)
            return bl.nn.functional.max_pool2d(y.relu(), 2), y

    program = optimised(captured(both, x))
    assert "Convolve" in leaves_of(program) and "ConvolveAndPool" not in leaves_of(program)


# -- gates ----------------------------------------------------------------------------------------------------------


def test_products_know_of_the_zeros_that_a_gate_leaves() -> None:
    """The outputs of ReLU, and gradients that come back through it, on the left: not what dropout or tanh leave."""
    b, x, w = Builder(), Value((8, 6), FLOAT), Value((6, 5), FLOAT)
    hidden = b.elementwise("maximum", b.matmul(x, w), 0.0)
    g = b.elementwise("where", b.elementwise("gt", hidden, 0.0), Value((8, 5), FLOAT, "g"), 0.0)
    mask = b.elementwise("where", b.elementwise("lt", hidden, 0.1), hidden, 0.0)
    inputs = [x, w, *[v for i in b.body for v in i.operands if v.name == "g"]]
    outputs = [
        b.matmul(hidden, b.permute(w, (1, 0))),
        b.matmul(b.permute(g, (1, 0)), x),
        b.matmul(b.permute(mask, (1, 0)), x),
        b.matmul(b.elementwise("tanh", x), w),
        b.matmul(b.permute(x, (1, 0)), hidden),
    ]
    program = with_known_zeros(Program(inputs, b.body, outputs))
    makers = program.makers()
    assert [bool(makers[v].params.get("zeros")) for v in outputs] == [True, True, False, False, False]


# -- fusion ---------------------------------------------------------------------------------------------------------


def groups(program: Program) -> list[list[str]]:
    program = with_copies(program, {})
    return [[m.opcode for m in g.members] for g in fuse(program, layouts_of(program, {}))]


def test_chains_share_a_loop_and_a_product_joins_it() -> None:
    b, x, w, bias = Builder(), Value((9, 5), FLOAT), Value((5, 4), FLOAT), Value((4,), FLOAT)
    y = b.elementwise("maximum", b.elementwise("add", b.matmul(x, w), bias), 0.0)
    total = b.reduce("sum", y)
    assert groups(Program([x, w, bias], b.body, [y, total])) == [["matmul", "add", "maximum", "reduce"]]


@pytest.mark.parametrize(("rows", "depth", "joins"), [(256, 100, True), (256, 1000, False), (250, 100, False)])
def test_a_loop_that_reads_much_joins_where_it_would_wait_for_memory(rows: int, depth: int, joins: bool) -> None:
    """An update with two states: of a large weight, from a small batch."""
    b, x, g = Builder(), Value((depth, rows), FLOAT), Value((depth, 256), FLOAT)
    states = [Value((rows, 256), FLOAT) for _ in range(3)]
    total = b.matmul(b.permute(x, (1, 0)), g)
    for state in states:
        total = b.elementwise("add", total, state)
    found = groups(Program([x, g, *states], b.body, [total]))
    assert found == ([["matmul", "add", "add", "add"]] if joins else [["matmul"], ["add", "add", "add"]])


def test_a_product_is_finished_by_one_loop_only() -> None:
    b, x, w = Builder(), Value((9, 5), FLOAT), Value((5, 4), FLOAT)
    product = b.matmul(x, w)
    turned = b.elementwise("neg", b.permute(product, (1, 0)))
    found = groups(Program([x, w], b.body, [turned, b.elementwise("abs", product)]))
    assert sorted(found) == [["abs"], ["matmul"], ["neg"]]


def test_what_needs_a_whole_reduction_is_another_loop() -> None:
    b, x = Builder(), Value((6, 4), FLOAT)
    y = b.elementwise("sub", x, b.reduce("max", x, 1, True))
    found = groups(Program([x], b.body, [b.elementwise("exp", y)]))
    assert found == [["reduce"], ["sub", "exp"]]


# -- the yardstick --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "step", "count"), [(5, -1, 3), (5, -1, 6), (5, -2, 3), (4, -2, 2), (0, 2, 3), (1, 2, 2), (3, -1, 0)]
)
def test_slices_mean_what_they_say(start: int, step: int, count: int) -> None:
    b, x = Builder(), Value((6,), FLOAT)
    program = Program([x], b.body, [b.slice(x, (start,), (step,), (count,))])
    ((found,), _) = interpret(program, [np.arange(6.0)])
    np.testing.assert_array_equal(found, start + step * np.arange(count))


def test_what_is_read_in_another_order_is_handed_on_in_memory() -> None:
    b, x = Builder(), Value((6, 4), FLOAT)
    y = b.elementwise("exp", x)
    z = b.elementwise("add", b.permute(y, (1, 0)), 1.0)
    program = Program([x], b.body, [z])
    assert {i.opcode for i in program.body if i.opcode in VIEWS} == {"permute"}
    assert groups(program) == [["exp"], ["add"]]
