"""The questions that PyTorch programs ask about a GPU before they choose a device, answered for a library without one.

>>> import backlit as torch
>>> torch.device("cuda" if torch.cuda.is_available() else "cpu")
'cpu'
"""

from __future__ import annotations

from typing import Any

from .missing import Missing


def is_available() -> bool:
    """False: Backlit computes on the CPU."""
    return False


def device_count() -> int:
    """0: there is no GPU to use."""
    return 0


def manual_seed(seed: int) -> None:
    """Seeds the generators of all GPUs, of which there are none; :func:`backlit.manual_seed` seeds the CPU's."""


manual_seed_all = manual_seed


def empty_cache() -> None:
    """Frees memory kept for the GPU, of which there is none."""


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise Missing(
        f"cuda.{name}: Backlit computes on the CPU. Put `if backlit.cuda.is_available():` before it, or leave it out."
    )
