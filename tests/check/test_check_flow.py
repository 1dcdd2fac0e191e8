"""Flow: statistics that can be worked out by hand, each fault with its verdict, and nothing left behind."""

import copy
import math

import numpy as np
import pytest

import backlit as bl
from backlit import check, nn
from backlit.check.health.flow import noise_scale
from backlit.check.health.norms import squared_norm
from backlit.check.health.restore import unchanged
from backlit.errors import NonFiniteError
from backlit.graph import mode
from backlit.train import fit


@pytest.fixture(autouse=True)
def seeded():
    bl.manual_seed(0)


def batch(rows=128, width=20, classes=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, width)).astype(np.float32), rng.integers(0, classes, rows)


def deep(activation, depth, width=32):
    layers = [nn.Linear(20, width), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 5))


def kinds(model, data=None, **options):
    return check.flow(model, data or batch(), **options).findings.kinds


def fill(tensor, value):
    with bl.no_grad():
        tensor.fill_(value)


# -- numbers --------------------------------------------------------------------------------------------------------


def test_statistics_are_those_of_the_layer():
    model = deep(nn.ReLU, 1)
    x, y = batch()
    report = check.flow(model, (x, y), optimizer=bl.optim.SGD(model.parameters(), lr=0.5))
    hidden = model[0](bl.tensor(x))
    out = bl.relu(hidden).detach().requires_grad_()
    hidden._data.setflags(write=False)
    nn.functional.cross_entropy(model[2](out), bl.tensor(y)).backward()
    assert report["0"].mean == pytest.approx(float(hidden.mean()), rel=1e-4)
    assert report["0"].std == pytest.approx(float(hidden._data.std()), rel=1e-4)
    assert report["1"].zeros == pytest.approx(float((out._data == 0).mean()))
    assert report["1"].gradient_norm == pytest.approx(float(np.linalg.norm(out.grad._data)), rel=1e-4)
    own = [model[2].weight.grad._data.ravel(), model[2].bias.grad._data.ravel()]
    assert report["2"].weight_gradient == pytest.approx(float(np.linalg.norm(np.concatenate(own))), rel=1e-4)
    assert report["2"].update_ratio == pytest.approx(
        0.5 * report["2"].weight_gradient / report["2"].weight_norm, rel=1e-3
    )
    assert report["2"].is_output and not report["0"].is_output
    norms = [report[name].gradient_norm for name in ("0", "2")]
    assert report.gradient_factor == pytest.approx(norms[0] / norms[1])
    assert math.isfinite(report.to_dict()["loss"]) and "gradient" in report.table()


def test_noise_scale_of_known_noise():
    """Gradients G + noise of variance s²/rows in each of d entries: the scale is d s² / |G|²."""
    signal, variance = 4.0, 36.0
    assert noise_scale(signal + variance / 8, signal + variance / 64, 8, 64) == pytest.approx(variance / signal)
    assert noise_scale(1.0, 0.01, 1, 10) == math.inf


def test_functions_and_repeated_modules_are_watched():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside, self.again, self.out = nn.Linear(20, 16), nn.Linear(16, 16), nn.Linear(16, 5)

        def forward(self, x):
            x = bl.tanh(self.inside(x))
            for _ in range(3):
                x = bl.relu(self.again(x)) + x
            return self.out(x)

    report = check.flow(Net(), batch())
    assert [(x.name, x.kind) for x in report] == [
        ("inside", "Linear"), ("tanh", "tanh"), ("again", "Linear"), ("relu", "relu"), ("out", "Linear"),
    ]  # fmt: skip
    assert report["relu"].rows == 3 * 128 and report["tanh"].saturated is not None


def test_tiny_and_huge_norms():
    assert squared_norm(np.full(4, 1e-25, np.float32)) == pytest.approx(4e-50, rel=1e-4)
    assert squared_norm(np.full(4, 1e25, np.float32)) == pytest.approx(4e50, rel=1e-4)
    assert squared_norm(np.full(4, 300, np.float16)) == pytest.approx(360000)


# -- faults ---------------------------------------------------------------------------------------------------------


def test_dead_layer_and_dead_units():
    model = deep(nn.ReLU, 2)
    fill(model[0].bias, -50.0)
    report = check.flow(model, batch())
    assert report.findings[0].kind == "dead_layer" and report.findings[0].where == "1"
    model = deep(nn.ReLU, 2)
    with bl.no_grad():
        model[0].bias[:25] = -50.0
    found = check.flow(model, batch()).findings[0]
    assert found.kind == "dead_units" and found.data["units"]["1"][:25] == list(range(25))


def test_dead_channels_of_a_convolution():
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 5))
    with bl.no_grad():
        model[0].bias[:4] = -50.0
    x = np.random.default_rng(0).normal(size=(16, 1, 8, 8)).astype(np.float32)
    report = check.flow(model, (x, np.arange(16) % 5))
    assert report["1"].dead == (0, 1, 2, 3) and report["1"].units == 6
    assert report.findings.kinds == ["dead_units"]


def test_few_rows_say_nothing_about_dead_units():
    x, y = batch(4)
    assert kinds(deep(nn.ReLU, 2), (x, y)) == []


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid])
def test_saturation(activation):
    model = deep(activation, 2)
    with bl.no_grad():
        model[0].weight.mul_(80)
    assert kinds(model)[0] == "saturation"


def test_a_saturated_output_is_no_fault():
    model = nn.Sequential(nn.Linear(20, 1), nn.Sigmoid())
    with bl.no_grad():
        model[0].weight.mul_(100)
    x, y = batch(classes=2)
    assert "saturation" not in kinds(model, (x, y[:, None].astype(np.float32)), loss="bce")


def test_vanishing_and_exploding():
    report = check.flow(deep(nn.Sigmoid, 8), batch())
    assert report.findings.kinds == ["vanishing_gradients"]
    assert report.findings[0].data["factor"] == pytest.approx(report.gradient_factor) and report.gradient_factor < 0.2
    model = deep(nn.ReLU, 8)
    with bl.no_grad():
        for layer in model[2::2]:
            layer.weight.mul_(12)
    found = check.flow(model, batch()).findings
    assert found.kinds == ["exploding_gradients"] and found[0].data["factor"] > 2.5


def test_symmetric_units():
    model = deep(nn.ReLU, 2)
    for parameter in model.parameters():
        fill(parameter, 0.0)
    assert kinds(model) == ["symmetric_units"]
    model = deep(nn.Tanh, 1)
    fill(model[0].weight, 0.1)
    fill(model[2].weight, 0.1)
    fill(model[0].bias, 0.0)
    assert "symmetric_units" in kinds(model)


def test_units_that_differ_by_rounding_are_alike_and_others_are_not():
    rng = np.random.default_rng(0)
    for spread, found in ((4 * np.finfo(np.float32).eps, ["symmetric_units"]), (1e-3, [])):
        model = deep(nn.Tanh, 1)
        model[0].bias._data[...] = 0.0
        for layer in (model[0], model[2]):
            layer.weight._data[...] = 0.1 * (1 + spread * rng.uniform(-1, 1, layer.weight.shape))
        assert kinds(model) == found


def test_a_last_layer_of_zeros_is_no_fault():
    model = deep(nn.ReLU, 2)
    fill(model[4].weight, 0.0)
    assert kinds(model) == []


def test_detached_and_unused():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head, self.spare = nn.Linear(20, 8), nn.Linear(8, 5), nn.Linear(3, 3)

        def forward(self, x):
            return self.head(self.body(x).detach())

    found = check.flow(Cut(), batch()).findings
    assert found.kinds == ["detached", "unused_parameters"]
    assert found[0].data["parameters"] == ["body.weight", "body.bias"]


def test_steps_too_large_and_too_small():
    model = deep(nn.ReLU, 2)
    for lr, kind in ((500.0, "update_too_large"), (1e-9, "update_too_small")):
        assert kinds(model, optimizer=bl.optim.SGD(model.parameters(), lr=lr)) == [kind]


def test_not_finite():
    model = deep(nn.ReLU, 2)
    with bl.no_grad():
        model[2].weight[0, 0] = float("nan")
    found = check.flow(model, batch()).findings
    assert found.kinds == ["non_finite_activations"] and found[0].where == "2"

    def loss(output, target):
        return nn.functional.cross_entropy(output, target) + (output * 0).square().sum().sqrt()

    found = check.flow(deep(nn.ReLU, 2), batch(), loss).findings
    assert found.kinds == ["non_finite_gradients"]


# -- nothing is left behind -----------------------------------------------------------------------------------------


def test_everything_is_as_before():
    model = nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 5))
    optimizer = bl.optim.Adam(model.parameters(), lr=0.1)
    x, y = (bl.tensor(part) for part in batch())
    fit(model, (x, y), optimizer=optimizer, epochs=1, progress=False, metrics=[])
    nn.functional.cross_entropy(model(x), y).backward()

    def state():
        held = [t._data.tobytes() for t in model.state_dict().values()]
        held += [t._data.tobytes() for p in optimizer.state.values() for t in p.values()]
        return [*held, *(p.grad._data.tobytes() for p in model.parameters()), bl.get_rng_state()._data.tobytes()]

    twin, other = copy.deepcopy((model, optimizer))
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        q.grad = p.grad.clone()
    before, gradients = state(), [p.grad for p in model.parameters()]
    check.flow(model, (x, y), optimizer=optimizer)
    assert state() == before and all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert (
        mode.observers == () and mode.walkers == () and all(m._hooks is None or not m._hooks for m in model.modules())
    )
    optimizer.step()  # the next step is the one that would have been made
    other.step()
    assert all((p._data == q._data).all() for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_also_after_an_error():
    model = deep(nn.ReLU, 1)
    weights = model[0].weight._data.copy()
    with pytest.raises(ZeroDivisionError), unchanged(model):
        fill(model[0].weight, 0.0)
        raise ZeroDivisionError
    assert (model[0].weight._data == weights).all()


# -- over time ------------------------------------------------------------------------------------------------------


def run(model, flow, **options):
    options = {"epochs": 8, "batch_size": 32, "metrics": [], "progress": False, "seed": 0, **options}
    return fit(model, batch(256), callbacks=[flow], **options)


def test_the_callback_changes_nothing_and_names_a_rate_that_is_too_high():
    weights = []
    for callbacks in ([], [check.Flow()]):
        bl.manual_seed(1)
        model = deep(nn.ReLU, 2)
        fit(model, batch(256), epochs=2, callbacks=callbacks, metrics=[], seed=3, progress=False)
        weights.append([p._data.copy() for p in model.parameters()])
    assert all((a == b).all() for a, b in zip(*weights, strict=True))
    flow = check.Flow()
    run(deep(nn.ReLU, 2), flow, optimizer="sgd", lr=20.0)
    assert flow.findings.kinds[0] == "learning_rate_too_high"


def test_the_callback_names_a_rate_that_is_too_low_and_dead_units():
    flow = check.Flow()
    run(deep(nn.ReLU, 2), flow, lr=1e-8)
    assert flow.findings.kinds == ["learning_rate_too_low"]
    model = deep(nn.ReLU, 2)
    fill(model[2].bias, -50.0)
    flow = check.Flow()
    run(model, flow, lr=1e-3)
    assert flow.findings.kinds[0] == "dead_layer" and flow.findings[0].where == "3"
    assert flow.blocked["3"][-1] == 1.0 and len(flow.noise_scale["4"]) == 8


def test_the_callback_survives_an_error_and_a_checkpoint(tmp_path):
    model = deep(nn.ReLU, 1)
    x, y = batch(64)
    x[:] = np.nan
    with pytest.raises(NonFiniteError):
        fit(model, (x, y), callbacks=[check.Flow()], progress=False)
    assert mode.observers == () and mode.walkers == ()
    histories = []
    for stops in ((6,), (3, 6)):
        bl.manual_seed(0)
        model = deep(nn.ReLU, 1)
        for i, epochs in enumerate(stops):
            flow = check.Flow()
            folder = tmp_path / str(len(stops))
            run(model, flow, epochs=epochs, checkpoint=folder, resume="auto" if i else None)
        histories.append((flow.output_std, flow.update_ratio, flow.findings.kinds))
    assert histories[0] == histories[1]


# -- pictures -------------------------------------------------------------------------------------------------------


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    flow = check.Flow()
    run(deep(nn.Tanh, 2), flow, epochs=3)
    for name, figure in (("bars", flow.report().plot()), ("lines", flow.plot())):
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    titles = [ax.get_title() for ax in flow.report().plot().axes]
    assert titles == [
        "output: standard deviation",
        "gradient norm at the output",
        "update-to-weight ratio",
        "saturated or dead",
    ]
