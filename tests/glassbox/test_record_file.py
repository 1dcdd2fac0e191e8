"""Record files: what is saved is what is loaded, and runs again bit for bit, here and in other processes."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from random_graphs import random_program

import backlit as bl
import backlit.nn.functional as F
from backlit.errors import RecordError
from backlit.glassbox.record import file
from backlit.ops.registry import REGISTRY


class Net(bl.nn.Module):
    def __init__(self):
        super().__init__()
        self.features = bl.nn.Sequential(bl.nn.Conv2d(1, 3, 3), bl.nn.BatchNorm2d(3), bl.nn.GELU(), bl.nn.MaxPool2d(2))
        self.attend = bl.nn.MultiheadAttention(9, 3, batch_first=True)
        self.drop = bl.nn.Dropout(0.3)
        self.out = bl.nn.Linear(27, 4)

    def forward(self, x):
        tokens = self.features(x).flatten(2)
        seen, _ = self.attend(tokens, tokens, tokens)
        return self.out(self.drop(seen.transpose(1, 2).flatten(1)))


def recorded():
    """A training step with convolution, normalization, attention and dropout, and a gradient of a gradient."""
    bl.manual_seed(5)
    net = Net()
    x = bl.randn(2, 1, 8, 8, requires_grad=True)
    with bl.record(title="a step") as rec:
        loss = F.cross_entropy(net(x), bl.tensor([1, 3]))
        (slope,) = bl.autograd.grad(loss, net.out.weight, create_graph=True)
        penalised = loss + (slope * slope).sum()
        penalised.backward()
    return rec


@pytest.fixture(scope="module")
def rec():
    return recorded()


@pytest.fixture(scope="module")
def content(rec):
    return file.dumps(rec)


def fingerprint(rec):
    """A hash of every gradient, bit by bit."""
    digest = hashlib.sha256()
    for node in rec.nodes:
        digest.update(b"none" if node.upstream is None else np.ascontiguousarray(node.upstream).tobytes())
    return digest.hexdigest()


def same(a, b):
    """Whether two arrays, numbers or Nones are equal bit for bit."""
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def assert_equal_records(one, two):
    assert len(one.nodes) == len(two.nodes) and len(one.passes) == len(two.passes)
    for a, b in zip(one.nodes, two.nodes, strict=True):
        told = ("name", "kind", "op", "formula", "gate", "domain", "source", "expression", "module", "shape", "dtype")
        for what in (*told, "requires_grad", "saved", "saved_bytes", "phase"):
            assert getattr(a, what) == getattr(b, what), (a, what)
        assert same(a.value, b.value) and a.value_stats == b.value_stats
        assert [(e.source.id, e.position, e.argument) for e in a.inputs] == [
            (e.source.id, e.position, e.argument) for e in b.inputs
        ]
    for number in range(len(one.passes)):
        shown, other = one.of_pass(number), two.of_pass(number)
        assert [n.id for n in shown.walked] == [n.id for n in other.walked]
        assert [n.id for n in shown.roots] == [n.id for n in other.roots]
        for a, b in zip(shown.nodes, other.nodes, strict=True):
            for what in ("upstream", "seed", "grad", "grad_before"):
                assert same(getattr(a, what), getattr(b, what)), (a, what)
            assert all(same(x, y) for x, y in zip(a.downstream, b.downstream, strict=True))


# -- what is saved is what is loaded ------------------------------------------------------------------------------


def test_a_reloaded_record_answers_everything(rec, tmp_path):
    rec.save(tmp_path / "run.safetensors")
    again = bl.load_record(tmp_path / "run.safetensors")
    assert_equal_records(rec, again)
    assert (again.title, again.keep) == ("a step", "all")
    assert [n.id for n in again.path("out.weight", "loss")] == [n.id for n in rec.path("out.weight", "loss")]
    assert [n.name for n in again.find(module="net.drop")] == [n.name for n in rec.find(module="net.drop")]
    gelu, original = again.find(op="gelu")[0], rec.find(op="gelu")[0]
    np.testing.assert_array_equal(gelu.inputs[0].local.value, original.inputs[0].local.value)
    assert again.node("loss").source.text == "loss = F.cross_entropy(net(x), bl.tensor([1, 3]))"
    assert again.nbytes == rec.nbytes  # what was shared is shared


def test_arrays_keep_the_order_of_their_axes(rec, content):
    again = file.loads(content)
    turned = [n for n in rec.nodes if n.value is not None and not n.value.flags.c_contiguous]
    assert turned
    for node in turned:
        assert again.nodes[node.id].value.strides == node.value.strides


def test_a_rerun_in_another_process_is_the_same_bit_for_bit(rec, tmp_path):
    rec.save(tmp_path / "run.safetensors")
    program = (
        "import backlit as bl, hashlib, numpy as np, sys\n"
        "rec = bl.load_record(sys.argv[1]).rerun()\n"
        "parts = [b'none' if n.upstream is None else np.ascontiguousarray(n.upstream).tobytes() for n in rec.nodes]\n"
        "print(hashlib.sha256(b''.join(parts)).hexdigest())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "run.safetensors")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint(rec) == fingerprint(rec.rerun())


def as_leaves(value, found):
    """Arguments with every float64 array as a leaf that requires gradients, and other arrays as tensors."""
    if isinstance(value, np.ndarray):
        tensor = bl.tensor(value, requires_grad=value.dtype == np.float64)
        found.append(tensor)
        return tensor
    if isinstance(value, (tuple, list)):
        return type(value)([as_leaves(part, found) for part in value])
    if isinstance(value, dict):
        return {key: as_leaves(part, found) for key, part in value.items()}
    return value


def results(value):
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in results(part)]
    return [value] if isinstance(value, bl.Tensor) and value.requires_grad else []


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_operation_goes_through_a_file_and_runs_again(name):
    operation = REGISTRY[name]
    for sample in operation.samples(np.random.default_rng(0)):
        with bl.record() as rec:
            found = results(operation.function(*as_leaves(sample.args, []), **as_leaves(sample.kwargs, [])))
            if found:
                sum((result * result).sum() for result in found).backward()
        again = file.loads(file.dumps(rec))
        assert_equal_records(rec, again)
        assert fingerprint(again.rerun()) == fingerprint(rec), sample


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_go_through_a_file_and_run_again(seed):
    rec = bl.explain(random_program(seed))
    again = file.loads(file.dumps(rec))
    assert fingerprint(rec) == fingerprint(rec.rerun()) == fingerprint(again.rerun())


def written(value):
    """A record of a program full of in-place writes, to elements, through views, and of views of views."""
    v = bl.tensor(value, dtype=bl.float64, requires_grad=True)
    with bl.record(names={"v": v}) as rec:
        u = v * 2
        u[0] = v[1] * 5
        w = u.view(3, 1)
        w += 1
        k = u[1:]
        k *= v[0]
        (u**2).sum().backward()
    return rec


def test_an_edited_rerun_is_the_program_run_on_the_edited_value():
    edited = file.loads(file.dumps(written([1.0, 2.0, 3.0]))).rerun(values={"v": [4.0, -1.0, 0.5]})
    for node, other in zip(edited.nodes, written([4.0, -1.0, 0.5]).nodes, strict=True):
        assert same(node.value, other.value) and same(node.upstream, other.upstream), node


def test_statistics_alone_go_through_a_file(tmp_path):
    w = bl.tensor(np.arange(1.0, 101.0), requires_grad=True)
    rec = bl.explain((w * w).sum(), keep="stats")
    rec.save(tmp_path / "run.safetensors")
    again = bl.load_record(tmp_path / "run.safetensors")
    assert again.node("w").value is None
    assert again.node("w").value_stats == rec.node("w").value_stats
    assert again.node("w").upstream_stats == rec.node("w").upstream_stats
    with pytest.raises(RecordError, match="keep='all'"):
        again.rerun()


def test_a_record_without_backward_pass():
    with bl.record() as rec:
        x = bl.tensor([0.25, 4.0])
        y = x.sqrt()
    again = file.loads(file.dumps(rec))
    np.testing.assert_array_equal(again.node("y").value, y.numpy())
    np.testing.assert_array_equal(again.rerun(values={"x": [9.0, 1.0]}).node("y").value, [3.0, 1.0])
    with pytest.raises(RecordError, match="no backward pass"):
        again.rerun(upstream={"y": [1.0, 1.0]})


# -- operations of the user's own ---------------------------------------------------------------------------------


class Cube(bl.autograd.Function):
    @staticmethod
    def forward(ctx, x, k, how=None):
        ctx.save_for_backward(x)
        return x**3, x * k

    @staticmethod
    def backward(ctx, g, h):
        (x,) = ctx.saved_tensors
        return g * 3 * x**2 + h * 2, None, None


@bl.autograd.custom_vjp
def clipped(x):
    return x.clamp(max=1.0), lambda upstream: upstream * 0.5


def own_record(how="plain"):
    a = bl.tensor(2.0, requires_grad=True)
    with bl.record() as rec:
        c, d = Cube.apply(a, 2, how)
        (clipped(c) * d).backward()
    return rec


def test_own_operations_are_named_and_asked_for():
    rec = own_record()
    content = file.dumps(rec)
    assert_equal_records(rec, file.loads(content))
    with pytest.raises(RecordError, match=r"Cube is an operation of its author's own, .*own=\{'Cube': Cube\}"):
        file.loads(content).rerun()
    again = file.loads(content, own={"Cube": Cube, "clipped": clipped})
    assert fingerprint(again.rerun()) == fingerprint(rec)
    with pytest.raises(RecordError, match=r"must be an autograd.Function"):
        file.loads(content, own={"Cube": print})


def test_an_argument_that_no_file_can_hold_is_missed_when_it_is_needed():
    again = file.loads(file.dumps(own_record(how=object())), own={"Cube": Cube, "clipped": clipped})
    with pytest.raises(RecordError, match="was given a object, which the file could not hold"):
        again.rerun()
