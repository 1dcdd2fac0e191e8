"""fit, evaluate and predict: the loop is the one a person would write, options do what they say, mistakes are named."""

import math
import signal

import numpy as np
import pytest

import backlit as bl
from backlit import nn
from backlit.datasets import digits, moons
from backlit.datasets.augment import Shift
from backlit.errors import NonFiniteError, OperationError
from backlit.train import (
    Callback,
    CheckpointEvery,
    EarlyStopping,
    LayerStatistics,
    LearningRateScheduler,
    Trainer,
    evaluate,
    fit,
    predict,
)
from backlit.train.progress import Silent
from backlit.utils.data import DataLoader, TensorDataset

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64) + (X[:, 0] > 1)
QUIET = {"progress": False}


def network(seed=0, outputs=3):
    bl.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, outputs))


def weights(model):
    return [p.detach()._data.copy() for p in model.parameters()]


def by_hand(epochs, size, lr=0.1, clip=None, l2=0.0, momentum=0.0):
    """The loop as a person would write it, in the order of the data."""
    model = network()
    criterion = nn.CrossEntropyLoss()
    optimizer = bl.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for i in range(0, len(X), size):
            x, y = bl.tensor(X[i : i + size]), bl.tensor(Y[i : i + size])
            loss = criterion(model(x), y)
            total += loss.item() * len(x)
            if l2:
                loss = loss + nn.l2_penalty(model, l2)
            optimizer.zero_grad()
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
        losses.append(total / len(X))
    return model, losses


@pytest.mark.parametrize("size", [1, 16, 60, "full", None])
@pytest.mark.parametrize("rules", [{}, {"clip": 0.1}, {"l2": 0.01}, {"momentum": 0.9}], ids=str)
def test_the_loop_is_the_one_a_person_would_write(size, rules):
    expected, losses = by_hand(3, 60 if size in ("full", None) else size, **rules)
    model = network()
    history = fit(
        model,
        (X, Y),
        optimizer=lambda parameters: bl.optim.SGD(parameters, lr=0.1, momentum=rules.get("momentum", 0.0)),
        epochs=3,
        batch_size=size,
        shuffle=False,
        clip_grad_norm=rules.get("clip"),
        l2=rules.get("l2", 0.0),
        compile=False,
        **QUIET,
    )
    for a, b in zip(weights(model), weights(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    assert history["loss"] == pytest.approx(losses, rel=1e-12)
    assert ("penalty" in history) == ("l2" in rules) and history["lr"] == [0.1] * 3


def test_clipping_values_and_l1():
    class Largest(Callback):
        found = 0.0

        def on_gradients(self, trainer):
            self.found = max(self.found, *(float(np.abs(p.grad._data).max()) for p in trainer.model.parameters()))

    watch = Largest()
    fit(network(), (X, Y), clip_grad_value=0.01, callbacks=[watch], epochs=1, **QUIET)
    assert watch.found == pytest.approx(0.01)
    model = network()
    history = fit(model, (X, Y), l1=0.1, optimizer="sgd", lr=0.0, epochs=1, batch_size=None, **QUIET)
    assert history["penalty"][0] == pytest.approx(0.1 * sum(np.abs(w).sum() for w in weights(model) if w.ndim > 1))


def test_the_same_seed_gives_the_same_run():
    def run(seed):
        model = network()
        columns = fit(model, (X, Y), seed=seed, epochs=2, validation_split=0.2, **QUIET).columns
        return columns, [w.tolist() for w in weights(model)]

    assert run(1) == run(1) != run(2)


def test_kinds_of_data_give_the_same():
    data = TensorDataset(X, Y)
    loader = DataLoader(data, 16, generator=bl.Generator().manual_seed(0))
    found = [
        fit(network(), given, shuffle=None if given is loader else False, epochs=2, **options, **QUIET).columns
        for given, options in (
            ((X, Y), {"batch_size": 16}),
            ((bl.tensor(X), bl.tensor(Y)), {"batch_size": 16}),
            ((X.astype(np.float64), Y), {"batch_size": 16}),
            (data, {"batch_size": 16}),
            (loader, {}),
        )
    ]
    assert all(columns == found[0] for columns in found)


def test_data_sets_of_the_library():
    data = moons(100)
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    assert len(fit(model, data, epochs=1, **QUIET)) == 1
    with pytest.raises(OperationError, match="say which one"):
        evaluate(model, data)
    with pytest.raises(OperationError, match="scaled"):
        fit(model, digits(), epochs=1, **QUIET)


def test_validation_and_its_columns():
    history = fit(network(), (X, Y), validation=(X[:20], Y[:20]), metrics=["accuracy", "f1"], epochs=2, **QUIET)
    assert list(history) == ["loss", "accuracy", "f1", "val_loss", "val_accuracy", "val_f1", "lr"]
    model = network()
    history = fit(model, (X, Y), validation=(X, Y), epochs=1, **QUIET)
    result = evaluate(model, (X, Y))
    assert history["val_loss"][0] == pytest.approx(result["loss"]) and history["val_accuracy"] == [result["accuracy"]]


def test_validation_split_keeps_its_samples_out_of_training():
    class Watch(Callback):
        def on_train_start(self, trainer):
            parts = (trainer.loader.dataset, trainer.validation.dataset)
            self.parts = [{int(y) for _, y in part} for part in parts]

    watch = Watch()
    fit(
        network(outputs=60),
        (X, np.arange(60)),
        validation_split=0.25,
        augment=lambda x, rng: x + 0.1,
        callbacks=[watch],
        epochs=1,
        **QUIET,
    )
    training, held_back = watch.parts
    assert len(held_back) == 15 and len(training) == 45 and not training & held_back


def test_augmentation_changes_training_inputs_only():
    means = {True: [], False: []}

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 2)

        def forward(self, x):
            means[self.training].append(float(x._data.mean()))
            return self.layer(x.reshape(len(x), 16))

    ones = np.ones((20, 4, 4), np.float32)
    fit(Spy(), (ones, np.zeros(20, int)), augment=Shift(2), validation=(ones, np.zeros(20, int)), epochs=1, **QUIET)
    assert all(mean < 1 for mean in means[True]) and means[False] == [1.0]


def test_modes_are_restored():
    model = nn.Sequential(nn.Linear(5, 4), nn.Sequential(nn.ReLU()), nn.Linear(4, 3))
    model[1].eval()
    for use in (
        lambda: fit(model, (X, Y), validation=(X, Y), epochs=1, **QUIET),
        lambda: evaluate(model, (X, Y)),
        lambda: predict(model, X),
    ):
        use()
        assert [m.training for m in model.modules()] == [True, True, False, False, True]


def test_losses_by_name():
    targets = X[:, 0] * 2
    for loss in ("mse", "l1", "mae", "smooth_l1", "huber"):
        history = fit(network(outputs=1), (X, targets), loss=loss, lr=0.02, epochs=5, metrics=["mae", "r2"], **QUIET)
        assert history["loss"][-1] < history["loss"][0]
    model = network(outputs=1)
    signs = (X.sum(1) > 0).astype(np.int64)
    history = fit(model, (X, signs), loss="bce_with_logits", lr=0.05, epochs=20, **QUIET)
    assert history["accuracy"][-1] > 0.9
    assert evaluate(model, (X, signs), loss="bce_with_logits")["accuracy"] > 0.9


def test_evaluate_and_predict_do_not_depend_on_the_batch_size():
    model = network()
    assert predict(model, X).shape == (60, 3) and not predict(model, X).requires_grad
    np.testing.assert_allclose(predict(model, X, batch_size=7)._data, predict(model, X)._data, rtol=1e-6)
    assert evaluate(model, (X, Y), batch_size=7)["loss"] == pytest.approx(evaluate(model, (X, Y))["loss"])
    assert predict(model, TensorDataset(X, Y)).tolist() == predict(model, X).tolist()
    assert evaluate(model, (X, Y), loss=None, metrics=["accuracy"]).keys() == {"accuracy"}
    for use in (lambda: predict(model, X[:0]), lambda: evaluate(model, (X[:0], Y[:0]))):
        with pytest.raises(OperationError, match="no samples"):
            use()


def test_models_with_several_inputs():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, a, b):
            return self.layer(a + b)

    model = Sum()
    assert len(fit(model, (X, X, Y), epochs=1, **QUIET)) == 1
    assert predict(model, (X, X)).shape == (60, 3)


def spoil_at(batch, value):
    class Spoil(nn.Module):
        """A loss that is spoiled at the given batch."""

        count = 0

        def forward(self, output, target):
            Spoil.count += 1
            loss = nn.functional.cross_entropy(output, target)
            return loss * value if Spoil.count == batch else loss

    return Spoil()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_weights_are_spoiled(value):
    expected, model = network(), network()
    fit(expected, (X, Y), optimizer="sgd", lr=0.1, epochs=1, shuffle=False, batch_size=20, **QUIET)
    with pytest.raises(NonFiniteError, match=r"in epoch 2, batch 1 \(the weights are those before"):
        fit(
            model,
            (X, Y),
            loss=spoil_at(4, value),
            optimizer="sgd",
            lr=0.1,
            epochs=3,
            shuffle=False,
            batch_size=20,
            **QUIET,
        )
    for a, b in zip(weights(model), weights(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("width", [8, 3000])
@pytest.mark.parametrize("layer", [0, 2])
def test_a_gradient_that_is_not_finite_is_noticed_and_named(width, layer):
    model = nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3))
    before = weights(model)

    def loss(output, target):
        hidden = output if layer == 2 else model[0](bl.tensor(X[:32]))
        steep = (hidden * 0).sqrt()  # 0, with an infinite slope
        return nn.functional.cross_entropy(output, target) + steep.sum()

    with pytest.raises(NonFiniteError, match=r"gradient of 0\.weight is not finite in epoch 1, batch 1"):
        fit(model, (X[:32], Y[:32]), loss=loss, epochs=1, **QUIET)
    for a, b in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_inputs_are_named_as_the_cause():
    bad = X.copy()
    bad[33, 2] = np.nan
    with pytest.raises(NonFiniteError, match="inputs hold NaN"):
        fit(network(), (bad, Y), epochs=1, **QUIET)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"loss": "cross_entrpy"}, "did you mean 'cross_entropy'"),
        ({"optimizer": "adamm"}, "did you mean 'adam'"),
        ({"metrics": ["acuracy"]}, "did you mean 'accuracy'"),
        ({"metrics": ["accuracy", "accuracy"]}, "taken"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": "half"}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"validation_split": 0.001}, "leaves a part empty"),
        ({"validation_split": 0.5, "validation": (X, Y)}, "exclude each other"),
        ({"progress": "loud"}, "progress"),
        ({"callbacks": [print]}, "callbacks"),
        ({"resume": "auto"}, "checkpoint="),
        ({"optimizer": 3}, "optimizer"),
        ({"loss": lambda output, target: output}, "0-d tensor"),
        ({"early_stopping": EarlyStopping(monitor="val_los")}, "no 'val_los'"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(OperationError, match=message):
        fit(network(), (X, Y), **{"epochs": 1, **QUIET, **options})


def test_an_optimizer_object_brings_its_own_rate():
    model = network()
    with pytest.raises(OperationError, match="lr is for"):
        fit(model, (X, Y), optimizer=bl.optim.SGD(model.parameters(), lr=0.1), lr=0.2, **QUIET)
    with pytest.raises(OperationError, match="DataLoader decides"):
        fit(model, DataLoader(TensorDataset(X, Y)), batch_size=4, **QUIET)
    with pytest.raises(OperationError, match="TensorDataset"):
        fit(model, (X, Y[:-1]), **QUIET)
    with pytest.raises(OperationError, match="inputs, targets"):
        fit(model, X, **QUIET)


class Recorder(Callback):
    def __init__(self):
        self.events = []

    def on_train_start(self, trainer):
        assert isinstance(trainer, Trainer)
        self.events.append("train")

    def on_epoch_start(self, trainer):
        self.events.append(f"epoch {trainer.epoch}")

    def on_batch_start(self, trainer):
        self.events.append(f"batch {trainer.batch}")

    def on_gradients(self, trainer):
        assert all(p.grad is not None for p in trainer.model.parameters())
        self.events.append("gradients")

    def on_batch_end(self, trainer):
        assert trainer.output.shape[0] == trainer.target.shape[0] and math.isfinite(trainer.loss_value)
        self.events.append(f"step {trainer.step}")

    def on_epoch_end(self, trainer):
        self.events.append(f"end {trainer.epoch} {sorted(trainer.row)}")

    def on_train_end(self, trainer):
        self.events.append("done")


def test_callbacks_see_every_moment_in_order():
    record = Recorder()
    fit(network(), (X[:20], Y[:20]), batch_size=10, epochs=2, callbacks=[record], **QUIET)
    end = "['accuracy', 'loss']"
    assert record.events == [
        *("train", "epoch 1", "batch 1", "gradients", "step 1", "batch 2", "gradients", "step 2", f"end 1 {end}"),
        *("epoch 2", "batch 1", "gradients", "step 3", "batch 2", "gradients", "step 4", f"end 2 {end}", "done"),
    ]


class Scripted(Callback):
    """Replaces each epoch's validation loss by a given one, and keeps the weights it saw."""

    def __init__(self, values):
        self.values, self.weights = values, []

    def on_epoch_end(self, trainer):
        trainer.row["val_loss"] = self.values[trainer.epoch - 1]
        self.weights.append(weights(trainer.model))


@pytest.mark.parametrize("restore", [True, False])
@pytest.mark.parametrize(
    "values, min_delta, epochs, best",
    [
        ([3, 2, 1, 1.5, 1.2, 1.1, 0.5], 0.0, 5, 3),
        ([3, 2, 1.9, 1.85, 1], 0.5, 4, 2),
        ([1, float("nan"), float("nan"), 0], 0.0, 3, 1),
        ([4, 3, 2, 1], 0.0, 4, 4),
    ],
)
def test_early_stopping_waits_and_brings_the_best_weights_back(values, min_delta, epochs, best, restore):
    model, script = network(), Scripted(values)
    stopping = EarlyStopping(patience=2, min_delta=min_delta, restore_best=restore)
    history = fit(model, (X, Y), epochs=len(values), callbacks=[script, stopping], **QUIET)
    assert len(history) == epochs and history.best_epoch == best
    assert ("val_loss has not improved for 2 epochs" in history.stopped) == (epochs < len(values))
    for a, b in zip(weights(model), script.weights[best - 1 if restore else -1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_early_stopping_knows_what_is_better():
    stopping = EarlyStopping(monitor="val_accuracy", patience=1, restore_best=False)
    history = fit(network(), (X, Y), validation=(X, Y), early_stopping=stopping, epochs=30, **QUIET)
    accuracies = history["val_accuracy"]
    assert stopping.best == max(accuracies)
    assert accuracies[-1] <= accuracies[-2] and sorted(set(accuracies[:-1])) == accuracies[:-1]


def test_schedules_are_stepped_when_they_want_to_be():
    schedulers = bl.optim.lr_scheduler
    history = fit(
        network(), (X, Y), optimizer="sgd", lr=1.0, scheduler=lambda o: schedulers.StepLR(o, 1, 0.5), epochs=3, **QUIET
    )
    assert history["lr"] == [1.0, 0.5, 0.25]

    rates = []

    class Watch(Callback):
        def on_gradients(self, trainer):
            rates.append(trainer.optimizer.param_groups[0]["lr"])

    steps = 3 * 4
    fit(
        network(),
        (X, Y),
        batch_size=15,
        epochs=3,
        scheduler=lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=steps),
        callbacks=[Watch()],
        **QUIET,
    )
    assert len(set(rates)) == steps and 0.09 < max(rates) <= 0.1

    def plateau(optimizer):
        return LearningRateScheduler(schedulers.ReduceLROnPlateau(optimizer, patience=0, factor=0.1, mode="max"))

    assert fit(network(), (X, Y), lr=1e-3, scheduler=plateau, epochs=3, **QUIET)["lr"][-1] < 1e-3


def test_statistics_are_the_norms_they_say():
    class Exact(Callback):
        norms, ratios = [], []

        def on_gradients(self, trainer):
            self.before = weights(trainer.model)
            grads = [p.grad._data for p in trainer.model.parameters()][:2]
            self.norms.append(math.sqrt(sum(float((g**2).sum()) for g in grads)))

        def on_batch_end(self, trainer):
            pairs = list(zip(weights(trainer.model), self.before, strict=True))[:2]
            change = math.sqrt(sum(float(((a - b) ** 2).sum()) for a, b in pairs))
            self.ratios.append(change / math.sqrt(sum(float((b**2).sum()) for _, b in pairs)))

    statistics, exact = LayerStatistics(samples=100), Exact()
    fit(network(), (X, Y), batch_size=15, epochs=2, callbacks=[statistics, exact], **QUIET)
    assert list(statistics.gradient_norm) == ["0", "2"]
    assert statistics.gradient_norm["0"] == pytest.approx(
        [np.mean(exact.norms[:4]), np.mean(exact.norms[4:])], rel=1e-5
    )
    assert statistics.update_ratio["0"] == pytest.approx(
        [np.mean(exact.ratios[:4]), np.mean(exact.ratios[4:])], rel=1e-4
    )


def test_statistics_and_history_as_tables(tmp_path):
    statistics = LayerStatistics()
    history = fit(network(), (X, Y), epochs=2, callbacks=[statistics], **QUIET)
    history.to_csv(tmp_path / "history.csv")
    statistics.to_csv(tmp_path / "layers.csv")
    header, *rows = (tmp_path / "history.csv").read_text().splitlines()
    assert header == "epoch,loss,accuracy,lr" and [float(row.split(",")[1]) for row in rows] == history["loss"]
    assert len((tmp_path / "layers.csv").read_text().splitlines()) == 1 + 2 * 2
    assert history.history is history.columns and history.last["loss"] == history["loss"][-1]
    pytest.importorskip("matplotlib")
    history.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_one_line_an_epoch_where_there_is_no_terminal(capsys):
    fit(network(), (X, Y), epochs=2, validation=(X, Y))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("epoch 1/2  loss ") and "samples/s" in lines[1]
    fit(network(), (X, Y), epochs=1, progress=False)
    assert capsys.readouterr().out == ""


def test_a_bar_on_a_terminal(capsys):
    fit(network(), (X, Y), epochs=3, progress="bar", batch_size=1)
    assert "epoch 3/3" in capsys.readouterr().out


class CtrlC(Callback):
    """Presses Ctrl-C at a step."""

    def __init__(self, step):
        self.at = step

    def on_batch_end(self, trainer):
        if trainer.step == self.at:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_without_a_folder_stops_and_says_what_would_have_helped(capsys):
    before = signal.getsignal(signal.SIGINT)
    history = fit(network(), (X, Y), epochs=5, batch_size=20, callbacks=[CtrlC(4)], **QUIET)
    assert history.stopped == "interrupted" and len(history) == 1
    assert "Stopped in epoch 2 after 1 of 3 batches. Nothing was saved" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("step", [1, 3, 4, 11])
def test_ctrl_c_saves_and_the_resumed_run_is_the_uninterrupted_one(step, tmp_path, capsys):
    def run(folder, *callbacks, resume=None):
        model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        history = fit(
            model,
            (X, Y),
            epochs=4,
            batch_size=20,
            seed=3,
            callbacks=callbacks,
            checkpoint=CheckpointEvery(folder),
            resume=resume,
            **QUIET,
        )
        return model.state_dict(), history

    bl.manual_seed(1)
    expected, whole = run(tmp_path / "a")
    bl.manual_seed(1)
    _, stopped = run(tmp_path / "b", CtrlC(step))
    said = capsys.readouterr().out
    path = said.split("resume='")[1].split("'")[0]
    assert stopped.stopped == "interrupted"
    found, resumed = run(tmp_path / "b", resume=path)
    assert resumed.columns == whole.columns and resumed.stopped == ""
    assert all(found[key].tolist() == expected[key].tolist() for key in expected)


def test_a_display_of_the_users_own():
    seen = []

    class Mine(Silent):
        def on_epoch(self, trainer):
            seen.append(trainer.epoch)

    fit(network(), (X, Y), epochs=2, progress=Mine())
    assert seen == [1, 2]
