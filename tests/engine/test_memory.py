"""Arrays that begin at a cache line: the same values, shapes and errors as NumPy's own."""

import numpy as np
import pytest

import backlit as bl
from backlit import memory

LARGE = (64, 33)


def begins_at_a_line(array):
    return array.__array_interface__["data"][0] % memory.LINE == 0


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), 0, 5, (3, 0, 4), LARGE, 100_000, (2, 3, 1000)], ids=str)
def test_new_arrays_are_numpys_in_everything_but_their_place(shape, dtype):
    for made, wanted in [
        (memory.zeros(shape, dtype), np.zeros(shape, dtype)),
        (memory.full(shape, 1, dtype), np.full(shape, 1, dtype)),
        (memory.copied(np.full(shape, 1, dtype), dtype), np.full(shape, 1, dtype)),
    ]:
        assert made.dtype == wanted.dtype and made.strides == wanted.strides and made.flags.writeable
        np.testing.assert_array_equal(made, wanted)
        assert made.nbytes < 4096 or begins_at_a_line(made)
    assert memory.empty(shape, dtype).shape == np.empty(shape, dtype).shape


def test_copies_keep_the_order_of_other_layouts():
    turned = np.arange(6000.0).reshape(60, 100).T
    made = memory.copied(turned, "float32")
    assert made.strides == np.array(turned, "float32").strides and not np.shares_memory(made, turned)
    np.testing.assert_array_equal(made, turned)


@pytest.mark.parametrize("indices", [[0, 3, -1], [], [5, 5, 5, 0]])
@pytest.mark.parametrize("width", [2, 700])
def test_rows(indices, width):
    array = np.arange(6.0 * width).reshape(6, width)
    indices = np.array(indices, np.intp)
    np.testing.assert_array_equal(memory.rows_of(array, indices), array.take(indices, 0))


@pytest.mark.parametrize("index", [6, -7])
def test_rows_that_are_not_there_raise_as_in_numpy(index):
    with pytest.raises(IndexError, match="out of bounds"):
        memory.rows_of(np.zeros((6, 700)), np.array([0, index]))


def test_what_a_compiled_step_reads_and_writes_begins_at_a_line():
    data = np.random.default_rng(0).random((100, 64), np.float32)
    tensors = [bl.tensor(data), bl.zeros(LARGE), bl.ones(LARGE), bl.empty(LARGE), bl.full(LARGE, 2.0)]
    linear = bl.nn.Linear(64, 33)
    optimizer = bl.optim.Adam(linear.parameters())
    inputs = bl.utils.data.TensorDataset(bl.tensor(data)).take(np.arange(50))[0]
    linear(inputs).sum().backward()
    optimizer.step()
    moments = [optimizer.state[linear.weight][name] for name in ("exp_avg", "exp_avg_sq")]
    for tensor in [*tensors, linear.weight.detach(), inputs, *moments]:
        assert begins_at_a_line(tensor.numpy())


class Subclass(np.ndarray):
    """An array of a class of its own."""


@pytest.mark.parametrize("array", [
    np.zeros(()), np.zeros(0), np.arange(12.0).reshape(3, 4)[1:, ::-1], np.zeros(3).view(Subclass),
    np.frombuffer(b"12345678", np.uint8)[3:], np.broadcast_to(np.float32(1), (4, 5)), np.zeros(3, "S2"), np.float32(1),
], ids=repr)  # fmt: skip
def test_addresses_are_numpys(array):
    if isinstance(array, np.generic):  # each time another copy
        assert memory.address(array) != 0
    else:
        assert memory.address(array) == array.__array_interface__["data"][0]


def test_without_the_fields_of_this_python_numpy_is_asked(monkeypatch):
    monkeypatch.setattr(memory.sys.implementation, "name", "another")
    assert not memory._is_a_field()
    monkeypatch.setattr(memory, "_IS_A_FIELD", False)
    monkeypatch.setattr(memory, "_FIELD", 0)
    array = np.arange(5)
    assert memory.address(array) == array.__array_interface__["data"][0]


def test_fields_that_lie_elsewhere_are_noticed(monkeypatch):
    monkeypatch.setattr(memory, "_FIELD", memory._FIELD + 8)
    assert not memory._is_a_field()
