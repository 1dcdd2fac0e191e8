"""Schedules by hand: the rates epoch by epoch, going on from a checkpoint, mistakes."""

import json
import math

import pytest

import backlit as bl
from backlit.errors import OperationError, UnsupportedError
from backlit.optim import lr_scheduler as schedules

MAKERS = {
    "step": lambda o: schedules.StepLR(o, 3, 0.5),
    "multistep": lambda o: schedules.MultiStepLR(o, [2, 5, 5], 0.5),
    "exponential": lambda o: schedules.ExponentialLR(o, 0.9),
    "constant": lambda o: schedules.ConstantLR(o, 0.25, 4),
    "linear": lambda o: schedules.LinearLR(o, 0.25, 1.0, 4),
    "polynomial": lambda o: schedules.PolynomialLR(o, 6, 2.0),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, 5, 0.01),
    "restarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 2, 2),
    "onecycle": lambda o: schedules.OneCycleLR(o, 1.0, 12),
    "lambda": lambda o: schedules.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "multiplicative": lambda o: schedules.MultiplicativeLR(o, lambda epoch: 0.9),
    "sequential": lambda o: schedules.SequentialLR(
        o, [schedules.LinearLR(o, 0.1, 1.0, 3), schedules.CosineAnnealingLR(o, 6)], [3]
    ),
    "chained": lambda o: schedules.ChainedScheduler([schedules.ConstantLR(o, 0.5, 3), schedules.ExponentialLR(o, 0.9)]),
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def sgd(lr=1.0, **options):
    return bl.optim.SGD([bl.ones(1, requires_grad=True)], lr=lr, **options)


def rates(optimizer, schedule, count):
    """The learning rate in force at each of the first epochs."""
    found = []
    for _ in range(count):
        assert schedule.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda o: schedules.StepLR(o, 2, 0.5), [1, 1, 0.5, 0.5, 0.25]),
        (lambda o: schedules.MultiStepLR(o, [3, 1, 3], 0.5), [1, 0.5, 0.5, 0.125, 0.125]),
        (lambda o: schedules.ExponentialLR(o, 0.5), [1, 0.5, 0.25, 0.125]),
        (lambda o: schedules.ConstantLR(o, 0.25, 2), [0.25, 0.25, 1, 1]),
        (lambda o: schedules.LinearLR(o, 0.5, 1.0, 2), [0.5, 0.75, 1, 1]),
        (lambda o: schedules.LinearLR(o, 1.0, 0.0, 4), [1, 0.75, 0.5, 0.25, 0, 0]),
        (lambda o: schedules.PolynomialLR(o, 4, 2.0), [1, 9 / 16, 4 / 16, 1 / 16, 0, 0]),
        (lambda o: schedules.CosineAnnealingLR(o, 2, 0.5), [1, 0.75, 0.5, 0.75, 1, 0.75]),
        (lambda o: schedules.CosineAnnealingWarmRestarts(o, 2), [1, 0.5, 1, 0.5]),
        (lambda o: schedules.CosineAnnealingWarmRestarts(o, 1, 2), [1, 1, 0.5, 1, (2 + math.sqrt(2)) / 4, 0.5]),
        (lambda o: schedules.LambdaLR(o, lambda epoch: epoch**2), [0, 1, 4, 9]),
        (lambda o: schedules.MultiplicativeLR(o, lambda epoch: epoch), [1, 1, 2, 6]),
        (
            lambda o: schedules.OneCycleLR(
                o,
                1.0,
                7,
                pct_start=3 / 7,
                anneal_strategy="linear",
                div_factor=2,
                final_div_factor=5,
                cycle_momentum=False,
            ),
            [0.5, 0.75, 1, 0.775, 0.55, 0.325, 0.1],
        ),
        (
            lambda o: schedules.SequentialLR(
                o,
                [schedules.ConstantLR(o, 0.5, 99), schedules.StepLR(o, 1, 0.5), schedules.ExponentialLR(o, 0.1)],
                [2, 4],
            ),
            [0.5, 0.5, 1, 0.5, 1, 0.1],
        ),
        (
            lambda o: schedules.ChainedScheduler([schedules.ConstantLR(o, 0.5, 2), schedules.ExponentialLR(o, 0.5)]),
            [0.5, 0.25, 0.25, 0.125],
        ),
    ],
)
def test_rates_by_hand(make, expected):
    optimizer = sgd()
    assert rates(optimizer, make(optimizer), len(expected)) == pytest.approx(expected, abs=1e-15)


def test_groups_keep_their_own_rates():
    a, b = bl.ones(1, requires_grad=True), bl.ones(1, requires_grad=True)
    optimizer = bl.optim.SGD([{"params": [a]}, {"params": [b], "lr": 8.0}], lr=1.0)
    schedule = schedules.LambdaLR(optimizer, [lambda epoch: 0.5**epoch, lambda epoch: 1.0])
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 8.0]
    assert [group["initial_lr"] for group in optimizer.param_groups] == [1.0, 8.0]


def test_schedules_multiply_each_other():
    optimizer = sgd()
    first, second = schedules.StepLR(optimizer, 1, 0.5), schedules.StepLR(optimizer, 2, 0.1)
    found = []
    for _ in range(4):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        first.step()
        second.step()
    assert found == pytest.approx([1, 0.5, 0.025, 0.0125])


def test_onecycle_moves_momentum_against_the_rate():
    optimizer = sgd(momentum=0.5)
    schedule = schedules.OneCycleLR(optimizer, 1.0, 5, pct_start=0.6, anneal_strategy="linear")
    seen = []
    for _ in range(5):
        seen.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        schedule.step()
    assert seen == pytest.approx([0.95, 0.9, 0.85, 0.9, 0.95])
    adam = bl.optim.Adam([bl.ones(1, requires_grad=True)], betas=(0.5, 0.75))
    schedules.OneCycleLR(adam, 1.0, 5)
    assert adam.param_groups[0]["betas"] == (0.95, 0.75)


def test_onecycle_ends():
    optimizer = sgd(momentum=0.5)
    schedule = schedules.OneCycleLR(optimizer, 1.0, epochs=2, steps_per_epoch=3)
    rates(optimizer, schedule, 6)
    with pytest.raises(OperationError, match="step 7 of a cycle of 6"):
        schedule.step()


def test_onecycle_of_one_step():
    optimizer = sgd()
    schedules.OneCycleLR(optimizer, 1.0, 1, cycle_momentum=False)
    assert 0 < optimizer.param_groups[0]["lr"] <= 1.0


def test_the_rate_reaches_the_parameters():
    a = bl.ones(1, requires_grad=True)
    optimizer = bl.optim.SGD([a], lr=1.0)
    schedule = schedules.ExponentialLR(optimizer, 0.5)
    a.grad = bl.ones(1)
    rates(optimizer, schedule, 3)
    assert a.tolist() == [1 - 1 - 0.5 - 0.25]


# -- plateaus -----------------------------------------------------------------------------------------------------


def plateau(metrics, **options):
    optimizer = sgd()
    schedule = schedules.ReduceLROnPlateau(optimizer, factor=0.5, **options)
    found = []
    for metric in metrics:
        schedule.step(metric)
        found.append(schedule.get_last_lr()[0])
    return found


def test_plateau_waits_for_its_patience():
    assert plateau([3, 2, 2, 2, 2, 2], patience=1) == [1, 1, 1, 0.5, 0.5, 0.25]
    assert plateau([3, 2, 1, 0.5], patience=0) == [1, 1, 1, 1]


def test_plateau_modes():
    assert plateau([1, 2, 3, 3], patience=0, mode="max") == [1, 1, 1, 0.5]
    assert plateau([10, 9.5, 8], patience=0, threshold=0.1) == [1, 0.5, 0.5]
    assert plateau([10, 9.5, 9.3], patience=0, threshold=0.4, threshold_mode="abs") == [1, 1, 0.5]
    assert plateau([10, 10.5, 12], patience=0, threshold=0.1, mode="max") == [1, 0.5, 0.5]


def test_plateau_cools_down_and_stops_at_the_lowest_rate():
    assert plateau([1, 1, 1, 1, 1], patience=0, cooldown=2) == [1, 0.5, 0.5, 0.5, 0.25]
    assert plateau([1, 1, 1, 1], patience=0, min_lr=0.3) == [1, 0.5, 0.3, 0.3]
    assert plateau([1, 1, 1], patience=0, eps=0.4) == [1, 0.5, 0.5]


def test_plateau_takes_tensors_and_never_takes_nan_for_better():
    assert plateau([bl.tensor(1.0), bl.tensor(math.nan), bl.tensor(0.5)], patience=0) == [1, 0.5, 0.5]


def test_plateau_goes_on_from_its_state():
    optimizer, other = sgd(), sgd()
    schedule = schedules.ReduceLROnPlateau(optimizer, patience=1)
    resumed = schedules.ReduceLROnPlateau(other, patience=7)
    schedule.step(1.0)
    schedule.step(1.0)
    resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    resumed.step(1.0)
    assert other.param_groups[0]["lr"] == pytest.approx(0.1)


# -- checkpoints and mistakes -------------------------------------------------------------------------------------


@every
def test_going_on_from_json_equals_never_stopping(make):
    optimizer = sgd(0.5, momentum=0.5)
    whole = rates(optimizer, make(optimizer), 9)
    optimizer = sgd(0.5, momentum=0.5)
    schedule = make(optimizer)
    begun = rates(optimizer, schedule, 4)
    saved = json.loads(json.dumps([optimizer.state_dict()["param_groups"], schedule.state_dict()]))
    resumed = sgd(0.5, momentum=0.5)
    again = make(resumed)
    resumed.load_state_dict({"param_groups": saved[0], "state": {}})
    again.load_state_dict(saved[1])
    assert begun + rates(resumed, again, 5) == whole


def test_functions_are_not_saved():
    assert "lr_lambdas" not in schedules.LambdaLR(sgd(), lambda epoch: 1.0).state_dict()


def test_milestones_saved_by_the_peer_are_understood():
    schedule = schedules.MultiStepLR(sgd(), [1])
    schedule.load_state_dict({**schedule.state_dict(), "milestones": {"3": 2, "5": 1}})
    assert schedule.milestones == [3, 3, 5]


def test_going_on_with_last_epoch():
    optimizer = sgd(0.25)
    with pytest.raises(OperationError, match="'initial_lr'"):
        schedules.StepLR(optimizer, 1, 0.5, last_epoch=1)
    optimizer.param_groups[0]["initial_lr"] = 1.0
    schedules.StepLR(optimizer, 1, 0.5, last_epoch=2)
    assert optimizer.param_groups[0]["lr"] == 0.125
    schedules.CosineAnnealingLR(optimizer, 4, last_epoch=1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5)


def test_stepping_the_schedule_first_warns():
    optimizer = sgd()
    schedule = schedules.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match="before optimizer.step"):
        schedule.step()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda o: schedules.StepLR("sgd", 1), "must be an optimizer, got str"),
        (lambda o: schedules.StepLR(o, 0), "step_size"),
        (lambda o: schedules.ConstantLR(o, 2.0), "factor"),
        (lambda o: schedules.LinearLR(o, 0.0), "start_factor"),
        (lambda o: schedules.LinearLR(o, 1.0, 2.0), "end_factor"),
        (lambda o: schedules.CosineAnnealingLR(o, 0), "T_max"),
        (lambda o: schedules.CosineAnnealingWarmRestarts(o, 0), "T_0"),
        (lambda o: schedules.CosineAnnealingWarmRestarts(o, 1, 0), "T_mult"),
        (lambda o: schedules.LambdaLR(o, [lambda e: 1.0] * 2), "lr_lambda has 2 values"),
        (lambda o: schedules.OneCycleLR(o, 1.0), "total_steps"),
        (lambda o: schedules.OneCycleLR(o, 1.0, 0), "positive integer"),
        (lambda o: schedules.OneCycleLR(o, 1.0, 5, pct_start=2), "pct_start"),
        (lambda o: schedules.OneCycleLR(o, 1.0, 5, anneal_strategy="sine"), "anneal_strategy"),
        (lambda o: schedules.OneCycleLR(bl.optim.Adagrad(o._all_params()), 1.0, 5), "Adagrad has no momentum"),
        (lambda o: schedules.ReduceLROnPlateau(o, "least"), "mode"),
        (lambda o: schedules.ReduceLROnPlateau(o, factor=1.0), "factor"),
        (lambda o: schedules.ReduceLROnPlateau(o, threshold_mode="x"), "threshold_mode"),
        (lambda o: schedules.SequentialLR(o, [schedules.StepLR(o, 1)], [1]), "need 0 milestones"),
        (lambda o: schedules.SequentialLR(o, [schedules.ReduceLROnPlateau(o)], []), "cannot be combined"),
        (lambda o: schedules.ChainedScheduler([schedules.StepLR(o, 1)], sgd()), "another optimizer"),
        (lambda o: schedules.ChainedScheduler([]), "no schedules"),
        (
            lambda o: schedules.StepLR(o, 1).load_state_dict(schedules.ExponentialLR(o, 1.0).state_dict()),
            "step_size missing",
        ),
    ],
)
def test_mistakes_are_named_with_the_users_line(make, said):
    with pytest.raises(OperationError, match=said) as caught:
        make(sgd())
    assert "test_lr_schedulers.py:" in str(caught.value)


def test_jumping_to_an_epoch_is_refused():
    with pytest.raises(UnsupportedError, match="step\\(epoch\\)"):
        schedules.StepLR(sgd(), 1).step(3)


def test_a_group_that_is_added_later_follows_from_the_rate_it_came_with():
    first, second = (bl.zeros(2, requires_grad=True) for _ in range(2))
    optimizer = bl.optim.SGD([first], lr=1.0)
    schedule = bl.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    optimizer.step()
    schedule.step()
    optimizer.add_param_group({"params": [second], "lr": 0.5})
    for wanted in ([0.1, 0.05], [0.1, 0.05], [0.01, 0.005]):
        optimizer.step()
        schedule.step()
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(wanted)
    assert schedule.base_lrs == [1.0, 0.5]
