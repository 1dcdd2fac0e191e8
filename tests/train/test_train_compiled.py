"""fit with compiled batches: eager mode's numbers; whoever wants to look can; what cannot be compiled says so."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit import nn
from backlit.check.health.flow_history import Flow
from backlit.compile import TraceError
from backlit.errors import AnomalyError, OperationError
from backlit.train import Callback, CheckpointEvery, EarlyStopping, LayerStatistics, evaluate, fit, predict
from backlit.train.native import Native

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 6)).astype(np.float32)
Y = (X[:, :3] @ np.array([1.0, -1.0, 0.5], np.float32) > 0).astype(np.int64) + (X[:, 3] > 1)
QUIET: dict[str, Any] = {"progress": False}


def perceptron() -> Any:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def normalised() -> Any:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def dropping() -> Any:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def convolution() -> Any:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)
    )


class Tied(nn.Module):
    """The decoder's weight is the encoder's, and one layer is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 4)
        self.frozen = nn.Linear(4, 4)
        self.out = nn.Linear(6, 3)
        for p in self.frozen.parameters():
            p.requires_grad_(False)

    def forward(self, x: Any) -> Any:
        hidden = bl.tanh(self.frozen(self.encoder(x)))
        return self.out(hidden @ self.encoder.weight)


class Recurrent(nn.Module):
    """A GRU over the features."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, 5, batch_first=True)
        self.out = nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.rnn(x.reshape(-1, 3, 2))[0][:, -1])


class Counting(Native):
    """Counts the batches that ran natively."""

    made = 0

    def run(self, batch: Any) -> Any:
        result = super().run(batch)
        Counting.made += result is not None
        return result


@pytest.fixture
def native(monkeypatch: Any) -> Any:
    monkeypatch.setattr("backlit.train.trainer.Native", Counting)
    monkeypatch.setattr("backlit.train.evaluation.Native", Counting)
    Counting.made = 0
    return Counting


def trained(make: Any, compile: Any, **options: Any) -> tuple[Any, Any]:
    bl.manual_seed(0)
    model = make()
    settings = {"epochs": 4, "batch_size": 16, "lr": 0.02, "seed": 1, **QUIET, **options}
    return model, fit(model, (X, Y), compile=compile, **settings)


def alike(first: Any, second: Any, tolerance: float = 2e-4) -> None:
    (model, history), (other, others) = first, second
    for column in history.columns:
        np.testing.assert_allclose(others[column], history[column], rtol=tolerance, err_msg=column)
    for (key, a), b in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=tolerance * 10, atol=tolerance, err_msg=key)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "validated": {"validation_split": 0.2, "metrics": ["accuracy", "f1"]},
    "clipped": {"clip_grad_norm": 0.1, "clip_grad_value": 0.05},
    "penalised": {"l1": 0.01, "l2": 0.01, "optimizer": "sgd"},
    "scheduled": {"scheduler": lambda o: bl.optim.lr_scheduler.OneCycleLR(o, 0.05, total_steps=20)},
    "halved": {"scheduler": lambda o: bl.optim.lr_scheduler.StepLR(o, 1, 0.5), "optimizer": "adamw"},
    "one batch": {"batch_size": "full"},
    "stopped early": {"validation_split": 0.2, "early_stopping": EarlyStopping(1), "epochs": 8},
}


@pytest.mark.parametrize("make", [perceptron, normalised, dropping, convolution, Tied, Recurrent])
def test_networks_train_alike(make: Any, native: Any) -> None:
    alike(trained(make, False, optimizer="sgd"), trained(make, True, optimizer="sgd"))
    assert native.made >= 20


@pytest.mark.parametrize("name", OPTIONS)
def test_options_train_alike(name: str, native: Any) -> None:
    alike(trained(perceptron, False, **copy.deepcopy(OPTIONS[name])), trained(perceptron, True, **OPTIONS[name]))
    assert native.made >= 4


@pytest.mark.parametrize("loss", ["mse", "l1", "huber", "bce_with_logits"])
def test_named_losses_train_alike(loss: str, native: Any) -> None:
    y = (Y > 0).astype(np.int64)
    results = []
    for compile in (False, True):
        bl.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))
        results.append((model, fit(model, (X, y), loss=loss, epochs=3, seed=1, compile=compile, metrics=[], **QUIET)))
    alike(*results)
    assert native.made == 9


def test_auto_waits_until_it_pays(native: Any) -> None:
    trained(perceptron, "auto")
    assert native.made == 0
    alike(trained(perceptron, False, epochs=40), trained(perceptron, "auto", epochs=40), 1e-2)
    assert native.made == 160 - 64
    native.made = 0
    trained(perceptron, False, epochs=40)
    assert native.made == 0


def test_a_choice_that_is_none() -> None:
    with pytest.raises(OperationError, match="'auto', True or False"):
        trained(perceptron, "yes")


# -- whoever looks ----------------------------------------------------------------------------------------------------


def test_statistics_and_flow_see_what_they_see_eagerly(native: Any) -> None:
    found = []
    for compile in (False, True):
        statistics, flow = LayerStatistics(2), Flow(2)
        trained(perceptron, compile, callbacks=[statistics, flow], epochs=3, batch_size=8)
        found.append((statistics, flow))
    (a, flow_a), (b, flow_b) = found
    for layer in a.gradient_norm:
        np.testing.assert_allclose(b.gradient_norm[layer], a.gradient_norm[layer], rtol=1e-3)
        np.testing.assert_allclose(b.update_ratio[layer], a.update_ratio[layer], rtol=1e-3)
    for layer in flow_a.output_std:
        np.testing.assert_allclose(flow_b.output_std[layer], flow_a.output_std[layer], rtol=1e-3)
    assert native.made == 18  # 27 batches, 9 of them looked at


class Norms(Callback):
    """Looks at the gradients of each batch."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_gradients(self, trainer: Any) -> None:
        self.found.append(float(bl.nn.utils.get_total_norm([p.grad for p in trainer.model.parameters()])))


def test_a_callback_for_every_gradient_is_served_and_told_of(native: Any, capsys: Any) -> None:
    a, b = Norms(), Norms()
    trained(perceptron, False, callbacks=[a])
    assert capsys.readouterr().out == ""
    trained(perceptron, "auto", callbacks=[b])
    assert b.found == a.found
    assert capsys.readouterr().out.count("\n") == 1
    assert native.made == 0


def test_gradients_are_there_after_each_batch_for_a_callback_of_ones_own(native: Any) -> None:
    class After(Norms):
        on_gradients = Callback.on_gradients

        def on_batch_end(self, trainer: Any) -> None:
            Norms.on_gradients(self, trainer)

    a, b = After(), After()
    trained(perceptron, False, callbacks=[a])
    trained(perceptron, True, callbacks=[b])
    np.testing.assert_allclose(b.found, a.found, rtol=1e-3)
    assert native.made == 20


def test_hooks_on_modules_see_every_batch(native: Any) -> None:
    bl.manual_seed(0)
    model, seen = perceptron(), []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    fit(model, (X, Y), epochs=2, batch_size=16, compile="auto", **QUIET)
    assert len(seen) == 10
    assert native.made == 0


def test_gradients_are_none_afterwards() -> None:
    model, _ = trained(perceptron, True)
    assert all(p.grad is None for p in model.parameters())


# -- what cannot be compiled ------------------------------------------------------------------------------------------


class Branching(nn.Module):
    """Looks at a value."""

    def __init__(self) -> None:
        super().__init__()
        self.body = perceptron()

    def forward(self, x: Any) -> Any:
        out = self.body(x)
        return out * 2 if out.sum() > 1e9 else out


def test_falls_back_with_one_line(native: Any, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr("backlit.train.native.PATIENCE", 3)
    eager = trained(Branching, False)
    assert capsys.readouterr().out == ""
    found = trained(Branching, "auto")
    out = capsys.readouterr().out
    assert out.startswith("Training runs eagerly: its truth value")
    assert "test_train_compiled.py" in out
    assert out.count("\n") == 1
    alike(eager, found, 0.0)
    assert native.made == 0


def test_a_compiler_that_fails_is_no_obstacle(native: Any, monkeypatch: Any, capsys: Any) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr("backlit.train.native.PATIENCE", 3)
    monkeypatch.setattr("backlit.compile.forms.bound", broken)
    eager = trained(perceptron, False)
    found = trained(perceptron, "auto")
    assert capsys.readouterr().out == (
        "Training runs eagerly: no code could be made (RuntimeError: no such instruction).\n"
    )
    alike(eager, found, 0.0)
    with pytest.raises(TraceError, match="no such instruction"):
        trained(perceptron, True)


def test_raises_where_it_must_compile() -> None:
    with pytest.raises(TraceError, match=r"test_train_compiled\.py"):
        trained(Branching, True)


# -- evaluation -------------------------------------------------------------------------------------------------------


def test_evaluate_and_predict(native: Any) -> None:
    model, _ = trained(normalised, False)
    expected = evaluate(model, (X, Y), batch_size=16, compile=False)
    found = evaluate(model, (X, Y), batch_size=16, compile=True)
    assert native.made == 5
    assert found == pytest.approx(expected, rel=1e-5)
    outputs = predict(model, X, batch_size=16, compile=False).numpy()
    np.testing.assert_allclose(predict(model, X, batch_size=16, compile=True).numpy(), outputs, rtol=1e-5, atol=1e-6)
    assert native.made == 10
    assert model.training


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [perceptron, dropping, normalised])
@pytest.mark.parametrize("compile", [True, "auto"])
def test_a_resumed_run_ends_with_the_same_bits(make: Any, compile: Any, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("backlit.train.native.PATIENCE", 7)
    common = {"epochs": 6, "validation_split": 0.2, "batch_size": 10}
    whole, history = trained(make, compile, **common)

    class Stop(Callback):
        def on_batch_end(self, trainer: Any) -> None:
            if trainer.step == 14:
                raise KeyboardInterrupt

    checkpoint = CheckpointEvery(tmp_path / "run", every_n_batches=4)
    with pytest.raises(KeyboardInterrupt):
        trained(make, compile, checkpoint=checkpoint, callbacks=[Stop()], **common)
    resumed, again = trained(make, compile, checkpoint=checkpoint, resume="auto", **common)
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert history["loss"] == again["loss"]
    assert history["val_loss"] == again["val_loss"]


# -- not finite -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["inputs", "log"])
def test_the_first_culprit_is_named_before_the_weights_are_spoiled(trouble: str, native: Any) -> None:
    x = X.copy()
    if trouble == "inputs":
        x[50, 2] = np.nan

    def loss(output: Any, target: Any) -> Any:
        scores = output.exp() if trouble == "inputs" else bl.log(output * 0.0 + (output.sum() * 0.0 + gate))
        return nn.functional.cross_entropy(scores, target)

    gate = bl.tensor(1.0)

    class Kept(Callback):
        weights: Any = None

        def on_batch_start(self, trainer: Any) -> None:
            if trouble == "log" and trainer.step == 3:
                gate.data.fill_(0.0)
            self.weights = [p.detach().clone() for p in trainer.model.parameters()]
            self.state = copy.deepcopy(trainer.optimizer.state_dict()["state"])
            self.trainer = trainer

    kept, model = Kept(), perceptron()
    with pytest.raises(AnomalyError) as caught:
        fit(model, (x, Y), loss=loss, batch_size=10, shuffle=False, compile=True, callbacks=[kept], **QUIET)
    assert native.made == (5 if trouble == "inputs" else 3)
    assert caught.value.anomaly.operation if trouble == "log" else caught.value.anomaly.cause == "bad input data"
    for p, before in zip(model.parameters(), kept.weights, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), before.numpy())
    for key, held in kept.trainer.optimizer.state_dict()["state"].items():
        for name, value in held.items():
            np.testing.assert_array_equal(value.numpy(), kept.state[key][name].numpy())


def test_a_batch_that_dropout_made_nan_is_run_again_with_the_same_units_dropped(native: Any) -> None:
    """Whether the logarithm meets a number below zero depends on what was drawn."""

    def told(compiled: bool) -> str:
        bl.manual_seed(5)
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.5))
        x = np.tile(X, (10, 1))

        def loss(output: Any, target: Any) -> Any:
            return bl.log(output.sum(1) - 0.02).mean() * 0.001

        with pytest.raises(AnomalyError) as caught:
            fit(
                model, (x, np.tile(Y, 10)), loss=loss, batch_size=10, shuffle=False, seed=3, metrics=(),
                compile=compiled, **QUIET,
            )  # fmt: skip
        return str(caught.value)

    eager = told(False)
    assert native.made == 0
    assert told(True) == eager
    assert native.made >= 3
    assert "log of a negative number" in eager and "rows" in eager


def test_detect_anomaly_around_a_compiled_step() -> None:
    model = perceptron()
    optimizer = bl.optim.SGD(model.parameters(), lr=0.1)

    @bl.compile
    def step(x: Any) -> Any:
        loss = bl.sqrt(model(x) * 0.0).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(2):
        step(bl.tensor(X))
    with pytest.raises(AnomalyError, match="sqrt"), bl.autograd.detect_anomaly():
        step(bl.tensor(X))
