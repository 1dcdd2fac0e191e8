"""The geometry that convolution and pooling share: which input positions each output position looks at.

Along one dimension, output ``o`` looks through tap ``t`` at input position ``o · stride + t · dilation − padding``.
Taps that fall into the padding look at nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..errors import OperationError
from ..source import describe, mark

Array = np.ndarray
Slices = tuple[slice, ...]
Setting = int | tuple[int, ...] | list[int]

BLOCK = 1 << 18
"""Elements of a block of columns: small enough to stay in the cache between being copied and being multiplied."""


class Windows(NamedTuple):
    """Sizes along the spatial dimensions; ``padding`` is what is added before the first position."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    input: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def span(self) -> tuple[int, ...]:
        """How many positions of the padded input the windows cover."""
        sizes = zip(self.output, self.stride, self.kernel, self.dilation, strict=True)
        return tuple((o - 1) * s + (k - 1) * d + 1 for o, s, k, d in sizes)

    @property
    def overhang(self) -> bool:
        """Whether windows look beyond the input."""
        return any(self.padding) or any(c > n for c, n in zip(self.span, self.input, strict=True))

    @property
    def pointwise(self) -> bool:
        """Whether every output looks at exactly the input at its own position."""
        return self.output == self.input and set(self.kernel + self.stride) == {1} and not any(self.padding)


def setting(operation: str, name: str, value: Any, count: int, least: int) -> tuple[int, ...]:
    """A setting given as one number for all ``count`` dimensions or as one each; at least ``least``."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) == 1:
        values *= count
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values)
    if len(values) != count or not whole or any(v < least for v in values):
        raise OperationError(
            f"{operation} at {describe(mark())}: {name} must be a whole number of at least {least}"
            f"{f', or {count} of them' if count > 1 else ''}; got {value!r}."
        )
    return tuple(int(v) for v in values)


def output_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int, ceil: bool = False) -> int:
    """How many windows fit; with ``ceil`` one more may hang over the end, if it starts inside."""
    room = size + before + after - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (count - 1) * stride >= size + before:
        count -= 1
    return count


def pooling_windows(
    operation: str, x: Any, dims: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> Windows:
    """Check and normalise the settings of a pooling operation; the stride is the kernel's size where none is given."""
    require_rank(operation, x, dims)
    if 0 in x.shape[-dims - 1 :]:
        raise OperationError(
            f"{operation} at {describe(mark())}: only the batch may be empty; the input has shape {tuple(x.shape)}."
        )
    kernel = setting(operation, "kernel_size", kernel, dims, 1)
    stride = kernel if stride is None or stride == () else setting(operation, "stride", stride, dims, 1)
    padding = setting(operation, "padding", padding, dims, 0)
    dilation = setting(operation, "dilation", dilation, dims, 1)
    if any(p > ((k - 1) * d + 1) // 2 for p, k, d in zip(padding, kernel, dilation, strict=True)):
        raise OperationError(
            f"{operation} at {describe(mark())}: padding {padding} may be at most half of the kernel {kernel}, or "
            "windows could lie outside the input."
        )
    positions = tuple(x.shape[-dims:])
    sizes = zip(positions, kernel, stride, padding, dilation, strict=True)
    output = tuple(output_size(n, k, s, p, p, d, ceil) for n, k, s, p, d in sizes)
    windows = Windows(kernel, stride, padding, dilation, positions, output)
    require_room(operation, x.shape, windows)
    if any(padding) and set(dilation) != {1} and not _all_meet(windows):
        raise OperationError(
            f"{operation} at {describe(mark())}: with padding {padding} and dilation {dilation} some windows see "
            f"nothing of the input {tuple(x.shape)}. Use less padding."
        )
    return windows


def _all_meet(windows: Windows) -> bool:
    """Whether each window has a tap inside the input."""
    met = np.zeros(windows.output, np.bool_)
    for _, _, seeing in taps(windows):
        met[seeing] = True
    return bool(met.all())


def require_rank(operation: str, x: Any, dims: int) -> None:
    """Raise unless the input has channels, ``dims`` spatial dimensions, and perhaps a batch."""
    if x.ndim not in (dims + 1, dims + 2):
        axes = ", ".join("DHW"[3 - dims :]) if dims > 1 else "L"
        raise OperationError(
            f"{operation} at {describe(mark())}: needs an input of shape (N, C, {axes}) or (C, {axes}); got "
            f"{tuple(x.shape)}. Add the missing dimension with unsqueeze."
        )


def along(values: Array, axis: int, dims: int) -> Array:
    """A vector laid along one of ``dims`` dimensions, to be broadcast over the others."""
    return values.reshape((-1, *[1] * (dims - 1 - axis)))


def require_room(operation: str, shape: tuple[int, ...], windows: Windows) -> None:
    """Raise when a window is larger than the padded input."""
    if any(n < 1 for n in windows.output):
        raise OperationError(
            f"{operation} at {describe(mark())}: the kernel {windows.kernel}"
            f"{f' with dilation {windows.dilation}' if set(windows.dilation) != {1} else ''} is larger than the input "
            f"{tuple(shape)} with padding {windows.padding}. Use a smaller kernel or more padding."
        )


def spatial(slices: Sequence[slice]) -> Any:
    """An index of the last dimensions that leaves the leading ones alone."""
    return (..., *slices)


def views(x: Array, windows: Windows) -> Iterator[tuple[int, Array]]:
    """Each tap's row-major number, and the view of the padded input that it sees, one position an output."""
    for number, index in enumerate(product(*[range(k) for k in windows.kernel])):
        sizes = zip(index, windows.dilation, windows.output, windows.stride, strict=True)
        yield number, x[spatial([slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in sizes])]


@lru_cache(maxsize=512)
def taps(windows: Windows) -> tuple[tuple[tuple[int, ...], Slices, Slices], ...]:
    """For each tap that meets the input: its index, the input positions it sees, the outputs that see them."""
    along = [
        [seen_by_tap(t * d - p, s, n, o) for t in range(k)]
        for k, s, p, d, n, o in zip(*windows, strict=True)  # the six fields, dimension by dimension
    ]
    found = []
    for index in product(*[range(k) for k in windows.kernel]):
        parts = [along[dim][t] for dim, t in enumerate(index)]
        if all(part is not None for part in parts):
            seen, seeing = zip(*parts, strict=True)  # type: ignore[arg-type]
            found.append((index, seen, seeing))
    return tuple(found)


def seen_by_tap(offset: int, stride: int, size: int, outputs: int) -> tuple[slice, slice] | None:
    """Where a tap displaced by ``offset`` stays inside an input of ``size``: input slice and output slice."""
    first = max(0, -(offset // stride))
    last = min(outputs - 1, (size - 1 - offset) // stride)
    if last < first:
        return None
    start = first * stride + offset
    return slice(start, (last - first) * stride + start + 1, stride), slice(first, last + 1)


def columns(x: Array, windows: Windows) -> Iterator[tuple[slice, Array]]:
    """The input as the matrix that turns convolution into a matrix product ("im2col"), some samples at a time.

    Args:
        x: shape (samples, channels, *input).

    Yields:
        A slice of samples, and their columns: shape (channels, *kernel, samples, *output). The memory is used again
        for the next block.
    """
    if windows.pointwise:
        for part in blocks(x, windows):
            flat = np.ascontiguousarray(np.moveaxis(x[part], 1, 0))
            yield part, flat.reshape((len(flat), *windows.kernel, *flat.shape[1:]))
        return
    channels, samples = x.shape[1], min(len(x), block_size(x, windows))
    sizes = (channels, *windows.kernel, samples, *windows.output)
    memory = np.empty(prod(sizes), x.dtype)
    padded = np.zeros((samples, x.shape[1], *windows.span), x.dtype) if windows.overhang else None
    for part in blocks(x, windows):
        piece = x[part]
        if padded is not None:
            piece = pad(piece, padded[: len(piece)], windows)
        looking = _looking(piece, windows)
        block = memory[: looking.size].reshape(looking.shape)
        np.copyto(block, looking)
        yield part, block


def pad(x: Array, padded: Array, windows: Windows) -> Array:
    """Copy the input into its place in memory of ``span``, leaving out what no window reaches."""
    inner = tuple(slice(p, p + n) for p, n in zip(windows.padding, windows.input, strict=True))
    room = padded[spatial(inner)]
    room[...] = x[spatial([slice(n) for n in room.shape[-len(windows.input) :]])]
    return padded


def _looking(x: Array, windows: Windows) -> Array:
    """A view of the padded input of shape (channels, *kernel, samples, *output): what each output sees by each tap."""
    samples, channels, *steps = x.strides
    shape = (x.shape[1], *windows.kernel, x.shape[0], *windows.output)
    by_tap = [d * step for d, step in zip(windows.dilation, steps, strict=True)]
    by_output = [s * step for s, step in zip(windows.stride, steps, strict=True)]
    return as_strided(x, shape, (channels, *by_tap, samples, *by_output), writeable=False)


def fold(cols: Array, out: Array, windows: Windows) -> None:
    """Add columns of shape (channels, *kernel, samples, *output) back to where they were looked up, in ``out``."""
    target = np.moveaxis(out, 1, 0)
    for index, seen, seeing in taps(windows):
        taken: Any = (slice(None), *index, slice(None), *seeing)
        target[spatial(seen)] += cols[taken]


def block_size(x: Array, windows: Windows) -> int:
    """How many samples to treat at a time."""
    each = x.shape[1] * prod(windows.kernel + windows.output)
    return max(1, BLOCK // max(1, each))


def blocks(x: Array, windows: Windows) -> Iterator[slice]:
    """Slices of samples whose columns fit into a block."""
    size = block_size(x, windows)
    for start in range(0, len(x), size):
        yield slice(start, min(start + size, len(x)))
