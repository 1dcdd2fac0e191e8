"""Variables that a compiled function sets: they hold afterwards what they hold in eager mode, or it is refused."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import TraceError

nn = bl.nn
total: Any = None


class Box:
    """An object with attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("h",)


class Remembering(nn.Module):
    """One that keeps its last output in a plain attribute, a mean in a buffer, and a shape."""

    def __init__(self) -> None:
        super().__init__()
        bl.manual_seed(0)
        self.layer, self.last = nn.Linear(2, 2), None
        self.register_buffer("mean", bl.zeros(2))

    def forward(self, x: Any) -> Any:
        self.last = self.layer(x if self.last is None else x + self.last).detach()
        self.mean = self.mean * 0.5 + self.last * 0.5
        self.size = x.shape[0]
        return self.last + self.mean


def entry_of_a_dict() -> Any:
    held = {"ema": bl.zeros(2)}

    def step(x: Any) -> Any:
        held["ema"] = held["ema"] * 0.9 + x * 0.1
        held["new"] = x + 1
        return held["ema"] * 2

    return step, lambda: held


def attributes() -> Any:
    box = Box(h=bl.zeros(2))

    def step(x: Any) -> Any:
        box.h = (box.h + x).detach()
        box.last = box.h * 2
        box.done = True
        return box.h.sum()

    return step, lambda: vars(box)


def slot() -> Any:
    held = Slotted()
    held.h = bl.zeros(2)

    def step(x: Any) -> Any:
        held.h = held.h + x
        return held.h * 2

    return step, lambda: held.h


def global_variable() -> Any:
    globals()["total"] = bl.zeros(2)

    def step(x: Any) -> Any:
        global total
        total = total + x
        return total * 2

    return step, lambda: total


def closure() -> Any:
    summed = bl.zeros(2)

    def step(x: Any) -> Any:
        nonlocal summed
        summed = summed + x
        return summed * 2

    return step, lambda: summed


def entries_of_a_list() -> Any:
    held = [bl.zeros(2), bl.ones(2)]

    def step(x: Any) -> Any:
        held[0], held[1] = held[1], held[0] + x
        return held[0] * 3

    return step, lambda: held


def full_deque() -> Any:
    held = deque([bl.zeros(2)] * 3, maxlen=3)

    def step(x: Any) -> Any:
        held.append(x * 2)
        return held[0] + held[1] + held[2]

    return step, lambda: list(held)


def state_in_a_tuple() -> Any:
    box = Box(state=None)

    def step(x: Any) -> Any:
        h, c = box.state if box.state is not None else (bl.zeros(2), bl.zeros(2))
        h = bl.tanh(h + x)
        box.state = (h, {"c": c + h}["c"])
        return h

    return step, lambda: box.state


def list_made_anew() -> Any:
    box = Box(history=[])

    def step(x: Any) -> Any:
        box.history = [*box.history[-2:], x * 2]
        return sum(box.history)

    return step, lambda: box.history


def dictionary_made_anew() -> Any:
    box = Box(state=None)

    def step(x: Any) -> Any:
        state = box.state or {"h": bl.zeros(2), "c": [bl.zeros(2), 0.5]}
        h = bl.tanh(state["h"] * state["c"][1] + x)
        box.state = {"h": h, "c": [state["c"][0] + h, 0.5]}
        return box.state["c"][0]

    return step, lambda: box.state


def object_made_anew() -> Any:
    box = Box(state=Box(h=bl.zeros(2), k=0.5))

    def step(x: Any) -> Any:
        box.state = Box(h=box.state.h * box.state.k + x, k=0.5)
        return box.state.h * 2

    return step, lambda: vars(box.state)


def old_dictionary_changed_and_given_up() -> Any:
    box = Box(state={"h": bl.zeros(2)}, old=None)

    def step(x: Any) -> Any:
        box.old = box.state
        box.old["h"] = box.old["h"] + x
        box.state = {"h": box.old["h"] * 2}
        return box.state["h"]

    return step, lambda: (box.state, box.old)


def module() -> Any:
    net = Remembering()
    return net, lambda: (net.last, net.mean, net.size, dict(net.named_buffers()))


def cache() -> Any:
    held: dict[str, Any] = {}

    def step(x: Any) -> Any:
        if "w" not in held:
            held["w"] = bl.full((2,), 3.0)
        return x * held["w"]

    return step, lambda: held


def loss_after_its_backward_pass() -> Any:
    w, held = bl.ones(2, requires_grad=True), Box()

    def step(x: Any) -> Any:
        w.grad = None
        held.loss = (w * x).sum()
        held.loss.backward()
        return w.grad * 2

    return step, lambda: held.loss.item()


def data_in_place() -> Any:
    w = bl.ones(2, requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        (w * w * x).sum().backward()
        w.data -= 0.01 * w.grad.data
        w.data.clamp_(0.0, 0.97)
        return w.sum().detach()

    return step, lambda: w


def data_replaced() -> Any:
    w = bl.ones(2, requires_grad=True)

    def step(x: Any) -> Any:
        w.data = w.data * 0.9
        return (w * x).sum().detach()

    return step, lambda: w


ASSIGNMENTS = [
    entry_of_a_dict,
    attributes,
    slot,
    global_variable,
    closure,
    entries_of_a_list,
    full_deque,
    state_in_a_tuple,
    list_made_anew,
    dictionary_made_anew,
    object_made_anew,
    old_dictionary_changed_and_given_up,
    module,
    cache,
    loss_after_its_backward_pass,
    data_in_place,
    data_replaced,
]


def plain(x: Any) -> Any:
    """A result as numbers and containers."""
    if isinstance(x, bl.Tensor):
        return np.round(x.detach().numpy(), 4).tolist()
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    return [plain(part) for part in x] if isinstance(x, (list, tuple)) else x


@pytest.mark.parametrize("make", ASSIGNMENTS, ids=lambda make: make.__name__)
def test_variables_hold_what_they_hold_in_eager_mode(make: Any) -> None:
    (step, held), runs = make(), 8
    wanted = []
    for i in range(runs):
        given = step(bl.full((2,), i + 1.0))
        wanted.append((plain(given), plain(held())))
    step, held = make()
    compiled = bl.compile(step)
    for i in range(runs):
        given = compiled(bl.full((2,), i + 1.0))
        assert (plain(given), plain(held())) == wanted[i], f"call {i}"
    function = compiled._compiled if isinstance(compiled, nn.Module) else compiled
    forms = function._forms.all()
    assert function.reason is None
    assert len(forms) <= 5
    assert any(form.built for form in forms)


def test_a_list_that_is_emptied_outside_is_filled_again() -> None:
    kept: list[Any] = []

    @bl.compile
    def step(x: Any) -> Any:
        kept.append(x * 2)
        kept.append(7)
        return x

    for i in range(5):
        step(bl.full((1,), float(i)))
        assert plain(kept) == [[2.0 * i], 7]
        kept.clear()
    assert len(step._forms.all()) == 1


def test_a_flag_that_is_reset_outside_is_set_again() -> None:
    box = Box(done=False)

    @bl.compile
    def step(x: Any) -> Any:
        box.done = True
        return x * 2

    for _ in range(4):
        step(bl.ones(2))
        assert box.done
        box.done = False


def test_an_assigned_tensor_is_the_callers_own() -> None:
    """What one call put somewhere is not overwritten by the next."""
    box = Box(last=None)

    @bl.compile
    def step(x: Any) -> Any:
        box.last = x * 2
        return x

    kept = []
    for i in range(5):
        step(bl.full((3,), float(i)))
        kept.append(box.last)
    assert [t.tolist() for t in kept] == [[2.0 * i] * 3 for i in range(5)]


def refused(function: Callable[[Any], Any], match: str) -> None:
    with pytest.raises(TraceError, match=match):
        bl.compile(function)(bl.ones(2))
    lenient = bl.compile(function, fallback=True)
    for _ in range(3):
        lenient(bl.ones(2))
    assert lenient.reason is not None


def test_refusals() -> None:
    box, long, w = Box(made=None), [0] * 500, bl.ones(2, requires_grad=True)
    optimizer = bl.optim.SGD([w], lr=0.1)
    scheduler = bl.optim.lr_scheduler.StepLR(optimizer, 2)

    def make_object(x: Any) -> Any:
        box.made = nn.ReLU()
        return x * 2

    def keep_the_graph(x: Any) -> Any:
        box.made = w * x
        return x * 2

    def change_a_long_list(x: Any) -> Any:
        long[3] += 1
        return x * 2

    def set_a_class(x: Any) -> Any:
        Box.seen = x * 2  # type: ignore[attr-defined]
        return x

    def change_the_rate(x: Any) -> Any:
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()
        scheduler.step()
        scheduler.step()
        return x

    def seed(x: Any) -> Any:
        bl.manual_seed(3)
        return x + bl.rand(2)

    def freeze(x: Any) -> Any:
        w.requires_grad_(not w.requires_grad)
        return x * 2

    refused(make_object, r"sets 'made' to an object that it made \(ReLU\)")
    refused(keep_the_graph, r"'made' to a tensor of shape \(2,\) that requires gradients.*detach")
    refused(change_a_long_list, "a list of 500 entries")
    Box.seen = None  # type: ignore[attr-defined]
    refused(set_a_class, "'seen' of a class")
    refused(change_the_rate, "option 'lr' is changed inside the function, from 0.1 to")
    refused(seed, r"manual_seed at test_assignments.py:\d+.*moves a stream")
    refused(freeze, r"requires_grad of a tensor of shape \(2,\)")


def test_removing_an_entry_is_refused() -> None:
    held = {"a": 1.0, "b": 2.0}
    with pytest.raises(TraceError, match="removes 'a'"):
        bl.compile(lambda x: x * held.pop("a"))(bl.ones(2))


def test_fit_undoes_what_tracing_assigned() -> None:
    """The watched run of a compiled training is not a step: what it set is put back before the native one."""

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            bl.manual_seed(0)
            self.layer, self.memory = nn.Linear(2, 1), bl.zeros(1)

        def forward(self, x: Any) -> Any:
            out = self.layer(x)
            self.memory = self.memory + 1.0
            return out

    nets = []
    for compile in (False, True):
        net = Counting()
        x = np.random.default_rng(0).normal(size=(32, 2)).astype(np.float32)
        y = x[:, :1] * 2
        bl.train.fit(net, (x, y), loss="mse", optimizer="sgd", epochs=2, batch_size=8, compile=compile, progress=False)
        nets.append(net)
    eager, native = nets
    assert eager.memory.tolist() == native.memory.tolist() == [8.0]
    np.testing.assert_allclose(native.layer.weight.detach().numpy(), eager.layer.weight.detach().numpy(), rtol=1e-5)


def test_a_state_that_is_reset_outside_begins_anew() -> None:
    step, _ = state_in_a_tuple()
    box = step.__closure__[0].cell_contents
    compiled, x = bl.compile(step), bl.ones(2)
    first = [compiled(x).tolist() for _ in range(6)]
    for reset in (None, [bl.zeros(2), bl.zeros(2)], (bl.zeros(2), bl.zeros(2))):
        box.state = reset
        np.testing.assert_allclose([compiled(x).tolist() for _ in range(6)], first, rtol=1e-6)


def test_containers_that_are_exchanged_outside_are_followed() -> None:
    """As ``reset()`` does at the beginning of each sequence."""
    box = Box(cache={"n": bl.zeros(2)}, seen=[bl.zeros(2)])

    @bl.compile
    def step(x: Any) -> Any:
        box.cache["n"] = box.cache["n"] + x
        box.seen[0] = box.seen[0] * 0.5 + box.cache["n"]
        return box.seen[0]

    for i in range(12):
        if i % 2 == 0:
            box.cache, box.seen = {"n": bl.zeros(2)}, [bl.full((2,), 2.0)]
        assert step(bl.ones(2)).tolist() == [2.0 if i % 2 == 0 else 3.0] * 2
        assert box.cache["n"].tolist() == [1.0 + i % 2] * 2
    assert len(step._forms.all()) <= 3
    box.cache = box.seen = {"n": bl.zeros(2), 0: bl.zeros(2)}
    assert step(bl.ones(2)).tolist() == [1.0, 1.0]


def test_containers_that_become_one_are_one() -> None:
    box = Box(a={"n": bl.zeros(2)}, b={"n": bl.zeros(2)})

    @bl.compile
    def step(x: Any) -> Any:
        box.a["n"] = box.a["n"] + x
        return box.b["n"] * 2

    for i in range(9):
        one = {"n": bl.zeros(2)}
        box.a, box.b = one, one if i > 5 else {"n": bl.zeros(2)}
        assert step(bl.ones(2)).tolist() == [2.0 if i > 5 else 0.0] * 2


def in_step(function: Any, other: Any, states: Any, calls: int = 8) -> None:
    """Call a function eagerly, and its twin compiled; what they give and what their states hold must agree."""
    compiled = bl.compile(other)
    for i in range(calls):
        wanted, found = function(bl.full((2,), i + 1.0)), compiled(bl.full((2,), i + 1.0))
        assert (plain(found), plain(states[1])) == (plain(wanted), plain(states[0])), f"call {i}"


def test_an_old_value_that_is_given_back_is_read_before_it_is_replaced() -> None:
    def make() -> Any:
        state = {"h": bl.zeros(2)}

        def step(x: Any) -> Any:
            old = state["h"]
            state["h"] = state["h"] + x
            return old

        return step, state

    (step, state), (other, twin) = make(), make()
    in_step(step, other, (state, twin))


def test_one_tensor_in_two_places_stays_one() -> None:
    box = Box(a=None, b=None)

    @bl.compile
    def step(x: Any) -> Any:
        box.a = box.b = x * 2
        return box.a

    for i in range(4):
        given = step(bl.full((2,), float(i)))
        assert given is box.a is box.b


class Hidden(nn.Module):
    """State in attributes with an underscore, which the library's own have too."""

    def __init__(self) -> None:
        super().__init__()
        self._h, self._n = None, 0.0

    def forward(self, x: Any) -> Any:
        self._h = x if self._h is None else self._h * 0.5 + x
        return self._h + 1.0


def test_hidden_attributes_of_modules() -> None:
    net, twin = Hidden(), Hidden()
    compiled = bl.compile(twin)
    for i in range(9):
        if i % 3 == 2:
            net._h = twin._h = None
        assert plain(compiled(bl.full((2,), i + 1.0))) == plain(net(bl.full((2,), i + 1.0)))
        assert plain(twin._h) == plain(net._h)


def test_shapes_of_tensors_that_are_asked_for_only() -> None:
    def make() -> Any:
        box = Box(h=None)

        def step(x: Any) -> Any:
            box.h = x.detach() * 2 if box.h is None or box.h.shape != x.shape else box.h + x
            return box.h * (2 if box.h.shape[0] == 2 else 3)

        return step, box

    (step, box), (other, twin) = make(), make()
    compiled = bl.compile(other)
    for i in range(14):
        x = bl.full((3 if i % 4 == 2 else 2,), i + 1.0)
        assert plain(compiled(x)) == plain(step(x)), f"call {i}"
        assert plain(twin.h) == plain(box.h)


def test_minus_zero_is_another_number() -> None:
    box = Box(k=0.0)
    compiled = bl.compile(lambda x: x * box.k)
    assert [np.signbit(compiled(bl.ones(1)).numpy()).item() for _ in range(3)] == [False] * 3
    box.k = -0.0
    assert np.signbit(compiled(bl.ones(1)).numpy()).item()


def test_sets_and_long_dictionaries_are_not_changed_inside() -> None:
    names, long = {"a"}, {i: bl.zeros(2) for i in range(300)}

    def add(x: Any) -> Any:
        names.add("b")
        return x * 2

    def replace(x: Any) -> Any:
        long[7] = x * 2
        return x

    for function in (add, replace):
        with pytest.raises(TraceError, match=r"changes a (set|dict) of (1|300) entries"):
            bl.compile(function)(bl.ones(2))


def test_copies_of_objects_with_compiled_methods() -> None:
    import copy

    class Counter:
        def __init__(self) -> None:
            self.h = bl.zeros(2)

        @bl.compile
        def step(self, x: Any) -> Any:
            self.h = self.h + x
            return self.h * 2

    a = Counter()
    for _ in range(3):
        a.step(bl.ones(2))
    b = copy.copy(a)
    for _ in range(3):
        b.step(bl.ones(2))
    assert (a.h.tolist(), b.h.tolist()) == ([3.0, 3.0], [6.0, 6.0])
