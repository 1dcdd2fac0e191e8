"""Gradients through time: a factor a step that can be worked out by hand, each fault its verdict, sound cells none."""

import math

import numpy as np
import pytest

import backlit as bl
from backlit import check, nn
from backlit.errors import OperationError
from backlit.train import fit

STEPS = 30


class Reader(nn.Module):
    """A recurrent layer over a sequence, and a head for its last output, or for all of them."""

    def __init__(self, cell, width=16, last=True, gain=None, **options):
        super().__init__()
        self.cell = cell(2, width, batch_first=True, **options)
        self.head = nn.Linear(width, 1)
        self.last = last
        if gain is not None:
            nn.init.orthogonal_(self.cell.weight_hh_l0, gain=gain)

    def forward(self, x):
        out, _ = self.cell(x)
        return self.head(out[:, -1] if self.last else out.mean(dim=1))


def batch(steps=STEPS):
    x = np.random.default_rng(0).normal(size=(64, steps, 2)).astype(np.float32)
    return x, x.mean(axis=(1, 2))[:, None]


def flow(make, seed=0, steps=STEPS):
    bl.manual_seed(seed)
    return check.flow(make(), batch(steps), "mse")


class Scaled(nn.Module):
    """``h ← w h`` for some steps, with one weight that the test chooses."""

    def __init__(self, weight, steps):
        super().__init__()
        self.weight = nn.Parameter(bl.tensor([[weight]]))
        self.steps = steps

    def forward(self, x):
        for _ in range(self.steps):
            x = x @ self.weight.T
        return x


@pytest.mark.parametrize("weight", [0.5, 1.0, 2.5])
def test_the_factor_is_that_of_the_weight(weight):
    report = check.flow(Scaled(weight, 6), (np.ones((4, 1), np.float32), np.zeros((4, 1), np.float32)), "mse")
    (found,) = report.time
    assert found.name == "weight" and not found.gated and len(found.gradient_norms) == 6
    assert found.factor == pytest.approx(weight, rel=1e-5)
    last = 2 * weight**6 / math.sqrt(4)  # the gradient of the mean of squares, over four equal rows
    expected = [last * weight ** (5 - i) for i in range(6)]
    np.testing.assert_allclose(found.gradient_norms, expected, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_plain_network_forgets(seed):
    report = flow(lambda: Reader(nn.RNN), seed)
    (found,) = report.findings
    assert (found.kind, found.where) == ("vanishing_gradients", "cell.weight_hh_l0")
    assert found.data["factor"] == report.time[0].factor < 0.8
    assert f"by a factor of {report.time[0].factor:.2g} a step over 29 steps" in found.evidence
    assert "orthogonal" in found.remedy


@pytest.mark.parametrize("seed", range(3))
def test_weights_that_are_too_large_explode(seed):
    report = flow(lambda: Reader(nn.RNN, nonlinearity="relu", gain=3.2), seed)
    assert report.findings.kinds == ["exploding_gradients"] and report.findings[0].where == "cell.weight_hh_l0"
    assert report.time[0].factor > 1.5


SOUND = {
    "LSTM": lambda: Reader(nn.LSTM),
    "GRU": lambda: Reader(nn.GRU),
    "two layers": lambda: Reader(nn.LSTM, num_layers=2),
    "orthogonal": lambda: Reader(nn.RNN, gain=1.0),
    "every output counts": lambda: Reader(nn.RNN, last=False),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SOUND)
def test_sound_networks_pass_in_silence(name, seed):
    report = flow(SOUND[name], seed)
    assert not report.findings, str(report)
    assert all(len(found.gradient_norms) == STEPS for found in report.time)


def test_gates_that_are_shut_are_no_excuse():
    model = Reader(nn.LSTM)
    with bl.no_grad():
        model.cell.bias_ih_l0[16:32] = -4.0  # the forget gates
    report = check.flow(model, batch(), "mse")
    assert report.time[0].gated and report.findings.kinds == ["vanishing_gradients"]


def test_layers_and_directions_are_told_apart():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRU(2, 4, num_layers=2, bidirectional=True, batch_first=True)

        def forward(self, x):
            return self.cell(x)[0].mean(dim=1).sum(dim=1, keepdim=True)

    names = [f"cell.weight_hh_l{layer}{direction}" for layer in (0, 1) for direction in ("", "_reverse")]
    assert [found.name for found in flow(Both, steps=6).time] == names


class Heads(nn.Module):
    """One layer for many rows in turn: the same weight again and again, and no recurrence."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 1)

    def forward(self, x):
        return sum(self.head(x[:, i]) * 10.0**-i for i in range(x.shape[1]))


def test_a_shared_weight_is_no_recurrence():
    report = flow(Heads, steps=10)
    assert not report.time and not report.findings
    with pytest.raises(OperationError, match="no recurrence"):
        report.plot_time()


def test_steps_that_no_gradient_reaches():
    class Early(Reader):
        def forward(self, x):
            out, _ = self.cell(x)
            return self.head(out[:, 9])

    report = flow(lambda: Early(nn.RNN))
    assert report.time[0].reached == (0, 9) and report.time[0].gradient_norms[10:] == [0.0] * 20
    assert report.time[0].factor == flow(lambda: Early(nn.RNN)).time[0].factor


def test_cells_in_a_loop_of_ones_own():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.RNNCell(2, 16), nn.Linear(16, 1)

        def forward(self, x):
            h = None
            for i in range(x.shape[1]):
                h = self.cell(x[:, i], h)
            return self.head(h)

    report = flow(Loop)
    assert [found.name for found in report.time] == ["cell.weight_hh"]  # not weight_ih, which sees no earlier state
    assert report.findings.kinds == ["vanishing_gradients"]


def test_in_reports_callbacks_and_pictures(tmp_path):
    report = flow(lambda: Reader(nn.RNN))
    assert report.to_dict()["time"][0]["gradient_norms"] == report.time[0].gradient_norms
    callback = check.Flow()
    fit(Reader(nn.RNN), batch(), loss="mse", metrics=[], epochs=1, callbacks=[callback], progress=False)
    assert callback.time[0].name == "cell.weight_hh_l0" and "vanishing_gradients" in callback.findings.kinds
    again = check.Flow()
    again.load_state_dict(callback.state_dict())
    assert again.time == callback.time and again.report().time == callback.time
    pytest.importorskip("matplotlib")
    figure = report.plot_time()
    figure.savefig(tmp_path / "time.png")
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), report.time[0].gradient_norms)
    assert figure.axes[0].get_yscale() == "log"
