"""Saving and loading: what goes in comes out, files are plain safetensors, and no damage goes unnoticed."""

import io
import os
import pickle
import random
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import backlit as bl
from backlit.errors import CheckpointError
from backlit.serialization import dumps, loads, save

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]
arrays = st.sampled_from(DTYPES).flatmap(
    lambda d: npst.arrays(np.dtype(d), npst.array_shapes(min_dims=0, min_side=0, max_side=4))
)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
leaves = plain | arrays | arrays.map(bl.Tensor)
keys = st.text(max_size=6) | st.integers() | st.none() | st.booleans()
objects = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(st.sampled_from(["$tensor", "$dict", "a.b", "a", "__metadata__"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(a, b):
    if isinstance(a, bl.Tensor):
        return isinstance(b, bl.Tensor) and same(a._data, b._data)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


@given(objects)
@settings(deadline=None, max_examples=150)
def test_everything_comes_back_as_it_was(obj):
    content = dumps(obj)
    assert same(obj, loads(content))
    assert dumps(obj) == content


def test_layouts_and_byte_orders_do_not_matter():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for view in (array.T, array[:, ::-1], array[:, 1], array.astype(">f4")):
        np.testing.assert_array_equal(loads(dumps(view)), view)


def test_loaded_arrays_can_be_written_to_and_are_no_part_of_the_file():
    found = loads(dumps({"w": bl.ones(3)}))
    found["w"]._data[0] = 5
    assert not found["w"].requires_grad


def test_a_state_dict_is_a_file_that_safetensors_reads(tmp_path):
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "weights.safetensors"
    model = bl.nn.Linear(3, 2)
    save(model.state_dict(), path)
    found = load_file(path)
    assert sorted(found) == ["bias", "weight"]
    np.testing.assert_array_equal(found["weight"], model.weight.detach()._data)
    save_file({"a": np.arange(3)}, path, {"format": "pt"})
    assert bl.load(path, map_location="cpu", weights_only=True)["a"].tolist() == [0, 1, 2]
    other = bl.nn.Linear(3, 2)
    file = io.BytesIO()
    bl.save(model.state_dict(), file)
    other.load_state_dict(bl.load(io.BytesIO(file.getvalue())))
    assert other.weight.tolist() == model.weight.tolist()


@pytest.mark.parametrize("bad", [object(), {"f": print}, [bl.nn.Linear(1, 1)], np.array(["text"]), {(1, object()): 2}])
def test_what_is_not_data_is_refused_and_nothing_written(bad, tmp_path):
    with pytest.raises(CheckpointError, match="save"):
        save(bad, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def content():
    state = {f"layer{i}.weight": bl.Tensor(np.arange(6, dtype=np.float32).reshape(2, 3) + i) for i in range(3)}
    return {"model": state, "state": {0: {"step": 3, "lr": 0.1}}, "list": [1, None, (2.5, float("inf"))], "name": "run"}


@pytest.mark.parametrize("count", [4000, pytest.param(200_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("original", [content(), {"weight": bl.ones(4), "bias": bl.zeros(2)}], ids=["nested", "flat"])
def test_damage_is_noticed(original, count):
    whole, rng = dumps(original), random.Random(count)
    noticed = 0
    for _ in range(count):
        damaged = bytearray(whole)
        kind = rng.random()
        if kind < 0.6:
            for _ in range(rng.choice((1, 1, 2))):
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        elif kind < 0.8:
            del damaged[rng.randrange(len(damaged)) :]
        else:
            start = rng.randrange(len(damaged))
            damaged[start : start + rng.randrange(20)] = rng.randbytes(rng.randrange(20))
        try:
            assert same(loads(bytes(damaged)), original)
        except CheckpointError as error:
            noticed += 1
            assert "\n" not in str(error)
    assert noticed > count * 0.9


def test_files_of_other_kinds_are_named(tmp_path):
    cases = {
        "empty": (b"", "empty"),
        "pickle": (pickle.dumps({"a": 1}), "run code"),
        "zip": (b"PK\x03\x04 torch", "run code"),
        "text": (b"epoch,loss\n1,2\n", "not a safetensors file"),
    }
    for name, (data, message) in cases.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=message) as caught:
            bl.load(path)
        assert str(path) in str(caught.value)
    for path, message in ((tmp_path / "none", "no such file"), (tmp_path, "folder"), ("a\0b", "cannot be read")):
        with pytest.raises(CheckpointError, match=message):
            bl.load(path)
    with pytest.raises(CheckpointError, match="folder does not exist"):
        bl.save(1, tmp_path / "no" / "file")


def test_dtypes_that_tensors_lack_are_named(tmp_path):
    path = tmp_path / "bf16.safetensors"
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(CheckpointError, match="BF16"):
        bl.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    save(1, path)

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(CheckpointError, match="no space left"):
        save(2, path)
    monkeypatch.undo()
    assert bl.load(path) == 1 and [file.name for file in tmp_path.iterdir()] == ["file"]


def test_readers_never_see_half_a_file(tmp_path):
    path = tmp_path / "file"
    save(np.full(50_000, 0), path)
    wrong = []

    def read():
        for _ in range(200):
            found = bl.load(path)
            if len(set(found[[0, 1000, -1]].tolist())) != 1:
                wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    number = 0
    while reader.is_alive():
        number += 1
        save(np.full(50_000, number), path)
    reader.join()
    assert not wrong and number > 3
