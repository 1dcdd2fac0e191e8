"""Random truth values from a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..codegen.philox import Chances, emit_chances
from ..codegen.target import Target
from .leaf import Leaf


@dataclass(frozen=True)
class DrawChances(Leaf):
    """``stream, skip → chances``."""

    spec: Chances

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_chances(module, name, self.spec, target)


def chances(stream: Any, skip: Any, spec: Chances) -> Any:
    """The same by NumPy's generator."""
    used, *counter, first, second = (int(n) % 2**64 for n in stream)
    block, words = divmod(used + int(skip), 4)
    bits = np.random.Philox(key=np.array([first, second], np.uint64))
    state = bits.state
    state["state"]["counter"] = np.array([block, *counter], np.uint64)
    bits.state = state
    bits.random_raw(words)
    return bits.random_raw((spec.count + 1) // 2).view(np.uint32)[: spec.count] < spec.threshold
