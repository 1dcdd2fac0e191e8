"""Sequential, lists and dictionaries of modules and parameters."""

from collections import OrderedDict

import pytest

import backlit as bl
from backlit import nn


def test_sequential_is_a_sequence():
    a, b, c = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)
    net = nn.Sequential(a, b)
    assert net.append(c) is net
    assert list(net) == [a, b, c]
    assert len(net) == 3
    assert net[-1] is c
    assert b in net
    head = net[:2]
    assert type(head) is nn.Sequential
    assert head[0] is a
    assert list(net[1:].state_dict()) == ["2.weight", "2.bias"]  # slices keep the names, as in PyTorch
    assert net(bl.ones(4, 2)).shape == (4, 1)
    assert net.pop(1) is b
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    net.insert(1, b)
    assert list(net) == [a, b, c]
    del net[0]
    assert list(net) == [b, c]
    net[0] = nn.Tanh()
    assert isinstance(net[0], nn.Tanh)
    assert len(net + nn.Sequential(a)) == 3
    net.extend([a, b])
    assert list(net) == [net[0], c, a, b]
    with pytest.raises(IndexError, match="holds 4 modules"):
        net[9]


def test_sequential_by_name_and_wrong_members():
    net = nn.Sequential(OrderedDict(fc=nn.Linear(2, 3), act=nn.ReLU()))
    assert list(net.state_dict()) == ["fc.weight", "fc.bias"]
    assert net.act is net[1]
    with pytest.raises(TypeError, match="pass an instance, not the class"):
        nn.Sequential(nn.ReLU)
    with pytest.raises(TypeError, match="got function"):
        nn.Sequential(bl.relu)
    with pytest.raises(KeyError, match="already has an attribute"):
        nn.Sequential({"forward": nn.ReLU()})


def test_empty_sequential_is_identity():
    x = bl.ones(2)
    assert nn.Sequential()(x) is x


def test_module_list():
    layers = nn.ModuleList([nn.Linear(1, 1)])
    layers += [nn.Linear(1, 1)]
    layers.append(nn.ReLU())
    assert len(layers) == 3
    assert len(list(layers.parameters())) == 4
    assert isinstance(layers[:2], nn.ModuleList)
    del layers[:2]
    assert [type(m) for m in layers] == [nn.ReLU]
    with pytest.raises(NotImplementedError):
        layers(1)


def test_module_dict():
    choices = nn.ModuleDict({"relu": nn.ReLU(), "fc": nn.Linear(1, 1)})
    assert list(choices) == ["relu", "fc"]
    assert list(choices.keys()) == ["relu", "fc"]
    assert "relu" in choices
    assert choices["fc"] is choices.fc
    choices.update([("tanh", nn.Tanh())])
    assert isinstance(choices.pop("tanh"), nn.Tanh)
    assert len(choices) == 2
    with pytest.raises(KeyError):
        choices["gone"]
    with pytest.raises(KeyError, match="already has an attribute 'keys'"):
        choices["keys"] = nn.ReLU()
    choices.clear()
    assert len(choices) == 0


def test_parameter_list_and_dict():
    values = nn.ParameterList([bl.ones(2), nn.Parameter(bl.zeros(1))])
    assert [n for n, _ in values.named_parameters()] == ["0", "1"]
    assert all(isinstance(p, nn.Parameter) for p in values)
    values.append(bl.ones(1))
    assert len(values) == 3
    assert values[-1].tolist() == [1.0]
    named = nn.ParameterDict({"w": bl.ones(2)})
    named["b"] = bl.zeros(1)
    assert [n for n, _ in named.named_parameters()] == ["w", "b"]
    assert named.get("gone") is None
    assert "(w): Parameter of shape (2,), float32" in repr(named)
    with pytest.raises(TypeError, match="holds parameters and tensors"):
        values.append(3)
    with pytest.raises(TypeError, match="cannot be called"):
        values(1)
