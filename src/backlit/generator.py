"""Generators of random numbers: seeded, counter-based streams whose place can be saved, moved and skipped.

The names are PyTorch's. The numbers are not: a stream is NumPy's Philox 4×64 with ten rounds, so ``manual_seed(0)``
gives other values than in PyTorch. What is promised is that the same seed and the same calls give the same values, on
every machine, and that a restored state continues the sequence exactly.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .errors import OperationError
from .graph import mode
from .source import describe, mark
from .tensor import Tensor
from .tensor import device as check_device

Array = np.ndarray
_WORDS = 12
"""64-bit words of a saved state: counter 4, key 2, buffer 4, position in it, and a pending half word with its flag."""


class Place(NamedTuple):
    """Where a stream is: of the four words made from the counter ``(block, *others)`` and ``keys``, so many are used.
    ``half`` is NumPy's ``(has_uint32, uinteger)``: half a word that the next float32 takes."""

    block: int
    used: int
    others: tuple[int, ...]
    keys: tuple[int, ...]
    half: tuple[int, int]


def _moved(what: str) -> None:
    """A stream goes somewhere else: a compiled function would have to, at each call."""
    if mode.tracer is not None:
        mode.tracer.restarted(what)


class Generator:
    """A stream of random numbers. Pass it as ``generator=``; without one, functions share ``default_generator``.

    >>> import backlit as bl
    >>> g = bl.Generator().manual_seed(7)
    >>> state = g.get_state()
    >>> a = bl.rand(3, generator=g)
    >>> _ = g.set_state(state)
    >>> bl.rand(3, generator=g).tolist() == a.tolist()
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = check_device(device)
        self._seed = 0
        self._numpy: Any = None
        self._place: Place | None = None
        self._behind = False

    @property
    def numpy(self) -> np.random.Generator:
        """The NumPy generator behind this one; what is drawn from it advances this stream."""
        if self._numpy is None:  # numpy.random takes 20 ms to import; programs that draw nothing do not pay for it
            self._numpy = np.random.Generator(np.random.Philox(key=self._seed % 2**64))
        if self._behind:
            self._catch_up()
        self._place = None
        if mode.tracer is not None:
            mode.tracer.drew()
        return self._numpy

    @property
    def place(self) -> Place:
        """Where the stream is; it can be taken back to a place where it was."""
        if self._place is None:
            if self._numpy is None:
                self._place = Place(0, 4, (0, 0, 0), (self._seed % 2**64, 0), (0, 0))
            else:
                state = self._numpy.bit_generator.state
                first, *others = (int(n) for n in state["state"]["counter"])
                keys = tuple(int(n) for n in state["state"]["key"])
                half = state["has_uint32"], state["uinteger"]
                self._place = Place(first, state["buffer_pos"], tuple(others), keys, half)
        return self._place

    @place.setter
    def place(self, place: Place) -> None:
        self._place, self._behind = place, True

    def skip(self, words: int) -> None:
        """Go on by a number of 64-bit words that somebody else drew from the place where the stream is."""
        if not words:
            return
        place = self.place
        position = 4 * place.block + place.used + words
        block = -(-position // 4) - 1
        self.place = place._replace(block=block, used=position - 4 * block)

    def _catch_up(self) -> None:
        """Bring NumPy's generator to where the stream is."""
        self._behind = False
        place, bits = self.place, self._numpy.bit_generator
        begun = place.block > 0  # then the block whose words are in use is made again
        state = bits.state
        state["state"]["counter"] = np.array([(place.block - begun) % 2**64, *place.others], np.uint64)
        state["buffer_pos"] = 4
        state["has_uint32"], state["uinteger"] = place.half
        bits.state = state
        if begun:
            bits.random_raw(place.used)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream that belongs to ``seed`` (any integer of at most 64 bits), and return the generator."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise OperationError(f"manual_seed at {describe(mark())}: the seed must fit into 64 bits, got {seed}.")
        _moved("manual_seed")
        self._seed = seed % 2**64
        self._numpy = self._place = None
        self._behind = False
        return self

    def seed(self) -> int:
        """Start a stream seeded by the operating system, and return the seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed this stream started from."""
        return self._seed

    def get_state(self) -> Tensor:
        """The place in the stream, as a uint8 tensor of 104 bytes (``.tolist()`` of it is ready for JSON)."""
        state: Any = self.numpy.bit_generator.state
        inner = state["state"]
        tail = (state["buffer_pos"], state["has_uint32"] << 32 | state["uinteger"])
        words = (*inner["counter"], *inner["key"], *state["buffer"], *tail, self._seed)
        return Tensor(np.array(words, np.uint64).astype("<u8").view(np.uint8))

    def set_state(self, state: Any) -> Generator:
        """Go back to a place given by :meth:`get_state` (a tensor, an array, or a list of byte values).

        Raises:
            OperationError: not a state: another length, or values that are not bytes.
        """
        _moved("set_state")
        data = np.asarray(state._data if isinstance(state, Tensor) else state)
        if data.shape != (8 * (_WORDS + 1),) or data.dtype.kind not in "iu" or data.min() < 0 or data.max() > 255:
            raise OperationError(
                f"set_state at {describe(mark())}: a state is {8 * (_WORDS + 1)} byte values from get_state(); "
                f"got shape {data.shape}, dtype {data.dtype}."
            )
        words = data.astype(np.uint8).view("<u8").astype(np.uint64)
        self.manual_seed(int(words[12]))
        self.numpy.bit_generator.state = {
            "bit_generator": "Philox",
            "state": {"counter": words[0:4], "key": words[4:6]},
            "buffer": words[6:10],
            "buffer_pos": min(int(words[10]), 4),
            "has_uint32": int(words[11]) >> 32 & 1,
            "uinteger": int(words[11]) & 0xFFFFFFFF,
        }
        return self

    def clone(self) -> Generator:
        """An independent generator at the same place in the same stream."""
        return Generator().set_state(self.get_state())

    def chances(self, probability: float, shape: tuple[int, ...]) -> Array:
        """A boolean array, each entry true with the given probability (to within 2⁻³²), from 32 random bits each."""
        if probability >= 1.0:
            return np.ones(shape, np.bool_)
        count = int(np.prod(shape, dtype=np.int64))
        words = self.numpy.bit_generator.random_raw((count + 1) // 2)
        return np.less(words.view(np.uint32)[:count], np.uint32(threshold(probability))).reshape(shape)

    def __deepcopy__(self, memo: dict[int, Any]) -> Generator:
        return self.clone()

    def __repr__(self) -> str:
        return f"Generator(seed={self._seed})"


def threshold(probability: float) -> int:
    """The 32-bit number that this share of all 32-bit numbers is below."""
    return min(round(probability * 2**32), 2**32 - 1)


default_generator = Generator().manual_seed(int.from_bytes(os.urandom(4), "little"))
"""The stream that is used where no generator is given. Unseeded, it differs from run to run."""


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system, and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's place in its stream; see :meth:`Generator.get_state`."""
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Take the default generator back to a state given by :func:`get_rng_state`."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng() -> Iterator[None]:
    """Draw inside the block without advancing the default generator outside it."""
    state = default_generator.get_state()
    try:
        yield
    finally:
        default_generator.set_state(state)


__all__ = [
    "Generator",
    "Place",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
    "threshold",
]
