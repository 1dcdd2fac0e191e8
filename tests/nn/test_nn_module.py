"""Module: registration, traversal, names in the graph, modes, conversions, errors."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import backlit as bl
from backlit import nn
from backlit.errors import OverwrittenError, UnsupportedError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(3, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.out = nn.Sequential(nn.ReLU(), nn.Linear(4, 2))
        self.scale = nn.Parameter(bl.ones(1))
        self.register_buffer("steps", bl.tensor(0))
        self.register_buffer("cache", bl.zeros(2), persistent=False)

    def forward(self, x):
        x = self.hidden(x)
        for layer in self.layers:
            x = bl.relu(layer(x))
        return self.out(x) * self.scale


def test_members_are_found_by_path_in_order():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "scale",
        "hidden.weight",
        "hidden.bias",
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
        "out.1.weight",
        "out.1.bias",
    ]
    assert [n for n, _ in net.named_buffers()] == ["steps", "cache"]
    assert [n for n, _ in net.named_children()] == ["hidden", "layers", "out"]
    assert [n for n, _ in net.named_modules()] == [
        "",
        "hidden",
        "layers",
        "layers.0",
        "layers.1",
        "out",
        "out.0",
        "out.1",
    ]
    assert [n for n, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [n for n, _ in net.named_parameters(prefix="net")][:2] == ["net.scale", "net.hidden.weight"]
    assert net.get_submodule("layers.1") is net.layers[1]
    assert net.get_submodule("") is net
    assert net.get_parameter("out.1.bias") is net.out[1].bias
    assert net.get_buffer("steps") is net.steps


def test_shared_parameters_and_modules_count_once():
    net = nn.Module()
    net.a = nn.Linear(2, 2)
    net.b = net.a
    net.tied = net.a.weight
    assert [n for n, _ in net.named_parameters()] == ["tied", "a.bias"]
    assert len(list(net.modules())) == 2
    assert [n for n, _ in net.named_children()] == ["a"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 5
    assert sorted(net.state_dict()) == ["a.bias", "a.weight", "b.bias", "b.weight", "tied"]


def test_assignment_moves_a_name_between_kinds():
    net = nn.Module()
    net.x = 3
    net.x = nn.Parameter(bl.ones(2))
    assert [n for n, _ in net.named_parameters()] == ["x"]
    net.x = nn.Linear(1, 1)
    assert [n for n, _ in net.named_parameters(recurse=False)] == []
    assert [n for n, _ in net.named_children()] == ["x"]
    net.x = nn.Buffer(bl.zeros(1))
    assert [n for n, _ in net.named_buffers()] == ["x"]
    net.x = bl.ones(1)  # a plain tensor under a buffer's name stays a buffer
    assert [n for n, _ in net.named_buffers()] == ["x"]
    del net.x
    assert list(net.buffers()) == []
    assert not hasattr(net, "x")


def test_none_keeps_the_place():
    layer = nn.Linear(2, 2, bias=False)
    assert layer.bias is None
    assert [n for n, _ in layer.named_parameters()] == ["weight"]
    layer.bias = nn.Parameter(bl.zeros(2))
    assert [n for n, _ in layer.named_parameters()] == ["weight", "bias"]
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]


def test_wrong_kinds_are_refused():
    net = Net()
    with pytest.raises(TypeError, match=r"Net.scale is a parameter; .* not a Tensor"):
        net.scale = bl.ones(1)
    with pytest.raises(TypeError, match=r"Net.hidden is a module"):
        net.hidden = lambda x: x
    with pytest.raises(TypeError, match="expected a Parameter or None"):
        net.register_parameter("p", bl.ones(1))
    with pytest.raises(TypeError, match="expected a Tensor or None"):
        net.register_buffer("b", [1.0])
    with pytest.raises(TypeError, match="expected a Module or None"):
        net.add_module("m", bl.relu)
    with pytest.raises(KeyError, match="without dots"):
        net.add_module("a.b", nn.Identity())
    with pytest.raises(KeyError, match="already has an attribute 'forward'"):
        net.add_module("forward", nn.Identity())


def test_private_views_of_members_write_through():
    net = Net()
    net._modules["hidden"] = nn.Identity()
    assert isinstance(net.hidden, nn.Identity)
    assert list(net._parameters) == ["scale"]
    del net._buffers["cache"]
    assert [n for n, _ in net.named_buffers()] == ["steps"]
    with pytest.raises(KeyError):
        net._parameters["hidden"]


def test_parameters_before_init_are_refused_clearly():
    class Late(nn.Module):
        def __init__(self):
            self.size = 3
            self.weight = nn.Parameter(bl.ones(self.size))

    with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\) first in Late.__init__\(\)"):
        Late()

    class Never(nn.Module):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) ran"):
        list(Never().parameters())


def test_unknown_attributes_suggest_near_ones():
    with pytest.raises(AttributeError, match=r"Net has no attribute 'hiden' .did you mean 'hidden' or"):
        _ = Net().hiden
    with pytest.raises(AttributeError, match=r"no attribute 'qqq'$"):
        _ = Net().qqq
    with pytest.raises(AttributeError, match=r"did you mean '1'|no attribute '7'"):
        Net().get_submodule("layers.7")
    with pytest.raises(AttributeError, match="is a Linear, not a parameter"):
        Net().get_parameter("hidden")


def test_errors_inside_properties_are_not_hidden():
    class Odd(nn.Module):
        @property
        def depth(self):
            return self.missing_thing

    with pytest.raises(AttributeError, match="missing_thing"):
        _ = Odd().depth


def test_wrong_calls_give_pythons_errors():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'input'"):
        nn.Linear(2, 3)()
    with pytest.raises(TypeError, match="unexpected keyword"):
        nn.Linear(2, 3)(x=1)
    with pytest.raises(NotImplementedError, match="Empty does not define forward"):
        type("Empty", (nn.Module,), {})()(1)


def test_nodes_know_their_module():
    model = Net()
    out = model(bl.ones(2, 3))
    assert out.grad_fn.module == "model"
    paths = {node.module for node in bl.graph.reachable([out.grad_fn])}
    assert paths == {"model", "model.hidden", "model.layers.0", "model.layers.1", "model.out.0", "model.out.1"}
    assert bl.ones(1, requires_grad=True).exp().grad_fn.module == ""


def test_root_names():
    def train(net):
        return net(bl.ones(1, 3))

    assert train(nn.Linear(3, 2)).grad_fn.module == "net"
    assert nn.Sequential(nn.Linear(3, 2))(bl.ones(1, 3)).grad_fn.module == "Sequential.0"

    class Trainer:
        def __init__(self):
            self.critic = nn.Linear(3, 1)

        def step(self):
            return self.critic(bl.ones(1, 3))

    assert Trainer().step().grad_fn.module == "critic"


def test_a_module_used_but_not_held_goes_by_its_class():
    held = [nn.Linear(3, 3)]

    class Hidden(nn.Module):
        def forward(self, x):
            return held[0](x)

    net = Hidden()
    assert net(bl.ones(1, 3)).grad_fn.module == "net.Linear"


def test_names_follow_a_change_of_structure():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    last = net[1]
    assert net(bl.ones(1, 2)).grad_fn.module == "net.1"
    other = nn.Sequential(last)
    assert other(bl.ones(1, 2)).grad_fn.module == "other.0"
    assert net(bl.ones(1, 2)).grad_fn.module == "net.1"


def test_naming_does_not_keep_the_callers_variables_alive():
    model = nn.Linear(2, 2)
    big = bl.ones(3)
    watch = weakref.ref(big)
    model(bl.ones(1, 2))
    del big
    gc.collect()
    assert watch() is None


def test_naming_leaves_a_held_snapshot_of_locals_alone():
    model = nn.Linear(2, 2)
    settings = locals()
    model(bl.ones(1, 2))
    assert settings["model"] is model


def test_the_stack_is_restored_after_an_error():
    class Fails(nn.Module):
        def forward(self, x):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        nn.Sequential(Fails())(1)
    assert bl.graph.mode.scope is None


def test_train_and_eval_reach_everything_and_respect_overrides():
    class Frozen(nn.Linear):
        def train(self, mode=True):
            return super().train(False)

    net = nn.Sequential(nn.Linear(2, 2), Frozen(2, 2))
    assert net.train() is net
    assert net[0].training
    assert not net[1].training
    assert not any(m.training for m in net.eval().modules())
    with pytest.raises(ValueError, match="expected True or False"):
        net.train("no")


def test_apply_visits_children_first():
    seen = []
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "ReLU", "Sequential"]


def test_conversion_keeps_the_parameter_objects():
    net = Net()
    before = list(net.parameters())
    net(bl.ones(2, 3)).sum().backward()
    net.double()
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    assert {p.dtype for p in net.parameters()} == {np.dtype("float64")}
    assert net.hidden.weight.grad.dtype == np.float64
    assert net.steps.dtype == np.int64
    assert net.cache.dtype == np.float64
    assert net(bl.ones(2, 3, dtype=bl.float64)).dtype == np.float64
    assert net.to("cpu") is net.cpu() is net
    net.to("cpu", bl.float32)
    assert net.scale.dtype == np.float32
    net.to(bl.ones(1, dtype=bl.float64))
    assert net.scale.dtype == np.float64
    assert net.half().float().scale.dtype == np.float32


def test_conversion_refuses_what_it_cannot_do():
    with pytest.raises(TypeError, match="floating dtype"):
        Net().to(bl.int64)
    for move in (lambda n: n.to("cuda"), lambda n: n.cuda(), lambda n: n.cuda(0)):
        with pytest.raises(UnsupportedError):
            move(Net())
    with pytest.raises(TypeError, match="unexpected arguments typo"):
        Net().to(typo=1)


def test_conversion_is_noticed_by_a_pending_backward():
    net = nn.Linear(2, 2)
    loss = net(bl.ones(1, 2, requires_grad=True)).sum()
    net.double()
    with pytest.raises(OverwrittenError):
        loss.backward()


def test_zero_grad_and_requires_grad():
    net = nn.Linear(2, 2)
    net(bl.ones(1, 2)).sum().backward()
    kept = net.weight.grad
    net.zero_grad(set_to_none=False)
    assert net.weight.grad.tolist() == [[0, 0], [0, 0]]
    assert kept.tolist() == [[0, 0], [0, 0]]
    net.zero_grad()
    assert net.weight.grad is None
    assert net.requires_grad_(False) is net
    assert not net(bl.ones(1, 2)).requires_grad


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal_and_independent(copied):
    net = Net()
    net.tied = net.scale
    out = net(bl.ones(1, 3))
    twin = copied(net)
    assert twin.tied is twin.scale
    assert np.array_equal(twin(bl.ones(1, 3)).detach().numpy(), out.detach().numpy())
    nn.init.zeros_(twin.hidden.weight)
    assert net.hidden.weight.detach().numpy().any()
    assert list(twin.state_dict()) == list(net.state_dict())
    assert twin(bl.ones(1, 3)).grad_fn.module == "twin"


def test_shallow_copies_share_parameters_but_not_membership():
    net = Net()
    twin = copy.copy(net)
    twin.extra = nn.Parameter(bl.ones(1))
    assert twin.scale is net.scale
    assert [n for n, _ in net.named_parameters(recurse=False)] == ["scale"]


def test_parameters_survive_copies():
    p = nn.Parameter(bl.tensor([1.0, 2.0]), requires_grad=False)
    for q in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(q) is nn.Parameter
        assert not q.requires_grad
        assert q.tolist() == [1.0, 2.0]
    b = pickle.loads(pickle.dumps(nn.Buffer([1.0], persistent=False)))
    assert type(b) is nn.Buffer
    assert not b.persistent


def test_parameter_shares_tensors_copies_arrays_and_refuses_history():
    t = bl.zeros(2)
    p = nn.Parameter(t)
    t.fill_(3.0)
    assert p.tolist() == [3.0, 3.0]
    array = np.zeros(2)
    p = nn.Parameter(array)
    array[:] = 1
    assert p.tolist() == [0.0, 0.0]
    assert p.requires_grad
    assert p.is_leaf
    assert repr(nn.Parameter([1.0])) == "Parameter containing:\ntensor([1.], requires_grad=True)"
    with pytest.raises(bl.errors.GradientError, match="floating"):
        nn.Parameter(bl.tensor([1, 2]))
    with pytest.raises(bl.errors.GradientError, match="was computed"):
        nn.Parameter(p * 2)


def test_buffer_assignment_registers():
    net = nn.Module()
    net.mean = nn.Buffer(bl.zeros(2))
    net.cache = nn.Buffer(bl.zeros(2), persistent=False)
    assert [n for n, _ in net.named_buffers()] == ["mean", "cache"]
    assert list(net.state_dict()) == ["mean"]


def test_repr_is_pytorchs():
    assert repr(Net()) == (
        "Net(\n"
        "  (hidden): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (layers): ModuleList(\n"
        "    (0-1): 2 x Linear(in_features=4, out_features=4, bias=True)\n"
        "  )\n"
        "  (out): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Linear(in_features=4, out_features=2, bias=True)\n"
        "  )\n"
        ")"
    )


def test_nodes_inside_nested_modules_know_the_users_own_line():
    inner = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(2, 2))))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x)  # the line inside forward

    y = Net()(bl.ones(1, 2))
    assert "the line inside forward" in y.grad_fn.source.text
    z = inner(bl.ones(1, 2))  # the line outside
    assert "the line outside" in z.grad_fn.source.text
