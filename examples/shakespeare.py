"""A character-level GPT on tiny Shakespeare, as published for nanoGPT on a CPU: validation loss 1.88 after 2,000 steps.

Run it: python examples/shakespeare.py FILE [--steps 2000] [--torch] [--eager] [--threads N]

FILE is the text (one megabyte). The network has 4 layers, 4 heads, width 128 and a context of 64 characters; batches of
12, AdamW with decay 0.1 on matrices, learning rate 10⁻³ falling to 10⁻⁴ along a cosine after 100 steps of warm-up,
gradients clipped at norm 1. The program below is PyTorch's as well as Backlit's: only the import differs. Backlit's
step is compiled unless ``--eager`` is given; PyTorch runs eagerly with its fused AdamW, because `torch.compile` would
compile again whenever the learning rate changes.
"""

import argparse
import importlib
import math
import pathlib
import sys
import time

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LAYERS, HEADS, WIDTH, CONTEXT, BATCH = 4, 4, 128, 64, 12
RATE, LEAST_RATE, WARM_UP, DECAY, CLIP = 1e-3, 1e-4, 100, 0.1, 1.0


def gpt(lib, vocabulary):
    """The network, made of ``lib``'s modules."""
    nn = lib.nn

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.out = nn.Linear(WIDTH, WIDTH, bias=False)

        def forward(self, x):
            rows, length, _ = x.shape
            q, k, v = (
                part.view(rows, length, HEADS, WIDTH // HEADS).transpose(1, 2)
                for part in self.qkv(x).split(WIDTH, dim=2)
            )
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(mixed.transpose(1, 2).reshape(rows, length, WIDTH))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.attention = Attention()
            self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.narrow(nn.functional.gelu(self.wide(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(CONTEXT, WIDTH)
            self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
            self.norm = nn.LayerNorm(WIDTH)

        def forward(self, text):
            x = self.tokens(text) + self.places.weight[: text.shape[1]]
            for block in self.blocks:
                x = block(x)
            return nn.functional.linear(self.norm(x), self.tokens.weight)  # tied to the embedding

    model = GPT()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            last = name.endswith(("attention.out.weight", "narrow.weight"))
            nn.init.normal_(parameter, 0.0, 0.02 / math.sqrt(2 * LAYERS) if last else 0.02)
    return model


class Text:
    """Characters as numbers, nine tenths for training."""

    def __init__(self, path):
        text = pathlib.Path(path).read_text(encoding="utf-8")
        self.characters = sorted(set(text))
        number = {character: i for i, character in enumerate(self.characters)}
        numbers = np.array([number[character] for character in text], np.int64)
        cut = len(numbers) * 9 // 10
        self.train, self.validation = numbers[:cut], numbers[cut:]

    def batch(self, numbers, rng, rows=BATCH):
        """Random windows, and the same windows one character on."""
        starts = rng.integers(len(numbers) - CONTEXT, size=rows)
        windows = numbers[starts[:, None] + np.arange(CONTEXT + 1)]
        return np.ascontiguousarray(windows[:, :-1]), np.ascontiguousarray(windows[:, 1:])


def rate_at(step, steps):
    """Warm-up, then a cosine down to the least rate."""
    if step < WARM_UP:
        return RATE * (step + 1) / (WARM_UP + 1)
    share = (step - WARM_UP) / max(1, steps - WARM_UP)
    return LEAST_RATE + 0.5 * (1 + math.cos(math.pi * min(1.0, share))) * (RATE - LEAST_RATE)


def loss_of(lib, model, inputs, targets):
    """Mean cross-entropy of the next character."""
    logits = model(inputs)
    return lib.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def validation_loss(lib, loss, text, batches=100):
    """The mean of ``loss(inputs, targets)`` over the same windows each time."""
    rng = np.random.default_rng(1)
    losses = []
    with lib.no_grad():
        for _ in range(batches):
            inputs, targets = text.batch(text.validation, rng)
            losses.append(float(loss(lib.tensor(inputs), lib.tensor(targets))))
    return float(np.mean(losses))


def training_step(lib, model, optimizer):
    """One step as a function of a batch."""

    def step(inputs, targets):
        loss = loss_of(lib, model, inputs, targets)
        optimizer.zero_grad()
        loss.backward()
        lib.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss

    return step


def train(lib, text, steps=2000, compiled=True, every=250, seed=0):
    """Train from scratch; print the course, return the validation loss and the seconds spent in training steps."""
    lib.manual_seed(seed)
    model = gpt(lib, len(text.characters))
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = lib.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99), fused=True)
    step = training_step(lib, model, optimizer)

    def evaluate(inputs, targets):
        return loss_of(lib, model, inputs, targets)

    if compiled:
        step, evaluate = lib.compile(step), lib.compile(evaluate)
    rng = np.random.default_rng(seed)
    spent = 0.0
    with Progress(
        TextColumn("step {task.completed}/{task.total}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    ) as progress:
        bar = progress.add_task("", total=steps)
        for number in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate_at(number, steps)
            inputs, targets = (lib.tensor(part) for part in text.batch(text.train, rng))
            start = time.perf_counter()
            loss = step(inputs, targets)
            spent += time.perf_counter() - start
            progress.advance(bar)
            if (number + 1) % every == 0 or number + 1 == steps:
                held_out = validation_loss(lib, evaluate, text)
                progress.console.print(
                    f"step {number + 1}/{steps}  training loss {loss.item():.3f}  validation loss {held_out:.3f}  "
                    f"{spent:.0f} s, {1000 * spent / (number + 1):.1f} ms a step",
                    soft_wrap=True,
                )
    return held_out, spent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="the text to learn")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--torch", action="store_true", help="the same program in PyTorch")
    parser.add_argument("--eager", action="store_true", help="do not compile the training step")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    lib = importlib.import_module("torch" if given.torch else "backlit")
    lib.set_num_threads(given.threads)
    start = time.perf_counter()
    held_out, spent = train(lib, Text(given.file), given.steps, not (given.eager or given.torch))
    total = time.perf_counter() - start
    print(f"{lib.__name__}: validation loss {held_out:.3f}; {spent:.1f} s in steps, {total:.1f} s in all")
    if given.steps >= 2000 and held_out > 1.90:
        sys.exit(f"validation loss {held_out:.3f}, wanted at most 1.90 (published: 1.88)")


if __name__ == "__main__":
    main()
