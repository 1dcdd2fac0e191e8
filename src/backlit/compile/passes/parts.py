"""Parts of what is put together of parts: looked at where they are, and put together once.

A loop that fills a tensor row by row gives one ``cat`` a row, each of the rows so far, the new one, and the rest of
what was there before. After these rules the last of them takes all rows as they are, and nobody needs the others; a row
that is read is the row that was written.
"""

from __future__ import annotations

from ..ir.build import Builder
from ..ir.program import Instruction, Value
from .known import Known

Sizes = tuple[int, ...]


def part_of_parts(i: Instruction, known: Known, builder: Builder) -> Value | None:
    """A slice that lies inside one part of a ``cat``, or is one of another slice, or of a stretched value."""
    (x,) = i.operands
    source, starts, steps = _source(x, i.params["starts"], i.params["steps"], i.result.shape, known)
    maker = known.makers.get(source)
    if maker is not None and maker.opcode == "expand" and not maker.operands[0].shape:
        return builder.expand(maker.operands[0], i.result.shape)
    if source is x:
        return None
    return _whole(source, starts, steps, i.result.shape) or builder.slice(source, starts, steps, i.result.shape)


def joined_once(i: Instruction, known: Known, builder: Builder) -> Value | None:
    """A ``cat`` along the same dimension among the parts of another, or a run of its parts, is taken apart."""
    dim = i.params["dim"]
    parts = [part for x in i.operands for part in _parts(x, dim, known, builder)]
    parts = _neighbours_together(parts, dim, known, builder)
    if tuple(parts) == i.operands:
        return None
    return parts[0] if len(parts) == 1 else builder.emit("cat", parts, i.result.shape, i.result.dtype, dim=dim)


def _neighbours_together(parts: list[Value], dim: int, known: Known, builder: Builder) -> list[Value]:
    """Runs of one value that follow each other as they do in it, as one run or all of it."""
    runs: list[tuple[Value, int, int, Value | None]] = []
    for part in parts:
        whole, begin, end = _run_of(part, dim, known)
        if runs and runs[-1][0] is whole and runs[-1][2] == begin:
            runs[-1] = (whole, runs[-1][1], end, None)
        else:
            runs.append((whole, begin, end, part))
    return [_run(x, dim, a, b - a, known, builder) if part is None else part for x, a, b, part in runs]


def _run_of(part: Value, dim: int, known: Known) -> tuple[Value, int, int]:
    """The value that a part is a run of, and from where to where."""
    maker = known.makers.get(part)
    if maker is None or maker.opcode != "slice" or not _is_run(maker, dim):
        return part, 0, part.shape[dim]
    begin = maker.params["starts"][dim]
    return maker.operands[0], begin, begin + part.shape[dim]


def _source(x: Value, starts: Sizes, steps: Sizes, shape: Sizes, known: Known) -> tuple[Value, Sizes, Sizes]:
    """The innermost value that has all of a slice, and where in it that is."""
    while (maker := known.makers.get(x)) is not None:
        if maker.opcode == "slice":
            outer, widths = maker.params["starts"], maker.params["steps"]
            starts = tuple(a + w * s for a, w, s in zip(outer, widths, starts, strict=True))
            steps = tuple(w * s for w, s in zip(widths, steps, strict=True))
            (x,) = maker.operands
        elif maker.opcode == "cat":
            dim = maker.params["dim"]
            first, last = sorted((starts[dim], starts[dim] + steps[dim] * (shape[dim] - 1)))
            inside = [(p, begin) for p, begin in _begins(maker) if begin <= first and last < begin + p.shape[dim]]
            if not inside or 0 in shape:
                break
            (x, begin) = inside[0]
            starts = (*starts[:dim], starts[dim] - begin, *starts[dim + 1 :])
        else:
            break
    return x, starts, steps


def _begins(cat: Instruction) -> list[tuple[Value, int]]:
    """The parts of a ``cat`` and where they begin."""
    found, begin = [], 0
    for part in cat.operands:
        found.append((part, begin))
        begin += part.shape[cat.params["dim"]]
    return found


def _whole(x: Value, starts: Sizes, steps: Sizes, shape: Sizes) -> Value | None:
    """``x`` itself where a slice takes all of it as it lies."""
    straight = all(step == 1 or n == 1 for step, n in zip(steps, shape, strict=True))
    return x if straight and shape == x.shape and not any(starts) else None


def _parts(x: Value, dim: int, known: Known, builder: Builder) -> list[Value]:
    """The parts that ``x`` consists of along a dimension."""
    maker = known.makers.get(x)
    if maker is not None and maker.opcode == "cat" and maker.params["dim"] == dim:
        return list(maker.operands)
    if maker is None or maker.opcode != "slice":
        return [x]
    (inner,) = maker.operands
    cat = known.makers.get(inner)
    if cat is None or cat.opcode != "cat" or cat.params["dim"] != dim or not _is_run(maker, dim):
        return [x]
    start, found = maker.params["starts"][dim], []
    stop = start + x.shape[dim]
    for part, begin in _begins(cat):
        first, last = max(start, begin), min(stop, begin + part.shape[dim])
        if first < last:
            found.append(_run(part, dim, first - begin, last - first, known, builder))
    return found


def _is_run(cut: Instruction, dim: int) -> bool:
    """Whether a slice takes neighbours of one dimension, and all of the others."""
    (x,) = cut.operands
    ranges = zip(cut.params["starts"], cut.params["steps"], cut.result.shape, x.shape, strict=True)
    return all((a, s) == (0, 1) and n == m if d != dim else s == 1 for d, (a, s, n, m) in enumerate(ranges))


def _run(part: Value, dim: int, start: int, count: int, known: Known, builder: Builder) -> Value:
    if count == part.shape[dim]:
        return part
    shape = (*part.shape[:dim], count, *part.shape[dim + 1 :])
    starts = tuple(start if d == dim else 0 for d in range(part.ndim))
    source, starts, steps = _source(part, starts, (1,) * part.ndim, shape, known)
    return _whole(source, starts, steps, shape) or builder.slice(source, starts, steps, shape)


__all__ = ["joined_once", "part_of_parts"]
