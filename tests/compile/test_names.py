"""Attributes and entries that code asks for, or makes up the names of: compiled results are eager mode's."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import TraceError
from backlit.compile.trace.names import names_of

nn = bl.nn
options = ModuleType("options")


class Box:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("k",)


class Listed(list):
    """A list with attributes."""


class Gained(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * getattr(self, "gain", 1.0)


class Based:
    k = 1.0


class Derived(Based):
    def __call__(self, x: Any) -> Any:
        return x * self.k


class Scaled(nn.Module):
    scale = 1.0

    def forward(self, x: Any) -> Any:
        return x * self.scale


Case = tuple[Callable[[Any], Any], Callable[[], Any]]


def asked_with_hasattr() -> Case:
    box = Box()
    return lambda x: x * box.k if hasattr(box, "k") else x, lambda: setattr(box, "k", 5.0)


def asked_with_a_default() -> Case:
    box = Box()
    return lambda x: x * getattr(box, "k", 2.0), lambda: setattr(box, "k", 5.0)


def asked_of_a_module() -> Case:
    net = Gained()
    return net, lambda: setattr(net, "gain", 3.0)


def asked_of_a_layer() -> Case:
    layer = nn.ReLU()
    return lambda x: layer(x) * getattr(layer, "gain", 1.0), lambda: setattr(layer, "gain", 3.0)


def asked_of_a_python_module() -> Case:
    vars(options).pop("k", None)
    return lambda x: x * getattr(options, "k", 2.0), lambda: setattr(options, "k", 3.0)


def asked_of_a_slot() -> Case:
    held = Slotted()
    return lambda x: x * getattr(held, "k", 2.0), lambda: setattr(held, "k", 5.0)


def asked_of_a_dictionary() -> Case:
    held = {"a": 1.0}
    return lambda x: x * held.get("b", 2.0), lambda: held.update(b=held.pop("a") * 7)


def caught() -> Case:
    box = Box()

    def step(x: Any) -> Any:
        try:
            return x * box.k
        except AttributeError:
            return x

    return step, lambda: setattr(box, "k", 5.0)


def hiding_what_a_base_class_has() -> Case:
    held = Derived()
    return held, lambda: setattr(held, "k", 5.0)


def hiding_what_a_modules_class_has() -> Case:
    net = Scaled()
    return net, lambda: setattr(net, "scale", 5.0)


def made_up_number() -> Case:
    box = Box(k0=1.0, k1=2.0)
    return lambda x: x * getattr(box, f"k{len(x.shape)}"), lambda: setattr(box, "k1", 3.0)


def made_up_number_of_a_python_module() -> Case:
    vars(options).update(k1=2.0)
    return lambda x: x * getattr(options, f"k{len(x.shape)}"), lambda: setattr(options, "k1", 3.0)


def made_up_tensor() -> Case:
    box = Box(k0=bl.ones(2), k1=bl.full((2,), 2.0))
    return lambda x: x * vars(box)[f"k{len(x.shape)}"], lambda: setattr(box, "k1", bl.ones(2))


def made_up_and_missing() -> Case:
    net = Scaled()
    return lambda x: x * getattr(net, f"k{len(x.shape)}", 1.0), lambda: setattr(net, "k1", 3.0)


def attribute_of_a_list() -> Case:
    held = Listed([1.0])
    held.k = 1.0
    return lambda x: x * held.k * held[0], lambda: setattr(held, "k", 3.0)


def attribute_of_a_function() -> Case:
    def step(x: Any) -> Any:
        return x * step.k  # type: ignore[attr-defined]

    step.k = 1.0  # type: ignore[attr-defined]
    return step, lambda: setattr(step, "k", 3.0)


def order_of_a_dictionary() -> Case:
    held = {"a": 1.0, "b": 2.0}
    return lambda x: x * next(iter(held.values())), lambda: held.update(a=held.pop("a"))


def members_of_a_set() -> Case:
    held = {"a"}

    def change() -> None:
        held.remove("a")
        held.add("b")

    return lambda x: x * (2.0 if "a" in held else 3.0), change


def entry_of_a_long_list() -> Case:
    held = [1.0] * 500
    return lambda x: x * held[3], lambda: held.__setitem__(3, 2.0)


def tensor_in_a_long_dictionary() -> Case:
    held = {i: bl.ones(2) for i in range(500)}
    return lambda x: x * held[3], lambda: held.__setitem__(3, bl.zeros(2))


def number_in_an_array() -> Case:
    held = np.ones(3)
    return lambda x: x * float(held[0]), lambda: held.__setitem__(0, 2.0)


def whether_there_is_a_gradient() -> Case:
    w = bl.ones(2, requires_grad=True)
    return lambda x: x if w.grad is None else x * 2.0, lambda: setattr(w, "grad", bl.ones(2))


def whether_there_is_no_gradient() -> Case:
    w = bl.ones(2, requires_grad=True)
    w.grad = bl.ones(2)
    return lambda x: x if w.grad is None else x * 2.0, lambda: setattr(w, "grad", None)


class Dispatching:
    """Its method is called by a name that is made up, and no other code names what that looks at."""

    kind = "mean"

    def __call__(self, x: Any) -> Any:
        return getattr(self, f"loss_{self.kind}")(x)

    def loss_mean(self, x: Any) -> Any:
        return x.mean() * hidden_factor * x


hidden_factor = 1.0


def number_in_a_method_under_a_made_up_name() -> Case:
    globals()["hidden_factor"] = 1.0
    return Dispatching(), lambda: globals().update(hidden_factor=3.0)


def function_of_the_library_in_a_dictionary() -> Case:
    held = {"f": bl.relu}
    return lambda x: held["f"](x - 1.5), lambda: held.update(f=bl.tanh)


def module_in_an_attribute() -> Case:
    box = Box(ops=bl)
    return lambda x: box.ops.exp(x), lambda: setattr(box, "ops", np)


def class_in_an_attribute() -> Case:
    box = Box(kind=nn.ReLU)
    return lambda x: box.kind()(x - 1.5), lambda: setattr(box, "kind", nn.Tanh)


def namespace_under_a_made_up_name() -> Case:
    held = SimpleNamespace(k1=2.0)
    return lambda x: x * getattr(held, f"k{len(x.shape)}"), lambda: setattr(held, "k1", 3.0)


def context_variable() -> Case:
    held = ContextVar("held", default=2.0)
    return lambda x: x * held.get(), lambda: held.set(3.0)


CASES = [
    context_variable,
    *(number_in_a_method_under_a_made_up_name, function_of_the_library_in_a_dictionary, module_in_an_attribute),
    *(class_in_an_attribute, namespace_under_a_made_up_name),
    *(asked_with_hasattr, asked_with_a_default, asked_of_a_module, asked_of_a_layer, asked_of_a_python_module),
    *(asked_of_a_slot, asked_of_a_dictionary, caught, hiding_what_a_base_class_has, hiding_what_a_modules_class_has),
    *(made_up_number, made_up_number_of_a_python_module, made_up_tensor, made_up_and_missing),
    *(attribute_of_a_list, attribute_of_a_function, order_of_a_dictionary, members_of_a_set, entry_of_a_long_list),
    *(tensor_in_a_long_dictionary, number_in_an_array, whether_there_is_a_gradient, whether_there_is_no_gradient),
]


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_what_code_asked_for_may_change(make: Callable[[], Case]) -> None:
    function, change = make()
    compiled, x = bl.compile(function), bl.tensor([1.0, 2.0])
    for _ in range(3):
        before = compiled(x).tolist()
    assert before == pytest.approx(function(x).tolist(), rel=1e-6)
    change()
    wanted = function(x).tolist()
    assert wanted != before, "nothing changed"
    for _ in range(3):
        assert compiled(x).tolist() == pytest.approx(wanted, rel=1e-6)
    own = compiled._compiled if isinstance(compiled, nn.Module) else compiled
    assert own.reason is None and len(own._forms.all()) <= 2


@pytest.mark.parametrize("kind", [Box, nn.Module])
def test_attributes_set_under_names_that_are_made_up(kind: Any) -> None:
    def make() -> Any:
        box = kind()
        box.h0 = bl.zeros(2)

        def step(x: Any) -> Any:
            for i in range(2):
                setattr(box, f"h{i}", getattr(box, f"h{i}", x) + x * (i + 1))
            return getattr(box, "h" + str(1)) * 2

        return step, box

    (step, box), (other, twin) = make(), make()
    compiled = bl.compile(other)
    for i in range(6):
        x = bl.full((2,), i + 1.0)
        assert compiled(x).tolist() == step(x).tolist()
        assert [getattr(twin, name).tolist() for name in ("h0", "h1")] == [box.h0.tolist(), box.h1.tolist()]
    assert compiled._latest().capture.outcome.assigned and len(compiled._forms.all()) == 2


def test_a_view_of_a_mapping_follows_the_mapping() -> None:
    held = {"a": bl.zeros(2)}
    view = MappingProxyType(held)

    @bl.compile
    def step(x: Any) -> Any:
        held["a"] = view["a"] + x
        return view["a"] * 2

    assert [step(bl.ones(2)).tolist() for _ in range(4)] == [[2.0 * i] * 2 for i in range(1, 5)]


def test_arrays_are_not_written_to_inside() -> None:
    held = np.zeros(3)

    def step(x: Any) -> Any:
        held[0] += 1
        return x * 2

    with pytest.raises(TraceError, match=r"writes to a NumPy array of shape \(3,\)"):
        bl.compile(step)(bl.ones(2))
    lenient = bl.compile(step, fallback=True)
    for _ in range(3):
        lenient(bl.ones(2))
    assert held[0] == 4.0 and "NumPy array" in str(lenient.reason)


def test_an_array_that_shows_a_parameter_changes_with_it() -> None:
    w = bl.ones(2)
    shown = w.numpy()

    @bl.compile
    def step(x: Any) -> Any:
        w.add_(x)
        return w * shown.shape[0]

    for i in range(4):
        assert step(bl.ones(2)).tolist() == [2.0 * (i + 2)] * 2
        assert shown.tolist() == [i + 2.0] * 2


def test_tensors_that_come_from_nowhere_are_refused() -> None:
    box = Box(h=bl.ones(2))
    reference = weakref.ref(box)
    with pytest.raises(TraceError, match=r"shape \(2,\) used at .* reached in a way that cannot be seen .*weak ref"):
        bl.compile(lambda x: reference().h + x)(bl.ones(2))


def test_what_a_cache_keeps_is_used() -> None:
    @cache
    def table(size: int) -> Any:
        return bl.arange(float(size))

    table(2)
    compiled = bl.compile(lambda x: x * table(x.shape[0]))
    assert [compiled(bl.ones(2)).tolist() for _ in range(3)] == [[0.0, 1.0]] * 3


def test_code_that_was_made_of_a_string() -> None:
    made: dict[str, Any] = {"__name__": "made", "factor": 1.0}
    exec("def scaled(x):\n    return x * factor\n", made)
    scaled = made["scaled"]
    compiled, x = bl.compile(lambda x: scaled(x)), bl.ones(2)
    for factor in (1.0, 3.0):
        made["factor"] = factor
        assert [compiled(x).tolist() for _ in range(3)] == [[factor] * 2] * 3


def test_which_names_are_made_up() -> None:
    plain = [
        lambda x: getattr(x.b.c(3), "a", 1) + hasattr(x, "b"),
        lambda x: setattr(x, "k", getattr(x, "k", 0) + (1 if x else 2)),
        lambda x: x.copy(),
    ]
    made_up = [
        lambda x, n: getattr(x, n),
        lambda x, i: setattr(x, f"h{i}", 1),
        lambda x: vars(x),
        lambda x: x.__dict__["a"],
        lambda x: list(map(getattr, x, ["a"])),
    ]
    assert [names_of(f.__code__).made_up for f in (*plain, *made_up)] == [False] * 3 + [True] * 5
    assert {"a", "b"} <= names_of(plain[0].__code__).asked and not names_of(plain[2].__code__).asked
