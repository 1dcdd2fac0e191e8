"""What the programs share: numbers from NumPy, so that PyTorch and Backlit start equal."""

from __future__ import annotations

from typing import Any

import numpy as np


def fill(torch: Any, module: Any, seed: int = 0, scale: float = 0.3) -> Any:
    """Overwrite a module's parameters with normal numbers from NumPy."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.from_numpy(rng.normal(scale=scale, size=tuple(p.shape))))
    return module


def normal(torch: Any, *shape: int, seed: int = 0) -> Any:
    """A tensor of normal numbers from NumPy, in the default dtype."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(torch.get_default_dtype())


def integers(torch: Any, high: int, *shape: int, seed: int = 0) -> Any:
    """A tensor of integers below ``high`` from NumPy."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, high, size=shape))
