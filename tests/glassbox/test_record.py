"""The record: every number of both passes, names and places, made before, after or around the backward pass."""

import json

import numpy as np
import pytest

import backlit as bl
from backlit.errors import GradientError, RecordError


def leaf(value):
    return bl.tensor(value, dtype=bl.float64, requires_grad=True)


class Net(bl.nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = bl.nn.Linear(3, 4)
        self.drop = bl.nn.Dropout(0.5)
        self.out = bl.nn.Linear(4, 2)

    def forward(self, x):
        h = bl.relu(self.hidden(x))
        kept = self.drop(h)
        return self.out(kept)


def trained(steps=2):
    """A record of a few training steps, and the network."""
    bl.manual_seed(3)
    net = Net()
    inputs, target = bl.randn(5, 3), bl.tensor([0, 1, 0, 1, 1])
    optimizer = bl.optim.Adam(net.parameters())
    with bl.record() as rec:
        for _ in range(steps):
            optimizer.zero_grad()
            logits = net(inputs)
            loss = bl.nn.functional.cross_entropy(logits, target)
            loss.backward()
            optimizer.step()
    return rec, net


def test_values_and_gradients_as_the_lecture_has_them():
    x, y, z = leaf(-2.0), leaf(5.0), leaf(-4.0)
    q = x + y
    f = q * z
    rec = bl.explain(f)
    assert [(n.name, n.op, float(n.value), float(n.upstream)) for n in rec.nodes] == [
        ("x", None, -2.0, -4.0),
        ("y", None, 5.0, -4.0),
        ("q", "add", 3.0, -4.0),
        ("z", None, -4.0, 3.0),
        ("f", "mul", -12.0, 1.0),
    ]
    assert [float(e.local.value) for e in rec.node("f").inputs] == [-4.0, 3.0]
    assert [float(e.downstream) for e in rec.node("f").inputs] == [-4.0, 3.0]
    assert rec.node("q").expression == "x + y"
    assert rec.node("q").source.text == "q = x + y"
    assert (x.grad.item(), z.grad.item()) == (-4.0, 3.0)  # explain stands in for backward
    assert float(rec.node("x").grad) == -4.0 and rec.node("x").grad_before is None


def test_explain_after_backward_computes_again_and_leaves_grad_alone():
    w = leaf(1.0)
    prediction = w * 1.0
    loss = (prediction - bl.tensor(2.0, dtype=bl.float64)) ** 2
    loss.backward()
    rec = bl.explain(loss)
    assert w.grad.item() == -2.0
    assert float(rec.node("w").upstream) == -2.0
    assert float(rec.node("prediction").value) == 1.0
    assert float(rec.node("loss").value) == 1.0
    assert float(rec.find(op="sub")[0].value) == -1.0


def test_explain_after_a_backward_that_kept_the_graph_leaves_grad_alone():
    w = leaf(3.0)
    loss = w * w
    loss.backward(retain_graph=True)
    assert float(bl.explain(loss).node("w").upstream) == 6.0
    assert w.grad.item() == 6.0


def test_grad_accumulates_and_the_record_says_onto_what():
    w = leaf(3.0)
    (w * 2.0).backward()
    node = bl.explain(w * w).node("w")
    assert (float(node.grad_before), float(node.upstream), float(node.grad)) == (2.0, 6.0, 8.0)


def test_a_join_lists_its_terms():
    x = leaf(3.0)
    rec = bl.explain(x * x + 2 * x)
    assert sorted(float(edge.downstream) for edge in rec.node("x").terms) == [2.0, 3.0, 3.0]
    assert float(rec.node("x").upstream) == 8.0


def test_broadcasting_undone_is_told():
    w, b = leaf([[1.0, 2.0], [3.0, 4.0]]), leaf([0.5, 0.25])
    rec = bl.explain((w * b).sum())
    (edge,) = rec.node("b").users
    assert edge.summed_axes == (0,)
    np.testing.assert_array_equal(edge.downstream, [4.0, 6.0])
    assert rec.node("w").users[0].summed_axes == ()


def test_overwritten_leaf_is_refused_not_guessed():
    w = leaf(1.0)
    loss = (w + 1.0) * 2.0
    loss.backward()
    bl.optim.SGD([w], lr=0.5).step()
    with pytest.raises(RecordError, match=r"written to since.*record"):
        bl.explain(loss)


def test_explain_needs_something_to_explain():
    with pytest.raises(GradientError, match=r"does not require gradients.*why"):
        bl.explain(bl.tensor(1.0))


def test_record_around_training_steps_knows_names_modules_and_both_passes():
    rec, net = trained()
    assert len(rec.passes) == 2
    assert rec.node("hidden.weight").kind == "parameter"
    assert rec.node("net.hidden.weight") is rec.node("hidden.weight")
    assert rec.node("hidden.weight#2").value is not rec.node("hidden.weight").value  # the optimizer wrote in between
    assert rec.node("h").module == "net"
    assert rec.node("kept").module == "net.drop"
    assert [n.name for n in rec.find(module="net.out", kind="operation")] == ["out.linear", "logits"]
    np.testing.assert_allclose(rec.node("hidden.weight#2").grad, net.hidden.weight.grad.numpy(), rtol=0)
    first = rec.of_pass(0)
    assert first.node("hidden.weight").upstream is not None
    assert first.node("hidden.weight#2").upstream is None


def test_saved_bytes_are_those_of_the_graph():
    rec, _ = trained(1)
    assert (rec.node("h").saved, rec.node("h").saved_bytes) == (("out",), 5 * 4 * 4)
    assert rec.node("kept").saved == ("extra",)


def test_local_jacobians_give_the_contributions():
    rec, _ = trained(1)
    for edge in [e for n in rec.walked for e in n.inputs if e.downstream is not None]:
        upstream = edge.target.upstream
        jacobian = edge.local.matrix()
        np.testing.assert_allclose(np.tensordot(upstream, jacobian, upstream.ndim), edge.downstream, atol=1e-6)
        index = (0,) * edge.source.value.ndim
        np.testing.assert_allclose(edge.local.column(index), jacobian[(..., *index)], atol=1e-6)
        index = (0,) * upstream.ndim
        np.testing.assert_allclose(edge.local.row(index), jacobian[index], atol=1e-6)


def test_an_index_outside_the_jacobian_is_an_error():
    x = leaf([1.0, 2.0])
    (edge,) = bl.explain((x * 2).sum()).node("x").users
    with pytest.raises(RecordError, match="has shape"):
        edge.local.row(5)


def test_own_functions_and_their_several_outputs():
    class Cube(bl.autograd.Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.save_for_backward(x)
            return x**3, x * k

        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            return g * 3 * x**2 + h * 2, None

    a = leaf(2.0)
    with bl.record() as rec:
        c, d = Cube.apply(a, 2)
        loss = c * d
        loss.backward()
    assert (float(rec.node("c").value), float(rec.node("d").upstream)) == (8.0, 8.0)
    assert float(rec.node("a").upstream) == a.grad.item() == 64.0
    assert [n.op for n in rec.nodes if n.phase == "inside"] == ["pow", "mul"]
    assert float(rec.rerun(values={"a": 3.0}).node("a").upstream) == 6 * 27 + 27 * 2
    with pytest.raises(RecordError, match="of your own"):
        rec.node("Cube").inputs[0].local.matrix()


def test_writes_and_views_and_gradients_of_gradients():
    v = leaf([1.0, 2.0, 3.0])
    with bl.record() as rec:
        u = v * 2
        u[0] = v[1] * 5
        w = u.view(3, 1)
        w += 1
        s = (u**2).sum()
        (g,) = bl.autograd.grad(s, v, create_graph=True)
        (g**2).sum().backward()
    np.testing.assert_array_equal(rec.of_pass(0).node("v").upstream, g.detach().numpy())
    np.testing.assert_array_equal(rec.node("v").upstream, v.grad.numpy())
    assert any(n.phase == "backward" for n in rec.nodes)


def test_keep_stats_bounds_memory_and_says_so():
    w = leaf(np.arange(1.0, 101.0))
    rec = bl.explain((w * w).sum(), keep="stats")
    assert rec.nbytes == 0
    assert rec.node("w").upstream is None and rec.node("w").upstream_stats.max == 200.0
    assert rec.node("w").value_stats.mean == 50.5
    with pytest.raises(RecordError, match="keep='all'"):
        rec.rerun()


def test_keep_filter():
    w = leaf(np.ones((4, 4)))
    rec = bl.explain((w @ w).sum(), keep=lambda brief: brief.op == "matmul")
    assert rec.find(op="matmul")[0].value is not None
    assert rec.node("w").value is None and rec.node("w").value_stats.norm == 4.0


def test_a_rerun_is_the_same_bit_for_bit_and_edits_go_through():
    rec, net = trained(1)
    again = rec.rerun()
    for node, other in zip(rec.walked, again.walked, strict=True):
        np.testing.assert_array_equal(node.upstream, other.upstream)
    before = net.hidden.bias.grad.numpy().copy()
    edited = rec.rerun(values={"hidden.bias": np.zeros(4)})
    assert edited.node("loss").value != rec.node("loss").value
    np.testing.assert_array_equal(net.hidden.bias.grad.numpy(), before)  # a rerun touches no .grad
    doubled = rec.rerun(upstream={"logits": 2 * rec.node("logits").upstream})
    np.testing.assert_allclose(
        doubled.node("hidden.weight").upstream, 2 * rec.node("hidden.weight").upstream, rtol=1e-6
    )
    with pytest.raises(RecordError, match="They must agree"):
        rec.rerun(values={"hidden.bias": np.zeros(3)})


def test_paths_and_finding():
    rec, _ = trained(1)
    assert [n.name for n in rec.path("hidden.weight", "loss")][0::5] == ["hidden.weight", "loss"]
    assert rec.path("out.weight", "h") == []
    assert [n.name for n in rec.find(op="relu")] == ["h"]
    assert len(list(rec.path("hidden.weight", "loss", True))) == 1
    with pytest.raises(RecordError, match=r"no node is called 'hiden.weight'.*hidden.weight"):
        rec.node("hiden.weight")
    with pytest.raises(RecordError, match="counted from 0"):
        rec.of_pass(4)


def test_a_tensor_finds_its_node():
    w = leaf([1.0, 2.0])
    h = w * 2
    loss = h.sum()
    rec = bl.explain(loss)
    assert [rec.node(t).name for t in (w, h, loss)] == ["w", "h", "loss"]
    assert rec.of_pass(0).node(h).name == "h"
    with bl.record() as rec:
        h = w * 3
        loss = h.sum()
        loss.backward()
    assert [rec.node(t).op for t in (w, h, loss)] == [None, "mul", "sum"]
    with pytest.raises(RecordError, match="does not occur"):
        rec.node(leaf(1.0))


def test_names_from_the_code():
    w, unnamed = leaf(2.0), [leaf(1.5)]
    scale = 3.0
    rec = bl.explain(bl.sigmoid(w * unnamed[0]) * scale)
    assert [n.name for n in rec.nodes] == ["w", "variable", "mul", "sigmoid", "scale", "mul#2"]
    named = bl.explain(w * unnamed[0], names={"slope": unnamed[0]})
    assert float(named.node("slope").upstream) == 2.0


def test_asking_while_recording_is_an_error():
    with bl.record() as rec, pytest.raises(RecordError, match="complete when"):
        rec.nodes  # noqa: B018


def test_the_dictionary_is_json_and_small():
    rec, _ = trained(1)
    text = json.dumps(rec.to_dict(), allow_nan=False)
    data = json.loads(text)
    assert (data["format"], data["version"]) == ("backlit-record", 1)
    assert len(data["nodes"]) == len(rec.nodes)
    (walked,) = data["passes"]
    assert walked["nodes"][0]["node"] == rec.node("loss").id
    relu = next(e for e in walked["edges"] if data["nodes"][e["node"]]["op"] == "relu")
    assert relu["local"]["kind"] == "diagonal" and set(np.ravel(relu["local"]["value"]["values"])) <= {0.0, 1.0}


def test_not_finite_numbers_survive_json():
    x = leaf([0.0, 1.0])
    data = bl.explain(bl.log(x).sum()).to_dict()
    log = next(n for n in data["nodes"] if n["op"] == "log")
    assert log["value"]["values"] == ["-inf", 0.0] and log["value"]["stats"]["infs"] == 1
    json.dumps(data, allow_nan=False)


def test_results_get_the_names_that_are_given_or_held():
    def hidden(x):
        return bl.relu(x * 2)

    x = bl.tensor([1.0, -1.0], requires_grad=True)
    opened, kept = hidden(x), [hidden(x)]
    rec = bl.explain((opened + kept[0]).sum(), names={"second": kept[0]})
    assert [rec.node(name).op for name in ("opened", "second")] == ["relu", "relu"]
