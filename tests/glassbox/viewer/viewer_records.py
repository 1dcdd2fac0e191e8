"""Records that the viewer's tests draw."""

from functools import cache

import backlit as bl
from backlit import nn

EVIL = ["<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "]]>&lt;\u2028\"'"]


def circuit():
    """f = (x + y) · z at (−2, 5, −4)."""
    x = bl.tensor(-2.0, requires_grad=True)
    y = bl.tensor(5.0, requires_grad=True)
    z = bl.tensor(-4.0, requires_grad=True)
    q = x + y
    f = q * z
    return bl.explain(f, title="f = (x + y) · z")


def join():
    """A value that is used twice, through two elementwise operations."""
    a = bl.tensor([0.5, -1.0], dtype=bl.float64, requires_grad=True)
    left = bl.exp(a)
    right = bl.tanh(a)
    total = (left * right).sum()
    return bl.explain(total, title="a join")


def network():
    """A 2-3-1 network in which everything can be computed again in the page."""
    bl.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    x = bl.tensor([[0.5, -1.0], [2.0, 1.0]])
    loss = (net(x) ** 2).mean()
    return bl.explain(loss, title="2-3-1")


def convolution():
    """A network with an operation that the page cannot compute again, on a value that is small enough to be edited."""
    bl.manual_seed(0)
    layer = nn.Conv2d(1, 1, 2)
    x = bl.randn(1, 1, 3, 3)
    loss = layer(x).sum()
    return bl.explain(loss, title="a convolution")


def hostile():
    """Names, titles and module paths that are markup."""
    net = nn.Module()
    first, second, third = EVIL
    net.add_module(first.replace(".", ""), nn.Linear(2, 2))
    w = bl.tensor([1.0, 2.0], requires_grad=True)
    out = next(iter(net.children()))(w * 2)
    return bl.explain(out.sum(), names={second: w}, title=first + third)


def chain(length):
    """Many operations, one behind the other, without any module."""
    x = bl.tensor(0.5, requires_grad=True)
    y = x
    for _ in range(length):
        y = bl.sin(y)
    return bl.explain(y, title="a chain")


class Attention(nn.Module):
    """Causal self-attention with every step written out."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        rows, length, width = x.shape
        shape = (rows, length, self.heads, width // self.heads)
        q, k, v = (part(x).reshape(shape).permute(0, 2, 1, 3) for part in (self.query, self.key, self.value))
        scores = (q @ k.transpose(-1, -2)) / (width // self.heads) ** 0.5
        scores = scores.masked_fill(bl.ones(length, length).tril() == 0, float("-inf"))
        return self.out((scores.softmax(-1) @ v).permute(0, 2, 1, 3).reshape(rows, length, width))


class Block(nn.Module):
    """Attention and a perceptron, each beside a residual connection."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """A small GPT."""

    def __init__(self, blocks, width=32, heads=4, words=65, length=8):
        super().__init__()
        self.token, self.place = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(blocks)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

    def forward(self, words):
        x = self.token(words) + self.place(bl.arange(words.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


@cache
def transformer(blocks=12):
    """A transformer's training step, as a dictionary: with 12 blocks over a thousand nodes in the two networks."""
    bl.manual_seed(0)
    words = bl.randint(0, 65, (2, 8))
    loss = nn.functional.cross_entropy(Transformer(blocks)(words).reshape(16, 65), bl.randint(0, 65, (16,)))
    return bl.explain(loss, title=f"A transformer, {blocks} blocks").to_dict(inline=True)


def odd_records():
    """Records that lack something, or hold something unusual, by name."""
    x = bl.tensor([[1.0, -2.0, 3.0]] * 30, requires_grad=True)
    with bl.record() as forward_only:
        bl.exp(x).sum()
    shared, other = nn.Linear(3, 3), nn.Linear(3, 3)
    net = nn.Sequential(shared, other, shared)
    empty = bl.tensor(bl.zeros(0, 3), requires_grad=True)
    chosen = bl.where(x > 0, x, bl.tensor(float("nan")))
    return {
        "statistics only": bl.explain((x * 2).sum(), keep="stats"),
        "forward only": forward_only,
        "a module used twice": bl.explain(net(x).sum()),
        "empty": bl.explain((empty * 2).sum()),
        "NaN and conditions": bl.explain(chosen.sum()),
        "one leaf": bl.explain(bl.tensor(2.0, requires_grad=True) * 1),
    }
