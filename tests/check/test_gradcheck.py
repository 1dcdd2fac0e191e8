"""bl.autograd.gradcheck and gradgradcheck: PyTorch's signature and result."""

import inspect

import numpy as np
import pytest

import backlit as bl
from backlit.autograd import Function, GradcheckError, gradcheck, gradgradcheck
from backlit.errors import GradientError, OperationError, UnsupportedError

RNG = np.random.default_rng(1)


def draw(*shape, grad=True):
    return bl.tensor(RNG.normal(size=shape), requires_grad=grad)


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3.0 * g * x**2

    @staticmethod
    def jvp(ctx, t):
        return t * 0.0


class Half(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0]


class Frozen(Function):
    """Right once, wrong twice: the slope is hidden from the second derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3.0 * g * ctx.saved_tensors[0].detach() ** 2


def test_right_gradients_give_true():
    x, w = draw(3, 4), draw(4, 2)
    assert gradcheck(lambda x, w: (x @ w).tanh(), (x, w)) is True
    assert gradcheck(lambda x, w: (x @ w).tanh(), [x, w], fast_mode=True, check_forward_ad=True) is True
    assert gradcheck(lambda x: (x.sin(), x.exp()), x, check_grad_dtypes=True) is True
    assert gradcheck(Cube.apply, draw(3)) is True


def test_wrong_gradients_raise_with_the_report_or_give_false():
    with pytest.raises(GradcheckError, match=r"Half[\s\S]*a factor 1/2") as caught:
        gradcheck(Half.apply, draw(3))
    assert isinstance(caught.value, GradientError)
    assert caught.value.report.cause.kind == "factor"
    assert gradcheck(Half.apply, draw(3), raise_exception=False) is False
    assert gradcheck(Half.apply, draw(40, 50), raise_exception=False, fast_mode=True) is False


def test_tolerances_are_pytorchs():
    class Near(Half):
        @staticmethod
        def backward(ctx, g):
            return 2.0005 * g * ctx.saved_tensors[0]

    assert gradcheck(Near.apply, draw(3))
    assert not gradcheck(Near.apply, draw(3), rtol=1e-5, raise_exception=False)
    assert gradcheck(Near.apply, draw(3), rtol=0.0, atol=0.1)


def test_float32_inputs_are_checked_in_float64():
    x = bl.tensor([0.3, 0.4], requires_grad=True)
    assert gradcheck(lambda x: x.exp(), x, rtol=1e-8, atol=0.0)
    assert x.grad is None


def test_only_inputs_that_require_gradients_count():
    assert gradcheck(lambda x, y: x * y.detach(), (draw(3), draw(3, grad=False)))
    with pytest.raises(OperationError, match="no input requires gradients"):
        gradcheck(lambda x: x, draw(3, grad=False))


def test_forward_mode_is_compared_when_asked():
    assert gradcheck(Cube.apply, draw(3))
    assert not gradcheck(Cube.apply, draw(3), check_forward_ad=True, raise_exception=False)


def test_forward_mode_is_held_against_differences_whatever_backpropagation_says():
    class BothHalf(Half):
        @staticmethod
        def jvp(ctx, t):
            return ctx.saved_tensors[0] * t

    class ForwardRight(Half):
        @staticmethod
        def jvp(ctx, t):
            return 2.0 * ctx.saved_tensors[0] * t

    only_forward = {"check_backward_ad": False, "check_forward_ad": True}
    assert gradcheck(ForwardRight.apply, draw(3), **only_forward)
    with pytest.raises(GradcheckError, match=r"forward mode gives .*, differences"):
        gradcheck(BothHalf.apply, draw(3), **only_forward)


def test_checking_nothing_is_no_success():
    with pytest.raises(OperationError, match="nothing to check"):
        gradcheck(Half.apply, draw(3), check_backward_ad=False)
    with pytest.raises(OperationError, match="nothing to check"):
        gradgradcheck(Cube.apply, draw(3), check_rev_over_rev=False)
    with pytest.raises(GradcheckError, match="no gradient could be checked"):
        gradcheck(lambda x: (x - 100.0).log(), draw(3))


def test_undefined_upstream_gradients():
    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2.0, x * 3.0

        @staticmethod
        def backward(ctx, first, second):
            if second is None:
                return first * 20.0
            return 3.0 * second if first is None else 2.0 * first + 3.0 * second

    assert gradcheck(Two.apply, draw(3), check_undefined_grad=False)
    with pytest.raises(GradcheckError, match="undefined"):
        gradcheck(Two.apply, draw(3))


def test_gradient_dtypes_when_asked():
    class Widens(Half):
        @staticmethod
        def backward(ctx, g):
            return (2.0 * g * ctx.saved_tensors[0]).double()

    x = bl.tensor([1.0, 2.0], requires_grad=True)
    assert gradcheck(Widens.apply, x)
    with pytest.raises(GradcheckError, match="its gradient float64"):
        gradcheck(Widens.apply, x, check_grad_dtypes=True)


def test_nondeterminism_and_its_tolerance():
    calls = iter(range(1, 10_000))

    class Wobbly(Half):
        @staticmethod
        def backward(ctx, g):
            return 2.0 * g * ctx.saved_tensors[0] + 1e-9 * next(calls)

    x = draw(3)
    with pytest.raises(GradcheckError, match="non-determinism"):
        gradcheck(Wobbly.apply, x)
    assert gradcheck(Wobbly.apply, x, nondet_tol=1e-6)


@pytest.mark.parametrize("option", ["check_batched_grad", "check_batched_forward_grad", "masked"])
def test_what_is_not_supported_says_so(option):
    with pytest.raises(UnsupportedError, match=option):
        gradcheck(Cube.apply, draw(3), **{option: True})


def test_second_derivatives():
    x, w = draw(3, 4), draw(4, 2)
    assert gradgradcheck(lambda x, w: (x @ w).tanh(), (x, w)) is True
    assert gradgradcheck(lambda x, w: (x @ w).tanh(), (x, w), check_fwd_over_rev=True, gen_non_contig_grad_outputs=True)
    assert gradgradcheck(lambda x: x**3, x, draw(3, 4))
    assert gradgradcheck(lambda x: (x.sin(), x.exp() * x), x, fast_mode=True)
    assert gradcheck(Frozen.apply, x)
    with pytest.raises(GradcheckError, match="carries no history"):
        gradgradcheck(Frozen.apply, x)
    assert gradgradcheck(Frozen.apply, x, raise_exception=False) is False


@pytest.mark.peers
def test_signatures_and_results_are_pytorchs():
    torch = pytest.importorskip("torch")
    for ours, theirs in ((gradcheck, torch.autograd.gradcheck), (gradgradcheck, torch.autograd.gradgradcheck)):
        wanted = inspect.signature(theirs).parameters
        found = inspect.signature(ours).parameters
        assert list(found) == list(wanted)
        for name in list(found)[2:]:
            assert found[name].default == wanted[name].default, name
    values = RNG.normal(size=(3, 3))
    for name in ("exp", "tanh", "cumsum0", "prod", "abs"):
        f = (lambda m: lambda x: m.cumsum(x, 0)) if name == "cumsum0" else (lambda m, n=name: getattr(m, n))
        assert gradcheck(f(bl), bl.tensor(values, requires_grad=True)) is True
        assert torch.autograd.gradcheck(f(torch), torch.tensor(values, requires_grad=True)) is True
