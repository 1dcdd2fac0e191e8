"""Names that PyTorch programs expect: constants, second names, questions, and advice for what is not there."""

import math

import numpy as np
import pytest

import backlit as bl
from backlit import nn
from backlit.errors import OperationError, UnsupportedError
from backlit.missing import MISSING, MISSING_FUNCTIONAL, MISSING_NN, MISSING_OPTIM
from backlit.nn import functional as F
from backlit.ops.aliases import ALIASES


def test_constants():
    assert (bl.pi, bl.e, bl.inf, bl.newaxis) == (math.pi, math.e, math.inf, None)
    assert math.isnan(bl.nan)
    assert bl.ones(2, 3).shape == bl.Size([2, 3])


@pytest.mark.parametrize(("name", "own"), ALIASES.items())
def test_second_names_are_the_operation_itself(name, own):
    assert getattr(bl, name) is getattr(bl, own)
    for ending in ("", "_"):
        assert getattr(bl.Tensor, name + ending, None) is getattr(bl.Tensor, own + ending, None)


def test_functions_that_pytorch_has_in_two_places():
    assert bl.cosine_similarity is F.cosine_similarity
    assert bl.prelu is F.prelu


TABLES = [(bl, MISSING), (nn, MISSING_NN), (F, MISSING_FUNCTIONAL), (bl.optim, MISSING_OPTIM)]


@pytest.mark.parametrize(("place", "name"), [(place, name) for place, table in TABLES for name in table])
def test_missing_names_give_advice(place, name):
    with pytest.raises(UnsupportedError, match=rf"{place.__name__}\.{name} does not exist: "):
        getattr(place, name)
    assert not hasattr(place, name)


@pytest.mark.parametrize(
    ("place", "name", "near"), [(nn, "Liner", "Linear"), (F, "relo", "relu"), (bl.optim, "Adm", "Adam")]
)
def test_misspelt_names_find_the_nearest(place, name, near):
    with pytest.raises(AttributeError, match=f"did you mean '{near}'"):
        getattr(place, name)


def test_a_misspelt_name_is_no_missing_feature():
    with pytest.raises(AttributeError, match="did you mean 'sigmoid'") as caught:
        bl.sigmoyd  # noqa: B018
    assert not isinstance(caught.value, UnsupportedError)


@pytest.mark.parametrize("place", [bl, bl.nn, bl.nn.functional, bl.optim])
def test_no_near_name_is_sought_for_a_private_one(place, monkeypatch):
    """Tools ask every module for these, and a search takes milliseconds."""
    monkeypatch.setattr("difflib.get_close_matches", lambda *args, **settings: pytest.fail("sought"))
    assert not hasattr(place, "__wrapped__")


def test_questions_about_a_gpu():
    assert not bl.cuda.is_available()
    assert bl.cuda.device_count() == 0
    assert bl.device("cuda" if bl.cuda.is_available() else "cpu") == "cpu"
    assert not bl.backends.mps.is_available()
    bl.cuda.manual_seed_all(0)
    with pytest.raises(UnsupportedError, match=r"cuda.Stream: .* CPU"):
        bl.cuda.Stream  # noqa: B018
    assert not hasattr(bl.cuda, "Stream")
    x = bl.ones(2)
    assert not x.is_cuda
    assert x.pin_memory() is x


def test_limits_of_dtypes():
    assert bl.finfo(bl.float64).eps == 2.0**-52
    assert isinstance(bl.finfo().max, float)
    assert bl.iinfo(bl.int8)[1:] == (8, 127, -128)
    with pytest.raises(OperationError, match="use iinfo"):
        bl.finfo(bl.int64)
    with pytest.raises(OperationError, match="use finfo"):
        bl.iinfo(bl.float32)


def test_promotion():
    assert bl.promote_types(bl.int64, bl.float16) == bl.float16
    assert bl.result_type(bl.ones(2), 1.5) == bl.float32
    assert bl.result_type(bl.arange(2), 1.5) == bl.float32
    assert bl.result_type(2, 3) == bl.int64
    assert bl.can_cast(bl.int64, bl.float16)
    assert not bl.can_cast(bl.float16, bl.int64)


def test_older_constructors():
    assert bl.LongTensor([1, 2]).dtype == bl.int64
    assert bl.FloatTensor(2, 3).shape == (2, 3)
    assert bl.DoubleTensor().shape == (0,)
    assert bl.Tensor([[1, 2]]).dtype == bl.float32
    assert bl.Tensor([1, 2]).tolist() == [1.0, 2.0]
    with pytest.raises(OperationError, match="not a regular array"):
        bl.Tensor([[1], [1, 2]])
    with pytest.raises(OperationError, match=r"use backlit\.tensor"):
        bl.Tensor(3)


def test_new_tensors_like_another():
    x = bl.ones(2, dtype=bl.float64)
    assert x.new(2, 3).shape == (2, 3)
    assert x.new([1, 2]).tolist() == [1.0, 2.0]
    assert x.new_full((2,), 3).dtype == bl.float64
    with pytest.raises(UnsupportedError):
        x.new_zeros(2, device="cuda")
    with pytest.raises(UnsupportedError):
        bl.arange(3, device="cuda")


@pytest.mark.parametrize("name", ["inv", "solve", "svd"])
def test_factorisations_are_refused(name):
    with pytest.raises(UnsupportedError, match="not supported"):
        getattr(bl.linalg, name)


def test_matrix_norms():
    x = bl.tensor([[1.0, -2.0], [3.0, 4.0]])
    array = x.numpy()
    for order in (None, "fro", 1, -1, math.inf, -math.inf):
        assert bl.linalg.norm(x, order).item() == pytest.approx(np.linalg.norm(array, order))
    assert bl.linalg.norm(x, 1, dim=0).tolist() == [4.0, 6.0]
    assert bl.linalg.norm(x, 1, dim=(0, 1), keepdim=True).shape == (1, 1)
    with pytest.raises(UnsupportedError, match="singular values"):
        bl.linalg.norm(x, 2)


# -- in place -----------------------------------------------------------------------------------------------------


def test_writes_by_index_and_mask():
    hot = bl.zeros(2, 3).scatter_(1, bl.tensor([[2], [0]]), 1.0)
    assert hot.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    x = bl.ones(2, 2, requires_grad=True)
    y = x * 2
    assert y.masked_fill_(bl.tensor([[True, False], [False, False]]), -1.0) is y
    y.index_add_(0, bl.tensor([1]), bl.ones(1, 2))
    y.sum().backward()
    assert y.tolist() == [[-1.0, 2.0], [3.0, 3.0]]
    assert x.grad.tolist() == [[0.0, 2.0], [2.0, 2.0]]


def test_steps_of_hand_written_optimizers():
    p, g = bl.tensor([1.0, 2.0]), bl.tensor([2.0, 4.0])
    p.addcmul_(g, g, value=0.5).addcdiv_(g, bl.tensor([1.0, 2.0]), value=-1.0)
    assert p.tolist() == [1.0, 8.0]
    assert p.clamp_max_(5.0).tolist() == [1.0, 5.0]


def test_fill_diagonal():
    assert bl.zeros(2, 3).fill_diagonal_(5).tolist() == [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]]
    tall = bl.zeros(5, 2).fill_diagonal_(1, wrap=True)
    assert tall.sum(1).tolist() == [1.0, 1.0, 0.0, 1.0, 1.0]
    with pytest.raises(OperationError, match="needs a matrix"):
        bl.zeros(3).fill_diagonal_(1)


# -- numbers at the edge ------------------------------------------------------------------------------------------


def grad(function, *values):
    leaves = [bl.tensor(v, dtype=bl.float64, requires_grad=True) for v in values]
    return [g.item() for g in bl.autograd.grad(function(*leaves), leaves)]


def test_logaddexp_does_not_overflow():
    assert bl.logaddexp(bl.tensor(1000.0), bl.tensor(1000.0)).item() == pytest.approx(1000.0 + math.log(2.0))
    assert grad(bl.logaddexp, 1000.0, -1000.0) == [1.0, 0.0]


def test_slopes_at_kinks_are_zero():
    assert grad(bl.hypot, 0.0, 0.0) == [0.0, 0.0]
    x = bl.zeros(2, 3, requires_grad=True)
    bl.cdist(x, x).sum().backward()
    assert x.grad.abs().sum().item() == 0.0


def test_sinc_near_zero():
    for x in (0.0, 1e-9, 9e-5, 1.1e-4):
        assert grad(bl.sinc, x)[0] == pytest.approx(-(math.pi**2) / 3 * x, rel=1e-6, abs=1e-300)


def test_xlogy_where_x_is_zero():
    assert bl.xlogy(bl.tensor(0.0), bl.tensor(0.0)).item() == 0.0
    assert math.isnan(bl.xlogy(bl.tensor(0.0), bl.tensor(math.nan)).item())
    assert grad(bl.xlogy, 0.0, 2.0) == [pytest.approx(math.log(2.0)), 0.0]


def test_nan_to_num():
    x = bl.tensor([math.nan, math.inf, -math.inf, 2.0], requires_grad=True)
    y = bl.nan_to_num(x, nan=7.0, posinf=1.0)
    y.sum().backward()
    assert y.tolist() == [7.0, 1.0, bl.finfo(bl.float32).min, 2.0]
    assert x.grad.tolist() == [0.0, 0.0, 0.0, 1.0]


def test_quantile_with_nan_and_bad_shares():
    x = bl.tensor([[1.0, math.nan, 3.0], [3.0, 1.0, 2.0]])
    out = bl.quantile(x, 0.25, dim=1).tolist()
    assert math.isnan(out[0])
    assert out[1] == 1.5
    with pytest.raises(OperationError, match="0 to 1"):
        bl.quantile(x, 1.5)
    with pytest.raises(OperationError, match="interpolation"):
        bl.quantile(x, 0.5, interpolation="cubic")


@pytest.mark.parametrize(
    "call",
    [
        lambda: bl.bincount(bl.tensor([1.0])),
        lambda: bl.bincount(bl.tensor([-1])),
        lambda: bl.histc(bl.tensor([1.0]), min=2, max=1),
        lambda: bl.cross(bl.ones(2), bl.ones(2)),
        lambda: bl.cdist(bl.ones(2, 3), bl.ones(2, 4)),
        lambda: bl.ones(4).unfold(0, 5, 1),
        lambda: bl.cov(bl.ones(2, 3), aweights=bl.tensor([1.0, -1.0, 1.0])),
        lambda: bl.searchsorted(bl.ones(2, 3), bl.ones(3, 1)),
        lambda: F.gaussian_nll_loss(bl.ones(2), bl.ones(2), bl.tensor([1.0, -1.0])),
        lambda: F.interpolate(bl.ones(1, 1, 4)),
        lambda: F.interpolate(bl.ones(1, 1, 4), 8, mode="bilinear"),
        lambda: F.pixel_shuffle(bl.ones(1, 3, 2, 2), 2),
        lambda: nn.ZeroPad2d((1, 2)),
    ],
)
def test_impossible_arguments_are_named(call):
    with pytest.raises(OperationError, match=r"at test_vocabulary\.py:"):
        call()


def test_bicubic_is_refused():
    with pytest.raises(UnsupportedError, match="bicubic"):
        F.interpolate(bl.ones(1, 1, 4, 4), scale_factor=2, mode="bicubic")


# -- a random choice with a gradient ------------------------------------------------------------------------------


def test_gumbel_softmax():
    bl.manual_seed(0)
    logits = bl.tensor([[math.log(0.1), math.log(0.9)]] * 2000, requires_grad=True)
    hard = F.gumbel_softmax(logits, tau=0.5, hard=True)
    assert set(np.unique(hard.detach().numpy().round(5))) == {0.0, 1.0}
    assert hard.detach().mean(0)[1].item() == pytest.approx(0.9, abs=0.03)
    (hard * bl.tensor([0.0, 1.0])).sum().backward()
    assert logits.grad.abs().sum().item() > 0
    soft = F.gumbel_softmax(logits, dim=0)
    assert bl.allclose(soft.sum(0), bl.ones(2))


# -- functions of modules and of functions ------------------------------------------------------------------------


def test_functional_call_leaves_the_module_alone():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    own = {name: p.detach().clone() for name, p in model.named_parameters()}
    other = {name: (p * 0 + 1).requires_grad_() for name, p in own.items()}
    out = bl.func.functional_call(model.eval(), other, bl.ones(4, 2))
    assert bl.allclose(out, bl.full((4, 3), 1 + 3 / math.sqrt(1 + 1e-5)))
    out.sum().backward()
    assert other["0.weight"].grad is not None
    assert all(p.grad is None and bl.equal(p.detach(), own[name]) for name, p in model.named_parameters())


def test_functional_call_ties_weights():
    model = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    model["b"].weight = model["a"].weight
    twice = nn.Sequential(model["a"], model["b"])
    new = {"0.weight": bl.eye(2) * 3}
    assert bl.func.functional_call(twice, new, bl.ones(1, 2)).tolist() == [[9.0, 9.0]]
    tied = bl.func.functional_call(twice, new, bl.ones(1, 2), tie_weights=False)
    assert tied.tolist() != [[9.0, 9.0]]


def test_functional_call_checks_names():
    model = nn.Linear(2, 2)
    with pytest.raises(OperationError, match="did you mean 'weight'"):
        bl.func.functional_call(model, {"wieght": bl.eye(2)}, bl.ones(2))
    with pytest.raises(OperationError, match="missing"):
        bl.func.functional_call(model, {"weight": bl.eye(2)}, bl.ones(2), strict=True)


def test_products_with_jacobians_and_hessians():
    functional = bl.autograd.functional

    def f(x, y):
        return x * y.sum(), y**2

    x, y = bl.tensor([1.0, 2.0]), bl.tensor([3.0, 4.0, 5.0])
    rows = functional.jacobian(f, (x, y))
    assert [[part.shape for part in row] for row in rows] == [[(2, 2), (2, 3)], [(3, 2), (3, 3)]]
    assert not rows[0][0].requires_grad
    columns = functional.jacobian(f, (x, y), strategy="forward-mode")
    assert all(bl.equal(a, b) for r, c in zip(rows, columns, strict=True) for a, b in zip(r, c, strict=True))

    def g(x):
        return (x**3).sum()

    assert functional.hessian(g, x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    value, product = functional.hvp(g, x, bl.ones(2))
    assert (value.item(), product.tolist()) == (9.0, [6.0, 12.0])
    assert functional.vjp(g, x)[1].tolist() == [3.0, 12.0]
    assert functional.jvp(g, x, bl.ones(2))[1].item() == 15.0
    leaf = bl.tensor([2.0], requires_grad=True)
    functional.jacobian(lambda v: v**3, leaf, create_graph=True).sum().backward()
    assert leaf.grad.tolist() == [12.0]
    with pytest.raises(UnsupportedError, match="strict"):
        functional.jacobian(g, x, strict=True)


def test_sequences_of_different_lengths():
    rnn = nn.utils.rnn
    parts = [bl.ones(3, 2), bl.zeros(1, 2)]
    assert rnn.pad_sequence(parts).shape == (3, 2, 2)
    left = rnn.pad_sequence(parts, True, padding_value=9.0, padding_side="left")
    assert left[1].tolist() == [[9.0, 9.0], [9.0, 9.0], [0.0, 0.0]]
    back = rnn.unpad_sequence(rnn.pad_sequence(parts, True), [3, 1], True)
    assert [bl.equal(a, b) for a, b in zip(back, parts, strict=True)] == [True, True]
    with pytest.raises(OperationError, match=r"at test_vocabulary\.py:"):
        rnn.pad_sequence([bl.ones(2), bl.ones(2, 2)])
    with pytest.raises(UnsupportedError, match="mask"):
        rnn.pack_padded_sequence  # noqa: B018


# -- dtypes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.5, 3, 0, -1.5])
def test_a_number_as_exponent_does_not_widen_gradients(exponent):
    seen = []
    x = bl.tensor([1.0, 2.0], requires_grad=True) * 1.0
    x.register_hook(lambda g: seen.append(g.dtype))
    (x**exponent).sum().backward()
    assert seen == [bl.float32]
