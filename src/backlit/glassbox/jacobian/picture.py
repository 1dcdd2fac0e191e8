"""A Jacobian as a picture: each entry a square, red for negative, blue for positive, white for zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_CELL = 12
_SHADES = " ░▒▓█"


def svg(matrix: Array, title: str) -> str:
    """A picture as SVG, without scripts or references.

    Args:
        matrix: two-dimensional; NaN and infinities are grey.
        title: shown as the picture's description.
    """
    rows, columns = matrix.shape
    strength = _strength(matrix)
    cells = []
    for i, j in np.argwhere(~(matrix == 0)):
        x, y = int(j) * _CELL, int(i) * _CELL
        fill = _colour(float(matrix[i, j]), float(strength[i, j]))
        cells.append(f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" fill="{fill}"/>')
    width, height = columns * _CELL, rows * _CELL
    frame = f'<rect width="{width}" height="{height}" fill="#ffffff" stroke="#888888"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {width + 2} {height + 2}" width="{width + 2}" '
        f'height="{height + 2}" role="img"><title>{_escaped(title)}</title>{frame}{"".join(cells)}</svg>'
    )


def text(matrix: Array) -> str:
    """A picture in characters: the darker, the larger; ``−`` before what is negative."""
    strength = _strength(matrix)
    lines = []
    for row, shades in zip(matrix, strength, strict=True):
        marks = [_SHADES[int(np.ceil(s * (len(_SHADES) - 1)))] if np.isfinite(s) else "?" for s in shades]
        lines.append("".join(f"{'−' if v < 0 else ' '}{mark}" for v, mark in zip(row, marks, strict=True)))
    return "\n".join(lines)


def _strength(matrix: Array) -> Array:
    """Sizes between 0 and 1, by square root, so that small entries show."""
    size = np.abs(np.asarray(matrix, np.float64))
    largest = np.max(size[np.isfinite(size)], initial=0)
    return np.sqrt(size / largest) if largest else size * 0


def _colour(value: float, strength: float) -> str:
    if not np.isfinite(value):
        return "#999999"
    pale = round(255 * (1 - strength))
    return f"#ff{pale:02x}{pale:02x}" if value < 0 else f"#{pale:02x}{pale:02x}ff"


def _escaped(title: str) -> str:
    return title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
