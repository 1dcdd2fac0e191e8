"""Checkpoints: resuming anywhere changes nothing, files that do not fit change nothing, damage is one sentence."""

import random

import numpy as np
import pytest

import backlit as bl
from backlit import nn
from backlit.datasets.augment import Compose, Noise, Shift
from backlit.errors import CheckpointError, OperationError
from backlit.serialization import dumps
from backlit.train import (
    Callback,
    CheckpointEvery,
    EarlyStopping,
    LayerStatistics,
    fit,
    latest_checkpoint,
    load_checkpoint,
)
from backlit.utils.data import DataLoader, TensorDataset

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 4, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 50)
VALIDATION = (X[:10], Y[:10])
EPOCHS, BATCHES = 3, 5


def network(hidden=6):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.4), nn.Linear(hidden, 3)
    )


def train(folder, model=None, **options):
    bl.manual_seed(11)
    model = model or network()
    history = fit(
        model,
        options.pop("data", (X, Y)),
        **{
            "epochs": EPOCHS,
            "batch_size": 10,
            "checkpoint": CheckpointEvery(folder, every_n_batches=1, keep=None),
            "progress": False,
            **options,
        },
    )
    return {
        "weights": dict(model.state_dict()),
        "columns": history.columns,
        "best": history.best_epoch,
        "random": bl.get_rng_state(),
    }


schedulers = bl.optim.lr_scheduler
RUNS = {
    "adam": dict,
    "everything": lambda: {
        "optimizer": lambda p: bl.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        "scheduler": lambda o: schedulers.OneCycleLR(o, 0.2, total_steps=EPOCHS * BATCHES),
        "augment": Compose([Shift(1), Noise(0.1)]),
        "validation_split": 0.2,
        "metrics": ["accuracy", "f1"],
        "early_stopping": EarlyStopping(patience=2),
        "callbacks": [LayerStatistics()],
        "clip_grad_norm": 1.0,
        "l1": 1e-3,
        "batch_size": 8,
    },
    "rmsprop, plateau": lambda: {
        "optimizer": "rmsprop",
        "scheduler": lambda o: schedulers.ReduceLROnPlateau(o, patience=0),
        "validation": VALIDATION,
    },
    "validation in random order": lambda: {
        "validation": DataLoader(TensorDataset(*VALIDATION), 3, shuffle=True, generator=bl.Generator().manual_seed(2)),
    },
    "adamw, cosine": lambda: {
        "optimizer": "adamw",
        "weight_decay": 0.1,
        "scheduler": lambda o: schedulers.CosineAnnealingLR(o, EPOCHS),
    },
    "adagrad": lambda: {"optimizer": "adagrad", "lr": 0.1, "batch_size": "full"},
    "adadelta": lambda: {"optimizer": "adadelta", "lr": 1.0},
    "tiny batches": lambda: {"optimizer": "sgd", "lr": 0.01, "data": (X[:8], Y[:8]), "batch_size": 2},
}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_resumed_from_any_checkpoint_the_run_is_the_same(options, tmp_path):
    whole = dumps(train(tmp_path / "whole", **options()))
    files = sorted((tmp_path / "whole").glob("*.safetensors"))
    assert len(files) >= EPOCHS
    for file in files:
        assert dumps(train(tmp_path / file.stem, resume=file, **options())) == whole, file.name


def test_resuming_with_a_loader_of_the_users_own(tmp_path):
    def options():
        generator = bl.Generator().manual_seed(5)
        return {"data": DataLoader(TensorDataset(X, Y), 9, shuffle=True, generator=generator, num_workers=2)}

    whole = dumps(train(tmp_path / "whole", batch_size=32, **options()))
    for file in sorted((tmp_path / "whole").glob("*.safetensors"))[::4]:
        assert dumps(train(tmp_path / file.stem, batch_size=32, resume=file, **options())) == whole


def test_more_epochs_continue_a_finished_run(tmp_path, capsys):
    whole = train(tmp_path / "whole", epochs=5)
    train(tmp_path / "part", epochs=2)
    assert dumps(train(tmp_path / "part", epochs=5, resume="auto")) == dumps(whole)
    train(tmp_path / "part", epochs=5, resume="auto")
    assert "all 5 epochs are done" in capsys.readouterr().out


def test_a_finished_run_stays_as_it_was(tmp_path, capsys):
    stopping = {"early_stopping": EarlyStopping(patience=1, monitor="loss"), "lr": 0.3, "epochs": 20}
    whole = train(tmp_path / "run", **stopping)
    assert len(whole["columns"]["loss"]) < 20
    stopping["early_stopping"] = EarlyStopping(patience=1, monitor="loss")
    again = train(tmp_path / "run", resume=True, **stopping)
    assert "This run is over: loss has not improved for 1 epochs" in capsys.readouterr().out
    assert dumps({k: again[k] for k in ("weights", "columns")}) == dumps({k: whole[k] for k in ("weights", "columns")})


def test_auto_starts_afresh_where_there_is_nothing(tmp_path):
    assert dumps(train(tmp_path / "a", resume="auto")) == dumps(train(tmp_path / "b"))


def test_the_newest_files_are_kept(tmp_path):
    train(tmp_path, checkpoint=CheckpointEvery(tmp_path, every_n_batches=2, keep=2))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "checkpoint-00000014.safetensors",
        "checkpoint-00000015.safetensors",
    ]
    assert latest_checkpoint(tmp_path).name == "checkpoint-00000015.safetensors"
    state = load_checkpoint(tmp_path)
    assert state["position"] == {"epochs_done": 3, "batch": 0, "step": 15} and "model" in state


def test_a_folder_alone_saves_every_epoch(tmp_path):
    train(tmp_path, checkpoint=str(tmp_path / "runs" / "first"))
    names = sorted(file.name for file in (tmp_path / "runs" / "first").iterdir())
    assert [int(name[11:19]) for name in names] == [5, 10, 15]


def test_two_runs_are_not_mixed_and_litter_is_cleared(tmp_path):
    (tmp_path / ".checkpoint-00000001.safetensors.123-ab.tmp").write_bytes(b"half")
    train(tmp_path)
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(CheckpointError, match="already holds checkpoints"):
        train(tmp_path)


def states(tmp_path):
    """A model that has been trained, everything about it, and a checkpoint of another run."""
    train(tmp_path / "run", epochs=1)
    return latest_checkpoint(tmp_path / "run")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"model": lambda: network(7)}, "another architecture: 1.weight is"),
        ({"model": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3))}, "another architecture"),
        ({"model": lambda: network().double()}, "another architecture: 1.weight is .* float32 there"),
        ({"batch_size": 5}, "batch_size=10, this one has 5"),
        ({"data": (X[:40], Y[:40])}, "samples=50, this one has 40"),
        ({"optimizer": "sgd"}, "optimizer='Adam', this one has 'SGD'"),
        ({"loss": "nll"}, "loss='cross_entropy'"),
        ({"metrics": []}, "metrics="),
        ({"clip_grad_norm": 1.0}, "clip_grad_norm=None"),
        ({"early_stopping": EarlyStopping()}, "callbacks none, this one has EarlyStopping"),
        ({"scheduler": lambda o: schedulers.StepLR(o, 1)}, r"LearningRateScheduler\(StepLR\)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_changes_nothing(options, message, tmp_path):
    file = states(tmp_path)
    options = dict(options)
    model = options.pop("model", network)()
    before = {key: t.detach().clone() for key, t in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as caught:
        train(tmp_path / "other", model, resume=file, **options)
    assert str(file) in str(caught.value) and "nothing was changed" in str(caught.value)
    assert all(t.tolist() == before[key].tolist() for key, t in model.state_dict().items())
    assert not (tmp_path / "other").exists()


def test_places_without_a_checkpoint_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    bl.save(network().state_dict(), tmp_path / "weights.safetensors")
    for place, message in (
        (tmp_path / "empty", "no checkpoint in this folder"),
        (tmp_path / "none", "no such file"),
        (tmp_path / "weights.safetensors", "not a checkpoint of a training run"),
    ):
        with pytest.raises(CheckpointError, match=message):
            train(tmp_path / "run", resume=place)
    (tmp_path / "file").write_text("text")
    with pytest.raises(CheckpointError, match="cannot be used as a folder"):
        train(tmp_path / "file")
    with pytest.raises(OperationError, match="keep"):
        CheckpointEvery(tmp_path, keep=0)


def test_damage_names_the_file_and_an_older_one(tmp_path):
    train(tmp_path)
    newest = latest_checkpoint(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"00015.*cut short.*an older checkpoint is .*00014"):
        train(tmp_path, resume="auto")


@pytest.mark.parametrize("count", [150, pytest.param(5000, marks=pytest.mark.slow)])
def test_any_damage_is_one_sentence_and_changes_nothing(count, tmp_path):
    file = states(tmp_path)
    whole, rng = file.read_bytes(), random.Random(count)
    for _ in range(count):
        damaged = bytearray(whole)
        if rng.random() < 0.7:
            damaged[rng.randrange(rng.choice((8, 3000, len(whole))))] ^= 1 << rng.randrange(8)
        else:
            del damaged[rng.randrange(len(whole)) :]
        file.write_bytes(damaged)
        try:
            content = dumps(load_checkpoint(file))
        except CheckpointError as error:
            assert str(file) in str(error) and "\n" not in str(error)
        else:
            assert content == whole


def test_contents_that_make_no_sense_are_refused(tmp_path):
    file = states(tmp_path)
    good = load_checkpoint(file)
    for key, value in (
        ("loader", {"seed": 1}),
        ("callbacks", None),
        ("history", []),
        ("position", {}),
        ("model", None),
        ("optimizer", {"param_groups": [{"params": []}], "state": {}}),
        ("random", {"backlit": bl.zeros(3)}),
        ("running", {"metrics": [], "sums": []}),
        ("settings", 3),
    ):
        file.write_bytes(dumps({**good, key: value}))
        with pytest.raises(CheckpointError):
            train(tmp_path / "other", resume=file)
    file.write_bytes(dumps({"kind": good["kind"]}))
    with pytest.raises(CheckpointError):
        train(tmp_path / "other", resume=file)


def test_a_callback_of_the_users_own_is_resumed(tmp_path):
    class Count(Callback):
        def __init__(self):
            self.count = 0

        def on_batch_end(self, trainer):
            self.count += 1

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    train(tmp_path, epochs=1, callbacks=[Count()])
    count = Count()
    train(tmp_path, callbacks=[count], resume="auto")
    assert count.count == EPOCHS * BATCHES
