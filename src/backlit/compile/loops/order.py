"""The order of a loop's dimensions: which one vectors run along."""

from __future__ import annotations

from .kernel import Kernel, reordered, simplified


def arranged(kernel: Kernel, lanes: int) -> Kernel:
    """The same loop, simplified, with the dimension last along which most accesses are to neighbours."""
    kernel = simplified(kernel)
    count = len(kernel.sizes)
    if count < 2 or 0 in kernel.sizes:
        return kernel
    best = min(range(count), key=lambda d: (_cost(kernel, d, lanes), -d))
    return reordered(kernel, [*[d for d in range(count) if d != best], best])


def _cost(kernel: Kernel, dim: int, lanes: int) -> float:
    """Memory operations for each element when vectors run along ``dim``."""
    size = kernel.sizes[dim]
    rounds = -(-size // lanes) * lanes / size
    total = 1.0
    for strides in kernel.strided():
        total += 1.0 if strides[dim] in (0, 1) else lanes
    return total * rounds
