"""Record files: what is saved is what is loaded and runs again, and no file does anything but that."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as pack

import backlit as bl
import backlit.nn.functional as F
from backlit.errors import CheckpointError, RecordError
from backlit.glassbox.record import file
from backlit.ops.registry import REGISTRY
from backlit.serialization import unpack


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


def small():
    w = bl.tensor([1.0, -2.0], requires_grad=True)
    return bl.explain((bl.relu(w) * 3).sum())


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


# -- files that are not what they should be -----------------------------------------------------------------------


def test_no_such_file_and_files_of_other_kinds(tmp_path):
    with pytest.raises(RecordError, match="there is no such file"):
        bl.load_record(tmp_path / "none")
    with pytest.raises(RecordError, match="this is a folder"):
        bl.load_record(tmp_path)
    bl.save({"w": bl.ones(2)}, tmp_path / "weights")
    with pytest.raises(RecordError, match=r"not a record.*backlit\.load"):
        bl.load_record(tmp_path / "weights")
    small().save(tmp_path / "run")
    with pytest.raises(CheckpointError, match="load_record"):
        bl.load(tmp_path / "run")
    with pytest.raises(RecordError, match="folder does not exist"):
        small().save(tmp_path / "none" / "run")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    small().save(path)
    before = path.read_bytes()

    def fails(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(RecordError, match="no space left"):
        recorded().save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def rewritten(content, change):
    """A file with its document (and arrays) changed and the checksum made right again: written with intent."""
    arrays, _ = unpack(content, "")
    document = json.loads(arrays.pop(file.DOCUMENT).tobytes())
    changed = change(document, arrays)
    text = changed if isinstance(changed, bytes) else json.dumps(document).encode()
    held = {file.DOCUMENT: np.frombuffer(text, np.uint8), **arrays}
    about = {"format": file.FORMAT, "version": file.VERSION, "checksum": file._checksum(held)}
    return pack(held, {file.FORMAT: json.dumps(about)})


def put(*path, value):
    def change(document, arrays):
        *way, last = path
        for key in way:
            document = document[key]
        document[last] = value

    return change


def drop(*path):
    def change(document, arrays):
        *way, last = path
        for key in way:
            document = document[key]
        del document[last]

    return change


def deep(document, arrays):
    return b"[" * 100_000 + b"]" * 100_000


def twice(document, arrays):
    return json.dumps(document).replace('"keep":', '"keep": "all", "keep":').encode()


def bare(document, arrays):
    return json.dumps(document).replace('"title": ""', '"title": NaN').encode()


HOSTILE = {
    "a newer version": (put("version", value=2), "version 2.*update Backlit"),
    "no version": (drop("version"), "no 'version'"),
    "an unknown keep": (put("keep", value="some"), r"keep must be one of all, stats, filter"),
    "huge shape": (put("nodes", 0, "shape", value=[10**9, 10**9]), "sizes of an array that a computer can hold"),
    "a shape that is not the array's": (put("nodes", 0, "shape", value=[3]), r"\(2,\) float32 where \(3,\)"),
    "negative size": (put("nodes", 0, "shape", value=[-1]), r"nodes\[0\]\.shape\[0\] must be a whole number"),
    "a size that is a truth value": (put("nodes", 0, "shape", value=[True]), "must be a whole number"),
    "wrong dtype": (put("nodes", 0, "dtype", value="float64"), "float32 where"),
    "no such dtype": (put("nodes", 0, "dtype", value="object"), "must be one of"),
    "number of another node": (put("nodes", 1, "id", value=0), "the node's place in the list"),
    "negative input": (put("nodes", 1, "inputs", 0, "node", value=-1), r"inputs\[0\]\.node must be a whole number"),
    "its own input": (put("nodes", 1, "inputs", 0, "node", value=1), r"inputs\[0\]\.node must be below 1"),
    "a later input": (put("nodes", 1, "inputs", 0, "node", value=3), r"inputs\[0\]\.node must be below 1"),
    "position twice": (put("nodes", 3, "inputs", 1, "position", value=0), "a position that no other input has"),
    "position left free": (put("nodes", 3, "inputs", 1, "position", value=10**9), "positions 0, 1, 2"),
    "too many inputs": (put("nodes", 1, "left_out", value=[1, 2]), "at most 1 inputs for relu"),
    "same name": (put("nodes", 1, "name", value="w"), "a name that no other node has"),
    "another operation": (put("nodes", 1, "definition", value="ops.linalg:Matmul"), "called 'relu'"),
    "the base of operations": (put("nodes", 1, "definition", value="ops.definition:Op"), "an operation of this"),
    "a missing array": (put("nodes", 0, "value", "array", value="a99"), "the key of an array in the file"),
    "a setting that is code": (put("nodes", 1, "settings", value={"$call": "os.system"}), "not understood"),
    "settings without names": (put("nodes", 1, "settings", value=[1]), "settings by name"),
    "odd dict key": (put("nodes", 1, "settings", value={"$dict": [[[1], 2]]}), "not understood"),
    "text for a number": (put("nodes", 1, "extra", value={"$float": "nan()"}), "not understood"),
    "integer gradient": (put("nodes", 1, "dtype", value="int64"), "int64 has no gradients|where"),
    "a pass without roots": (drop("passes", 0, "roots"), r"passes\[0\] has no 'roots'"),
    "gradient of nobody": (put("passes", 0, "nodes", 0, "node", value=77), "must be below 5"),
    "gradient twice": (put("passes", 0, "edges", 1, "node", value=4), "listed once"),
    "a number that has a shape": (put("nodes", 0, "number", value=True), "constant without dimensions"),
    "a place in a formula": (put("nodes", 0, "span", value=[3, 1]), "the first not above the second"),
    "edge of nobody": (put("passes", 0, "edges", 0, "position", value=5), "must be below 1"),
    "node of no pass": (put("nodes", 1, "walk", value=3), "null for others|backward pass"),
    "layout of nothing": (put("layouts", value={"a99": [0]}), "axes of an array in the file"),
    "layout with an axis twice": (put("layouts", value={"a0": [0, 0]}), "axes of an array in the file"),
    "nodes that are no list": (put("nodes", value=7), "nodes must be a list"),
    "deep nesting": (deep, "nested too deeply"),
    "deep settings": (put("nodes", 1, "extra", value=json.loads("[" * 90 + "]" * 90)), None),
    "a name twice": (twice, "'keep' occurs twice"),
    "a bare NaN": (bare, "NaN is not JSON"),
    "a number of 5000 digits": (lambda d, a: b'{"format": ' + b"1" * 5000 + b"}", "not a JSON document"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_documents_fail_with_a_reason(what):
    change, message = HOSTILE[what]
    changed = rewritten(file.dumps(small()), change)
    if message is None:
        file.loads(changed)
        return
    with pytest.raises(RecordError, match=message) as caught:
        file.loads(changed, "run.safetensors")
    assert str(caught.value).startswith("run.safetensors: the record cannot be read: ")


def test_an_operation_that_the_library_does_not_have_is_nothing_but_its_name():
    again = file.loads(rewritten(file.dumps(small()), put("nodes", 1, "definition", value="os:system")))
    assert again.nodes[1].op == "relu" and again.node("w").upstream is not None
    with pytest.raises(RecordError, match="relu is an operation of its author's own, or of another Backlit"):
        again.rerun()


def test_parts_that_do_not_fit_together_are_found_by_the_rerun():
    changed = rewritten(file.dumps(small()), put("nodes", 1, "settings", value={"$dict": [["speed", 3]]}))
    with pytest.raises(RecordError, match=r"run again: TypeError.*do not fit together"):
        file.loads(changed).rerun(values={"w": [1.0, 2.0]})


def test_a_cut_or_empty_file_is_damaged(content):
    for length in (0, 1, 7, 8, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(RecordError, match=r"damaged|empty"):
            file.loads(content[:length])


@settings(max_examples=150)
@given(st.data())
def test_any_changed_byte_is_noticed(data):
    content = bytearray(file.dumps(small()))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    try:
        again = file.loads(bytes(content))
    except RecordError:
        return
    assert_equal_records(small(), again)  # padding, or a space in the header


ODD = st.sampled_from(
    [None, True, -1, 0, 10**30, 1.5, "", "nan", "a0", [], [[]], {}, {"$array": "a0"}, {"$tuple": 3}, {"$op": "os"}]
)


def places(value, path=()):
    """Every place in a document."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


@settings(max_examples=300)
@given(st.data())
def test_any_part_replaced_or_dropped_gives_a_record_or_a_record_error(data):
    content = file.dumps(small())

    def change(document, arrays):
        where = data.draw(st.sampled_from(sorted(places(document), key=str)))
        odd = data.draw(ODD)
        (drop(*where) if data.draw(st.booleans()) else put(*where, value=odd))(document, arrays)

    try:
        again = file.loads(rewritten(content, change))
        again.rerun()
        again.to_dict()
    except RecordError:
        pass
