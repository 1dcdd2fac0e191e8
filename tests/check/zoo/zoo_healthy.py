"""Trainings without a fault: a doctor who finds something here is no help."""

from __future__ import annotations

import numpy as np
from zoo_support import (
    Variant,
    blobs,
    half_moons,
    healthy,
    loader,
    optimizer_of,
    perceptron,
    situation,
    train,
    waves,
    written_digits,
)

import backlit as bl
from backlit import nn, optim
from backlit.train import fit

cross_entropy = nn.CrossEntropyLoss()


@healthy
def blobs_with_relu(v: Variant):
    data, held_out = blobs(v)
    model = perceptron(8, v.width, v.width, 3)
    optimizer = optimizer_of(v, model.parameters())
    batches = loader(data)
    history = train(model, batches, cross_entropy, optimizer, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@healthy
def moons_with_tanh(v: Variant):
    data, held_out = half_moons(v)
    model = perceptron(2, v.width, v.width, 2, activation=nn.Tanh)
    optimizer = optimizer_of(v, model.parameters(), lr=0.01 if v.adam else 0.1)
    batches = loader(data)
    history = train(model, batches, cross_entropy, optimizer, epochs=60, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@healthy
def digits_by_fit(v: Variant):
    data, held_out = written_digits(v)
    model = perceptron(64, 2 * v.width, 10)
    optimizer = optimizer_of(v, model.parameters(), weight_decay=1e-4)
    history = fit(model, data, optimizer=optimizer, epochs=15, validation=held_out, progress=False)
    return situation(model, data, "cross_entropy", optimizer, history, held_out)


@healthy
def regression(v: Variant):
    data, held_out = waves(v)
    model = perceptron(4, 2 * v.width, 2 * v.width, 1)
    optimizer = optimizer_of(v, model.parameters())
    batches = loader(data)
    history = train(model, batches, nn.MSELoss(), optimizer, epochs=20)
    return situation(model, batches, nn.MSELoss(), optimizer, history, held_out)


@healthy
def with_dropout(v: Variant):
    data, held_out = blobs(v)
    model = nn.Sequential(nn.Linear(8, 2 * v.width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(2 * v.width, 3))
    optimizer = optimizer_of(v, model.parameters())
    batches = loader(data)
    history = train(model, batches, cross_entropy, optimizer, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@healthy
def with_batch_norm(v: Variant):
    data, held_out = blobs(v, classes=4)
    model = nn.Sequential(nn.Linear(8, v.width), nn.BatchNorm1d(v.width), nn.ReLU(), nn.Linear(v.width, 4))
    optimizer = optimizer_of(v, model.parameters())
    batches = loader(data, batch_size=50)
    history = train(model, batches, cross_entropy, optimizer, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@healthy
def two_classes_with_logits(v: Variant):
    (x, y), (xv, yv) = blobs(v, classes=2)
    data, held_out = (x, y[:, None].astype(np.float32)), (xv, yv[:, None].astype(np.float32))
    model = perceptron(8, v.width, 1)
    optimizer = optimizer_of(v, model.parameters())
    batches = loader(data)
    loss = nn.BCEWithLogitsLoss()
    history = train(model, batches, loss, optimizer, validation=held_out)
    return situation(model, batches, loss, optimizer, history, held_out)


@healthy
def small_images(v: Variant):
    (x, y), (xv, yv) = written_digits(v)
    data, held_out = (x.reshape(-1, 1, 8, 8), y), (xv.reshape(-1, 1, 8, 8), yv)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = optimizer_of(v, model.parameters(), lr=0.01 if v.adam else 0.05)
    batches = loader(data)
    history = train(model, batches, cross_entropy, optimizer, epochs=8, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


class Remember(nn.Module):
    """Says the sign of the first number of a sequence."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(1, width, batch_first=True)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


@healthy
def sequences(v: Variant):
    rng = np.random.default_rng(v.seed)
    x = rng.normal(size=(v.rows + 100, 6, 1)).astype(np.float32)
    y = (x[:, 0, 0] > 0).astype(np.int64)
    data, held_out = (x[: v.rows], y[: v.rows]), (x[v.rows :], y[v.rows :])
    model = Remember(v.width)
    optimizer = optimizer_of(v, model.parameters(), lr=0.01 if v.adam else 0.1)
    batches = loader(data)
    history = train(model, batches, cross_entropy, optimizer, epochs=15, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@healthy
def softmax_regression_from_zero(v: Variant):
    """Zeros are a good start where there is no hidden layer."""
    data, held_out = blobs(v)
    model = nn.Linear(8, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = optimizer_of(v, model.parameters(), lr=0.02)
    batches = loader(data)
    history = train(model, batches, cross_entropy, optimizer, epochs=20, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@healthy
def before_the_first_step(v: Variant):
    """A network that has not been trained yet, with nothing in its way."""
    data, held_out = blobs(v)
    model = perceptron(8, v.width, v.width, 3)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    return situation(model, data, cross_entropy, optimizer, None, held_out)


@healthy
def a_rare_class_that_is_learned(v: Variant):
    data, held_out = blobs(v, classes=2, spread=0.5)
    keep = np.flatnonzero((data[1] == 0) | (np.arange(len(data[1])) % 6 == 0))
    data = (data[0][keep], data[1][keep])
    model = perceptron(8, v.width, 2)
    optimizer = optimizer_of(v, model.parameters())
    batches = loader(data)
    history = train(model, batches, cross_entropy, optimizer, epochs=20)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


@healthy
def frozen_body(v: Variant):
    """Fine-tuning: the first layer is frozen on purpose, and the head learns."""
    data, held_out = blobs(v)
    model = perceptron(8, 4 * v.width, 3)
    model[0].requires_grad_(False)
    optimizer = optimizer_of(v, [p for p in model.parameters() if p.requires_grad], lr=0.02)
    batches = loader(data)
    history = train(model, batches, cross_entropy, optimizer, validation=held_out)
    return situation(model, batches, cross_entropy, optimizer, history, held_out)


def seeded(make, v: Variant):
    """A situation that is the same in every run."""
    bl.manual_seed(v.seed)
    return make(v)
