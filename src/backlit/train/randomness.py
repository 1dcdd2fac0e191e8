"""All global random state that training can depend on, as data."""

from __future__ import annotations

import random as python_random
from typing import Any

import numpy as np

from .. import random


def random_state() -> dict[str, Any]:
    """The default generator, and Python's and NumPy's global ones, which a user's own data code may draw from."""
    version, words, gauss = python_random.getstate()
    return {
        "backlit": random.get_rng_state(),
        "python": (version, np.array(words, np.uint64), gauss),
        "numpy": np.random.get_state(),  # noqa: NPY002
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Go back to a saved state."""
    random.set_rng_state(state["backlit"])
    version, words, gauss = state["python"]
    python_random.setstate((version, tuple(words.tolist()), gauss))
    np.random.set_state(state["numpy"])  # noqa: NPY002
