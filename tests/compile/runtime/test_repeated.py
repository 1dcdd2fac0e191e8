"""Calls that repeat the last one: what is compared, and what a simple program's call does by a function of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from repetition import Pair, Settings, World, X, is_refused, repeated

import backlit as bl
from backlit.compile.errors import Misfit, Unforeseen
from backlit.compile.runtime.repeated import _TOGETHER, _is_simple

nn = bl.nn


def replace_layer(world: World) -> None:
    bl.manual_seed(5)
    world.model[0] = nn.Linear(3, 4)


def take_scale_away(world: World) -> None:
    scale = world.settings.scale
    del world.settings.scale
    type(world.settings).scale = scale


def zeros_like(world: World) -> None:
    weight = world.model[0].weight
    weight.data = bl.zeros_like(weight)


CHANGES: dict[str, Callable[[World], Any]] = {
    "an attribute": lambda w: setattr(w.settings, "scale", 0.75),
    "an entry": lambda w: w.settings.names.__setitem__("b", 0.5),
    "an element": lambda w: w.settings.signs.__setitem__(0, 7),
    "a length": lambda w: w.settings.signs.append(2),
    "a closure cell": lambda w: w.change_weight(0.25),
    "a layer": replace_layer,
    "a layer's attribute": lambda w: w.model[1].eval(),
    "a layer more": lambda w: w.model.append(nn.ReLU()),
    "a module's hook": lambda w: w.model[1].register_forward_hook(lambda module, args, out: out * 2),
    "a parameter's hook": lambda w: w.model[0].weight.register_hook(lambda g: g * 2),
    "a frozen parameter": lambda w: w.model[0].weight.requires_grad_(False),
    "a parameter's memory": zeros_like,
    "a parameter group": lambda w: w.optimizer.add_param_group({"params": [w.settings.more]}),
    "an option that turns something on": lambda w: w.optimizer.param_groups[0].update(weight_decay=0.5),
    "an attribute that is gone": take_scale_away,
}


@pytest.fixture(autouse=True)
def _class_as_it_was():
    yield
    if "scale" in vars(Settings):
        del Settings.scale


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_around_a_step_is_seen(what: str) -> None:
    pair = Pair()
    pair.change(CHANGES[what])
    if what == "an option that turns something on":
        with pytest.raises(Misfit):
            repeated(pair.compiled, bl.tensor(X))
    else:
        assert is_refused(pair)
    for _ in range(4):
        pair.agree()


@pytest.mark.parametrize(
    "x",
    [
        bl.tensor(np.concatenate([X, X])),
        bl.tensor(X.astype(np.float64)),
        bl.tensor(np.ascontiguousarray(X.T)).T,
        bl.tensor(X).requires_grad_(),
        nn.Parameter(bl.tensor(X)),
        X,
    ],
    ids=["shape", "dtype", "strides", "gradient", "class", "array"],
)
def test_another_kind_of_argument_is_no_repetition(x: Any) -> None:
    pair = Pair()
    assert is_refused(pair, x)
    assert pair.repeats()


@pytest.mark.parametrize("setting", ["threads", "dtype", "recording"])
def test_settings_are_compared(setting: str, number_of_threads: Any) -> None:
    pair = Pair()
    if setting == "threads":
        number_of_threads(3)
        assert is_refused(pair)
    elif setting == "recording":
        with bl.no_grad():
            assert is_refused(pair)
    else:
        bl.set_default_dtype(np.float64)
        try:
            assert is_refused(pair)
        finally:
            bl.set_default_dtype(np.float32)


def test_what_may_change_from_call_to_call_does_not_end_repetition() -> None:
    pair = Pair()
    changes: list[Callable[[World], Any]] = [
        lambda w: w.optimizer.param_groups[0].update(lr=0.01),
        lambda w: w.optimizer.zero_grad(),
        lambda w: w.model[2].bias.detach().zero_(),
    ]
    for change in changes:
        pair.change(change)
        assert pair.repeats(bl.tensor(X * 3))  # another array as well
        pair.agree()


def test_a_step_of_tensors_and_optimizers_is_simple() -> None:
    """Or these tests would not show what a function of its own does."""
    assert _is_simple(Pair().compiled._forms.latest.binding, steady=True)


class Layers:
    """Tensors by themselves, updated by hand."""

    def __init__(self) -> None:
        rng = np.random.default_rng(2)
        self.weight, self.bias = (
            bl.tensor(rng.normal(size=size).astype(np.float32)).requires_grad_() for size in ((3, 2), (2,))
        )
        self.spare = bl.ones(2, requires_grad=True)
        self.offset = bl.tensor(0.5)

    def step(self, x: Any) -> Any:
        loss = (x @ self.weight + self.bias - self.offset).square().mean()
        made = bl.autograd.grad(loss, [self.weight, self.bias, self.spare], allow_unused=True)
        return [loss.detach(), *[g for g in made if g is not None]]


RAW_CHANGES: dict[str, Callable[[Layers], Any]] = {
    "another tensor": lambda w: setattr(w, "offset", bl.tensor(0.75)),
    "another leaf": lambda w: setattr(w, "bias", bl.ones(2, requires_grad=True)),
    "a leaf's memory": lambda w: setattr(w.bias, "data", bl.ones(2)),
    "a leaf that requires none": lambda w: w.bias.requires_grad_(False),
    "one leaf for another": lambda w: setattr(w, "spare", w.bias),
    "computed from another leaf": lambda w: setattr(w, "spare", w.bias * 2),
}


@pytest.mark.parametrize("what", RAW_CHANGES)
def test_variables_that_hold_tensors_are_compared(what: str) -> None:
    worlds = Layers(), Layers()
    compiled = bl.compile(worlds[1].step, fallback=True)
    x = bl.tensor(X)
    for _ in range(2):
        compiled(x)
    assert repeated(compiled, x) is not NotImplemented
    for world in worlds:
        RAW_CHANGES[what](world)
    assert repeated(compiled, x) is NotImplemented
    if what == "a leaf that requires none":
        return  # eager mode refuses it as well
    for _ in range(4):
        for a, b in zip(compiled(x), worlds[0].step(x), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


def test_one_of_two_tensors_that_share_memory_gets_memory_of_its_own() -> None:
    class Held:
        whole = bl.tensor(X.copy())
        part = whole[:2]

    def function(x: Any) -> Any:
        return (Held.whole * x).sum() + Held.part

    compiled = bl.compile(function)
    x = bl.ones(3)
    for _ in range(4):
        compiled(x)
    assert repeated(compiled, x) is not NotImplemented
    Held.part.data = bl.zeros(2, 3)
    assert repeated(compiled, x) is NotImplemented
    np.testing.assert_allclose(compiled(x).numpy(), np.full((2, 3), X.sum()), rtol=1e-5)


def test_variables_that_hold_other_tensors_are_looked_up() -> None:
    pair = Pair()
    pair.change(lambda w: setattr(w.settings, "scale", bl.tensor(0.5)))
    for i in range(4):
        pair.change(lambda w, i=i: setattr(w.settings, "scale", bl.tensor(0.1 * i)))
        pair.agree()
    assert pair.repeats()
    assert not _is_simple(pair.compiled._forms.latest.binding, steady=False)


@pytest.mark.parametrize(
    "optimizer",
    [
        bl.optim.SGD,
        lambda p, lr: bl.optim.SGD(p, lr=lr, momentum=0.9),
        bl.optim.AdamW,
        bl.optim.RMSprop,
        lambda p, lr: bl.optim.Adam([{"params": [q], "lr": lr * (i + 1)} for i, q in enumerate(p)]),
    ],
    ids=["sgd", "momentum", "adamw", "rmsprop", "groups"],
)
def test_optimizers_count_and_update(optimizer: Any) -> None:
    pair = Pair(lambda: World(optimizer))
    for _ in range(3):
        assert pair.repeats()
        pair.agree()
    states = [world.optimizer.state_dict()["state"] for world in pair.worlds]
    assert [s.get("step") for s in states[0].values()] == [s.get("step") for s in states[1].values()]


def test_a_parameter_with_another_number_of_steps_makes_it_another_update() -> None:
    pair = Pair()
    pair.change(lambda w: w.optimizer.state[w.model[0].weight]["step"].fill_(1))
    with pytest.raises(Misfit):
        repeated(pair.compiled, bl.tensor(X))
    for _ in range(3):
        pair.agree()


def test_gradients_that_were_used_up_say_so_again_after_they_were_cleared() -> None:
    pair = Pair()
    world = pair.worlds[1]
    world.optimizer.zero_grad()
    assert world.model[0].weight.grad is None
    assert pair.repeats()
    with pytest.raises(bl.errors.GradientError, match="used up"):
        world.model[0].weight.grad.numpy()


def test_a_repeated_call_counts_its_writes() -> None:
    pair = Pair()
    weight = pair.worlds[1].model[0].weight
    loss = (weight * weight).sum()
    assert pair.repeats()
    with pytest.raises(bl.errors.GradientError):  # what backward needs was overwritten
        loss.backward()


def test_a_stream_goes_on_where_it_was() -> None:
    pair = Pair(lambda: World(dropout=0.5))
    losses = {}
    for run in (pair.worlds[0].step, partial(repeated, pair.compiled)):
        bl.manual_seed(3)
        losses[run] = [run(bl.tensor(X)).item() for _ in range(4)]
    eager, compiled = losses.values()
    np.testing.assert_allclose(compiled, eager, rtol=1e-4)
    assert len(set(eager)) == 4


def test_memory_that_moves_is_found() -> None:
    """Another form of the same function needs a larger arena, which both use from then on."""
    pair = Pair()
    large = bl.tensor(np.tile(X, (2000, 1)))
    small = pair.compiled._forms.latest
    for _ in range(3):
        pair.agree(large)
    assert pair.compiled._forms.latest is not small
    x = bl.tensor(X)
    wanted = pair.worlds[0].step(x)
    np.testing.assert_allclose(small.repeat((x,)).item(), wanted.item(), rtol=1e-4)
    pair.agree()


def test_gradients_of_arguments_and_variables_are_there_or_not_as_before() -> None:
    """Where none was there, the program makes one; where one was, it adds to it."""
    model = nn.Linear(3, 6, bias=False)
    holder = {"moving": nn.Parameter(bl.tensor(X + 1))}

    def step(x: Any) -> None:
        (x * model.weight * holder["moving"]).sum().backward()

    compiled = bl.compile(step, gradients=True)
    x = bl.tensor(X).requires_grad_()
    leaves = [x, model.weight, holder["moving"]]
    for _ in range(4):
        for leaf in leaves:
            leaf.grad = None
        compiled(x)
    for leaf in leaves:
        for other in leaves:
            other.grad = None
        assert repeated(compiled, x) is None
        for other in leaves:
            other.grad = None
        leaf.grad = bl.ones_like(leaf)
        assert repeated(compiled, x) is NotImplemented
        compiled(x)
        wanted = 1 + np.prod([other.detach().numpy() for other in leaves if other is not leaf], axis=0)
        np.testing.assert_allclose(leaf.grad.numpy(), wanted, rtol=1e-6)


def test_the_names_in_a_mapping_and_their_order_are_compared() -> None:
    parts = {"a": bl.tensor(1.0), "b": bl.tensor(2.0)}

    def function(x: Any) -> Any:
        total = x
        for name in parts:
            total = total * 2 + parts[name]
        return total

    compiled = bl.compile(function)
    x = bl.tensor(X)
    for _ in range(4):
        compiled(x)
    assert repeated(compiled, x) is not NotImplemented
    for change in (lambda: parts.update(a=parts.pop("a")), lambda: parts.update(c=bl.tensor(3.0))):
        change()
        assert repeated(compiled, x) is NotImplemented
        for _ in range(4):
            np.testing.assert_allclose(compiled(x).numpy(), function(x).numpy())


def test_an_attribute_of_an_object_that_its_class_had() -> None:
    class Scaled:
        factor = 2.0

    scaled = Scaled()
    compiled = bl.compile(lambda x: x * scaled.factor)
    x = bl.tensor(X)
    for _ in range(4):
        compiled(x)
    assert repeated(compiled, x) is not NotImplemented
    scaled.factor = 3.0
    assert repeated(compiled, x) is NotImplemented
    np.testing.assert_allclose(compiled(x).numpy(), 3 * X)


def test_numbers_are_written_down_once_for_steps_that_have_the_same() -> None:
    pair = Pair(lambda: World(bl.optim.SGD))
    for rate in (0.01, 0.02, 0.01, 0.01, 0.02):
        pair.change(lambda w, rate=rate: w.optimizer.param_groups[0].update(lr=rate))
        assert pair.repeats()
        pair.agree()


def test_a_simple_program_whose_argument_is_what_it_writes_to_runs_eagerly() -> None:
    model = nn.Linear(3, 3, bias=False)
    optimizer = bl.optim.SGD(model.parameters(), lr=0.5)

    def step(x: Any) -> Any:
        loss = (x * model.weight).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    compiled = bl.compile(step)
    for _ in range(4):
        compiled(bl.tensor(X[:3]))
    assert _is_simple(compiled._forms.latest.binding, steady=True)
    shared, before = model.weight.detach(), model.weight.detach().numpy().copy()
    with pytest.raises(Unforeseen):
        repeated(compiled, shared)
    np.testing.assert_array_equal(shared.numpy(), before)
    assert compiled(shared).item() == pytest.approx((before * before).sum(), rel=1e-5)
    np.testing.assert_allclose(shared.numpy(), before - 0.5 * before, rtol=1e-5)


def test_a_simple_program_whose_values_do_not_suit_it_does_nothing_and_can_be_called_again() -> None:
    table = nn.Embedding(4, 3)

    @bl.no_grad()
    def total(index: Any) -> Any:
        return table(index).sum()

    compiled = bl.compile(total)
    for _ in range(4):
        compiled(bl.tensor(np.array([0, 3])))
    assert _is_simple(compiled._forms.latest.binding, steady=True)
    with pytest.raises(Unforeseen):
        repeated(compiled, bl.tensor(np.array([0, 4])))
    wanted = table.weight.detach().numpy()[[1, 2]].sum()
    assert repeated(compiled, bl.tensor(np.array([1, 2]))).item() == pytest.approx(wanted, rel=1e-5)


def test_a_simple_program_finds_its_arena_where_another_one_needed_a_larger() -> None:
    compiled = bl.compile(lambda x: (x.softmax(1) @ x.T.softmax(0)).exp().sum())
    small, large = bl.tensor(X), bl.tensor(np.tile(X, (300, 1)))
    for _ in range(4):
        compiled(small)
    form = compiled._forms.latest
    assert _is_simple(form.binding, steady=True) and form.binding.executable.arena.size
    wanted = form.repeat((small,)).item()
    old = form.binding.executable.arena
    for _ in range(2):
        compiled(large)
    old[:] = 0xFF
    assert form.repeat((small,)).item() == wanted
    assert np.all(old == 0xFF), "the program computed in memory that is no longer its own"


def test_repeated_calls_tell_that_compiling_is_not_in_vain() -> None:
    """Forms for objects that are gone before they could be used again are forgiven as long as others are of use."""

    class Batch:
        pass

    compiled = bl.compile(lambda x, *others: x * 2)
    x = bl.tensor(X)
    for _ in range(3):
        compiled(x)
    for _ in range(50):
        compiled(x, Batch())
        np.testing.assert_array_equal(compiled(x).numpy(), X * 2)
        assert repeated(compiled, x) is not NotImplemented
    assert compiled.reason is None


def test_many_variables_are_compared_in_parts() -> None:
    """More than are compiled at a time, and every one of them counts."""

    class Many:
        pass

    many = Many()
    count = 3 * _TOGETHER
    for i in range(count):
        setattr(many, f"x{i}", 0.5)  # named as the comparisons name objects
    source = "lambda x: x * (" + " + ".join(f"many.x{i}" for i in range(count)) + ")"
    function = eval(source, {"many": many})
    compiled = bl.compile(function)
    x = bl.tensor(X)
    for _ in range(4):
        compiled(x)
    for i in range(0, count, 37):
        assert repeated(compiled, x) is not NotImplemented
        setattr(many, f"x{i}", 1.5)
        assert repeated(compiled, x) is NotImplemented
        for _ in range(3):
            np.testing.assert_allclose(compiled(x).numpy(), function(x).numpy(), rtol=1e-5)
