"""scikit-learn's shape: its own checks, its pipelines and searches, and nothing else than what fit does."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install -e '.[test]'")

import joblib
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import backlit as bl
from backlit import nn
from backlit.datasets import digits
from backlit.errors import NonFiniteError, OperationError
from backlit.train import EarlyStopping, fit
from backlit.train.estimators import NetworkClassifier, NetworkRegressor
from backlit.train.native import Native

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
Y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
SMALL: dict[str, Any] = {"hidden_sizes": (16,), "lr": 0.02, "epochs": 30, "random_state": 0}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        NetworkClassifier(hidden_sizes=(16,), lr=0.01, epochs=20),
        NetworkRegressor(hidden_sizes=(16,), lr=0.01, epochs=20),
    ]
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_digits_are_learned_as_by_fit_and_as_well_as_scikit_learns_network_does() -> None:
    data = digits().scaled()
    x, y = data.x_train.astype(np.float32), data.y_train
    ours = NetworkClassifier(hidden_sizes=(32,), epochs=12, lr=0.005, random_state=3).fit(x, y)
    seed = int(np.random.RandomState(3).randint(np.iinfo(np.int32).max))
    with bl.random.fork_rng():
        bl.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        history = fit(model, (x, y), epochs=12, lr=0.005, progress=False)
    np.testing.assert_allclose(ours.loss_curve_, history["loss"], rtol=1e-6)
    np.testing.assert_allclose(ours.module_[0].weight.detach().numpy(), model[0].weight.detach().numpy(), atol=1e-6)
    theirs = MLPClassifier((32,), max_iter=200, random_state=3).fit(x, y)
    assert ours.score(data.x_test, data.y_test) > theirs.score(data.x_test, data.y_test) - 0.02


def test_batches_are_compiled_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counting(Native):
        def run(self, *arguments: Any, **options: Any) -> Any:
            result = super().run(*arguments, **options)
            made.append(result is not None)
            return result

    monkeypatch.setattr("backlit.train.trainer.Native", Counting)
    NetworkClassifier(**SMALL).fit(X, Y)
    assert sum(made) > 10
    made.clear()
    NetworkClassifier(**SMALL, compile=False).fit(X, Y)
    assert not any(made)


def test_pipelines_searches_and_cross_validation() -> None:
    pipeline = make_pipeline(StandardScaler(), NetworkClassifier(**SMALL))
    assert cross_val_score(pipeline, X, Y, cv=3).mean() > 0.75
    search = GridSearchCV(pipeline, {"networkclassifier__hidden_sizes": [(2,), (32,)]}, cv=2).fit(X, Y)
    assert search.best_params_ == {"networkclassifier__hidden_sizes": (32,)}


def test_copies_predict_the_same_and_go_on_the_same() -> None:
    model = NetworkClassifier(**SMALL).fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.partial_fit(X, Y).predict_proba(X), model.partial_fit(X, Y).predict_proba(X))
    assert model.n_iter_ == again.n_iter_ == len(model.loss_curve_) == SMALL["epochs"] + 1


def test_partial_fit_from_the_start_is_fit_epoch_by_epoch() -> None:
    whole = NetworkClassifier(**{**SMALL, "epochs": 5}).fit(X, Y)
    parts = NetworkClassifier(**SMALL)
    for _ in range(5):
        parts.partial_fit(X, Y, classes=["same", "other"])
    np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-5)
    with pytest.raises(ValueError, match="not among the classes"):
        parts.partial_fit(X[:1], ["neither"])
    with pytest.raises(ValueError, match="not those of the first call"):
        parts.partial_fit(X, Y, classes=["same", "others"])


def test_nothing_outside_is_touched() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 2))
    before = copy.deepcopy(module.state_dict())
    bl.manual_seed(1)
    wanted = bl.rand(3).numpy()
    bl.manual_seed(1)
    legacy = np.random.get_state()[1].copy()  # noqa: NPY002
    model = NetworkClassifier(module, epochs=2, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(bl.rand(3).numpy(), wanted)
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy())
    assert model.module_ is not module
    assert clone(model).module is not module


def test_a_module_may_take_pictures() -> None:
    def small(features: int, outputs: int) -> nn.Module:
        assert features == 64
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, outputs))

    data = digits().scaled()
    x = data.x_train[:500].reshape(-1, 1, 8, 8)
    model = NetworkClassifier(small, epochs=3, lr=0.01, random_state=0).fit(x, data.y_train[:500])
    assert model.score(data.x_test.reshape(-1, 1, 8, 8), data.y_test) > 0.75
    with pytest.raises(ValueError, match="dim 4"):
        NetworkClassifier(**SMALL).fit(x, data.y_train[:500])


def test_several_targets_and_one() -> None:
    targets = np.stack([X[:, 0] - X[:, 1], 2 * X[:, 2]], 1)
    model = NetworkRegressor(**{**SMALL, "epochs": 60}).fit(X, targets)
    assert model.predict(X).shape == (120, 2) and model.score(X, targets) > 0.95
    one = NetworkRegressor(**SMALL).fit(X, targets[:, 0])
    assert one.predict(X).shape == (120,)
    assert NetworkRegressor(**SMALL, loss="l1").fit(X, targets[:, 0]).loss_curve_[0] != one.loss_curve_[0]


def test_early_stopping_and_validation() -> None:
    stop = EarlyStopping(patience=1, min_delta=10.0)
    model = NetworkClassifier(**SMALL, validation_split=0.2, early_stopping=stop).fit(X, Y)
    assert model.n_iter_ < SMALL["epochs"] and "val_loss" in model.history_.columns


def test_what_does_not_fit_together_is_refused() -> None:
    theirs = bl.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    with pytest.raises(OperationError, match="name or a function"):
        NetworkClassifier(optimizer=theirs).fit(X, Y)
    with pytest.raises(OperationError, match="activation must be one of relu"):
        NetworkClassifier(activation="rely").fit(X, Y)
    with pytest.raises(OperationError, match="gave a int"):
        NetworkClassifier(lambda features, outputs: 3).fit(X, Y)
    with pytest.raises(OperationError, match=r"outputs of shape \(1, 3\), but \(1, 2\)"):
        NetworkClassifier(nn.Linear(4, 3)).fit(X, Y)
    with pytest.raises(OperationError, match="hidden_sizes must be at least 1"):
        NetworkClassifier(hidden_sizes=(0,)).fit(X, Y)
    with pytest.raises(ValueError, match="first y had the shape"):
        NetworkRegressor(**SMALL).fit(X, X[:, :2]).partial_fit(X, X[:, 0])


def test_what_cannot_be_trained_leaves_the_estimator_as_it_was() -> None:
    model = NetworkRegressor(**{**SMALL, "lr": 1e30}, optimizer="sgd")
    with pytest.raises(NonFiniteError):
        model.fit(X, X[:, 0])
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.set_params(lr=0.01).fit(X, X[:, 0])
    before, iterations = model.predict(X), model.n_iter_
    with pytest.raises(NonFiniteError):
        model.set_params(lr=1e30).fit(X, X[:, 0])
    np.testing.assert_array_equal(model.predict(X), before)
    assert model.n_iter_ == len(model.loss_curve_) == iterations


def test_threads_train_as_one_thread_does() -> None:
    bl.manual_seed(1)
    wanted = bl.rand(3).numpy()
    bl.manual_seed(1)

    def curve(seed: int) -> list[float]:
        model = NetworkClassifier(**{**SMALL, "epochs": 4, "random_state": seed}).fit(X, Y)
        return model.loss_curve_

    alone = [curve(seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(curve, range(6))) == alone
    np.testing.assert_array_equal(bl.rand(3).numpy(), wanted)


def test_weights_in_a_mapped_file_predict(tmp_path: Any) -> None:
    model = NetworkClassifier(**SMALL, compile=True).fit(X, Y)
    joblib.dump(model, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict_proba(X), model.predict_proba(X))


def test_early_stopping_takes_its_notes_elsewhere() -> None:
    stop = EarlyStopping(patience=2)
    before = vars(stop).copy()
    NetworkClassifier(**SMALL, validation_split=0.2, early_stopping=stop).fit(X, Y)
    assert vars(stop) == before


def test_backlit_does_not_load_scikit_learn() -> None:
    code = "import sys, backlit, backlit.train, backlit.keras; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_without_scikit_learn_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['sklearn.base'] = None\nimport backlit.train.estimators"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "pip install 'backlit[sklearn]'" in done.stderr
