"""What shape operations do to memory and history: which results are views, and what slices cost on the way back."""

from __future__ import annotations

import numpy as np
import pytest

import backlit as bl
from backlit.errors import OperationError, OutOfRangeError
from backlit.graph import WalkObserver, mode

VIEWS = {
    "view": lambda x: x.view(4, 3),
    "reshape": lambda x: x.reshape(2, 6),
    "flatten": lambda x: x.flatten(),
    "ravel": lambda x: x.ravel(),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x[:1].squeeze(0),
    "permute": lambda x: x.permute(1, 0),
    "movedim": lambda x: x.movedim(0, 1),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "t": lambda x: x.t(),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "select": lambda x: x.select(1, -1),
    "narrow": lambda x: x.narrow(1, -3, 2),
    "diagonal": lambda x: x.diagonal(1),
    "item of one dimension": lambda x: x[1][2],
    "backwards": lambda x: x[::-2, ::-1],
    "None and ellipsis": lambda x: x[..., None, 1],
    "split": lambda x: x.split(2)[1],
    "chunk": lambda x: x.chunk(2, 1)[0],
    "tensor_split": lambda x: x.tensor_split((1, 2))[1],
    "unbind": lambda x: x.unbind(1)[3],
    "iteration": lambda x: list(x)[2],
}

COPIES = {
    "clone": lambda x: x.clone(),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(1),
    "repeat": lambda x: x.repeat(1, 1),
    "tril": lambda x: x.tril(),
    "diag of a matrix by a mask": lambda x: x[bl.tensor(np.eye(3, 4, dtype=bool))],
    "index list": lambda x: x[[0, 1, 2]],
    "contiguous of a transpose": lambda x: x.t().contiguous(),
    "cat of one": lambda x: bl.cat([x]),
    "rot90 by nothing": lambda x: bl.rot90(x, 0),
    "pad by nothing": lambda x: bl.pad(x, (0, 0)),
}


def numbered(*shape, **options):
    return bl.tensor(np.arange(1.0, 1 + np.prod(shape, dtype=int)).reshape(shape), **options)


@pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)
def test_views_share_memory_and_carry_writes_with_their_gradient(make):
    x = numbered(3, 4, requires_grad=True)
    y = x * 1.0
    part = make(y)
    assert np.shares_memory(part.detach().numpy(), y.detach().numpy())
    part.mul_(10.0)
    touched = y.detach().numpy() != x.detach().numpy()
    assert touched.sum() == part.numel()
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.where(touched, 10.0, 1.0))


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_copies_do_not_share_memory(make):
    x = numbered(3, 4)
    assert not np.shares_memory(make(x).numpy(), x.numpy())


def test_a_write_through_a_view_that_only_the_memory_layout_allows():
    x = bl.Tensor(np.asfortranarray(np.ones((2, 3)))).requires_grad_()
    y = x * 1.0  # in column-major order, as x
    y.t().view(6)[:3].mul_(10.0)
    y.sum().backward()
    assert y.tolist() == x.grad.tolist() == [[10.0, 10.0, 1.0], [10.0, 1.0, 1.0]]


def test_contiguous_is_the_tensor_itself_where_it_can_be():
    x = numbered(3, 4)
    assert x.contiguous() is x
    assert x.t().contiguous().is_contiguous()


def test_view_refuses_what_needs_a_copy():
    x = numbered(3, 4)
    with pytest.raises(OperationError, match=r"view at test_views.py.*\(4, 3\).*\(12,\).*reshape"):
        x.t().view(12)
    assert x.t().reshape(12).tolist() == x.numpy().T.ravel().tolist()
    assert bl.zeros(0, 3).t().view(0).shape == (0,)


def test_sizes_by_name_as_in_pytorch():
    x = numbered(2, 3)
    assert x.reshape(shape=(3, 2)).shape == x.view(size=(3, 2)).shape == x.permute(dims=(1, 0)).shape == (3, 2)
    assert x.repeat(repeats=(2, 1)).shape == (4, 3)
    assert bl.flip(x, dims=(0,)).tolist() == x.flip(0).tolist() == [[4.0, 5.0, 6.0], [1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: x.expand(2, 4), r"expand .*\(3, 4\).*\(2, 4\)"),
        (lambda x: x.unsqueeze(4), r"unsqueeze .*dimension 4"),
        (lambda x: x.flatten(1, 0), r"start_dim 1"),
        (lambda x: x.unflatten(1, (3, 2)), r"size 4.*\(3, 2\)"),
        (lambda x: x.transpose(0, 2), r"transpose .*dimension 2"),
        (lambda x: x.split([1, 1]), r"\[1, 1\].*dimension 0.*size 3"),
        (lambda x: x.narrow(0, 2, 2), r"start 2 and length 2.*size 3"),
        (lambda x: x.repeat(2), r"repeat .*\(3, 4\)"),
        (lambda x: bl.cat([x, x.t()]), r"tensor 1 has shape \(4, 3\) and tensor 0 \(3, 4\)"),
        (lambda x: bl.cat([]), r"at least one"),
        (lambda x: bl.stack([x, x[0]]), r"tensor 1 has shape \(4,\)"),
        (lambda x: bl.pad(x, (4, 0), mode="reflect"), r"dimension 1 of size 4 by at most 3"),
        (lambda x: bl.pad(x, (1,)), r"pairs"),
        (lambda x: bl.diag(x.unsqueeze(0)), r"vector or a matrix"),
    ],
)
def test_errors_name_the_operation_the_shapes_and_the_line(call, words):
    with pytest.raises(OperationError, match=words) as caught:
        call(numbered(3, 4))
    assert "test_views.py" in str(caught.value)


def test_a_missing_dimension_is_an_index_error_too():
    with pytest.raises(IndexError) as caught:
        numbered(3).squeeze(2)
    assert isinstance(caught.value, OutOfRangeError)


def test_cat_brings_its_inputs_to_one_dtype_and_skips_empty_vectors():
    out = bl.cat([bl.tensor([1, 2]), bl.tensor([0.5]), bl.tensor([True])])
    assert out.dtype == bl.float32 and out.tolist() == [1.0, 2.0, 0.5, 1.0]
    assert bl.cat([bl.zeros(0), bl.ones(2, 2)]).shape == (2, 2)


# -- the gradient of many slices ----------------------------------------------------------------------------------


class _Steps(WalkObserver):
    def __init__(self):
        self.made = []

    def leave(self, node, upstream, downstream):
        self.made.append((node.name, [type(part).__name__ for part in downstream if part is not None]))


def test_slices_of_one_array_share_one_gradient_buffer(monkeypatch):
    from backlit.ops.slicing import Assemble

    calls = []
    forward = Assemble.forward
    monkeypatch.setattr(Assemble, "forward", lambda *parts, **p: calls.append(len(parts)) or forward(*parts, **p))
    x = numbered(50, 3, requires_grad=True)
    hidden = x * 2.0
    total = sum((row * row).sum() for row in hidden)
    (total + hidden[3:5].sum() + hidden.sum()).backward()
    assert calls == [52]
    expected = 8 * x.detach().numpy() + 2
    expected[3:5] += 2
    np.testing.assert_allclose(x.grad.numpy(), expected)
    calls.clear()
    x.grad = None
    sum((row * row).sum() for row in x).backward()  # a leaf
    assert calls == [50]
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.detach().numpy())


def test_observers_of_the_walk_see_whole_gradients():
    x = numbered(3, 2, requires_grad=True)
    observer = _Steps()
    before = mode.walkers
    mode.walkers = (*before, observer)
    try:
        y = x * 1.0
        (y[0] + y[1]).sum().backward()
    finally:
        mode.walkers = before
    assert ("slice", ["ndarray"]) in observer.made
    assert x.grad.tolist() == [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]


def test_second_derivatives_through_many_slices():
    x = numbered(4, requires_grad=True)
    y = x * 1.0
    (g,) = bl.autograd.grad(sum(v**3 for v in y) + y[0] * y[1], x, create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), [3 + 2, 12 + 1, 27, 48])
    (h,) = bl.autograd.grad(g.sum(), x)
    np.testing.assert_allclose(h.numpy(), [6 + 1, 12 + 1, 18, 24])


def test_gradients_with_respect_to_a_slice_and_its_base():
    x = numbered(3, requires_grad=True)
    y = x * 2.0
    part = y[1:]
    gy, gp, gx = bl.autograd.grad((part * part).sum() + y[0], [y, part, x])
    assert gp.tolist() == [8.0, 12.0]
    assert gy.tolist() == [1.0, 8.0, 12.0]
    assert gx.tolist() == [2.0, 16.0, 24.0]


def test_hooks_on_a_sliced_tensor_see_the_sum():
    x = numbered(2, requires_grad=True)
    seen = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x[0] * 3 + x[1] * 4).backward()
    assert seen == [[3.0, 4.0]] and x.grad.tolist() == [3.0, 4.0]


# -- NumPy's functions on tensors ---------------------------------------------------------------------------------

BY_NUMPY = {
    "flip": lambda x: np.flip(x),
    "flip axis": lambda x: np.flip(x, axis=0),
    "roll": lambda x: np.roll(x, shift=1),
    "roll axis": lambda x: np.roll(x, 1, axis=1),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1),
    "split": lambda x: np.split(x, 2, axis=1)[1],
    "tile": lambda x: np.tile(x, reps=(2, 1)),
    "repeat": lambda x: np.repeat(x, 2, axis=1),
    "concatenate": lambda x: np.concatenate([x, x], axis=1),
    "stack": lambda x: np.stack([x, x], axis=-1),
    "take_along_axis": lambda x: np.take_along_axis(x, np.array([[-1], [0], [2]]), axis=1),
    "diag": lambda x: np.diag(x, k=1),
    "triu": lambda x: np.triu(x, k=1),
    "trace": lambda x: np.trace(x),
    "outer": lambda x: np.outer(x[0], x[1]),
    "tensordot": lambda x: np.tensordot(x, x.T, axes=1),
    "dot": lambda x: np.dot(x, x.T),
    "dot of a matrix and a vector": lambda x: np.dot(x, x[0]),
    "einsum": lambda x: np.einsum("ij->j", x),
}


@pytest.mark.parametrize("function", BY_NUMPY.values(), ids=BY_NUMPY)
def test_numpy_functions_keep_numpys_meaning(function):
    x = numbered(3, 4, requires_grad=True)
    out = function(x)
    np.testing.assert_array_equal(out.detach().numpy(), function(x.detach().numpy()))
    assert out.requires_grad
