"""The loss as a surface over two directions in the space of all weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import OperationError
from ...graph import no_grad
from .batches import as_batch, loss_of
from .restore import put, unchanged

Array = NDArray[np.float64]
Weights = list[NDArray[Any]]


@dataclass(frozen=True, repr=False)
class Landscape:
    """What :func:`landscape` found.

    Attributes:
        a, b: (n,) positions along the two directions; the model is at (0, 0).
        losses: (n, n) losses; ``losses[j, i]`` belongs to ``a[i], b[j]``.
        trajectory: (k, 2) positions of the saved states, projected on the plane.
        explained: the share of the trajectory's movement that lies in the plane; NaN without one.
        labels: what the axes are.
    """

    a: Array
    b: Array
    losses: Array
    trajectory: Array = field(default_factory=lambda: np.zeros((0, 2)))
    explained: float = float("nan")
    labels: tuple[str, str] = ("first direction", "second direction")

    def __str__(self) -> str:
        """What can be said of it in words."""
        finite = self.losses[np.isfinite(self.losses)]
        rows, columns = self.losses.shape
        text = f"{columns}×{rows} losses along the {' and the '.join(self.labels)}"
        if finite.size:
            text += f", from {finite.min():.4g} to {finite.max():.4g}"
        if finite.size < self.losses.size:
            text += f", {self.losses.size - finite.size} of them not finite"
        if len(self.trajectory):
            text += (
                f"; a trajectory of {len(self.trajectory)} states, {self.explained:.0%} of its movement in the plane"
            )
        return text

    def __repr__(self) -> str:
        return f"<Landscape: {self}>"

    def plot(self) -> Any:
        """Contours and trajectory as a matplotlib figure."""
        from .plots import surface

        return surface(self.a, self.b, self.losses, self.trajectory, self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain lists."""
        return {
            "a": self.a.tolist(),
            "b": self.b.tolist(),
            "losses": self.losses.tolist(),
            "trajectory": self.trajectory.tolist(),
            "explained": self.explained,
            "labels": list(self.labels),
        }


def landscape(
    model: Any,
    batch: Any,
    loss: Any = "cross_entropy",
    *,
    states: Sequence[Mapping[str, Any]] = (),
    directions: str | None = None,
    size: int = 25,
    span: float = 1.0,
    seed: int = 0,
) -> Landscape:
    """Evaluate the loss on a grid around the model's weights.

    Random directions are normalised filter by filter: each row of a weight (each filter of a convolution) of the
    direction has the norm of the model's own, and biases and norms of one dimension stay where they are. Distances then
    mean the same for networks whose weights are scaled differently. Along ``"pca"`` directions, the two in which the
    saved states moved most, a trajectory can be seen; in random ones it hardly moves.

    Args:
        model: any ``nn.Module``; evaluated in evaluation mode, and left as it is.
        batch: ``(inputs, target)``.
        loss: a name, or a function of (output, target).
        states: ``state_dict()`` copies (tensors or arrays) saved during training, for the trajectory.
        directions: ``"random"`` or ``"pca"`` (default: pca with at least three states).
        size: points a side; the loss is evaluated size² times. An odd number has the model itself on the grid.
        span: how far the grid reaches in random directions; 1 is as far as the weights are large. With pca it
            reaches around the trajectory.
        seed: what random directions are drawn with.

    Source: H. Li et al., "Visualizing the Loss Landscape of Neural Nets", 2018.
    """
    chosen = directions or ("pca" if len(states) >= 3 else "random")
    if chosen not in ("random", "pca") or (chosen == "pca" and len(states) < 2) or size < 3:
        raise OperationError(
            f"landscape: directions={directions!r} with {len(states)} states and size={size}; directions are 'random', "
            "or 'pca' with at least two states, and size is at least 3."
        )
    inputs, target = as_batch(model, batch)
    function = loss_of(loss)
    parameters = [p for _, p in model.named_parameters()]
    centre = [p._data.copy() for p in parameters]
    moves = np.array([_move(model, state, centre) for state in states])
    first, second = _random(centre, seed) if chosen == "random" else _main_directions(moves)
    trajectory, explained = _project(moves, first, second)
    a, b = _reach(trajectory, span, size, chosen)
    losses = np.empty((size, size))
    with unchanged(model), no_grad(), np.errstate(all="ignore"):
        model.eval()
        for j, i in np.ndindex(size, size):
            _place(parameters, centre, a[i] * first + b[j] * second)
            losses[j, i] = float(function(model(*inputs), target))
    labels = ("first direction", "second direction") if chosen == "random" else ("main direction", "second direction")
    return Landscape(a, b, losses, trajectory, explained, labels)


def _move(model: Any, state: Mapping[str, Any], centre: Weights) -> Array:
    """How far a saved state is from the model, as one long vector."""
    parts = []
    for (name, _), here in zip(model.named_parameters(), centre, strict=True):
        if name not in state:
            raise OperationError(f"landscape: a saved state has no entry {name!r}; pass copies of model.state_dict().")
        there = np.asarray(getattr(state[name], "_data", state[name]), np.float64)
        if there.shape != here.shape:
            raise OperationError(f"landscape: {name!r} has shape {there.shape} in a saved state, here {here.shape}.")
        parts.append((there - here).ravel())
    return np.concatenate(parts)


def _random(centre: Weights, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    first, second = (np.concatenate([_filterwise(w, rng).ravel() for w in centre]) for _ in range(2))
    return first, second


def _filterwise(weights: NDArray[Any], rng: np.random.Generator) -> Array:
    """A random direction for one parameter with the norm of each of its filters."""
    if weights.ndim < 2:
        return np.zeros(weights.shape)
    drawn = rng.standard_normal(weights.shape)
    axes = tuple(range(1, weights.ndim))
    norms = np.sqrt((drawn**2).sum(axis=axes, keepdims=True))
    own = np.sqrt((weights.astype(np.float64) ** 2).sum(axis=axes, keepdims=True))
    return np.asarray(drawn / np.maximum(norms, 1e-12) * own)


def _main_directions(moves: Array) -> tuple[Array, Array]:
    """Unit vectors of the two directions in which the states lie apart, the model itself among them."""
    points = np.concatenate([moves, np.zeros((1, moves.shape[1]))])
    _, _, rows = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return rows[0], rows[1]


def _project(moves: Array, first: Array, second: Array) -> tuple[Array, float]:
    if not len(moves):
        return np.zeros((0, 2)), float("nan")
    plane = np.stack([first, second], axis=1)
    places, *_ = np.linalg.lstsq(plane, moves.T, rcond=None)
    whole = float((moves**2).sum())
    inside = float(((plane @ places) ** 2).sum())
    return np.asarray(places.T, np.float64), inside / whole if whole else float("nan")


def _reach(trajectory: Array, span: float, size: int, chosen: str) -> tuple[Array, Array]:
    if chosen == "random":
        grid = np.linspace(-span, span, size)
        return grid, grid.copy()
    points = np.concatenate([trajectory, np.zeros((1, 2))])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.25 * np.maximum(high - low, 0.25 * float((high - low).max()) or 1.0)
    return tuple(np.linspace(low[k] - margin[k], high[k] + margin[k], size) for k in range(2))  # type: ignore[return-value]


def _place(parameters: list[Any], centre: Weights, offset: Array) -> None:
    start = 0
    for parameter, here in zip(parameters, centre, strict=True):
        put(parameter, here + offset[start : start + here.size].reshape(here.shape))
        start += here.size
