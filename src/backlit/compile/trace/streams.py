"""Random numbers in a traced function: words of the generators' streams, by position, or calls that draw in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...random import default_generator
from ...tensor import Tensor
from ..ir.program import Instruction, Value
from .sources import Source

FIELDS = 6
"""Numbers that say where a stream is: words used up, three higher words of the counter, two keys."""


class Stream(Source):
    """Where a generator's stream is when the function is called."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator
        self.name = "random"


@dataclass
class Drawn:
    """How much of a generator's stream a program uses up."""

    source: Stream
    value: Value
    words: int = 0


class Streams:
    """The generators that a function draws from by position."""

    def __init__(self, add_input: Callable[[Source, Any], Value]) -> None:
        self._add_input = add_input
        self.drawn: dict[int, Drawn] = {}

    def take(self, generator: Any, words: int) -> tuple[Value, int]:
        """The next words of a generator's stream: the stream, and how many words of it come before."""
        generator = generator or default_generator
        if id(generator) not in self.drawn:
            source = Stream(generator)
            self.drawn[id(generator)] = Drawn(source, self._add_input(source, np.zeros(FIELDS, np.int64)))
        drawn = self.drawn[id(generator)]
        skip = drawn.words
        drawn.words += words
        return drawn.value, skip


class ExternDraw:
    """A call that draws from a generator when it is its turn."""

    impure = True

    def __init__(self, generator: Any, probability: float, shape: tuple[int, ...]) -> None:
        self.generator = generator or default_generator
        self.probability = probability
        self.shape = shape
        self.__name__ = "chances"

    def __call__(self) -> tuple[Any]:
        """Truth values, each true with the probability."""
        return (self.generator.chances(self.probability, self.shape),)


class ExternSample:
    """A function of :mod:`backlit.random`, called when it is its turn."""

    impure = True

    def __init__(self, function: Callable[..., Any], rebuild: Callable[[list[Any]], Any]) -> None:
        self.function = function
        self.rebuild = rebuild
        self.__name__ = function.__name__

    def __call__(self, *arrays: Any) -> tuple[Any]:
        """What it draws."""
        args, kwargs = self.rebuild([Tensor(np.asarray(a)) for a in arrays])
        return (self.function(*args, **kwargs)._data,)


def in_turn(body: list[Instruction]) -> list[Instruction]:
    """The same instructions with every draw by position made a call: beside calls no position is known beforehand."""
    return [_called(i) if i.opcode == "leaf" and "draw" in i.params else i for i in body]


def _called(i: Instruction) -> Instruction:
    return Instruction("extern", (), i.results, {"call": ExternDraw(*i.params["draw"])}, i.mark, i.scope)
