"""overfit, lr_range, initial_loss: their verdicts, and that they leave everything as it was."""

import math

import numpy as np
import pytest

import backlit as bl
from backlit import check, nn
from backlit.datasets import digits
from backlit.errors import OperationError
from backlit.nn import functional as F


@pytest.fixture(autouse=True)
def seeded():
    bl.manual_seed(0)


@pytest.fixture(scope="module")
def data():
    scaled = digits().scaled()
    return scaled.x_train, scaled.y_train


def mlp(*last, out=10):
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, out), *last)


def state(model, optimizer=None):
    held = [t._data.tobytes() for t in model.state_dict().values()]
    if optimizer is not None:
        held += [t._data.tobytes() for p in optimizer.state.values() for t in p.values()]
        held += [repr({k: v for k, v in g.items() if k != "params"}) for g in optimizer.param_groups]
    numpy_state = np.random.get_state()[1].sum()  # noqa: NPY002
    return [*held, [p.grad for p in model.parameters()], bl.get_rng_state()._data.tobytes(), numpy_state]


# -- initial loss ---------------------------------------------------------------------------------------------------


def test_expected_losses(data):
    x, y = data
    assert check.initial_loss(mlp(), (x, y)).expected == pytest.approx(math.log(10))
    logs = check.initial_loss(mlp(nn.LogSoftmax(dim=1)), (x, y), F.nll_loss)
    assert logs.kind == "nll" and logs.formula == "ln 10" and not logs.findings
    half = (y % 2).astype(np.float32)[:, None]
    assert check.initial_loss(mlp(out=1), (x, half), "bce_with_logits").expected == pytest.approx(math.log(2))
    assert check.initial_loss(mlp(nn.Sigmoid(), out=1), (x, half), "bce").kind == "bce"
    numbers = np.random.default_rng(0).normal(size=(len(x), 1)).astype(np.float32)
    found = check.initial_loss(mlp(out=1), (x, numbers), "mse")
    assert found.expected == pytest.approx(float(numbers.var()), rel=1e-4) and not found.findings
    assert math.isnan(check.initial_loss(mlp(), (x, y), lambda out, t: (out * out).sum()).expected)


def test_deviations(data):
    x, y = data
    assert check.initial_loss(mlp(), (x * 300, y)).findings.kinds == ["initial_loss_too_high"]
    numbers = np.random.default_rng(0).normal(50, 1, (len(x), 1)).astype(np.float32)
    found = check.initial_loss(mlp(out=1), (x, numbers), "mse").findings
    assert found.kinds == ["initial_loss_too_high"] and "mean 50" in found[0].cause
    trained = mlp()
    bl.train.fit(trained, data, epochs=8, lr=3e-3, progress=False)
    assert check.initial_loss(trained, (x, y)).findings.kinds == ["initial_loss_too_low"]


@pytest.mark.parametrize(
    ("model", "loss", "kind"),
    [
        (lambda: mlp(nn.Softmax(dim=1)), "cross_entropy", "softmax_before_cross_entropy"),
        (lambda: mlp(), "nll", "wrong_loss_for_logits"),
        (lambda: mlp(nn.Softmax(dim=1)), "nll", "wrong_loss_for_logits"),
        (lambda: mlp(nn.LogSoftmax(dim=1)), "cross_entropy", None),
    ],
)
def test_last_layer_against_loss(data, model, loss, kind):
    assert check.initial_loss(model(), data, loss).findings.kinds == ([kind] if kind else [])


def test_other_mismatches(data):
    x, y = data
    half = (y % 2).astype(np.float32)[:, None]
    found = check.initial_loss(mlp(nn.Sigmoid(), out=1), (x, half), "bce_with_logits").findings
    assert found.kinds == ["sigmoid_before_bce_with_logits"]
    one = check.initial_loss(mlp(out=1), (x, np.zeros(len(x), np.int64))).findings
    assert one.kinds == ["one_class_output"]
    signed = np.random.default_rng(0).normal(size=(len(x), 1)).astype(np.float32)
    assert check.initial_loss(mlp(nn.ReLU(), out=1), (x, signed), "mse").findings.kinds == ["output_range"]
    assert check.initial_loss(mlp(out=1), (x, y), "mse").findings.kinds[0] == "regression_on_class_numbers"


# -- overfit --------------------------------------------------------------------------------------------------------


def test_what_stands_in_the_way(data):
    x, y = data
    assert check.overfit(mlp(nn.Softmax(dim=1)), data).findings.kinds == ["softmax_before_cross_entropy"]
    zeros = mlp()
    for parameter in zeros.parameters():
        nn.init.zeros_(parameter)
    assert check.overfit(zeros, data).findings.kinds == ["symmetric_units"]
    deep = nn.Sequential(*[m for _ in range(8) for m in (nn.Linear(64, 64), nn.Sigmoid())], nn.Linear(64, 10))
    assert check.overfit(deep, data, steps=60).findings.kinds == ["vanishing_gradients"]
    same = np.repeat(x[:1], 16, axis=0)
    found = check.overfit(mlp(), (same, y[:16]), steps=60).findings
    assert found.kinds == ["contradicting_examples"] and found[0].data["pairs"][0] == (0, 1)
    frozen = check.overfit(mlp(), data, lambda out, t: F.cross_entropy(out, t) + 5.0, steps=60).findings
    assert frozen.kinds == ["cannot_overfit"]


def test_an_output_that_ignores_its_input(data):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside, self.out = nn.Linear(64, 8), nn.Linear(8, 10)

        def forward(self, x):
            return self.out(self.inside(x).mean(dim=0, keepdim=True).expand(len(x), 8))

    assert check.overfit(Constant(), data, steps=60).findings.kinds == ["constant_output"]


def test_overfit_leaves_everything(data):
    model = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 10))
    optimizer = bl.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    F.cross_entropy(model(bl.tensor(data[0])), bl.tensor(data[1])).backward()
    optimizer.step()
    before = state(model, optimizer)
    assert check.overfit(model, data, optimizer=optimizer)
    assert state(model, optimizer) == before and model[2].training


def test_models_with_several_outputs(data):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()

        def forward(self, x):
            return self.body(x), x

    def loss(outputs, target):
        return F.cross_entropy(outputs[0], target)

    assert check.overfit(Two(), data, loss)
    assert math.isnan(check.initial_loss(Two(), data, loss).expected)
    assert not check.flow(Two(), data, loss).findings


# -- learning rates -------------------------------------------------------------------------------------------------


def test_a_rate_that_learns(data):
    model = mlp()
    found = check.lr_range(model, data, optimizer="sgd")
    assert 0.01 < found.suggestion < 1 and len(found.rates) == len(found.losses) == len(found.smooth)
    history = bl.train.fit(model, data, optimizer="sgd", lr=found.suggestion, epochs=5, progress=False, seed=0)
    assert history["accuracy"][-1] > 0.9


def test_no_rate_learns(data):
    zeros = mlp()
    for parameter in zeros.parameters():
        nn.init.zeros_(parameter)
    found = check.lr_range(zeros, data)
    assert found.suggestion is None and found.findings.kinds == ["no_rate_learns"]
    with pytest.raises(OperationError, match="lowest < highest"):
        check.lr_range(zeros, data, lowest=1.0, highest=0.1)


def test_lr_range_leaves_everything(data):
    model = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 10))
    groups = [{"params": model[0].parameters()}, {"params": model[3].parameters(), "lr": 0.02}]
    optimizer = bl.optim.Adam(groups, lr=0.01)
    F.cross_entropy(model(bl.tensor(data[0])), bl.tensor(data[1])).backward()
    optimizer.step()
    before = state(model, optimizer)
    check.lr_range(model, data, optimizer=optimizer)
    assert state(model, optimizer) == before


def test_lr_range_picture(data, tmp_path):
    pytest.importorskip("matplotlib")
    check.lr_range(mlp(), data, steps=40).plot().savefig(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 5000


# -- models and data that cannot be trained at all --------------------------------------------------------


def test_a_frozen_model_is_told_so(data):
    model = mlp()
    for p in model.parameters():
        p.requires_grad_(False)
    assert check.overfit(model, data).findings.kinds == ["frozen_parameters"]
    assert check.lr_range(model, data).findings.kinds == ["frozen_parameters"]


def test_a_loss_that_is_nan_from_the_start_is_not_blamed_on_the_rate(data):
    pytest.importorskip("matplotlib")
    x, y = data
    found = check.lr_range(mlp(), (np.full_like(x, np.nan), y))
    assert found.suggestion is None and found.findings.kinds == ["non_finite_loss"]
    assert found.plot() is not None
