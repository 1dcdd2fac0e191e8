"""Files that are not records, damaged ones, and ones made to do harm: each ends in a RecordError that says why."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as pack

import backlit as bl
from backlit.errors import CheckpointError, RecordError
from backlit.glassbox.record import file
from backlit.serialization import unpack


def small():
    w = bl.tensor([1.0, -2.0], requires_grad=True)
    return bl.explain((bl.relu(w) * 3).sum())


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
        bl.explain(bl.tensor(2.0, requires_grad=True) * 2).save(path)
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
    "a gradient of whole numbers": (
        lambda document, arrays: arrays.update({key: a.astype(np.int32) for key, a in arrays.items() if key != "a0"}),
        "float32 is expected|of floating point is expected",
    ),
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


def test_parts_that_do_not_fit_together_can_still_be_looked_at():
    document = put("nodes", 1, "extra", value={"$dict": []}), put("nodes", 3, "settings", value={"$dict": [["x", "y"]]})
    content = rewritten(rewritten(file.dumps(small()), document[0]), document[1])
    debugger = file.loads(content).debugger()
    texts = [str(debugger.step()) for _ in debugger.steps]
    assert any("(local gradient not known)" in text for text in texts)


def test_a_cut_or_empty_file_is_damaged():
    content = file.dumps(small())
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
    assert again.to_dict() == small().to_dict()  # a changed space in the header


def test_a_header_that_promises_terabytes_costs_nothing():
    header = {"a0": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
    text = json.dumps(header).encode()
    tracemalloc.start()
    with pytest.raises(RecordError, match="damaged"):
        file.loads(len(text).to_bytes(8, "little") + text + bytes(64))
    with pytest.raises(RecordError, match="damaged"):
        file.loads((2**62).to_bytes(8, "little") + text)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10**6


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
