"""The debugger: steps in the order of both passes, break points, edits that go on, undo, and the comparison of runs."""

import numpy as np
import pytest

import backlit as bl
from backlit.errors import RecordError
from backlit.glassbox.debugger import compare


def leaf(value):
    return bl.tensor(value, dtype=bl.float64, requires_grad=True)


def lecture():
    """The first example of every lecture: (x + y) · z."""
    x, y, z = leaf(-2.0), leaf(5.0), leaf(-4.0)
    q = x + y
    f = q * z
    return bl.explain(f)


class Net(bl.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = bl.nn.Linear(3, 4)
        self.second = bl.nn.Linear(4, 2)

    def forward(self, x):
        h = bl.relu(self.first(x))
        return self.second(h)


@pytest.fixture
def trained():
    bl.manual_seed(1)
    net, inputs = Net(), bl.randn(5, 3)
    with bl.record() as rec:
        loss = bl.nn.functional.cross_entropy(net(inputs), bl.tensor([0, 1, 0, 1, 1]))
        loss.backward()
    return rec


def told(debugger):
    return [(step.phase, step.node.name) for step in debugger.steps]


def test_forward_through_the_operations_then_back_along_the_walk():
    debugger = lecture().debugger()
    assert told(debugger) == [
        ("forward", "q"),
        ("forward", "f"),
        ("backward", "f"),
        ("backward", "z"),
        ("backward", "q"),
        ("backward", "x"),
        ("backward", "y"),
    ]
    assert debugger.state.phase == "start" and not debugger.state.done
    seen = [debugger.step().node.name for _ in range(7)]
    assert seen == ["q", "f", "f", "z", "q", "x", "y"]
    assert debugger.state.done and debugger.step().position == 7
    assert debugger.back(2).node.name == "q"
    assert debugger.rewind().phase == "start" and debugger.back().position == 0


def test_a_leaf_comes_when_its_gradient_is_complete():
    x = leaf(3.0)
    debugger = bl.explain(x * x + 2 * x).debugger()
    assert told(debugger)[-1] == ("backward", "x")
    state = debugger.run_to("x")
    text = str(state)
    assert text.count("+ through") == 3 and "= 8" in text


def test_a_state_prints_the_chain_rule_with_numbers():
    debugger = lecture().debugger()
    assert "x ← x = -2" in str(debugger.step()) and "q = 3" in str(debugger.state)
    text = str(debugger.run_to("f", "backward"))
    assert text.splitlines()[0] == "[3/7] backward · f · mul"
    assert "test_debugger.py" in text and "f = q * z" in text
    assert "the backward pass starts here with 1" in text
    assert "to q: ∂f/∂f · ∂f/∂q = 1 × -4 = -4" in text
    assert "to z: ∂f/∂f · ∂f/∂z = 1 × 3 = 3" in text


def test_long_products_go_over_several_lines(trained):
    text = str(trained.debugger().run_to("second.weight", "backward"))
    assert "∂loss/∂second.weight" in text
    lines = str(trained.debugger().run_to("h", "backward")).splitlines()
    assert any(line.strip().startswith("× local") for line in lines)
    summed = lecture_of_broadcasting()
    assert "summed over axes 0" in str(summed)


def lecture_of_broadcasting():
    w, b = leaf([[1.0, 2.0], [3.0, 4.0]]), leaf([0.5, 0.25])
    return bl.explain((w * b).sum()).debugger().run_to("mul", "backward")


def test_looking_at_everything():
    debugger = lecture().debugger()
    with pytest.raises(RecordError, match="at the start, where there is no node yet"):
        debugger.value()
    debugger.run_to("f", "backward")
    assert float(debugger.value()) == -12 and float(debugger.upstream()) == 1
    assert [float(local.value) for local in debugger.local()] == [-4, 3]
    assert [float(part) for part in debugger.downstream()] == [-4, 3]
    assert [edge.source.name for edge in debugger.inputs()] == ["q", "z"]
    assert "f = q * z" in debugger.where() and float(debugger.upstream("x")) == -4
    assert "7" in repr(debugger)


def test_running_to_a_node_that_is_not_ahead_says_so():
    debugger = lecture().debugger()
    debugger.run_to("y")
    with pytest.raises(RecordError, match=r"q has no step after step 7; rewind\(\)"):
        debugger.run_to("q")
    with pytest.raises(RecordError, match="no node is called 'p'"):
        debugger.run_to("p")


def test_break_points_stop_a_run_and_say_why():
    debugger = lecture().debugger()
    first = debugger.break_on("grad norm > 3")
    debugger.break_on(lambda state: state.node.name == "y")
    assert debugger.run().stopped == "grad norm > 3"
    assert debugger.state.node.name == "q"
    assert debugger.run().node.name == "x"
    debugger.clear(first)
    assert debugger.run().node.name == "y"
    debugger.clear()
    debugger.rewind()
    assert debugger.run().done and debugger.state.stopped is None
    with pytest.raises(RecordError, match="no break point 3; there are 0"):
        debugger.clear(3)


def test_break_points_by_module(trained):
    debugger = trained.debugger()
    debugger.break_on("module == second and phase == backward")
    assert debugger.run().node.module == "net.second"


def test_an_edited_value_goes_on_forward_and_backward(trained):
    debugger = trained.debugger()
    debugger.run_to("h", "forward")
    state = debugger.set_value("first.bias", np.zeros(4))
    assert state.node.name == "h" and state.phase == "forward"  # the debugger stays where it was
    expected = trained.rerun(values={"first.bias": np.zeros(4)})
    np.testing.assert_array_equal(debugger.upstream("first.weight"), expected.node("first.weight").upstream)
    np.testing.assert_array_equal(debugger.original.node("loss").value, trained.node("loss").value)
    assert debugger.edits == 1


def test_edits_add_up_and_are_undone_one_by_one():
    debugger = lecture().debugger()
    debugger.step()
    debugger.set_value(None, 10.0)  # q, where the debugger stands: it no longer follows x and y
    assert float(debugger.value("f")) == -40
    debugger.run_to("f", "backward")
    debugger.set_upstream("q", 1.0)
    assert (float(debugger.upstream("x")), float(debugger.upstream("z"))) == (1, 10)
    debugger.run_to("y")
    assert debugger.undo().node.name == "f"  # back at the step of the edit
    assert (float(debugger.upstream("x")), float(debugger.value("f"))) == (-4, -40)
    debugger.undo()
    assert debugger.record is debugger.original
    with pytest.raises(RecordError, match="nothing to undo"):
        debugger.undo()


def test_an_edit_that_fails_changes_nothing():
    debugger = lecture().debugger()
    for edit, message in (
        (lambda: debugger.set_value("q", [1.0, 2.0]), "They must agree"),
        (lambda: debugger.set_value("q", "three"), "is no array of float64"),
        (lambda: debugger.set_upstream("nobody", 1.0), "no node is called"),
    ):
        with pytest.raises(RecordError, match=message):
            edit()
    assert debugger.edits == 0 and debugger.record is debugger.original


def test_gradients_of_leaves_can_be_edited_and_of_constants_not():
    x = leaf(2.0)
    debugger = bl.explain(x * 3.0, names={"x": x}).debugger()
    debugger.set_upstream("x", 7.0)
    assert float(debugger.upstream("x")) == 7
    with pytest.raises(RecordError, match="no gradient reaches"):
        debugger.set_upstream("3", 1.0)


def test_statistics_alone_can_be_stepped_through_but_not_edited():
    w = leaf(np.arange(1.0, 101.0))
    debugger = bl.explain((w * w).sum(), keep="stats").debugger()
    debugger.break_on("grad max >= 200")
    assert debugger.run().node.name == "w"
    assert "100: 2 … 200, mean 101" in str(debugger.state)
    with pytest.raises(RecordError, match="keep='all'"):
        debugger.set_value("w", np.zeros(100))


def test_a_record_without_backward_pass_has_only_the_forward_phase():
    with bl.record() as rec:
        y = bl.tensor([0.25, 4.0]).sqrt()
        y.sum()
    debugger = rec.debugger()
    assert [step.phase for step in debugger.steps] == ["forward", "forward"]
    debugger.set_value("y", [1.0, 1.0])
    assert float(debugger.run().node.value) == 2


def test_own_operations_with_several_outputs_are_steps():
    class Both(bl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, g, h):
            return g * 2 + h * 3

    x = leaf(1.0)
    with bl.record() as rec:
        a, b = Both.apply(x)
        (a * b).backward()
    debugger = rec.debugger()
    assert told(debugger)[-2:] == [("backward", "Both"), ("backward", "x")]
    assert "(local gradient not known) = 12" in str(debugger.run_to("Both", "backward"))


def test_names_cannot_command_the_terminal():
    x = leaf(1.0)
    rec = bl.explain(x * 2.0, names={"\x1b[2Jx": x})
    debugger = rec.debugger()
    texts = [str(debugger.step()) for _ in debugger.steps]
    assert not any("\x1b" in text for text in texts) and any("�[2Jx" in text for text in texts)


# -- the comparison of runs ---------------------------------------------------------------------------------------


def test_equal_runs_do_not_differ(trained):
    comparison = trained.debugger().compare(trained.rerun())
    assert comparison.first is None and "no difference" in str(comparison)


def test_the_first_difference_is_named_with_its_size(trained):
    bias = trained.node("first.bias").value.copy()
    bias[2] += 0.5
    debugger = trained.debugger()
    debugger.set_value("first.bias", bias)
    comparison = debugger.compare()
    assert comparison.first.node.name == "first.bias" and comparison.first.index == (2,)
    assert comparison.first.largest == pytest.approx(0.5)
    assert [d.node.name for d in comparison.differences][1] == "first.linear"
    assert "first.bias[2]" in str(comparison)


def test_nan_is_infinitely_far_from_a_number_and_equal_to_itself():
    x = leaf([1.0, -1.0])
    rec = bl.explain(bl.log(x).sum())
    other = rec.rerun(values={"x": [1.0, 1.0]})
    differences = {(d.step.phase, d.node.name): d for d in compare(rec, other).differences}
    assert differences["forward", "log"].largest == np.inf
    assert compare(rec, rec.rerun()).first is None


def test_different_computations_are_not_compared():
    w = leaf(2.0)
    with pytest.raises(RecordError, match=r"different computations: node 1 is <square"):
        compare(bl.explain(bl.square(w)), bl.explain(bl.exp(w)))
