"""From the library's order of images (batch, channel, row, column) to the kernels', channels innermost, and back."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numpy.typing import DTypeLike

from .images import Images
from .packing import transposed
from .target import Target
from .values import Pointer, Value
from .vector import VectorBuilder, function


def emit_to_images(
    module: ir.Module, name: str, images: Images, dtype: DTypeLike = "float32", target: Target | None = None
) -> ir.Function:
    """Define ``void name(dense, buffer)``: from contiguous (N, C, H, W) into ``images``, the margin untouched."""
    with function(module, name, [dtype] * 2, target, dtype) as (b, dense, buffer):
        plane = images.height * images.width

        def row(source: Pointer, place: Pointer) -> None:
            _turn(b, source, plane, place, images.pixel, images.channels, images.width)

        _rows(b, images, dense, buffer, row)
    return module.globals[name]


def emit_from_images(
    module: ir.Module, name: str, images: Images, dtype: DTypeLike = "float32", target: Target | None = None
) -> ir.Function:
    """Define ``void name(buffer, dense)``, the other way round."""
    with function(module, name, [dtype] * 2, target, dtype) as (b, buffer, dense):
        plane = images.height * images.width

        def row(source: Pointer, place: Pointer) -> None:
            _turn(b, place, images.pixel, source, plane, images.width, images.channels)

        _rows(b, images, dense, buffer, row)
    return module.globals[name]


def _rows(b: VectorBuilder, images: Images, dense: Pointer, buffer: Pointer, body: Any) -> None:
    """``body(dense row, buffer row)`` for every row of every image; a dense row's channels are a plane apart."""

    def row(n: Any, y: Any) -> None:
        source = dense + n * (images.channels * images.height * images.width) + y * images.width
        body(source, buffer + n * images.image + images.origin + y * images.row)

    b.loop(0, images.batch, 1, lambda n: b.loop(0, images.height, 1, lambda y: row(n, y)))


def _turn(
    b: VectorBuilder, source: Pointer, source_step: int, out: Pointer, out_step: int, rows: int, columns: int
) -> None:
    """Transpose a matrix in squares of vectors: source rows and out rows are a step apart and contiguous."""

    def square(i: Any, j: Any, high: int, wide: int) -> None:
        inside, across = _first(b, wide), _first(b, high)
        corner = source + i * source_step + j
        taken = [corner.load(r * source_step, mask=inside) if r < high else b.number(0.0) for r in range(b.lanes)]
        for c, value in enumerate(transposed(b, taken)[:wide]):
            (out + j * out_step + i).store(value, c * out_step, across)

    def strip(i: Any, high: int) -> None:
        whole = columns - columns % b.lanes
        b.loop(0, whole, b.lanes, lambda j: square(i, j, high, b.lanes))
        if whole < columns:
            square(i, whole, high, columns - whole)

    whole = rows - rows % b.lanes
    b.loop(0, whole, b.lanes, lambda i: strip(i, b.lanes))
    if whole < rows:
        strip(whole, rows - whole)


def _first(b: VectorBuilder, count: int) -> Value | None:
    return b.first(count) if count < b.lanes else None


__all__ = ["emit_from_images", "emit_to_images"]
