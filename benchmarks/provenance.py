"""What it costs that every node keeps the user's line and module path: nanoseconds an operation.

Run it: python benchmarks/provenance.py
"""

from __future__ import annotations

from harness import one_thread

one_thread()

import timeit

import backlit as bl
from backlit import nn
from backlit.source import mark


class Inside(nn.Module):
    """Calls a function where an operation of a layer would be applied."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function()


def nanoseconds(function, number=20000):
    return min(timeit.repeat(function, number=number, repeat=9)) / number * 1e9


def main():
    print(f"in the user's own function: {nanoseconds(mark):.0f} ns an operation")
    x = bl.zeros(1)
    for depth in (1, 4):
        marked, bare = Inside(mark), Inside(lambda: None)
        for _ in range(depth - 1):
            marked, bare = nn.Sequential(marked), nn.Sequential(bare)
        cost = nanoseconds(lambda m=marked: m(x)) - nanoseconds(lambda m=bare: m(x))
        print(f"inside {depth} module{'s' * (depth > 1)}: {cost:.0f} ns an operation (budget: 500)")


if __name__ == "__main__":
    main()
