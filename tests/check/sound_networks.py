"""Ten sound networks with data that they can learn; none of them may cause a finding."""

from itertools import pairwise

import numpy as np

import backlit as bl
from backlit import nn
from backlit.datasets import digits, moons

ROWS = 256


class Residual(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.inside = nn.Linear(64, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.out = nn.Linear(width, 10)

    def forward(self, x):
        x = self.inside(x)
        x = x + self.down(bl.relu(self.up(self.norm1(x))))
        return self.out(self.norm2(x))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(8, 24, batch_first=True)
        self.out = nn.Linear(24, 10)

    def forward(self, x):
        return self.out(self.cell(x)[0][:, -1])


class Bag(nn.Module):
    """Words, averaged."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.hidden = nn.Linear(16, 32)
        self.out = nn.Linear(32, 4)

    def forward(self, x):
        return self.out(bl.tanh(self.hidden(self.words(x).mean(dim=1))))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Linear(8, 16)
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.out = nn.Linear(16, 10)

    def forward(self, x):
        x = self.inside(x)
        y = self.norm(x)
        return self.out((x + self.attention(y, y, y, need_weights=False)[0]).mean(dim=1))


def _digits(shape=(64,)):
    data = digits().scaled()
    x, y = data.x_train[:ROWS], data.y_train[:ROWS]
    return ((x - x.mean()) / x.std()).reshape(-1, *shape), y


def _regression():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, 6)).astype(np.float32)
    y = np.sin(x[:, :1]) + 0.5 * x[:, 1:2]
    return x, ((y - y.mean()) / y.std()).astype(np.float32)


def _words():
    rng = np.random.default_rng(2)
    y = rng.integers(0, 4, ROWS)
    return (rng.integers(0, 20, (ROWS, 12)) + 10 * y[:, None]).astype(np.int64), y


def _moons():
    data = moons()
    return data.x_train[:ROWS], data.y_train[:ROWS].astype(np.float32)[:, None]


def sound():
    """name → (model, batch, loss)."""
    bl.manual_seed(0)
    x, y = _digits()
    return {
        "perceptron": (_mlp(nn.ReLU), (x, y), "cross_entropy"),
        "tanh": (_mlp(nn.Tanh, 4), (x, y), "cross_entropy"),
        "sigmoid": (_mlp(nn.Sigmoid, 1), (x, y), "cross_entropy"),
        "dropout": (_mlp(lambda: nn.Sequential(nn.GELU(), nn.Dropout(0.2))), (x, y), "cross_entropy"),
        "convolutions": (_cnn(), _digits((1, 8, 8)), "cross_entropy"),
        "residual": (Residual(), (x, y), "cross_entropy"),
        "recurrent": (Recurrent(), _digits((8, 8)), "cross_entropy"),
        "words": (Bag(), _words(), "cross_entropy"),
        "attention": (Attention(), _digits((8, 8)), "cross_entropy"),
        "regression": (_of(6, 1), _regression(), "mse"),
        "two classes": (_of(2, 1), _moons(), "bce_with_logits"),
        "autoencoder": (_of(64, 64), (x, x), "mse"),
    }


def _mlp(activation, depth=2, width=48):
    sizes = [64] + [width] * depth
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def _of(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, outputs))


def _cnn():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
