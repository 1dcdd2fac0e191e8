"""``bl.why`` on gradients that are None: the cause and the exact line, in ordinary programs."""

import copy
import inspect
import json

import numpy as np
import pytest

import backlit as bl
from backlit.nn import functional as F


def leaf(*values):
    return bl.tensor(list(values) if values else 2.0, requires_grad=True)


def program(function):
    """A program that returns (verdict, cause); the line it blames is the one marked ``# HERE``."""

    def test():
        verdict, cause = function()
        lines, start = inspect.getsourcelines(function)
        here = [start + i for i, line in enumerate(lines) if "# HERE" in line]
        assert verdict.cause == cause, str(verdict)
        assert verdict.gradient == "None"
        assert verdict.source is not None and [verdict.source.line] == here, str(verdict)
        assert verdict.source.file == __file__
        assert verdict.remedy and verdict.sentence
        assert json.loads(json.dumps(verdict.to_dict()))["cause"] == cause
        assert str(verdict).startswith(f"The gradient of {verdict.name} is None")

    test.__name__ = test.__qualname__ = function.__name__
    test.__doc__ = function.__doc__
    return test


# -- cut on the way to the loss --------------------------------------------------------------------------------


@program
def test_detach():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = (w * 2).detach()  # HERE
    loss = (h * v).sum()
    loss.backward()
    return bl.why(w, loss), "detach"


@program
def test_detach_without_naming_the_loss():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = (w * 2).detach()  # HERE
    (h * v).sum().backward()
    return bl.why(w), "detach"


@program
def test_detach_then_constants():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = (w * 2).detach()  # HERE
    k = bl.cat([h.exp(), bl.ones(2)])[:2].reshape(2, 1)
    loss = (k * v).mean()
    return bl.why(w, loss), "detach"


@program
def test_detach_of_a_large_constant_that_is_gone():
    w, v = bl.ones(1000, requires_grad=True), bl.ones(1000, requires_grad=True)
    loss = ((w * 2).detach().exp() * v).sum()  # HERE
    return bl.why(w, loss), "detach"


@program
def test_detach_in_place():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = w * 2
    h.detach_()  # HERE
    loss = (h * v).sum()
    return bl.why(w, loss), "detach_"


@program
def test_data():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (w.data * v).sum()  # HERE
    return bl.why(w, loss), "data"


@program
def test_no_grad():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with bl.no_grad():
        h = w * 2  # HERE
    loss = (h * v).sum()
    return bl.why(w, loss), "no_grad"


@program
def test_no_grad_as_a_decorator():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)

    @bl.no_grad()
    def features():
        return w.exp()  # HERE

    loss = (features() * v).sum()
    return bl.why(w, loss), "no_grad"


@program
def test_the_whole_loss_under_no_grad():
    w = leaf(1.0, 2.0)
    with bl.no_grad():
        loss = (w * 2).sum()  # HERE
    with pytest.raises(bl.errors.GradientError):
        loss.backward()
    return bl.why(w), "no_grad"


@program
def test_set_grad_enabled():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with bl.set_grad_enabled(False):
        h = w * 2  # HERE
    loss = (h * v).sum()
    return bl.why(w, loss), "no_grad"


@program
def test_inference_mode():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with bl.inference_mode():
        h = w * 2  # HERE
    loss = (h * v).sum()
    return bl.why(w, loss), "inference_mode"


@program
def test_copy_under_no_grad():
    w, v, buffer = leaf(1.0, 2.0), leaf(3.0, 4.0), bl.zeros(2)
    with bl.no_grad():
        buffer.copy_(w)  # HERE
    loss = (buffer * v).sum()
    return bl.why(w, loss), "no_grad"


@program
def test_sum_in_place_under_no_grad():
    w, v, total = leaf(1.0, 2.0), leaf(3.0, 4.0), bl.zeros(2)
    with bl.no_grad():
        total += w  # HERE
    loss = (total * v).sum()
    return bl.why(w, loss), "no_grad"


@program
def test_written_into_a_buffer():
    w, v, buffer = leaf(1.0, 2.0), leaf(3.0, 4.0), bl.zeros(3)
    buffer[:2] = w.detach()  # HERE
    loss = (buffer[:2] * v).sum()
    return bl.why(w, loss), "detach"


@program
def test_item():
    w, v = leaf(), leaf(3.0, 4.0)
    scale = (w * 2).item()  # HERE
    loss = (scale * v).sum()
    return bl.why(w, loss), "item"


@program
def test_float():
    w, v = leaf(), leaf(3.0, 4.0)
    scale = bl.tensor(float(w * 2))  # HERE
    loss = (scale * v).sum()
    return bl.why(w, loss), "item"


@program
def test_int():
    w, v = leaf(), leaf(3.0, 4.0)
    power = int(w * 2)  # HERE
    loss = (v**power).sum()
    return bl.why(w, loss), "item"


@program
def test_item_then_arithmetic_on_numbers():
    w, v = leaf(), leaf(3.0, 4.0)
    scale = 1 + 2 * (w * 2).item()  # HERE
    loss = (scale * v).sum()
    loss.backward()
    return bl.why(w, loss), "item"


@program
def test_numpy_round_trip():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = bl.tensor((w * 2).detach().numpy())  # HERE
    loss = (h * v).sum()
    return bl.why(w, loss), "numpy"


@program
def test_asarray():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = bl.from_numpy(np.asarray(w * 2))  # HERE
    loss = (h * v).sum()
    return bl.why(w, loss), "numpy"


@program
def test_computed_in_numpy():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    array = w.numpy(force=True)  # HERE
    loss = (bl.tensor(np.sort(array) + 1) * v).sum()
    return bl.why(w, loss), "numpy"


@program
def test_tolist():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    values = (w * 2).tolist()  # HERE
    loss = (bl.tensor([x + 1 for x in values]) * v).sum()
    return bl.why(w, loss), "tolist"


@program
def test_branch():
    w, v = leaf(), leaf(3.0, 4.0)
    factor = 2.0 if w * 3 > 1 else 1.0  # HERE
    loss = (factor * v).sum()
    return bl.why(w, loss), "not_differentiable"


@program
def test_branch_on_the_value():
    w, v = leaf(), leaf(3.0, 4.0)
    factor = 2.0 if w else 1.0  # HERE
    loss = (factor * v).sum()
    return bl.why(w, loss), "branch"


@program
def test_copy():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = bl.tensor(w)  # HERE
    loss = (h * v).sum()
    return bl.why(w, loss), "copy"


@program
def test_copy_of_a_list():
    w, v = leaf(), leaf(3.0, 4.0)
    h = bl.tensor([w * 2, w * 3])  # HERE
    loss = (h * v).sum()
    return bl.why(w, loss), "copy"


@program
def test_parameter_from_another():
    w = leaf(1.0, 2.0)
    h = bl.nn.Parameter(w)  # HERE
    loss = (h * 2).sum()
    loss.backward()
    return bl.why(w, loss), "copy"


@program
def test_deepcopy():
    w = bl.nn.Linear(2, 1)
    twin = copy.deepcopy(w)  # HERE
    loss = twin(bl.ones(3, 2)).sum()
    loss.backward()
    return bl.why(w.weight, loss), "copy"


@program
def test_long():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = ((w * 2).long() * v).sum()  # HERE
    return bl.why(w, loss), "integer_cast"


@program
def test_argmax():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    best = (w * 2).argmax()  # HERE
    loss = (v[best] * 2).sum()
    return bl.why(w, loss), "not_differentiable"


@program
def test_comparison():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    mask = w > 1.5  # HERE
    loss = (mask * v).sum()
    return bl.why(w, loss), "not_differentiable"


@program
def test_accuracy_as_the_loss():
    w = leaf(1.0, 2.0)
    loss = ((w * 2).argmax() == 1).float().mean()  # HERE
    return bl.why(w, loss), "not_differentiable"


@program
def test_sampled():
    w, v = leaf(0.2, 0.7), leaf(3.0, 4.0)
    drawn = bl.bernoulli(w)  # HERE
    loss = (drawn * v).sum()
    return bl.why(w, loss), "sampled"


@program
def test_an_own_function_that_takes_it_from_outside():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)

    @bl.autograd.custom_vjp
    def scaled(x):
        y = x * w  # HERE
        return y, lambda upstream: upstream * w

    loss = scaled(v).sum()
    loss.backward()
    return bl.why(w, loss), "no_grad"


# -- never on the way ------------------------------------------------------------------------------------------


@program
def test_unused():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (w * 2).sum()
    loss = (v * 2).sum()  # HERE
    loss.backward()
    return bl.why(w, loss), "unused"


@program
def test_unused_layer():
    class Net(bl.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = bl.nn.Linear(2, 2), bl.nn.Linear(2, 2)

        def forward(self, x):
            return self.first(x)

    net = Net()
    loss = net(bl.ones(1, 2)).sum()  # HERE
    loss.backward()
    print(net.second.weight.sum().item())
    return bl.why(net.second.weight, loss), "unused"


@program
def test_unused_in_a_loss_that_requires_no_gradient():
    w, x = leaf(1.0, 2.0), bl.tensor([3.0, 4.0])
    with pytest.raises(bl.errors.GradientError):
        (x * 3).sum().backward()  # HERE
    return bl.why(w), "unused"


@program
def test_requires_grad_after_use():
    w, v = bl.tensor([1.0, 2.0]), leaf(3.0, 4.0)
    loss = (w * v).sum()  # HERE
    w.requires_grad_()
    loss.backward()
    return bl.why(w, loss), "requires_grad_late"


@program
def test_requires_grad_after_everything():
    w = bl.tensor([1.0, 2.0])
    loss = (w * 3).sum()
    w.requires_grad_()  # HERE
    return bl.why(w, loss), "requires_grad_late"


@program
def test_not_required():
    w, v = bl.tensor([1.0, 2.0]), leaf(3.0, 4.0)
    loss = (w * v).sum()  # HERE
    loss.backward()
    return bl.why(w, loss), "not_required"


@program
def test_frozen():
    net = bl.nn.Linear(2, 2)
    net.weight.requires_grad_(False)  # HERE
    loss = net(bl.ones(1, 2)).sum()
    loss.backward()
    return bl.why(net.weight, loss), "not_required"


@program
def test_integers():
    w, v = bl.tensor([1, 2]), leaf(3.0, 4.0)
    loss = (v * 2 + bl.cat([w, w])[:2] * v + v**w).sum()
    loss = loss + v[w[:1] - 1].sum()  # HERE
    loss.backward()
    return bl.why(w, loss).told(source=bl.why(loss).source), "integer_dtype"


@program
def test_rebound_under_no_grad():
    w = leaf(1.0, 2.0)
    with bl.no_grad():
        w = w - 0.1 * bl.ones(2)  # HERE
    loss = (w * leaf(3.0, 4.0)).sum()
    loss.backward()
    return bl.why(w, loss), "no_grad"


@program
def test_result_that_was_detached():
    w = leaf(1.0, 2.0)
    h = (w * 2).detach()  # HERE
    loss = (h * leaf(3.0, 4.0)).sum()
    loss.backward()
    return bl.why(h, loss), "detach"


# -- a path, and nothing collected -----------------------------------------------------------------------------


@program
def test_not_a_leaf():
    w = leaf(1.0, 2.0)
    w = w + 1  # HERE
    loss = (w * 2).sum()
    loss.backward()
    return bl.why(w, loss), "not_a_leaf"


@program
def test_converted():
    w = leaf(1.0, 2.0)
    w = w.to(bl.float64)  # HERE
    loss = (w * 2).sum()
    loss.backward()
    return bl.why(w), "converted"


@program
def test_no_backward():
    w = leaf(1.0, 2.0)
    loss = (w * 2).sum()  # HERE
    return bl.why(w, loss), "no_backward"


@program
def test_autograd_grad():
    w = leaf(1.0, 2.0)
    loss = (w * 2).sum()
    bl.autograd.grad(loss, w)  # HERE
    return bl.why(w, loss), "autograd_grad"


@program
def test_left_out():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (w * v).sum()
    loss.backward(inputs=[v])  # HERE
    return bl.why(w, loss), "left_out"


@program
def test_zero_grad():
    net = bl.nn.Linear(2, 2)
    optimizer = bl.optim.SGD(net.parameters(), lr=0.1)
    loss = net(bl.ones(1, 2)).sum()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()  # HERE
    return bl.why(net.weight), "cleared"


@program
def test_zero_grad_of_the_module():
    net = bl.nn.Linear(2, 2)
    net(bl.ones(1, 2)).sum().backward()
    net.zero_grad()  # HERE
    return bl.why(net.weight), "cleared"


@program
def test_grad_set_to_none():
    w = leaf(1.0, 2.0)
    loss = (w * 2).sum()
    loss.backward()
    w.grad = None  # HERE
    return bl.why(w, loss), "cleared"


@program
def test_freed_graph():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (w * v).exp().sum()
    bl.autograd.grad(loss, v)  # HERE
    with pytest.raises(bl.errors.GradientError, match="released"):
        loss.backward()
    return bl.why(w, loss), "freed_graph"


@program
def test_overwritten():
    w = leaf(1.0, 2.0)
    h = w.exp()
    h.add_(1)  # HERE
    loss = h.sum()
    with pytest.raises(bl.errors.OverwrittenError):
        loss.backward()
    return bl.why(w, loss), "overwritten"


@program
def test_overwritten_through_a_view():
    w, k = leaf(1.0, 2.0), bl.tensor([1.0, 1.0])
    loss = (w * k).sum()
    k[:1] = 5.0  # HERE
    with pytest.raises(bl.errors.OverwrittenError):
        loss.backward()
    return bl.why(w), "overwritten"


@program
def test_own_function_that_returns_none():
    class Half(bl.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, upstream):
            return upstream, None

    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = Half.apply(v, w).sum()  # HERE
    loss.backward()
    return bl.why(w, loss), "function_returned_none"


@program
def test_custom_vjp_that_returns_none():
    @bl.autograd.custom_vjp
    def product(x, y):
        return x * y, lambda upstream: (upstream, None)

    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = product(v, w).sum()  # HERE
    loss.backward(retain_graph=True)
    return bl.why(w), "function_returned_none"


@program
def test_retained_too_late():
    w = leaf(1.0, 2.0)
    h = w * 2  # HERE
    loss = (h * h).sum()
    loss.backward()
    h.retain_grad()
    return bl.why(h, loss), "retained_late"


@program
def test_a_model_with_a_detached_encoder():
    encoder, head = bl.nn.Sequential(bl.nn.Linear(3, 4), bl.nn.ReLU()), bl.nn.Linear(4, 2)
    features = encoder(bl.ones(5, 3)).detach()  # HERE
    loss = F.cross_entropy(head(features), bl.zeros(5, dtype=bl.int64))
    loss.backward()
    return bl.why(encoder[0].weight, loss), "detach"


@program
def test_another_tensor_with_the_same_memory():
    w = leaf(1.0, 2.0)
    parameter = bl.nn.Parameter(w.detach())
    loss = (w * 2).sum()  # HERE
    loss.backward()
    return bl.why(parameter, loss), "other_tensor"


@program
def test_backward_that_raised():
    @bl.autograd.custom_vjp
    def doubled(x):
        return x * 2, lambda upstream: upstream.sum()

    w = leaf(1.0, 2.0)
    loss = doubled(w).sum()
    with pytest.raises(bl.errors.GradientError, match="shape"):
        loss.backward()  # HERE
    return bl.why(w, loss), "backward_failed"


def test_the_other_candidates_are_named():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (w.detach() * v + w.data * v).sum()
    verdict = bl.why(w, loss)
    assert {verdict.cause, verdict.others[0].split(" at ")[0]} == {"data", "detach"}


def test_the_path_ends_at_the_cut():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with bl.no_grad():
        h = w * 2
    loss = (h * v).sum()
    verdict = bl.why(w, loss)
    assert [link.op for link in verdict.path] == ["sum", "mul", "mul"]
    assert verdict.path[-1].note == "the path ends here"
    assert any("with bl.no_grad()" in fact for fact in verdict.evidence)


def test_names():
    net = bl.nn.Sequential(bl.nn.Linear(2, 2))
    loss = net(bl.ones(1, 2)).detach().sum()
    w = net[0].weight
    assert bl.why(w, loss).name == "w"
    assert bl.why(net[0].bias, loss).name == "net.0.bias"

    def made_elsewhere():
        hidden = bl.nn.Linear(2, 2)
        return hidden.weight, hidden(bl.ones(1, 2)).sum()

    assert bl.why(*made_elsewhere()).name == "weight"
    assert bl.why(bl.ones(2, 3)).name == "this tensor (2×3)"


def test_refuses_what_is_no_tensor():
    with pytest.raises(bl.errors.OperationError, match="ndarray"):
        bl.why(np.ones(3))
    with pytest.raises(bl.errors.OperationError, match="float"):
        bl.why(leaf(), 3.0)
