"""state_dict and load_state_dict."""

import numpy as np
import pytest

import backlit as bl
from backlit import nn
from backlit.errors import OperationError, OverwrittenError


def make():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def snapshot(net):
    return {key: value.detach().numpy().copy() for key, value in net.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_round_trip_and_sharing():
    a, b = make(), make()
    assert b.load_state_dict(a.state_dict()) == ([], [])
    assert equal(snapshot(a), snapshot(b))
    a.state_dict()["0.weight"].fill_(7.0)
    assert a[0].weight.detach().numpy().min() == 7.0
    assert not a.state_dict()["0.weight"].requires_grad
    assert a.state_dict(keep_vars=True)["0.weight"] is a[0].weight
    assert list(a.state_dict(prefix="net.")) == ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]


def test_loading_keeps_objects_and_dtype_and_takes_arrays():
    net = make()
    weight = net[0].weight
    net.load_state_dict({key: value.astype(np.float64) for key, value in snapshot(make()).items()})
    assert net[0].weight is weight
    assert weight.dtype == np.float32
    assert weight.requires_grad


def test_a_pending_backward_notices_loading():
    net = make()
    loss = net(bl.ones(1, 3, requires_grad=True)).sum()
    net.load_state_dict(make().state_dict())
    with pytest.raises(OverwrittenError, match="load_state_dict"):
        loss.backward()


def test_everything_wrong_is_listed_and_nothing_is_loaded():
    net, state = make(), snapshot(make())
    state["0.wieght"] = state.pop("0.weight")
    state["2.bias"] = np.zeros(5)
    state["extra"] = np.zeros(1)
    before = snapshot(net)
    with pytest.raises(OperationError) as caught:
        net.load_state_dict(state)
    text = str(caught.value)
    assert "Missing (the model needs it, the state lacks it): '0.weight' (near '0.wieght')." in text
    assert "'0.wieght' (near '0.weight'), 'extra'" in text
    assert "'2.bias' is (5,), the model's (2,)" in text
    assert "Nothing was loaded" in text
    assert "test_nn_state.py" in text
    assert equal(before, snapshot(net))


def test_shapes_must_fit_even_when_not_strict():
    net = make()
    before = snapshot(net)
    state = {"0.weight": np.ones((4, 3)), "0.bias": np.ones(3)}
    with pytest.raises(OperationError, match=r"'0.bias' is"):
        net.load_state_dict(state, strict=False)
    assert equal(before, snapshot(net))


def test_not_strict_reports_what_was_left_out():
    net = make()
    result = net.load_state_dict({"0.weight": np.ones((4, 3)), "other": np.ones(1)}, strict=False)
    assert result.missing_keys == ["0.bias", "2.weight", "2.bias"]
    assert result.unexpected_keys == ["other"]
    assert net[0].weight.detach().numpy().min() == 1.0


def test_long_lists_are_cut():
    net = nn.Sequential(*[nn.Linear(1, 1) for _ in range(20)])
    with pytest.raises(OperationError, match="and 28 more"):
        net.load_state_dict({})


def test_assign_adopts_tensors():
    net = make()
    state = {key: value.to(bl.float64) for key, value in make().state_dict().items()}
    net.load_state_dict(state, assign=True)
    assert net[0].weight.dtype == np.float64
    assert isinstance(net[0].weight, nn.Parameter)
    state["0.weight"].fill_(3.0)
    assert net[0].weight.detach().numpy().max() == 3.0


def test_what_is_not_a_state():
    with pytest.raises(TypeError, match="expected a dictionary"):
        make().load_state_dict([1, 2])
    with pytest.raises(OperationError, match="not a tensor"):
        make().load_state_dict({"0.weight": "hello"}, strict=False)


def test_buffers_are_loaded_and_transient_ones_left_out():
    net = nn.Module()
    net.register_buffer("kept", bl.zeros(2))
    net.register_buffer("gone", bl.zeros(2), persistent=False)
    net.load_state_dict({"kept": np.array([1.0, 2.0])})
    assert net.kept.tolist() == [1.0, 2.0]
    with pytest.raises(OperationError, match="Unexpected"):
        net.load_state_dict({"kept": np.zeros(2), "gone": np.zeros(2)})
