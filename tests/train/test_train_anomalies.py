"""When training meets NaN: the culprit, the batch, the advice; and everything as it was before that batch."""

import numpy as np
import pytest

import backlit as bl
from backlit import keras, nn
from backlit.errors import AnomalyError, NonFiniteError
from backlit.train import Callback, fit
from backlit.utils.data import DataLoader, Dataset, TensorDataset

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 60)
QUIET = {"progress": False, "metrics": []}


class Logarithm(nn.Module):
    """ln of the first feature, which is only right where that is above 0."""

    def forward(self, x):
        return bl.cat([x[:, :1].log(), x[:, 1:]], 1)  # the culprit


def network(*front):
    bl.manual_seed(0)
    return nn.Sequential(*front, nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def positive():
    x = X.copy()
    x[:, 0] = np.abs(x[:, 0]) + 0.1
    return x


def weights(model):
    return [p.detach().numpy().copy() for p in model.parameters()]


def stopped(model, data, **options):
    with pytest.raises(AnomalyError) as caught:
        fit(model, data, **{"epochs": 2, "batch_size": 20, "shuffle": False, **QUIET, **options})
    return caught.value.anomaly


def loaded(x, y):
    return DataLoader(TensorDataset(bl.tensor(x), bl.tensor(y)), batch_size=20)


@pytest.mark.parametrize("feed", ["arrays", "loader"])
def test_the_culprit_in_a_module_with_its_rows(feed):
    x = positive()
    x[27, 0] = x[31, 0] = 0.0
    options = {"batch_size": 20, "shuffle": False} if feed == "arrays" else {}
    with pytest.raises(AnomalyError) as caught:
        fit(
            network(Logarithm()),
            (x, Y) if feed == "arrays" else loaded(x, Y),
            epochs=1,
            **options,
            **QUIET,
        )
    anomaly = caught.value.anomaly
    assert (anomaly.phase, anomaly.operation, anomaly.cause) == ("forward", "log", "log of zero")
    assert anomaly.source.text.endswith("# the culprit") and anomaly.module.endswith(".0")
    assert anomaly.operands[0].indices == ((7, 0), (11, 0))
    assert (anomaly.batch.epoch, anomaly.batch.batch, anomaly.batch.rows) == (1, 2, (7, 11))
    assert "epoch 1, batch 2, rows 7, 11" in str(caught.value)


def test_bad_rows_and_columns_of_the_data():
    x = X.copy()
    x[33, 2] = np.nan
    x[50, 1] = -np.inf
    anomaly = stopped(network(), (x, Y))
    assert anomaly.cause == "bad input data" and anomaly.batch.rows == (13,) and anomaly.batch.columns == (2,)
    assert anomaly.operands[0].indices == ((13, 2),)
    assert "2 of 60 samples do: 33, 50" in anomaly.diagnosis


def test_bad_targets():
    y = X[:, :1].copy()
    y[3] = np.inf
    anomaly = stopped(nn.Linear(4, 1), (X, y), loss="mse")
    assert anomaly.cause == "bad input data" and "targets" in anomaly.diagnosis and anomaly.batch.rows == (3,)


def test_infinities_in_the_data_are_told_from_masks():
    x = X.copy()
    x[5, 1] = np.inf
    anomaly = stopped(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), (x, Y))
    assert anomaly.cause == "bad input data" and anomaly.batch.rows == (5,) and anomaly.batch.columns == (1,)


def test_the_first_module_that_met_an_infinity_of_the_data_is_named():
    x = X.copy()
    x[5, 1] = np.inf
    anomaly = stopped(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), (x, Y))
    assert anomaly.cause == "bad input data" and anomaly.module.endswith(".0")
    assert anomaly.passed[:2] == ("relu", "linear")
    assert "(1 entry)" in anomaly.diagnosis


def test_a_hook_of_a_parameter_is_named():
    model = network()
    model[2].weight.register_hook(lambda g: g * float("inf"))
    before = weights(model)
    anomaly = stopped(model, (X, Y))
    assert (anomaly.phase, anomaly.cause, anomaly.operation) == ("backward", "hook", "2.weight")
    assert "returned this one" in anomaly.diagnosis and "gradient of 2.weight is not finite" in anomaly.head
    for a, b in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_that_overflow_when_they_are_added_up():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(bl.tensor([1e-10]))

        def forward(self, x):
            return self.weight * 2e38 + self.weight * 2e38 + x[:1, :1] * 0

    anomaly = stopped(Twice(), (X, X[:, :1].copy()), loss=lambda output, target: output.sum())
    assert (anomaly.cause, anomaly.operation) == ("overflow", "weight")
    assert "used more than once" in anomaly.diagnosis


def test_a_rate_so_high_that_parts_of_a_product_cancel_as_infinities():
    bl.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    anomaly = stopped(model, (X, X[:, :1].copy()), loss="mse", optimizer="adam", lr=1e13)
    assert anomaly.cause == "learning rate too high"
    assert "domain" not in anomaly.diagnosis


def test_a_learning_rate_too_high_with_the_numbers():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    anomaly = stopped(model, (X, X[:, :1].copy()), loss="mse", optimizer="sgd", lr=1e4, epochs=50)
    assert anomaly.cause == "learning rate too high"
    assert anomaly.growth.runaway and anomaly.growth.loss_factor > 1e3 and anomaly.growth.weight_factor > 1e3
    assert "now 10000; try 1000" in anomaly.fix and "times within" in anomaly.diagnosis
    assert all(np.isfinite(w).all() for w in weights(model))


def test_a_gradient_that_is_not_finite():
    def loss(output, target):
        spread = (output - output).sum(1).sqrt()  # the culprit
        return nn.functional.cross_entropy(output, target) + spread.mean()

    model = network()
    before = weights(model)
    anomaly = stopped(model, (X, Y), loss=loss)
    assert (anomaly.phase, anomaly.cause) == ("backward", "infinite slope of sqrt at 0")
    assert anomaly.source.text.endswith("# the culprit") and "gradient of 0.weight is not finite" in anomaly.head
    assert anomaly.batch.rows == tuple(range(8))
    for a, b in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(p.grad is None for p in model.parameters())


class Steep(bl.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 1.0

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        return upstream / (x - x)  # the culprit


def test_an_own_function_is_named_with_the_line_in_its_backward():
    anomaly = stopped(network(), (X, Y), loss=lambda o, t: nn.functional.cross_entropy(Steep.apply(o), t))
    assert anomaly.operation == "div in Steep" and anomaly.cause == "division by zero"
    assert anomaly.source.text == "return upstream / (x - x)  # the culprit"


def test_statistics_of_normalization_stay_unspoiled_and_training_goes_on():
    def made():
        bl.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))

    bad = X.copy()
    bad[45] = np.nan
    model, expected = made(), made()
    stopped(model, (bad, Y), optimizer="sgd", lr=0.1)
    fit(expected, (X[:40], Y[:40]), optimizer="sgd", lr=0.1, epochs=1, batch_size=20, shuffle=False, **QUIET)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), expected.state_dict()[name].numpy(), err_msg=name)
    history = fit(model, (X, Y), epochs=20, lr=0.05, **QUIET)
    assert history["loss"][-1] < history["loss"][0]


def test_the_second_run_draws_the_same_random_numbers():
    class Rare(nn.Module):
        """Takes the root of a number that is 0 once in a while."""

        def forward(self, x):
            chance = bl.rand(1)
            self.drawn = chance.item()
            return x + (chance - 0.9).clamp(min=-1.0).log().clamp(max=0.0) * 0 if self.drawn > 0.8 else x

    rare = Rare()
    anomaly = stopped(network(rare), (X, Y), seed=2, epochs=50)
    drawn = rare.drawn
    assert anomaly.operation in ("log", "mul") and drawn > 0.8
    assert anomaly.operation == "mul" or anomaly.operands[0].values[0] == pytest.approx(drawn - 0.9, abs=1e-6)


def test_an_update_that_would_overflow_is_undone():
    model = nn.Linear(4, 3)
    before = weights(model)
    anomaly = stopped(model, (X * 1e3, Y), optimizer="sgd", lr=1e38)
    assert (anomaly.phase, anomaly.cause) == ("update", "learning rate too high")
    for a, b in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    fit(model, (X, Y), epochs=1, **QUIET)


def test_adam_is_undone_with_its_moments():
    model = nn.Linear(4, 3)
    optimizer = bl.optim.Adam(model.parameters(), lr=0.01)
    fit(model, (X, Y), optimizer=optimizer, epochs=1, batch_size=None, **QUIET)
    before, moments = weights(model), optimizer.state_dict()["state"][0]["exp_avg"].numpy().copy()
    optimizer.param_groups[0]["lr"] = 3e38
    anomaly = stopped(model, (X, Y), optimizer=optimizer, batch_size=None)
    assert anomaly.phase in ("update", "forward")
    if anomaly.phase == "update":
        np.testing.assert_array_equal(optimizer.state_dict()["state"][0]["exp_avg"].numpy(), moments)
        for a, b in zip(weights(model), before, strict=True):
            np.testing.assert_array_equal(a, b)


def test_large_gradients_that_fit_are_taken():
    model = nn.Linear(4, 1)
    fit(model, (X, X[:, :1] * np.float32(1e15)), loss="mse", optimizer="sgd", lr=1e-3, epochs=1, **QUIET)
    assert all(np.isfinite(w).all() for w in weights(model))


def test_a_spoiled_parameter_is_named():
    model = network()
    with bl.no_grad():
        model[2].weight[1, 2] = float("nan")
    anomaly = stopped(model, (X, Y))
    assert anomaly.phase == "parameter" and anomaly.cause == "spoiled parameter"
    assert "2.weight held NaN or infinity from the start" in anomaly.diagnosis


def test_trouble_that_does_not_come_again_is_said_to_be_so():
    class Once:
        calls = 0

        def __call__(self, output, target):
            self.calls += 1
            loss = nn.functional.cross_entropy(output, target)
            return loss * float("nan") if self.calls == 2 else loss

    with pytest.raises(NonFiniteError, match="running the batch again gave no such value") as caught:
        fit(network(), (X, Y), loss=Once(), epochs=1, **QUIET)
    assert not isinstance(caught.value, AnomalyError)


def test_the_penalty_can_be_the_culprit():
    model = network()
    with bl.no_grad():
        model[0].weight[0, 0] = 1e25
    anomaly = stopped(model, (X, Y), l2=0.1)
    assert anomaly.cause == "overflow"


class Pairs(Dataset):
    """Samples made one by one."""

    def __len__(self):
        return 40

    def __getitem__(self, i):
        return X[i] if i != 23 else X[i] * np.nan, Y[i]


def test_a_data_set_of_ones_own():
    with pytest.raises(AnomalyError) as caught:
        fit(network(), DataLoader(Pairs(), batch_size=10), epochs=1, **QUIET)
    assert caught.value.anomaly.batch.rows == (3,) and caught.value.anomaly.batch.batch == 3


def test_keras_fit():
    model = keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    x = X.copy()
    x[59, 3] = np.inf
    with pytest.raises(AnomalyError) as caught:
        model.fit(x, Y, batch_size=60, shuffle=False, verbose=0)
    anomaly = caught.value.anomaly
    assert anomaly.cause == "bad input data" and anomaly.batch.rows == (59,) and anomaly.batch.columns == (3,)
    model.fit(X, Y, epochs=1, verbose=0)


def test_nothing_is_watched_while_all_is_well():
    class Looks(Callback):
        seen = ()

        def on_gradients(self, trainer):
            from backlit.graph import mode

            self.seen = (mode.observers, mode.walkers)

    looks = Looks()
    fit(network(), (X, Y), epochs=1, callbacks=[looks], **QUIET)
    assert looks.seen == ((), ())


class Scaled(nn.Module):
    """A large parameter whose gradient is no matrix product: one bad entry stays alone."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(bl.ones(100, 100))

    def forward(self, x):
        return x * self.scale.sum() * 1e-4


def test_one_bad_entry_of_a_large_gradient_is_found():
    model = network(Scaled())
    place = bl.zeros(100, 100)
    place[57, 31] = 1.0

    def loss(output, target):
        return nn.functional.cross_entropy(output, target) + ((model[0].scale - 1) * place).sum().abs().sqrt()

    before = weights(model)
    anomaly = stopped(model, (X, Y), loss=loss)
    assert anomaly.cause == "infinite slope of sqrt at 0"
    for a, b in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("place", ["upstream", "input"])
def test_a_bad_factor_of_a_product_is_found_whatever_entry_it_is(bias, place):
    class Poison(bl.autograd.Function):
        """One NaN in what is handed down."""

        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, upstream):
            bad = upstream.numpy().copy()
            bad[3, 7] = np.nan
            return bl.tensor(bad)

    layer = nn.Linear(4 if place == "upstream" else 90, 90, bias=bias)
    wide = np.tile(X, (1, 23))[:, :90].copy()
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(90, 3))
    before = weights(model)
    with pytest.raises(NonFiniteError):
        if place == "upstream":
            options = {"batch_size": None, **QUIET}
            fit(nn.Sequential(layer), (X, Y), loss=lambda o, t: Poison.apply(o).mean(), epochs=1, **options)
        else:
            wide[3, 7] = -np.inf  # ReLU makes 0 or infinity of it
            fit(model, (wide, Y), epochs=1, batch_size=None, **QUIET)
    for a, b in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
