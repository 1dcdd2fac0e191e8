"""Fifty steps beside PyTorch in float64, all options, parameters that skip steps; schedules beside PyTorch's."""

import itertools
import warnings

import numpy as np
import pytest

import backlit as bl

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch")

SHAPES = [(3, 5), (5,), (), (0, 4), (70, 80), (1, 7)]

OPTIONS = {
    "SGD": {"momentum": [0, 0.9], "dampening": [0, 0.3], "weight_decay": [0, 0.01], "nesterov": [False, True]},
    "Adam": {
        "betas": [(0.9, 0.999), (0.5, 0.8)],
        "eps": [1e-8, 1e-2],
        "weight_decay": [0, 0.1],
        "amsgrad": [False, True],
    },
    "AdamW": {"lr": [1e-3, 0.1], "weight_decay": [0, 0.1], "amsgrad": [False, True]},
    "RMSprop": {"alpha": [0.99, 0.5], "weight_decay": [0, 0.1], "momentum": [0, 0.9], "centered": [False, True]},
    "Adagrad": {"lr_decay": [0, 0.1], "weight_decay": [0, 0.1], "initial_accumulator_value": [0, 0.5]},
    "Adadelta": {"lr": [1.0, 0.1], "rho": [0.9, 0.5], "eps": [1e-6, 1e-2], "weight_decay": [0, 0.1]},
}


def combinations():
    for name, options in OPTIONS.items():
        for values in itertools.product(*options.values(), [False, True]):
            chosen = dict(zip([*options, "maximize"], values, strict=True))
            if chosen.get("nesterov") and (chosen["dampening"] or not chosen["momentum"]):
                continue
            yield pytest.param(name, chosen, id=f"{name}-" + "-".join(map(str, values)))


def close(ours, theirs):
    """Equal to 1e-12 of the value, or of the largest value of the parameter where cancellation makes it small."""
    scale = np.abs(theirs).max(initial=0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * scale)


def follow(name, options, ours, theirs, schedule=lambda package, optimizer: None, steps=50):
    mine, yours = getattr(bl.optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    schedules = schedule(bl, mine), schedule(torch, yours)
    rng = np.random.default_rng(3)
    for step in range(steps):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            g = rng.normal(size=p.shape)
            skipped = (step + i) % 7 == 3
            p.grad = None if skipped else bl.tensor(g, dtype=bl.float64)
            q.grad = None if skipped else torch.tensor(g)
        mine.step()
        yours.step()
        for each in schedules:
            if each is not None:
                each.step()
    return mine, yours


def both(shapes=SHAPES):
    rng = np.random.default_rng(5)
    start = [rng.normal(size=s) for s in shapes]
    ours = [bl.tensor(a, dtype=bl.float64, requires_grad=True) for a in start]
    return ours, [torch.tensor(a, requires_grad=True) for a in start]


@pytest.mark.parametrize(("name", "options"), list(combinations()))
def test_fifty_steps(name, options):
    ours, theirs = both()
    mine, yours = follow(name, options, ours, theirs)
    for p, q in zip(ours, theirs, strict=True):
        close(p._data, q.detach().numpy())
    state = mine.state_dict()["state"]
    for i, held in yours.state_dict()["state"].items():
        for key, value in held.items():
            if value is not None:
                close(state[i][key]._data, value.numpy())


@pytest.mark.parametrize("name", list(OPTIONS))
def test_state_goes_over_from_the_peer_and_back(name):
    ours, theirs = both()
    mine, yours = follow(name, {}, *both())
    taken, given = getattr(bl.optim, name)(ours), getattr(torch.optim, name)(theirs)
    taken.load_state_dict(yours.state_dict())
    saved = mine.state_dict()
    state = {i: {k: torch.tensor(v.numpy()) for k, v in held.items()} for i, held in saved["state"].items()}
    given.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
    for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
        g = np.random.default_rng(i).normal(size=p.shape)
        p.grad, q.grad = bl.tensor(g, dtype=bl.float64), torch.tensor(g)
    taken.step()
    given.step()
    for p, q in zip(ours, theirs, strict=True):
        close(p._data, q.detach().numpy())


def sequence(package, optimizer):
    rates = package.optim.lr_scheduler
    parts = [rates.LinearLR(optimizer, 0.1, 1.0, 8), rates.CosineAnnealingLR(optimizer, 20), rates.StepLR(optimizer, 3)]
    return rates.SequentialLR(optimizer, parts, [10, 35])


SCHEDULES = {
    "StepLR": lambda b, o: b.optim.lr_scheduler.StepLR(o, 7, 0.3),
    "MultiStepLR": lambda b, o: b.optim.lr_scheduler.MultiStepLR(o, [3, 20, 20, 40], 0.3),
    "ExponentialLR": lambda b, o: b.optim.lr_scheduler.ExponentialLR(o, 0.97),
    "ConstantLR": lambda b, o: b.optim.lr_scheduler.ConstantLR(o),
    "LinearLR": lambda b, o: b.optim.lr_scheduler.LinearLR(o, 0.2, 0.7, 11),
    "PolynomialLR": lambda b, o: b.optim.lr_scheduler.PolynomialLR(o, 30, 1.5),
    "CosineAnnealingLR": lambda b, o: b.optim.lr_scheduler.CosineAnnealingLR(o, 12, 1e-4),
    "CosineAnnealingWarmRestarts": lambda b, o: b.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 4, 3, 1e-4),
    "OneCycleLR-cos": lambda b, o: b.optim.lr_scheduler.OneCycleLR(o, 0.1, 50),
    "OneCycleLR-three": lambda b, o: b.optim.lr_scheduler.OneCycleLR(
        o, 0.1, epochs=10, steps_per_epoch=5, three_phase=True, anneal_strategy="linear", pct_start=0.4
    ),
    "LambdaLR": lambda b, o: b.optim.lr_scheduler.LambdaLR(o, lambda epoch: 0.95**epoch),
    "MultiplicativeLR": lambda b, o: b.optim.lr_scheduler.MultiplicativeLR(o, lambda epoch: 1 - 0.001 * epoch),
    "SequentialLR": sequence,
    "ChainedScheduler": lambda b, o: b.optim.lr_scheduler.ChainedScheduler(
        [b.optim.lr_scheduler.ConstantLR(o, 0.1, 5), b.optim.lr_scheduler.ExponentialLR(o, 0.9)]
    ),
}


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_schedules(name, schedule):
    def watched(package, optimizer):
        made = schedule(package, optimizer)
        made.seen = seen[package] = []
        step = made.step

        def stepping():
            step()
            group = optimizer.param_groups[0]
            seen[package].append((group["lr"], group.get("momentum"), *group.get("betas", ())))

        made.step = stepping
        return made

    seen = {}
    options = {"lr": 0.05, **({"momentum": 0.9} if name == "SGD" else {})}
    ours, theirs = both([(3, 2), (4,)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's SequentialLR warns about its own use of step(epoch)
        follow(name, options, ours, theirs, watched)
    assert np.allclose(np.array(seen[bl], float), np.array(seen[torch], float), rtol=1e-12, atol=1e-17, equal_nan=True)
    for p, q in zip(ours, theirs, strict=True):
        close(p._data, q.detach().numpy())


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau(mode, threshold_mode):
    options = {"mode": mode, "threshold_mode": threshold_mode, "threshold": 0.05, "patience": 2, "cooldown": 1}
    ours, theirs = both([(2,)])
    mine, yours = bl.optim.SGD(ours, lr=1.0), torch.optim.SGD(theirs, lr=1.0)
    here = bl.optim.lr_scheduler.ReduceLROnPlateau(mine, factor=0.5, min_lr=1e-3, **options)
    there = torch.optim.lr_scheduler.ReduceLROnPlateau(yours, factor=0.5, min_lr=1e-3, **options)
    rng = np.random.default_rng(2)
    for metric in np.cumsum(rng.normal(size=80)):
        here.step(metric)
        there.step(metric)
        assert mine.param_groups[0]["lr"] == yours.param_groups[0]["lr"]
        assert here.num_bad_epochs == there.num_bad_epochs
