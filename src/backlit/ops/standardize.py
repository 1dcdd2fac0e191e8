"""Normalisations: values shifted to mean 0 and scaled to variance 1, over other dimensions for each kind.

One rule serves all of them, because all standardise groups of values. With x̂ = (x − μ) r, r = 1/√(σ² + ε), the
Jacobian of x̂ is symmetric: reverse and forward mode both apply the same projection S,

    S(h) = r (h − mean(h) − x̂ · mean(h x̂)),

which takes out of ``h`` what a shift or a scaling of the group would undo. RMS normalisation does not centre, so its
projection lacks the first mean. (Ioffe & Szegedy 2015, Ba et al. 2016, Wu & He 2018, Zhang & Sennrich 2019.)

Only ``x`` and ``weight`` are saved, with a mean and a scale for each group.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..errors import OperationError
from ..graph import mode, no_grad
from ..source import describe, mark
from .definition import Op, Tensor
from .elementwise import operand

Array = np.ndarray


class Layout(NamedTuple):
    """How an input is grouped: read as ``view``, statistics run over ``axes``, weights are shaped ``affine``."""

    view: tuple[int, ...]
    axes: tuple[int, ...]
    affine: tuple[int, ...]
    centred: bool = True

    @property
    def size(self) -> int:
        """Values in a group."""
        return prod([self.view[a] for a in self.axes])

    @property
    def shared(self) -> tuple[int, ...]:
        """The dimensions over which one weight is shared."""
        return tuple([i for i, n in enumerate(self.affine) if n == 1])


class Standardize(Op):
    """What the normalisations share. The extra, their statistics, serves the array path only."""

    gate = "scales, and takes out of the gradient what shifting or scaling the group would undo"
    has_extra = True

    def forward(x, weight=None, bias=None, *, layout, eps):
        y, mean, scale = standardized(x.reshape(layout.view), layout, eps)
        return affine(y, weight, bias, layout).reshape(x.shape), (mean, scale)

    @classmethod
    def gradient_form(cls, name, ctx):
        centred = ctx.params["layout"].centred
        return standardized_form(name, ctx, "each group of one sample", "mean", centred)

    def vjp(ctx, g, x, weight):
        layout = ctx.params["layout"]
        v = x.reshape(layout.view)
        if isinstance(g, Tensor):
            normal, _, scale = standardized(v, layout, ctx.params["eps"])
        else:
            mean, scale = ctx.extra
            normal = scaled(v, mean, scale)
        return pull_back(ctx, g.reshape(layout.view), normal, scale, weight)

    def jvp(ctx, tangents, x, weight):
        layout = ctx.params["layout"]
        normal, _, scale = standardized(x.reshape(layout.view), layout, ctx.params["eps"])
        return push_forward(ctx, tangents, normal, scale, weight)


def standardized_form(name: str, ctx: Any, group: str, mean: str, centred: bool = True) -> str:
    """What x, weight or bias of a normalisation over ``group`` receives; see the module's description. ``mean`` names
    the mean over a group."""
    if name == "bias":
        return "Σ_shared(g); Σ_shared: over all that share the parameter"
    normal = "x̂ = (x − μ)/s" if centred else "x̂ = x/s"
    means = f"μ: the mean of {group}, " if centred else ""
    deviation = f"s: √(σ² + ε) of {group}" if centred else f"s: √(mean(x²) + ε) of {group}"
    if name == "weight":
        return f"Σ_shared(g ⊙ x̂); {normal}, {means}{deviation}, Σ_shared: over all that share the parameter"
    h = "weight ⊙ g" if len(ctx.shapes) > 1 and ctx.shapes[1] else "g"
    taken = f"h − {mean}(h) − x̂ ⊙ {mean}(h ⊙ x̂)" if centred else f"h − x̂ ⊙ {mean}(h ⊙ x̂)"
    return f"({taken})/s; h = {h}, {normal}, {means}{deviation}, {mean}: over {group}"


# -- on arrays and on tensors ---------------------------------------------------------------------------------------


def standardized(v: Any, layout: Layout, eps: float) -> tuple[Any, Any, Any]:
    """``(x̂, μ, r)``; μ is None for a layout that does not centre."""
    mean = means(v, layout) if layout.centred else None
    if isinstance(v, Tensor):
        centred = v if mean is None else v - mean
        scale = (dots(centred, centred, layout.axes) / layout.size + eps) ** -0.5
        return centred * scale, mean, scale
    centred = v if mean is None else v - mean
    scale = 1.0 / np.sqrt(dots(centred, centred, layout.axes) / layout.size + v.dtype.type(eps))
    return np.multiply(centred, scale, out=None if centred is v else centred), mean, scale


def scaled(v: Any, mean: Any, scale: Any) -> Any:
    """``(v − mean) · scale``; mean may be None."""
    if mean is None:
        return v * scale
    if isinstance(v, Tensor):
        return (v - mean) * scale
    out = v - mean
    out *= scale
    return out


def affine(y: Array, weight: Any, bias: Any, layout: Layout) -> Array:
    """``y · weight + bias``, written into ``y``; weight and bias may be None."""
    if weight is not None:
        y *= weight.reshape(layout.affine)
    if bias is not None:
        y += bias.reshape(layout.affine)
    return y


def pull_back(ctx: Any, g: Any, normal: Any, scale: Any, weight: Any, projected: bool = True) -> list[Any]:
    """Gradients to x, weight and bias, as far as they are wanted. On arrays ``normal`` is used up."""
    layout, edges = ctx.params["layout"], [*ctx.edges[:3], None, None][:3]
    parts: list[Any] = [None, None, None]
    if edges[1] is not None:
        parts[1] = dots(g, normal, layout.shared).reshape(ctx.shapes[1])
    if edges[2] is not None:
        parts[2] = g.sum(axis=layout.shared).reshape(ctx.shapes[2])
    if edges[0] is not None:
        h = g if weight is None else g * weight.reshape(layout.affine)
        dx = project(h, normal, scale, layout) if projected else h * scale
        parts[0] = dx.reshape(ctx.shapes[0])
    return parts[: len(ctx.edges)]


def push_forward(
    ctx: Any, tangents: Sequence[Any], normal: Any, scale: Any, weight: Any, projected: bool = True
) -> Any:
    """The output's tangent from those of x, weight and bias, as far as they are not zero."""
    layout = ctx.params["layout"]
    dx, dw, db = [*tangents[:3], None, None][:3]
    total = None
    if dx is not None:
        t = dx.reshape(layout.view)
        total = project(t, normal, scale, layout) if projected else t * scale
        if weight is not None:
            total = total * weight.reshape(layout.affine)
    for tangent, factor in ((dw, normal), (db, None)):
        if tangent is not None:
            part = tangent.reshape(layout.affine)
            part = part.expand(layout.view) if factor is None else part * factor
            total = part if total is None else total + part
    return None if total is None else total.reshape(ctx.shape)


def project(h: Any, normal: Any, scale: Any, layout: Layout) -> Any:
    """The projection S of the module's description."""
    along = dots(h, normal, layout.axes) / layout.size
    if isinstance(h, Tensor):
        rest = h - means(h, layout) - normal * along if layout.centred else h - normal * along
        return rest * scale
    normal *= along
    out = np.subtract(h, normal, out=normal)
    if layout.centred:
        out -= means(h, layout)
    out *= scale
    return out


def means(v: Any, layout: Layout) -> Any:
    """The mean of each group, reduced dimensions kept as 1."""
    if isinstance(v, Tensor):
        return v.sum(axis=layout.axes, keepdims=True) / layout.size
    return np.add.reduce(v, axis=layout.axes, keepdims=True) / layout.size


def dots(a: Any, b: Any, axes: tuple[int, ...]) -> Any:
    """Σ a b over ``axes``, which are kept as 1; on arrays without making the product."""
    if isinstance(a, Tensor):
        return (a * b).sum(axis=axes, keepdims=True)
    if a.ndim - 1 in axes:
        rest = axes[:-1]
        rows = np.vecdot(a, b)[..., None]
        return np.add.reduce(rows, axis=rest, keepdims=True) if rest else rows
    return np.einsum("ij,ij->j", a, b)[None]


# -- arguments ------------------------------------------------------------------------------------------------------


def given(x: Any, weight: Any, bias: Any) -> tuple[Any, ...]:
    """Without the missing ones at the end."""
    if bias is not None:
        return (x, weight, bias)
    return (x,) if weight is None else (x, weight)


def floating(name: str, x: Any) -> Any:
    x = operand(x)
    if x.dtype.kind != "f":
        raise OperationError(
            f"{name} at {describe(mark())}: the input is {x.dtype.name}; convert it first, as in x.float()."
        )
    return x


def require_channels(name: str, x: Any, **given: Any) -> None:
    for label, value in given.items():
        if value is not None and tuple(value.shape) != tuple(x.shape[1:2]):
            raise OperationError(
                f"{name} at {describe(mark())}: {label} has shape {tuple(value.shape)}, but the input {tuple(x.shape)} "
                f"has {x.shape[1]} channels (dimension 1)."
            )


def move(running: Any, batch: Any, momentum: float) -> None:
    """Move a running statistic in place, as a write that the graph notices."""
    if running is None:
        return
    if mode.tracer is not None and isinstance(running, Tensor):
        with no_grad():  # as operations, so that the write is part of what is compiled
            running.mul_(1.0 - momentum).add_(batch * momentum)
        return
    data = getattr(running, "_data", running)
    data *= 1.0 - momentum
    data += momentum * batch
    if isinstance(running, Tensor):
        running.storage().wrote()
