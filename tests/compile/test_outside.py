"""Compiled functions and modules whose loss, backward pass and optimizer are outside, as after ``compile(model)``."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import Compiled, TraceError
from backlit.errors import GradientError, OverwrittenError

nn = bl.nn


class Block(nn.Module):
    """A network of a user's own, with a buffer that its forward pass updates."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 6)
        self.norm = nn.BatchNorm1d(6)
        self.out = nn.Linear(6, 3)
        self.slope = 2.0

    def forward(self, x: Any) -> Any:
        return self.out(bl.tanh(self.norm(self.inner(x)) * self.slope))


NETWORKS: dict[str, Any] = {
    "perceptron": lambda: nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)),
    "normalised": Block,
    "attention": lambda: nn.Sequential(nn.Unflatten(1, (1, 5)), nn.LayerNorm(5), nn.Flatten(), nn.Linear(5, 3)),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 4, (1, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)
    ),
}


def twins(name: str, seed: int = 0) -> tuple[Any, Any]:
    bl.manual_seed(seed)
    net = NETWORKS[name]()
    return net, copy.deepcopy(net)


def batches(count: int, rows: int = 8) -> Any:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield bl.tensor(rng.normal(size=(rows, 5)).astype("f")), bl.tensor(rng.integers(0, 3, rows))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_loop_outside_trains_alike(name: str) -> None:
    eager, plain = twins(name)
    compiled = bl.compile(plain)
    losses: dict[Any, list[float]] = {eager: [], compiled: []}
    for net in losses:
        optimizer = bl.optim.SGD(net.parameters(), lr=0.1, momentum=0.5)
        for x, y in batches(6):
            loss = nn.functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[net].append(float(loss))
    assert compiled._compiled._forms.latest is not None
    np.testing.assert_allclose(losses[compiled], losses[eager], rtol=1e-4)
    for (key, a), b in zip(eager.state_dict().items(), plain.state_dict().values(), strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-3, atol=1e-5, err_msg=key)


def test_gradients_reach_arguments_and_what_they_came_from() -> None:
    w = bl.tensor([2.0, 3.0], requires_grad=True)
    f = bl.compile(lambda x, y: (x * y * w, (x + y).detach()))
    for _ in range(3):
        x = bl.tensor([1.0, 4.0], requires_grad=True)
        h = x * x
        w.grad = None
        product, constant = f(h, bl.tensor([5.0, 6.0]))
        assert not constant.requires_grad
        product.sum().backward()
        assert w.grad.tolist() == [5.0, 96.0]
        assert x.grad.tolist() == [20.0, 144.0]


def test_only_some_results_are_used() -> None:
    f = bl.compile(lambda x: {"a": x * 2, "b": [x * 3, x.sum()]})
    for _ in range(3):
        x = bl.tensor([1.0, 2.0], requires_grad=True)
        f(x)["b"][0].sum().backward()
        assert x.grad.tolist() == [3.0, 3.0]


def test_upstream_gradients_of_any_layout() -> None:
    f = bl.compile(lambda x: x @ x)
    rng = np.random.default_rng(0)
    seed = bl.tensor(rng.normal(size=(4, 4)))
    for _ in range(3):
        x = bl.tensor(rng.normal(size=(4, 4)), requires_grad=True)
        f(x).T.backward(seed)
        found, x.grad = x.grad.numpy().copy(), None
        (x @ x).T.backward(seed)
        np.testing.assert_allclose(found, x.grad.numpy(), rtol=1e-12)


def test_calls_can_be_mixed_and_walked_in_any_order() -> None:
    layer = nn.Linear(3, 3)
    f = bl.compile(layer)
    x = bl.ones(2, 3)
    f(x)
    first, second = f(x).sum(), f(x * 2).sum()
    second.backward(retain_graph=True)
    first.backward()
    second.backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), np.full((3, 3), 10.0))
    with pytest.raises(GradientError, match="released"):
        second.backward()


def test_weights_overwritten_before_backward_are_noticed() -> None:
    net, _ = twins("perceptron")
    f = bl.compile(net)
    (x, _), *_ = batches(1)
    for _ in range(2):
        out = f(x).sum()
    with bl.no_grad():
        net[2].weight.mul_(2.0)
    with pytest.raises(OverwrittenError):
        out.backward()


def test_second_derivatives_say_what_to_do() -> None:
    f = bl.compile(lambda x: x * x)
    x = bl.tensor(3.0, requires_grad=True)
    for _ in range(2):
        y = f(x)
    with pytest.raises(GradientError, match="eagerly"):
        bl.autograd.grad(y, x, create_graph=True)


def test_a_backward_pass_on_both_sides_is_refused() -> None:
    layer = nn.Linear(2, 1)

    def both(x: Any) -> Any:
        layer(x).sum().backward()
        return layer(x)

    with pytest.raises(TraceError, match="one side"):
        bl.compile(both)(bl.ones(3, 2))


# -- modules ----------------------------------------------------------------------------------------------------------


def test_a_compiled_module_is_the_module() -> None:
    net = Block()
    compiled = bl.compile(net)
    assert isinstance(compiled, Block)
    assert repr(compiled) == repr(net)
    assert [id(p) for p in compiled.parameters()] == [id(p) for p in net.parameters()]
    assert list(compiled.state_dict()) == list(net.state_dict())
    compiled.eval()
    assert not net.training
    assert not net.norm.training
    net.slope = 3.0
    assert compiled.slope == 3.0
    compiled.extra = nn.Linear(1, 1)
    assert net.extra is compiled.extra


def test_modes_and_attributes_are_looked_at_in_each_call() -> None:
    net = Block()
    compiled = bl.compile(net)
    (x, _), *_ = batches(1)
    with bl.no_grad():
        for training in (True, False, True, False, False):
            compiled.train(training)
            before = copy.deepcopy(net)
            np.testing.assert_allclose(compiled(x).numpy(), before(x).numpy(), rtol=1e-5, atol=1e-6)
        net.slope = -1.0
        for _ in range(2):
            np.testing.assert_allclose(compiled(x).numpy(), net(x).numpy(), rtol=1e-5, atol=1e-6)


def test_loaded_weights_are_used() -> None:
    net, other = twins("perceptron")[0], twins("perceptron", 1)[0]
    compiled = bl.compile(net)
    (x, _), *_ = batches(1)
    with bl.no_grad():
        for _ in range(2):
            compiled(x)
        compiled.load_state_dict(other.state_dict())
        np.testing.assert_allclose(compiled(x).numpy(), other(x).numpy(), rtol=1e-5)


def test_copies_are_compiled_and_independent() -> None:
    compiled = bl.compile(twins("perceptron")[0])
    (x, _), *_ = batches(1)
    for other in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        assert isinstance(other._compiled, Compiled)
        assert other[0].weight is not compiled[0].weight
        with bl.no_grad():
            for _ in range(2):
                np.testing.assert_array_equal(other(x).numpy(), compiled(x).numpy())


def test_inside_a_compiled_step_it_is_part_of_the_step() -> None:
    eager, plain = twins("normalised")
    model = bl.compile(plain)
    optimizer, other = (bl.optim.SGD(net.parameters(), lr=0.1) for net in (model, eager))

    @bl.compile
    def step(x: Any, y: Any) -> Any:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for x, y in batches(4):
        expected = nn.functional.cross_entropy(eager(x), y)
        other.zero_grad()
        expected.backward()
        other.step()
        np.testing.assert_allclose(float(step(x, y)), float(expected), rtol=1e-4)
    assert not model._compiled._forms


def test_hooks_see_every_call() -> None:
    net, _ = twins("perceptron")
    compiled = bl.compile(net)
    (x, _), *_ = batches(1)
    seen: list[str] = []
    for _ in range(2):
        compiled(x)
    handle = net[0].register_forward_hook(lambda *_: seen.append("forward"))
    compiled(x).sum().backward()
    compiled(x).sum().backward()
    handle.remove()
    compiled(x)
    assert seen == ["forward"] * 2
    net[0].weight.register_hook(lambda g: seen.append("gradient"))
    compiled(x).sum().backward()
    assert seen == ["forward", "forward", "gradient"]


def test_freezing_a_parameter_is_noticed() -> None:
    net, _ = twins("perceptron")
    compiled = bl.compile(net)
    (x, _), *_ = batches(1)
    for _ in range(2):
        compiled(x).sum().backward()
    net[0].weight.requires_grad_(False)
    for p in net.parameters():
        p.grad = None
    for _ in range(2):
        compiled(x).sum().backward()
        assert net[0].weight.grad is None
        assert net[2].weight.grad is not None


# -- ways to write it -------------------------------------------------------------------------------------------------


def test_decorators_with_and_without_arguments_and_methods() -> None:
    @bl.compile
    def plain(x: Any) -> Any:
        """Doubles."""
        return x * 2

    @bl.compile(gradients=True, fallback=True)
    def with_arguments(x: Any) -> Any:
        return x * 3

    class Scaler:
        def __init__(self, by: float) -> None:
            self.by = bl.tensor(by)

        @bl.compile
        def scale(self, x: Any) -> Any:
            return x * self.by

    assert (plain.__name__, plain.__doc__) == ("plain", "Doubles.")
    scalers = Scaler(2.0), Scaler(5.0)
    for _ in range(3):
        assert plain(bl.ones(2)).tolist() == [2.0, 2.0]
        assert with_arguments(bl.ones(2)).tolist() == [3.0, 3.0]
        assert [s.scale(bl.ones(1)).tolist() for s in scalers] == [[2.0], [5.0]]
        assert bl.compile(scalers[1].scale)(bl.ones(1)).tolist() == [5.0]
    scalers[0].by = bl.tensor(7.0)
    assert scalers[0].scale(bl.ones(1)).tolist() == [7.0]
