"""The compiler's leaf kernels beside the best known of their kind, taking turns on one core.

Products against OpenBLAS (through NumPy), elementary functions against NumPy, convolutions and attention against
PyTorch; these last need the `peers` extra.

Run it: python benchmarks/kernels.py [products] [functions] [convolutions] [attention]
"""

from __future__ import annotations

from harness import interleaved, one_thread

one_thread()

import ctypes
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from rich.console import Console
from rich.table import Table

import backlit as bl
from backlit.compile.codegen import attention, convolution, gemm, routed_convolution
from backlit.compile.codegen.backward_weights import emit_backward_weights, workspace_size_weights
from backlit.compile.codegen.engine import load
from backlit.compile.codegen.images import Images
from backlit.compile.codegen.mathfun import ScalarFunctions
from backlit.compile.codegen.pooled_convolution import emit_pooled_convolution, pooled_images, winner_bytes
from backlit.compile.codegen.vector import function

PRODUCTS = {  # rows, columns, depth, which operands lie transposed
    "784-256, batch 32: forward": (32, 256, 784, "b"),
    "784-256, batch 32: dX": (32, 784, 256, ""),
    "784-256, batch 32: dW": (256, 784, 32, "a"),
    "256-10, batch 32: forward": (32, 10, 256, "b"),
    "784-256, batch 256: forward": (256, 256, 784, "b"),
    "784-256, batch 256: dW": (256, 784, 256, "a"),
    "784-256, batch 1024: forward": (1024, 256, 784, "b"),
    "784-256, batch 1024: dW": (256, 784, 1024, "a"),
    "256-10, batch 1024: forward": (1024, 10, 256, "b"),
    "1024-1024, batch 128: forward": (128, 1024, 1024, "b"),
    "1024-1024, batch 128: dX": (128, 1024, 1024, ""),
    "1024-1024, batch 128: dW": (1024, 1024, 128, "a"),
    "GPT: up": (768, 512, 128, "b"),
    "GPT: down": (768, 128, 512, "b"),
    "GPT: up, dW": (512, 128, 768, "a"),
    "GPT: head": (768, 65, 128, "b"),
}
CONVOLUTIONS = {  # channels in, size, channels out; batch 64, 3×3 kernels, ReLU and pooling by 2
    "1 → 16, 28×28": (1, 28, 16),
    "16 → 32, 14×14": (16, 14, 32),
    "3 → 32, 32×32": (3, 32, 32),
    "32 → 64, 16×16": (32, 16, 64),
}
FUNCTIONS = ("exp", "log", "tanh", "log1p", "expm1", "sin", "erf")
ELEMENTS = 1 << 16


class Pair(NamedTuple):
    """A kernel and its peer: what they are called, the arithmetic of one call, and the calls."""

    name: str
    peer: str
    flops: float
    own: Callable[[], object]
    other: Callable[[], object]


def aligned(size: int, dtype: Any = np.float32) -> np.ndarray:
    """Random numbers that begin at a cache line."""
    space = np.random.default_rng(0).standard_normal(size + 16).astype(dtype)
    start = -space.ctypes.data % 64 // space.itemsize
    return space[start : start + size]


def native(
    emit: Callable[..., object], *arguments: Any, arrays: list[np.ndarray], **options: Any
) -> Callable[[], object]:
    """A kernel compiled and bound to its arrays."""
    module = ir.Module()
    emit(module, "kernel", *arguments, **options)
    code = load(module, ["kernel"])
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays))(code["kernel"])
    addresses = [a.ctypes.data for a in arrays]

    def run(code: object = code, arrays: object = arrays) -> None:
        call(*addresses)

    return run


def products() -> Iterator[Pair]:
    for name, (m, n, k, transposed) in PRODUCTS.items():
        spec = gemm.Gemm.of(m, n, k, transpose_a="a" in transposed, transpose_b="b" in transposed)
        a, b, c = aligned(m * k), aligned(k * n), aligned(m * n)
        left = a.reshape(k, m).T if "a" in transposed else a.reshape(m, k)
        right = b.reshape(n, k).T if "b" in transposed else b.reshape(k, n)
        out = np.empty((m, n), np.float32)
        own = native(gemm.emit_gemm, spec, arrays=[a, b, c, aligned(gemm.workspace_size(spec))])
        yield Pair(name, "OpenBLAS", spec.flops, own, lambda x=left, y=right, out=out: np.matmul(x, y, out=out))


def functions() -> Iterator[Pair]:
    from scipy import special

    for name in FUNCTIONS:

        def emit(module: ir.Module, kernel: str, name: str = name) -> None:
            with function(module, kernel, [np.float32] * 2) as (b, x, y):
                compute = getattr(ScalarFunctions(b), name)
                b.sweep(ELEMENTS, lambda i, mask: y.store(compute(x.load(i, mask=mask)), i, mask), unroll=2)

        x, y = np.abs(aligned(ELEMENTS)) + np.float32(0.01), aligned(ELEMENTS)
        peer = special.erf if name == "erf" else getattr(np, name)
        yield Pair(
            f"{name}, {ELEMENTS} floats", "SciPy" if name == "erf" else "NumPy", 0, native(emit, arrays=[x, y]),
            lambda f=peer, x=x, y=y: f(x, out=y),
        )  # fmt: skip


def convolutions() -> Iterator[Pair]:
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for name, (channels, size, out_channels) in CONVOLUTIONS.items():
        images = Images.of(64, size, size, channels, 1)
        spec = convolution.Convolution(images, out_channels, (3, 3), padding=(1, 1))
        y_images, pooled = spec.y(), pooled_images(spec, (2, 2), 1)
        x, w = torch.randn(64, channels, size, size), torch.randn(out_channels, channels, 3, 3)
        bias, g = torch.randn(out_channels), torch.randn(64, out_channels, size, size)
        packed, back = aligned(convolution.packed_size(spec)), aligned(convolution.packed_back_size(spec))
        x_own, y_own, dx_own = aligned(images.size), aligned(y_images.size), aligned(images.size)
        winners, b_own = np.empty(winner_bytes(pooled).size, np.uint8), aligned(out_channels)

        def forward(x: Any = x, w: Any = w, bias: Any = bias) -> object:
            return torch.nn.functional.max_pool2d(torch.relu(torch.conv2d(x, w, bias, padding=1)), 2)

        def gradient(data: bool, x: Any = x, w: Any = w, g: Any = g) -> Callable[[], object]:
            wanted = [data, not data, False]
            return lambda: torch.ops.aten.convolution_backward(
                g, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted
            )

        arrays = [x_own, packed, aligned(pooled.size), b_own, winners]
        own = native(emit_pooled_convolution, spec, (2, 2), pooled, arrays=arrays)
        yield Pair(f"{name}: forward, ReLU, pool", "PyTorch", spec.flops, own, forward)
        if channels > 3:
            own = native(convolution.emit_backward_data, spec, y_images, images, arrays=[y_own, back, dx_own])
            yield Pair(f"{name}: dX", "PyTorch", spec.flops, own, gradient(True))
        if routed_convolution.supports(spec):
            yield from routed(name, spec, gradient)
        arrays = [x_own, y_own, aligned(w.numel()), aligned(workspace_size_weights(spec))]
        own = native(emit_backward_weights, spec, y_images, arrays=arrays)
        yield Pair(f"{name}: dW", "PyTorch", spec.flops, own, gradient(False))


def routed(
    name: str, spec: convolution.Convolution, gradient: Callable[[bool], Callable[[], object]]
) -> Iterator[Pair]:
    """Both gradients behind ReLU and pooling, beside PyTorch's, which multiplies the zeros too."""
    pooled = pooled_images(spec, (2, 2), 1)
    entries, windows = winner_bytes(pooled).size, pooled.height * pooled.width
    inside = np.random.default_rng(0).integers(0, 2, (2, pooled.batch, pooled.height, pooled.width, spec.out_channels))
    corner = (
        2 * np.arange(pooled.height)[:, None, None] * spec.x.row + 2 * np.arange(pooled.width)[:, None] * spec.x.pixel
    )
    places = (corner + inside[0] * spec.x.row + inside[1] * spec.x.pixel).astype(np.int32).reshape(-1)
    patches, flops = aligned(routed_convolution.patch_size(spec)), spec.flops / 4
    arrays = [aligned(entries), places, patches, aligned(spec.x.size)]
    own = native(routed_convolution.emit_routed_data, spec, windows, spec.x, arrays=arrays)
    yield Pair(f"{name}: dX, routed", "PyTorch", flops, own, gradient(True))
    arrays = [aligned(spec.x.size), aligned(entries), places, aligned(patches.size), patches]
    own = native(routed_convolution.emit_routed_weights, spec, windows, arrays=arrays)
    yield Pair(f"{name}: dW, routed", "PyTorch", flops, own, gradient(False))


def attentions() -> Iterator[Pair]:
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    for batch, heads, length, width in ((12, 4, 64, 32), (2, 4, 256, 64)):
        spec = attention.Attention.packed(batch, heads, length, width)
        rows, columns = batch * length, heads * width
        joint, out, g = aligned(rows * 3 * columns), aligned(rows * columns), aligned(rows * columns)
        gradient = aligned(rows * 3 * columns)
        kept = aligned(batch * heads * length * attention.probability_columns(spec))
        workspace = aligned(attention.workspace_size(spec))
        sides, into = ([m[i * columns :] for i in range(3)] for m in (joint, gradient))
        whole = torch.tensor(joint.reshape(rows, 3 * columns), requires_grad=True)
        q, k, v = (p.reshape(batch, length, heads, width).transpose(1, 2) for p in whole.split(columns, 1))
        result = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        upstream, name = torch.randn_like(result), f"causal, {batch}×{heads} heads, {length}×{width}"

        def forward(q: Any = q, k: Any = k, v: Any = v) -> object:
            with torch.no_grad():
                return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

        def backward(result: Any = result, whole: Any = whole, upstream: Any = upstream) -> object:
            return torch.autograd.grad(result, whole, upstream, retain_graph=True)

        own = native(attention.emit_attention, spec, arrays=[*sides, out, kept, workspace])
        yield Pair(f"{name}: forward", "PyTorch", spec.flops, own, forward)
        own = native(attention.emit_attention_backward, spec, arrays=[*sides, kept, g, *into, workspace])
        yield Pair(f"{name}: backward", "PyTorch", 2 * spec.flops, own, backward)


SECTIONS = {
    "products": products,
    "functions": functions,
    "convolutions": convolutions,
    "attention": attentions,
}


def main() -> None:
    bl.set_num_threads(1)
    for title in sys.argv[1:] or SECTIONS:
        table = Table("kernel", "µs", "GFLOP/s", "peer", "µs", "own / peer, 10th pct", title=title)
        for pair in SECTIONS[title]():
            times = interleaved({"own": pair.own, "peer": pair.other}, rounds=40, inner=3)
            own, peer = (float(np.percentile(times[side], 10)) for side in ("own", "peer"))
            rate = f"{pair.flops / own * 1e-9:.0f}" if pair.flops else ""
            table.add_row(pair.name, f"{own * 1e6:.0f}", rate, pair.peer, f"{peer * 1e6:.0f}", f"{own / peer:.2f}")
        Console().print(table)


if __name__ == "__main__":
    main()
