"""Groups, errors, checkpoints, hooks and closures: what every optimizer shares."""

import copy
import json
import pickle
import re

import numpy as np
import pytest
from safetensors.numpy import load, save

import backlit as bl
from backlit.errors import OperationError, UnsupportedError

MAKERS = {
    "sgd": lambda ps: bl.optim.SGD(ps, lr=0.1, momentum=0.9, dampening=0.25),
    "adam": lambda ps: bl.optim.Adam(ps, lr=0.1, amsgrad=True),
    "adamw": lambda ps: bl.optim.AdamW(ps, lr=0.1),
    "rmsprop": lambda ps: bl.optim.RMSprop(ps, lr=0.1, momentum=0.9, centered=True),
    "adagrad": lambda ps: bl.optim.Adagrad(ps, lr=0.1, lr_decay=0.1),
    "adadelta": lambda ps: bl.optim.Adadelta(ps),
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def parameters(seed=0, dtype=bl.float32):
    rng = np.random.default_rng(seed)
    return [bl.tensor(rng.normal(size=s), dtype=dtype, requires_grad=True) for s in [(3, 4), (4,), (), (80, 70)]]


def run(optimizer, params, steps, first=0):
    for step in range(first, first + steps):
        rng = np.random.default_rng(step)
        for p in params:
            p.grad = bl.tensor(rng.normal(size=p.shape), dtype=p.dtype)
        optimizer.step()


def bits(params):
    return [p._data.tobytes() for p in params]


# -- construction -------------------------------------------------------------------------------------------------


def test_defaults_are_the_peers():
    (w,) = [bl.ones(1, requires_grad=True)]
    assert bl.optim.SGD([w]).defaults["lr"] == 1e-3
    adam = bl.optim.AdamW([w]).defaults
    assert (adam["lr"], adam["betas"], adam["eps"], adam["weight_decay"]) == (1e-3, (0.9, 0.999), 1e-8, 1e-2)
    assert bl.optim.Adam([w]).defaults["weight_decay"] == 0
    assert bl.optim.Adadelta([w]).defaults["lr"] == 1.0
    assert bl.optim.lr_scheduler.StepLR


def test_groups_override_defaults():
    a, b = bl.ones(2, requires_grad=True), bl.ones(2, requires_grad=True)
    optimizer = bl.optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5, "name": "head"}], lr=0.25)
    a.grad = b.grad = bl.ones(2)
    optimizer.step()
    assert (a.tolist(), b.tolist()) == ([0.75, 0.75], [0.5, 0.5])
    assert optimizer.param_groups[1]["name"] == "head"


def test_a_group_added_later_is_updated():
    a, b = bl.ones(2, requires_grad=True), bl.ones(2, requires_grad=True)
    optimizer = bl.optim.SGD([a], lr=0.25)
    a.grad = b.grad = bl.ones(2)
    optimizer.step()
    optimizer.add_param_group({"params": [b], "lr": 0.5})
    optimizer.step()
    assert (a.tolist(), b.tolist()) == ([0.5, 0.5], [0.5, 0.5])


def test_named_parameters():
    a, b = bl.ones(2, requires_grad=True), bl.ones(2, requires_grad=True)
    optimizer = bl.optim.Adam([("a", a), ("b", b)])
    assert optimizer.param_groups[0]["param_names"] == ["a", "b"]
    with pytest.raises(OperationError, match="named"):
        optimizer.add_param_group({"params": [bl.ones(1, requires_grad=True)]})


w = bl.ones(2, requires_grad=True)
SPENT = iter([w])
list(SPENT)


@pytest.mark.parametrize(
    ("params", "options", "said"),
    [
        ([], {}, "no parameters"),
        (SPENT, {}, "generator"),
        (w, {}, r"put a single tensor into a list"),
        ([w, w], {}, "parameter 1 .* listed twice"),
        ([{"params": [w]}, {"params": [w]}], {}, "listed twice"),
        ([w * 2], {}, r"was computed \(<mul .*requires_grad_"),
        ([w, 3.0], {}, "parameter 1 .* is a float"),
        ([{"params": {w}}], {}, "set"),
        ([{"lr": 1.0}], {}, "'params'"),
        ([w], {"lr": -0.5}, r"lr must be a number in \[0, inf\), got -0.5"),
        ([w], {"lr": "fast"}, "lr must be a number"),
        ([w], {"lr": float("nan")}, "lr must be a number"),
        ([{"params": [w], "lr": -1}], {}, "got -1"),
        ([{"params": [w], "weight_dcay": 1}], {}, "did you mean 'weight_decay'"),
        ([w], {"momentum": -1}, "momentum"),
        ([w], {"nesterov": True}, "nesterov=True needs momentum"),
    ],
)
def test_mistakes_are_named_with_the_users_line(params, options, said):
    with pytest.raises(OperationError, match=said) as caught:
        bl.optim.SGD(params, **options)
    assert "test_optimizer_base.py:" in str(caught.value)


def test_limits_of_the_others():
    for make in (
        lambda: bl.optim.Adam([w], betas=(0.9, 1.0)),
        lambda: bl.optim.Adam([w], eps=-1),
        lambda: bl.optim.RMSprop([w], alpha=-1),
        lambda: bl.optim.Adagrad([w], lr_decay=-1),
        lambda: bl.optim.Adadelta([w], rho=1.5),
    ):
        with pytest.raises(OperationError, match="must be a number in"):
            make()
    assert bl.optim.Adadelta([w], rho=1.0).defaults["rho"] == 1.0


def test_hints_about_speed_are_taken_and_other_modes_refused():
    bl.optim.Adam([w], foreach=True, fused=False)
    with pytest.raises(UnsupportedError, match="capturable"):
        bl.optim.Adam([w], capturable=True)
    with pytest.raises(UnsupportedError, match="differentiable"):
        bl.optim.SGD([w], differentiable=True)


def test_repr_lists_the_options():
    assert re.search(r"SGD \(\nParameter Group 0\n    dampening: 0\n    lr: 0.5\n", repr(bl.optim.SGD([w], lr=0.5)))


# -- stepping -----------------------------------------------------------------------------------------------------


def test_zero_grad():
    a = bl.ones(2, requires_grad=True)
    optimizer = bl.optim.SGD([a])
    a.grad = bl.ones(2)
    kept = a.grad
    optimizer.zero_grad(set_to_none=False)
    assert a.grad is kept and kept.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert a.grad is None


def test_zero_grad_cuts_a_recorded_gradient_off():
    a = bl.ones(2, requires_grad=True)
    (a * a * a).sum().backward(create_graph=True)
    bl.optim.SGD([a]).zero_grad(set_to_none=False)
    assert not a.grad.requires_grad


def test_closure_is_recorded_and_its_value_returned():
    a = bl.tensor(2.0, requires_grad=True)
    optimizer = bl.optim.SGD([a], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = a * a
        loss.backward()
        return loss

    with bl.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert a.item() == 1.0


def test_hooks_run_in_order_and_can_be_removed():
    a = bl.ones(1, requires_grad=True)
    optimizer = bl.optim.SGD([a])
    seen = []
    before = optimizer.register_step_pre_hook(lambda *given: seen.append(("before", given)))
    optimizer.register_step_post_hook(lambda *given: seen.append(("after", given)))
    optimizer.step()
    assert seen == [("before", (optimizer, (), {})), ("after", (optimizer, (), {}))]
    before.remove()
    optimizer.step()
    assert [name for name, _ in seen] == ["before", "after", "after"]


def test_a_pre_hook_can_replace_the_arguments():
    optimizer = bl.optim.SGD([w])
    optimizer.register_step_pre_hook(lambda *_: ((lambda: "other",), {}))
    assert optimizer.step() == "other"


def test_options_changed_between_steps_hold():
    a = bl.ones(1, requires_grad=True)
    optimizer = bl.optim.SGD([a], lr=0.5)
    a.grad = bl.ones(1)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.25
    optimizer.step()
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()
    optimizer.step()
    assert a.tolist() == [1 - 0.5 - 0.25 - 0.25 - 0.25 * 1.5]


def test_data_replaced_between_steps():
    a, b = bl.ones(2, requires_grad=True), bl.ones(2, requires_grad=True)
    optimizer = bl.optim.SGD([a, b], lr=0.5, momentum=0.5)
    a.grad = b.grad = bl.ones(2)
    optimizer.step()
    a.data = bl.tensor([5.0, 6.0])
    optimizer.step()
    assert (a.tolist(), b.tolist()) == ([4.25, 5.25], [-0.25, -0.25])
    a.data = bl.ones(3)
    with pytest.raises(OperationError, match=r"gradient of shape \(2,\).*zero_grad"):
        optimizer.step()
    a.grad = bl.ones(3)
    with pytest.raises(OperationError, match=r"momentum_buffer.*state\.pop"):
        optimizer.step()
    optimizer.state.pop(a)
    optimizer.step()
    assert a.tolist() == [0.5] * 3


def test_state_is_live():
    """What is written to the state, in place or by replacing an entry, is what the next step uses."""
    a, b = bl.ones(2, requires_grad=True), bl.ones(2, requires_grad=True)
    optimizer = bl.optim.SGD([a, b], lr=1.0, momentum=0.5)
    a.grad = b.grad = bl.zeros(2)
    optimizer.step()
    optimizer.state[a]["momentum_buffer"].fill_(2.0)
    optimizer.step()
    assert (a.tolist(), b.tolist()) == ([0.0, 0.0], [1.0, 1.0])
    optimizer.state[b]["momentum_buffer"] = bl.full((2,), 4.0)
    optimizer.step()
    assert (a.tolist(), b.tolist()) == ([-0.5, -0.5], [-1.0, -1.0])
    optimizer.state.clear()
    optimizer.step()
    assert (a.tolist(), b.tolist()) == ([-0.5, -0.5], [-1.0, -1.0])


def test_the_step_counter_is_live():
    a = bl.ones(2, dtype=bl.float64, requires_grad=True)
    b = bl.ones(2, dtype=bl.float64, requires_grad=True)
    optimizer = bl.optim.Adagrad([a, b], lr=1.0, lr_decay=1.0, eps=0)
    a.grad = b.grad = bl.ones(2, dtype=bl.float64)
    optimizer.step()
    assert optimizer.state[a]["step"].item() == 1
    optimizer.state[b]["step"].fill_(0)
    optimizer.step()
    assert a.tolist() == pytest.approx([-0.5 / np.sqrt(2)] * 2)
    assert b.tolist() == pytest.approx([-1 / np.sqrt(2)] * 2)


def test_a_read_only_parameter_is_refused():
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    a = bl.Tensor(array).requires_grad_()
    a.grad = bl.ones(3)
    with pytest.raises(OperationError, match="read-only"):
        bl.optim.SGD([a]).step()


def test_parameters_without_gradients_have_no_state():
    a, b = bl.ones(2, requires_grad=True), bl.ones(2, requires_grad=True)
    optimizer = bl.optim.Adam([a, b])
    a.grad = bl.ones(2)
    optimizer.step()
    assert list(optimizer.state_dict()["state"]) == [0]
    b.grad = bl.ones(2)
    optimizer.step()
    assert (optimizer.state[a]["step"].item(), optimizer.state[b]["step"].item()) == (2, 1)


def test_an_optimizer_with_a_step_of_its_own():
    class Sign(bl.optim.Optimizer):
        def __init__(self, params, lr=0.5):
            super().__init__(params, {"lr": lr})

        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    count = self.state[p]
                    count["step"] = count.get("step", 0) + 1
                    p.data.sub_(group["lr"] * p.grad.sign())

    a = bl.ones(2, requires_grad=True)
    optimizer = Sign([a])
    called = []
    optimizer.register_step_post_hook(lambda *_: called.append(1))
    a.grad = bl.tensor([3.0, -3.0])
    optimizer.step()
    assert a.tolist() == [0.5, 1.5]
    assert called == [1]
    other = Sign([bl.ones(2, requires_grad=True)])
    other.load_state_dict(optimizer.state_dict())
    assert other.state_dict()["state"][0]["step"].item() == 1


def test_an_optimizer_without_a_rule_says_so():
    class Nothing(bl.optim.Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="Nothing defines neither"):
        Nothing([w], {}).step()


# -- checkpoints --------------------------------------------------------------------------------------------------


def through_files(state_dict):
    """Through safetensors and JSON, as a checkpoint goes."""
    arrays = {f"{i}.{k}": np.asarray(v._data) for i, held in state_dict["state"].items() for k, v in held.items()}
    groups = json.loads(json.dumps(state_dict["param_groups"]))
    state = {}
    for name, array in load(save(arrays)).items():
        index, key = name.split(".")
        state.setdefault(index, {})[key] = array
    return {"state": state, "param_groups": groups}


@every
def test_going_on_from_files_equals_never_stopping(make):
    whole = parameters()
    optimizer = make(whole)
    run(optimizer, whole, 7)
    params = parameters()
    optimizer = make(params)
    run(optimizer, params, 3)
    saved = through_files(optimizer.state_dict())
    again = [bl.tensor(p.detach().numpy().copy(), requires_grad=True) for p in params]
    resumed = make(again)
    resumed.load_state_dict(saved)
    run(resumed, again, 4, first=3)
    assert bits(again) == bits(whole)


@every
def test_layout_is_that_of_the_peers(make):
    params = parameters()
    optimizer = make([{"params": params[:2]}, {"params": params[2:], "lr": 0.5}])
    run(optimizer, params, 1)
    saved = optimizer.state_dict()
    assert set(saved) == {"state", "param_groups"}
    assert [g["params"] for g in saved["param_groups"]] == [[0, 1], [2, 3]]
    assert saved["param_groups"][1]["lr"] == 0.5
    for i, p in enumerate(params):
        assert all(v.shape == (() if k == "step" else p.shape) for k, v in saved["state"][i].items())


def test_loading_copies():
    params = parameters()
    optimizer = MAKERS["adam"](params)
    run(optimizer, params, 1)
    saved = optimizer.state_dict()
    other = MAKERS["adam"](parameters())
    other.load_state_dict(saved)
    before = saved["state"][0]["exp_avg"].tolist()
    other.state[other.param_groups[0]["params"][0]]["exp_avg"].fill_(9.0)
    run(other, other.param_groups[0]["params"], 1)
    assert saved["state"][0]["exp_avg"].tolist() == before


def test_loading_what_does_not_fit_changes_nothing():
    params = parameters()
    optimizer = MAKERS["adam"](params)
    run(optimizer, params, 1)
    saved = optimizer.state_dict()
    before = copy.deepcopy(saved)
    sgd = MAKERS["sgd"](params)
    run(sgd, params, 1)
    few = MAKERS["adam"](params[:2])
    wrong = copy.deepcopy(saved)
    wrong["state"][0]["exp_avg"] = bl.zeros(5)
    negative = copy.deepcopy(saved)
    negative["param_groups"][0]["lr"] = -1.0
    stray = copy.deepcopy(saved)
    stray["state"][9] = {}
    for bad, said in [
        (few.state_dict(), r"groups of \[2\] parameters, this one of \[4\]"),
        (sgd.state_dict(), "another kind of optimizer"),
        (wrong, r"'exp_avg' \(5,\)"),
        (negative, "lr must be"),
        (stray, "unknown parameter 9"),
    ]:
        with pytest.raises(OperationError, match=said):
            optimizer.load_state_dict(bad)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for i, held in before["state"].items():
        assert all(np.array_equal(v._data, after["state"][i][k]._data) for k, v in held.items())


@every
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_go_on_alike(make, duplicate):
    params = parameters()
    optimizer = make(params)
    run(optimizer, params, 2)
    others, other = duplicate((params, optimizer))
    run(optimizer, params, 2, first=2)
    run(other, others, 2, first=2)
    assert bits(params) == bits(others)
