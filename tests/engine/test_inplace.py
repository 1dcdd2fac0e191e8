"""Writes in place: right gradients, or an error that names both lines; and NumPy arrays that share memory."""

import numpy as np
import pytest

import backlit as bl
from backlit.errors import GradientError, OperationError, OverwrittenError


def leaf(value):
    return bl.tensor(value, dtype=bl.float64, requires_grad=True)


def test_in_place_on_a_computed_tensor():
    x = leaf([1.0, 2.0])
    y = x * 2
    y += 1
    y *= x  # needs the old y for x's gradient
    y.sum().backward()
    assert x.grad.tolist() == [4 * 1.0 + 1, 4 * 2.0 + 1]


def test_overwritten_output_names_both_lines():
    x = leaf([1.0, 2.0])
    y = x.exp()  # saved here
    y.add_(1)  # overwritten here
    with pytest.raises(OverwrittenError) as failure:
        y.sum().backward()
    message = str(failure.value)
    assert "saved here" in message
    assert "overwritten here" in message
    assert x.grad is None


def test_overwritten_input_names_both_lines():
    x, w = leaf([1.0, 2.0]), bl.tensor([3.0, 4.0], dtype=bl.float64)
    loss = (x * w).sum()  # saved here
    w[0] = 9.0  # overwritten here
    with pytest.raises(OverwrittenError, match=r"(?s)saved here.*overwritten here"):
        loss.backward()


def test_overwriting_what_nobody_saved_is_fine():
    x, w = leaf([1.0, 2.0]), bl.tensor([3.0, 4.0], dtype=bl.float64)
    y = x + w
    w.zero_()
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_write_through_a_view_reaches_base_and_other_views():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    base = x * 1
    flat, column = base.reshape(-1), base[:, 0]
    column.mul_(10.0)
    assert base.tolist() == [[10.0, 2.0], [30.0, 4.0]]
    assert flat.tolist() == [10.0, 2.0, 30.0, 4.0]
    (flat * flat).sum().backward()
    assert x.grad.tolist() == [[200.0, 4.0], [600.0, 8.0]]


def test_write_to_the_base_reaches_existing_views():
    x = leaf([1.0, 2.0])
    base = x * 1
    view = base[1:]
    base.mul_(3.0)
    view.sum().backward()
    assert x.grad.tolist() == [0.0, 3.0]


def test_constant_buffer_filled_with_computed_values():
    w = leaf(3.0)
    buffer = bl.zeros(4, dtype=bl.float64)
    for i in range(4):
        buffer[i] = w * i
    assert buffer.requires_grad
    buffer.sum().backward()
    assert w.grad.item() == 6.0


def test_view_of_a_constant_that_takes_a_computed_value():
    w = leaf(3.0)
    base = bl.zeros(2, 2, dtype=bl.float64)
    row = base[0]
    row.copy_(w.expand(2))
    (base * bl.tensor([[1.0, 2.0], [4.0, 8.0]], dtype=bl.float64)).sum().backward()
    assert w.grad.item() == 3.0


def test_setitem_with_slices_and_arrays():
    x, v = leaf(np.arange(6.0).reshape(2, 3)), leaf([10.0, 20.0])
    y = x * 1
    y[:, 1] = v
    y[bl.tensor([0, 1]), bl.tensor([0, 2])] = v * 2
    y.sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert v.grad.tolist() == [3.0, 3.0]


def test_setitem_blocks_the_overwritten_part():
    x = leaf([1.0, 2.0, 3.0])
    y = x * 2
    y[0] = 100.0
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 2.0, 2.0]


@pytest.mark.parametrize("write", [lambda p: p.add_(1), lambda p: p.__setitem__(0, 5.0), lambda p: p[:1].zero_()])
def test_leaf_that_requires_grad_is_protected(write):
    p = leaf([1.0, 2.0])
    with pytest.raises(GradientError, match=r"leaf.*no_grad"):
        write(p)
    assert p.tolist() == [1.0, 2.0]
    with bl.no_grad():
        write(p)
    assert p.tolist() != [1.0, 2.0]


def test_parameter_update_before_backward_is_noticed():
    w = leaf([[1.0, 2.0]])
    x = leaf([[3.0, 4.0]])
    loss = (x @ w.T).sum()
    with bl.no_grad():
        w.sub_(0.1)  # too early
    with pytest.raises(OverwrittenError, match="too early"):
        loss.backward()


def test_writes_through_data_are_noticed():
    w = leaf([1.0, 2.0])
    loss = (w * w).sum()
    w.data.mul_(2.0)
    with pytest.raises(OverwrittenError):
        loss.backward()
    loss = (w * w).sum()
    w.data = bl.tensor([5.0, 6.0], dtype=bl.float64)
    with pytest.raises(OverwrittenError):
        loss.backward()
    (w * w).sum().backward()
    assert w.grad.tolist() == [10.0, 12.0]


class TestNumPySharing:
    def test_from_numpy_written_behind_the_back(self):
        array = np.array([1.0, 2.0])
        x, p = bl.from_numpy(array), leaf([1.0, 1.0])
        loss = (x * p).sum()
        array[0] = 7.0
        with pytest.raises(OverwrittenError, match="NumPy array that shares its memory"):
            loss.backward()

    def test_shuffled_in_place_is_noticed(self):
        array = np.arange(8.0)
        x, p = bl.from_numpy(array), leaf(np.ones(8))
        loss = (x * p).sum()
        array[:] = array[::-1].copy()
        with pytest.raises(OverwrittenError):
            loss.backward()

    def test_exported_after_the_save(self):
        p = leaf([1.0, 2.0])
        h = p * 3
        loss = (h * h).sum()
        h.detach().numpy()[0] = 9.0
        with pytest.raises(OverwrittenError):
            loss.backward()

    def test_raw_array_operand(self):
        array, p = np.array([1.0, 2.0]), leaf([1.0, 1.0])
        loss = (p * array).sum()
        array += 1
        with pytest.raises(OverwrittenError):
            loss.backward()

    def test_untouched_arrays_are_no_obstacle(self):
        array = np.array([1.0, 2.0])
        x, p = bl.from_numpy(array), leaf([1.0, 1.0])
        for _ in range(3):
            p.grad = None
            (x * p).sum().backward()
            assert p.grad.tolist() == array.tolist()
            array += 1

    def test_dlpack_both_ways_shares_memory(self):
        x = bl.tensor([1.0, 2.0])
        array = np.from_dlpack(x)
        assert np.shares_memory(array, x._data)
        back = bl.from_dlpack(array)
        assert back.tolist() == [1.0, 2.0]


def test_expanded_memory_cannot_be_written():
    y = bl.zeros(1).expand(3)
    with pytest.raises(OperationError, match="clone"):
        y.add_(1)


def test_in_place_keeps_dtype_and_shape():
    n = bl.tensor([1, 2])
    with pytest.raises(OperationError, match="int64"):
        n.add_(0.5)
    with pytest.raises(OperationError, match="cannot change the shape"):
        bl.zeros(1, 3).add_(bl.zeros(2, 3))
    assert n.tolist() == [1, 2]


def test_zero_cuts_history():
    x = leaf([1.0, 2.0])
    y = x * 2
    y.zero_()
    y.add_(x)
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_assigned_values_may_have_extra_dimensions_of_one_in_front():
    x, v = bl.zeros(2, 3, dtype=bl.float64), leaf([[1.0, 2.0, 3.0]])
    x[0] = v
    x[bl.tensor([1])] = v.reshape(1, 1, 3)
    x.sum().backward()
    assert v.grad.tolist() == [[2.0, 2.0, 2.0]]
    with pytest.raises(OperationError):
        x[0] = bl.zeros(2, 3, dtype=bl.float64)


def test_parameter_made_from_a_tensor_shares_its_record_of_writes():
    d = bl.tensor([1.0, 2.0])
    p = bl.nn.Parameter(d)
    loss = (p * p).sum()
    d.fill_(5.0)
    with pytest.raises(OverwrittenError):
        loss.backward()


def test_a_view_first_looked_at_under_no_grad_keeps_its_history():
    x = leaf([1.0, 2.0])
    base = x * 3
    view = base.reshape(2, 1)
    base.mul_(0.5)
    with bl.no_grad():
        view.cos()
    assert view.requires_grad
    view.sum().backward()
    assert x.grad.tolist() == [1.5, 1.5]


def test_a_part_of_an_expanded_tensor_that_shows_each_element_once_is_written_to():
    x = bl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    part = y.expand(4, 3)[1:2]
    part.mul_(3.0)
    assert y.tolist() == [6.0, 12.0, 18.0] and part.tolist() == [y.tolist()]
    (part * y).sum().backward()
    assert x.grad.tolist() == [72.0, 144.0, 216.0]


def test_memory_that_is_shown_twice_or_was_given_read_only_is_not_written_to():
    with pytest.raises(bl.errors.OperationError, match="shows one memory location several times"):
        (bl.ones(3) * 1).expand(4, 3)[1:3].mul_(2.0)
    given = np.zeros(3)
    given.flags.writeable = False
    with pytest.raises(bl.errors.OperationError, match="read-only array"):
        bl.from_numpy(given)[:2].mul_(2.0)
    assert not given.flags.writeable
