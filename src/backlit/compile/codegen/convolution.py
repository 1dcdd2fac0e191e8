"""Convolutions and both their gradients as direct tiles over images with channels innermost.

Each ``emit_…`` defines one native function. Weights arrive in the library's order (output channel, input channel, row,
column) and are packed into panels once a step by their own functions, ``packed_size`` elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numpy.typing import DTypeLike

from .convolution_plan import Convolution, Phase, phases
from .correlation import Correlation, Epilogue, Grid, Window, pack_weights
from .gemm_plan import tile_shape
from .images import Images
from .target import Target, host_target
from .values import Pointer
from .vector import VectorBuilder, function


def _strides(spec: Convolution) -> tuple[int, int, int, int]:
    """Of the weights: output channel, input channel, row, column."""
    taps = math.prod(spec.kernel)
    return spec.group_channels[0] * taps, taps, spec.kernel[1], 1


def _panel_elements(spec: Convolution, columns: int, depth: int, target: Target) -> int:
    lanes = target.lanes(spec.dtype)
    panels, _ = tile_shape(columns, lanes, target.registers)
    return sum(p.vectors for p in panels) * lanes * depth


def packed_size(spec: Convolution, target: Target | None = None) -> int:
    """Elements of the weights packed for the forward pass."""
    channels, columns = spec.group_channels
    return spec.groups * _panel_elements(spec, columns, channels * math.prod(spec.kernel), target or host_target())


def packed_back_size(spec: Convolution, target: Target | None = None) -> int:
    """Elements of the weights packed for the gradient to the input."""
    columns, channels = spec.group_channels
    return spec.groups * _panel_elements(spec, columns, channels * math.prod(spec.kernel), target or host_target())


def emit_pack(module: ir.Module, name: str, spec: Convolution, target: Target | None = None) -> ir.Function:
    """Define ``void name(weights, packed)`` for :func:`emit_convolution`."""
    target = target or host_target()
    channels, columns = spec.group_channels
    out_step, in_step, row_step, tap_step = _strides(spec)
    rows = [(spec.kernel[0], 0, row_step), (spec.kernel[1], 0, tap_step), (channels, 0, in_step)]
    size = packed_size(spec, target) // spec.groups
    with function(module, name, [spec.dtype] * 2, target, spec.dtype) as (b, weights, packed):
        panels, _ = tile_shape(columns, b.lanes, target.registers)
        step = columns * out_step

        def group(i: Any) -> None:
            pack_weights(b, weights + i * step, packed + i * size, columns, rows, out_step, panels)

        b.loop(0, spec.groups, 1, group)
    return module.globals[name]


def emit_pack_back(module: ir.Module, name: str, spec: Convolution, target: Target | None = None) -> ir.Function:
    """Define ``void name(weights, packed)`` for :func:`emit_backward_data`: panels phase by phase."""
    target = target or host_target()
    columns, channels = spec.group_channels
    out_step, in_step, row_step, tap_step = _strides(spec)
    with function(module, name, [spec.dtype] * 2, target, spec.dtype) as (b, weights, packed):
        panels, _ = tile_shape(columns, b.lanes, target.registers)
        size = packed_back_size(spec, target) // spec.groups

        def group(i: Any) -> None:
            for phase, begin in _phase_panels(spec, target):
                rows = [
                    (phase.rows.count, phase.rows.start * row_step, phase.rows.stride * row_step),
                    (phase.columns.count, phase.columns.start * tap_step, phase.columns.stride * tap_step),
                    (channels, 0, out_step),
                ]
                place = packed + (i * size + begin)
                pack_weights(b, weights + i * (channels * out_step), place, columns, rows, in_step, panels)

        b.loop(0, spec.groups, 1, group)
    return module.globals[name]


def _phase_panels(spec: Convolution, target: Target) -> list[tuple[Phase, int]]:
    """Each phase with the place of its panels in the packed weights of one group."""
    columns, channels = spec.group_channels
    begin, found = 0, []
    for phase in phases(spec):
        found.append((phase, begin))
        begin += _panel_elements(spec, columns, channels * phase.rows.count * phase.columns.count, target)
    return found


def emit_convolution(
    module: ir.Module,
    name: str,
    spec: Convolution,
    y: Images,
    target: Target | None = None,
    bias: bool = False,
    epilogue: Epilogue | None = None,
    extras: Sequence[DTypeLike] = (),
) -> ir.Function:
    """Define ``void name(x, packed, y, bias, *extras)``; the bias pointer is read only with ``bias``.

    x and y are whole buffers laid out by ``spec.x`` and ``y``; x's margin must be zeros, y's is not touched.
    """
    window, grid = forward_window(spec, y), forward_grid(spec)
    size = packed_size(spec, target) // spec.groups
    channels, columns = spec.group_channels
    corner = spec.x.origin + spec.x.at(-spec.padding[0], -spec.padding[1])
    with function(module, name, [spec.dtype] * 4 + list(extras), target, spec.dtype) as (
        b,
        x,
        packed,
        out,
        start,
        *more,
    ):
        product = Correlation(b, window, grid, columns, epilogue, more, bias)

        def group(n: Any, g: Any) -> None:
            left = x + (n * spec.x.image + g * channels) + corner
            first = start + g * columns if bias else None
            product.emit(left, packed + g * size, out, n * y.image + y.origin + g * columns, g * columns, first)

        b.loop(0, spec.x.batch, 1, lambda n: b.loop(0, spec.groups, 1, lambda g: group(n, g)))
    return module.globals[name]


def forward_window(spec: Convolution, y: Images) -> Window:
    """Every output pixel."""
    height, width = spec.output
    down, across = spec.stride
    return Window(height, width, down * spec.x.row, across * spec.x.pixel, y.row, y.pixel)


def forward_grid(spec: Convolution) -> Grid:
    """Every tap, as x is read."""
    down, across = spec.dilation
    return Grid(*spec.kernel, down * spec.x.row, across * spec.x.pixel, spec.group_channels[0])


def emit_backward_data(
    module: ir.Module,
    name: str,
    spec: Convolution,
    dy: Images,
    dx: Images,
    target: Target | None = None,
    epilogue: Epilogue | None = None,
    extras: Sequence[DTypeLike] = (),
) -> ir.Function:
    """Define ``void name(dy, packed, dx, *extras)``, the gradient to x; weights packed by :func:`emit_pack_back`.

    ``dy`` has ``spec.gradient_margin`` pixels of zeros around it; the margin of dx is not touched.
    """
    target = target or host_target()
    if dy.margin < spec.gradient_margin:
        raise ValueError(f"emit_backward_data: dy has a margin of {dy.margin}; it needs {spec.gradient_margin} pixels")
    with function(module, name, [spec.dtype] * 3 + list(extras), target, spec.dtype) as (b, g, packed, out, *more):
        products = [_phase_product(b, spec, phase, dy, dx, epilogue, more) for phase in phases(spec)]

        size = packed_back_size(spec, target) // spec.groups

        def group(n: Any, i: Any) -> None:
            for product, (phase, begin) in zip(products, _phase_panels(spec, target), strict=True):
                pointers = (g + n * dy.image, packed + (i * size + begin), out)
                _emit_phase(product, spec, phase, pointers, n * dx.image, dy, dx, i)

        b.loop(0, spec.x.batch, 1, lambda n: b.loop(0, spec.groups, 1, lambda i: group(n, i)))
    return module.globals[name]


def _phase_product(
    b: VectorBuilder,
    spec: Convolution,
    phase: Phase,
    dy: Images,
    dx: Images,
    epilogue: Epilogue | None,
    extras: Sequence[Pointer],
) -> Correlation:
    columns, channels = spec.group_channels
    rows, across = phase.pixels
    window = Window(rows.count, across.count, dy.row, dy.pixel, rows.stride * dx.row, across.stride * dx.pixel)
    taps = (phase.rows, phase.columns)
    grid = Grid(taps[0].count, taps[1].count, taps[0].step * dy.row, taps[1].step * dy.pixel, channels)
    return Correlation(b, window, grid, columns, epilogue, extras)


def _emit_phase(
    product: Correlation,
    spec: Convolution,
    phase: Phase,
    pointers: tuple[Pointer, Pointer, Pointer],
    offset: Any,
    dy: Images,
    dx: Images,
    group: Any,
) -> None:
    left, packed, out = pointers
    columns, channels = spec.group_channels
    rows, across = phase.pixels
    source = left + (group * channels + (dy.origin + dy.at(phase.rows.first, phase.columns.first)))
    place = offset + group * columns + (dx.origin + dx.at(rows.start, across.start))
    product.emit(source, packed, out, place, group * columns)


__all__ = [
    "Convolution",
    "Images",
    "emit_backward_data",
    "emit_convolution",
    "emit_pack",
    "emit_pack_back",
    "forward_grid",
    "forward_window",
    "packed_back_size",
    "packed_size",
]
