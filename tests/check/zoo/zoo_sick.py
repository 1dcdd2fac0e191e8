"""Trainings with one fault each, written as people write them, with the verdict they must get."""

from __future__ import annotations

import contextlib

import numpy as np
from zoo_support import (
    Variant,
    blobs,
    evaluated,
    half_moons,
    loader,
    optimizer_of,
    perceptron,
    sick,
    situation,
    train,
    waves,
    written_digits,
)

import backlit as bl
from backlit import nn, optim
from backlit.errors import NonFiniteError
from backlit.nn import functional as F
from backlit.train import History, fit

cross_entropy = nn.CrossEntropyLoss()


# -- the network --------------------------------------------------------------------------------------------------


@sick("dead_units", "dead_layer")
def dead_by_bias(v: Variant):
    data, held_out = blobs(v)
    model = perceptron(8, v.width, v.width, 3)
    nn.init.constant_(model[2].bias, -20.0)
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=5)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("dead_units", "dead_layer")
def dead_by_a_wild_step(v: Variant):
    """A few steps at a huge rate kill the units; the sensible rate after them cannot wake them."""
    data, held_out = written_digits(v)
    model = perceptron(64, v.width, v.width, 10)
    batches = loader(data)
    train(model, batches, cross_entropy, optim.Adam(model.parameters(), lr=2.0), epochs=1)
    optimizer = optimizer_of(v, model.parameters(), lr=1e-3)
    history = train(model, batches, cross_entropy, optimizer, epochs=3)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("saturation")
def saturated_by_weights(v: Variant):
    data, held_out = blobs(v, classes=5, spread=1.0)
    model = perceptron(8, v.width, v.width, v.width, 5, activation=nn.Sigmoid if v.adam else nn.Tanh)
    for i in (0, 2, 4):
        nn.init.normal_(model[i].weight, std=30.0)
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=4)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("symmetric_units")
def all_zero(v: Variant):
    data, held_out = blobs(v)
    model = perceptron(8, v.width, 3, activation=nn.ReLU if v.adam else nn.Tanh)
    for p in model.parameters():
        nn.init.zeros_(p)
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=5)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("symmetric_units")
def all_the_same(v: Variant):
    data, held_out = half_moons(v)
    model = perceptron(2, v.width, v.width, 2)
    for p in model.parameters():
        nn.init.constant_(p, 0.1)
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=10)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("vanishing_gradients")
def deep_sigmoid(v: Variant):
    data, held_out = half_moons(v)
    model = perceptron(2, *[v.width] * 10, 2, activation=nn.Sigmoid)
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=6)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("exploding_gradients")
def deep_and_steep(v: Variant):
    data, held_out = blobs(v)
    model = perceptron(8, *[v.width] * 12, 3)
    for layer in model[::2]:
        nn.init.normal_(layer.weight, std=4 / v.width**0.5)
    optimizer = optim.SGD(model.parameters(), lr=1e-12)
    history = History()
    with contextlib.suppress(NonFiniteError):
        history = fit(model, data, optimizer=optimizer, epochs=3, progress=False, batch_size=50)
    return situation(model, data, cross_entropy, optimizer, history, held_out)


class Recurrent(nn.Module):
    """A plain recurrent network whose state grows at every step."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, width, nonlinearity="relu", batch_first=True)
        nn.init.orthogonal_(self.rnn.weight_hh_l0, gain=3.2)
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


@sick("exploding_gradients")
def recurrent(v: Variant):
    rng = np.random.default_rng(v.seed)
    x = rng.normal(size=(v.rows, 25, 1)).astype(np.float32)
    data = (x, x.mean(axis=1))
    model = Recurrent(v.width)
    optimizer = optim.SGD(model.parameters(), lr=1e-5)
    history = History()
    with contextlib.suppress(NonFiniteError):
        history = fit(
            model, data, loss="mse", optimizer=optimizer, epochs=2, metrics=[], progress=False, clip_grad_norm=1.0
        )
    return situation(model, data, "mse", optimizer, history)


@sick("dropout_too_strong")
def dropout_everywhere(v: Variant):
    data, held_out = half_moons(v)
    model = nn.Sequential(
        nn.Linear(2, v.width), nn.ReLU(), nn.Dropout(0.95), nn.Linear(v.width, v.width), nn.ReLU(), nn.Dropout(0.95),
        nn.Linear(v.width, 2),
    )  # fmt: skip
    optimizer = optimizer_of(v, model.parameters(), lr=1e-3 if v.adam else 0.02)
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=10, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


# -- the optimizer ------------------------------------------------------------------------------------------------


@sick("learning_rate_too_high", "diverged")
def rate_far_too_high(v: Variant):
    data, held_out = waves(v)
    model = perceptron(4, v.width, v.width, 1, activation=nn.Tanh)
    optimizer = optim.Adam(model.parameters(), lr=3.0) if v.adam else optim.SGD(model.parameters(), lr=5.0)
    history = train(model, batches := loader(data), nn.MSELoss(), optimizer, epochs=6)
    return situation(model, batches, nn.MSELoss(), optimizer, history, held_out)


@sick("learning_rate_too_high", "diverged")
def diverged_to_nan(v: Variant):
    data, held_out = waves(v)
    model = nn.Linear(4, 1)
    optimizer = optim.SGD(model.parameters(), lr=3.0)
    with np.errstate(all="ignore"):
        history = train(model, batches := loader(data), nn.MSELoss(), optimizer, epochs=20)
    return situation(model, batches, nn.MSELoss(), optimizer, history, held_out)


@sick("learning_rate_too_low")
def rate_far_too_low(v: Variant):
    data, held_out = blobs(v)
    model = perceptron(8, v.width, v.width, 3)
    optimizer = optimizer_of(v, model.parameters(), lr=1e-6)
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=8)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("weight_decay_too_strong")
def decay_wins(v: Variant):
    data, held_out = blobs(v)
    model = perceptron(8, v.width, 3)
    if v.adam:
        optimizer = optim.Adam(model.parameters(), lr=5e-3, weight_decay=1.0)
    else:
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.5)
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=12)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("optimizer_parameters")
def optimizer_of_an_old_model(v: Variant):
    data, held_out = blobs(v)
    model = perceptron(8, v.width, 3)
    optimizer = optimizer_of(v, model.parameters())
    model = perceptron(8, v.width, 3)
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=5)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("optimizer_parameters")
def optimizer_of_the_head_only(v: Variant):
    data, held_out = half_moons(v)
    model = perceptron(2, 2, 2, 2)
    optimizer = optimizer_of(v, model[-1].parameters())
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=5)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("frozen_parameters")
def frozen_by_mistake(v: Variant):
    data, held_out = blobs(v)
    model = perceptron(8, v.width, 3)
    model.requires_grad_(False)
    optimizer = optimizer_of(v, model.parameters())
    return situation(model, loader(data), cross_entropy, optimizer, None, held_out)


# -- the loop -----------------------------------------------------------------------------------------------------


@sick("gradients_not_zeroed")
def forgotten_zero_grad(v: Variant):
    data, held_out = blobs(v, classes=4, spread=1.2)
    model = perceptron(8, v.width, v.width, 4)
    optimizer = optimizer_of(v, model.parameters())
    batches, losses = loader(data), []
    for _ in range(10):
        for x, y in batches:
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return situation(model, batches, cross_entropy, optimizer, losses, held_out)


class Detached(nn.Module):
    """The head sees the body's numbers only."""

    def __init__(self, width: int, cut) -> None:
        super().__init__()
        self.body = perceptron(8, width, width)
        self.head = nn.Linear(width, 3)
        self.cut = cut

    def forward(self, x):
        return self.head(self.cut(F.relu(self.body(x))))


@sick("detached")
def detached_head(v: Variant):
    data, held_out = blobs(v)
    model = Detached(v.width, (lambda h: h.detach()) if v.adam else (lambda h: bl.tensor(h.detach().numpy())))
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=5)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("trained_in_eval_mode")
def never_back_to_train_mode(v: Variant):
    data, held_out = blobs(v, classes=4, spread=1.0)
    model = nn.Sequential(
        nn.Linear(8, v.width), nn.BatchNorm1d(v.width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(v.width, 4)
    )
    optimizer = optimizer_of(v, model.parameters())
    batches, history = loader(data), {"loss": [], "val_loss": []}
    for _ in range(10):
        losses = []
        for x, y in batches:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        history["loss"].append(float(np.mean(losses)))
        history["val_loss"].append(evaluated(model, held_out, cross_entropy))
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("trained_in_eval_mode")
def dropout_never_on(v: Variant):
    data, held_out = blobs(v, classes=5, spread=1.2)
    model = nn.Sequential(nn.Linear(8, v.width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(v.width, 5))
    optimizer = optimizer_of(v, model.parameters(), lr=2e-3 if v.adam else 0.01)
    model.eval()
    batches, losses = loader(data), []
    for _ in range(15):
        total = 0.0
        for x, y in batches:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        losses.append(total / len(data[0]))
    return situation(model, batches, cross_entropy, optimizer, losses, held_out)


@sick("evaluated_in_train_mode")
def dropout_in_validation(v: Variant):
    data, held_out = blobs(v)
    model = nn.Sequential(nn.Linear(8, v.width), nn.ReLU(), nn.Dropout(0.6), nn.Linear(v.width, 3))
    optimizer = optimizer_of(v, model.parameters())
    batches, history = loader(data), {"loss": [], "val_loss": []}
    for _ in range(12):
        history["loss"] += train(model, batches, cross_entropy, optimizer, epochs=1)["loss"]
        with bl.no_grad():
            history["val_loss"].append(cross_entropy(model(bl.tensor(held_out[0])), bl.tensor(held_out[1])).item())
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("batch_norm_single_row")
def batch_norm_of_one(v: Variant):
    data, held_out = blobs(v, rows=33 if v.adam else 65)
    model = nn.Sequential(nn.Linear(8, v.width), nn.BatchNorm1d(v.width), nn.ReLU(), nn.Linear(v.width, 3))
    optimizer = optimizer_of(v, model.parameters())
    batches = loader(data, batch_size=1 if v.seed else 32)
    with contextlib.suppress(ValueError):
        train(model, batches, cross_entropy, optimizer, epochs=1)
    return situation(model, batches, cross_entropy, optimizer, None, held_out)


# -- the loss -----------------------------------------------------------------------------------------------------


@sick("softmax_before_cross_entropy")
def softmax_before_cross_entropy(v: Variant):
    data, held_out = blobs(v)
    model = nn.Sequential(*perceptron(8, v.width, 3), nn.Softmax(dim=1))
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=10)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("sigmoid_before_bce_with_logits")
def sigmoid_before_logits_loss(v: Variant):
    (x, y), (xv, yv) = blobs(v, classes=2)
    data, held_out = (x, y[:, None].astype(np.float32)), (xv, yv[:, None].astype(np.float32))
    model = nn.Sequential(*perceptron(8, v.width, 1), nn.Sigmoid())
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), nn.BCEWithLogitsLoss(), optimizer, epochs=10)
    return situation(model, batches, nn.BCEWithLogitsLoss(), optimizer, history, held_out)


@sick("wrong_loss_for_logits")
def probabilities_wanted(v: Variant):
    """BCELoss, or NLLLoss, on plain scores."""
    (x, y), _ = blobs(v, classes=2)
    model = perceptron(8, v.width, 1 if v.adam else 2)
    optimizer = optimizer_of(v, model.parameters(), lr=1e-3)
    loss = nn.BCELoss() if v.adam else nn.NLLLoss()
    data = (x, y[:, None].astype(np.float32)) if v.adam else (x, y)
    batches, history = loader(data), None
    with contextlib.suppress(ValueError):
        history = train(model, batches, loss, optimizer, epochs=3)
    return situation(model, batches, loss, optimizer, history)


@sick("output_range")
def sigmoid_on_a_regression(v: Variant):
    data, held_out = waves(v)
    model = nn.Sequential(*perceptron(4, v.width, 1), nn.Sigmoid())
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), nn.MSELoss(), optimizer, epochs=10)
    return situation(model, batches, nn.MSELoss(), optimizer, history, held_out)


@sick("label_offset")
def labels_from_one(v: Variant):
    (x, y), (xv, yv) = blobs(v)
    data, held_out = (x, y + 1), (xv, yv + 1)
    model = perceptron(8, v.width, 3 if v.adam else 4)
    optimizer = optimizer_of(v, model.parameters())
    batches, history = loader(data), None
    with contextlib.suppress(ValueError, IndexError):
        history = train(model, batches, cross_entropy, optimizer, epochs=5)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


# -- the data -----------------------------------------------------------------------------------------------------


@sick("non_finite_data")
def missing_values(v: Variant):
    data, held_out = blobs(v)
    rng = np.random.default_rng(v.seed)
    data[0][rng.integers(0, v.rows, 3), rng.integers(0, 8, 3)] = np.nan if v.adam else np.inf
    model = perceptron(8, v.width, 3)
    optimizer = optimizer_of(v, model.parameters())
    with np.errstate(all="ignore"):
        history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=3)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("leakage")
def validation_rows_in_training(v: Variant):
    data, held_out = blobs(v)
    held_out = (np.concatenate([held_out[0], data[0][:40]]), np.concatenate([held_out[1], data[1][:40]]))
    model = perceptron(8, v.width, 3)
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=8, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("leaking_normalization")
def scaled_before_the_split(v: Variant):
    rng = np.random.default_rng(v.seed)
    x = rng.normal(3, 5, size=(v.rows + 100, 6))
    y = x @ rng.normal(size=6)
    y = (y > np.median(y)).astype(np.int64)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    data, held_out = (x[: v.rows], y[: v.rows]), (x[v.rows :], y[v.rows :])
    model = perceptron(6, v.width, 2)
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=12, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("constant_feature")
def a_constant_column(v: Variant):
    data, held_out = blobs(v)
    data[0][:, 5] = held_out[0][:, 5] = 1.0
    model = perceptron(8, v.width, 3)
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=12)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("duplicate_feature")
def a_column_twice(v: Variant):
    data, held_out = blobs(v)
    data[0][:, 6], held_out[0][:, 6] = data[0][:, 1], held_out[0][:, 1]
    model = perceptron(8, v.width, 3)
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=12)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("not_standardized")
def raw_units(v: Variant):
    """Incomes in the ten thousands beside ages."""
    data, held_out = waves(v)
    scale, shift = np.array([12_000, 15, 1, 0.01], np.float32), np.array([40_000, 45, 0, 0], np.float32)
    data, held_out = (data[0] * scale + shift, data[1]), (held_out[0] * scale + shift, held_out[1])
    model = perceptron(4, v.width, v.width, 1, activation=nn.Tanh)
    optimizer = optimizer_of(v, model.parameters())
    history = train(model, batches := loader(data), nn.MSELoss(), optimizer, epochs=6)
    return situation(model, batches, nn.MSELoss(), optimizer, history, held_out)


@sick("unshuffled")
def sorted_by_class(v: Variant):
    data, held_out = written_digits(v)
    order = np.argsort(data[1], kind="stable")
    data = (data[0][order], data[1][order])
    model = perceptron(64, v.width, 10)
    optimizer = optimizer_of(v, model.parameters())
    batches = loader(data, shuffle=False)
    history = train(model, batches, cross_entropy, optimizer, epochs=5, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("labels_unrelated")
def shuffled_labels(v: Variant):
    (x, y), (xv, yv) = blobs(v, features=16)
    rng = np.random.default_rng(v.seed)
    data, held_out = (x, rng.permutation(y)), (xv, rng.permutation(yv))
    model = perceptron(16, 128, 128, 3)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=40, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@sick("class_imbalance")
def majority_only(v: Variant):
    rng = np.random.default_rng(v.seed)
    x = rng.normal(size=(v.rows, 6)).astype(np.float32)
    y = (rng.random(v.rows) < 0.04).astype(np.int64)
    x[y == 1] += 0.4
    model = perceptron(6, v.width, 2)
    optimizer = optimizer_of(v, model.parameters(), lr=1e-3 if v.adam else 0.01)
    history = train(model, batches := loader((x, y)), cross_entropy, optimizer, epochs=6)
    return situation(model, batches, cross_entropy, optimizer, history)


@sick("overfitting")
def too_few_rows(v: Variant):
    data, held_out = blobs(v, classes=4, features=20, spread=2.0, rows=60)
    model = perceptron(20, 4 * v.width, 4 * v.width, 4)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    history = train(model, batches := loader(data), cross_entropy, optimizer, epochs=50, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)
