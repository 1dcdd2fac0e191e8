"""What a debugger shows at a step, as data and in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...errors import BacklitError
from ..record import Edge, Record, RecordNode
from ..record.checked import FAULTS
from ..record.numbers import Kept
from .timeline import Step

FEW = 8
"""Arrays with up to this many elements are shown whole, others by shape and statistics."""

WIDTH = 110
"""A product that is longer goes over four lines."""


@dataclass(frozen=True)
class State:
    """Where a debugger stands: after ``position`` of ``length`` steps, the last of which was ``step`` (None at the
    start). ``stopped`` names the condition that ended a run. Printing it shows the step's numbers."""

    record: Record
    step: Step | None
    position: int
    length: int
    stopped: str | None = None

    @property
    def phase(self) -> str:
        """``"start"``, ``"forward"`` or ``"backward"``."""
        return "start" if self.step is None else self.step.phase

    @property
    def node(self) -> RecordNode | None:
        """The node of the step."""
        return None if self.step is None else self.step.node

    @property
    def done(self) -> bool:
        """Whether this is the last step."""
        return self.position == self.length

    def lines(self) -> Iterator[tuple[str, str]]:
        """The lines that are printed, each with what it is: ``head``, ``place``, ``value``, ``gradient``, ``note``."""
        count = f"[{self.position}/{self.length}]"
        if self.step is None:
            yield "head", f"{count} at the start; nothing has been computed yet"
            return
        node = self.step.node
        what = node.kind if node.op is None else node.op
        yield "head", clean(f"{count} {self.step.phase} · {node.name} · {what}" + _shape(node))
        yield from _place(node)
        yield from (_forward(node) if self.step.phase == "forward" else _backward(self.record, node))
        if self.stopped is not None:
            yield "note", f"  stopped: {clean(self.stopped)}"

    def __str__(self) -> str:
        return "\n".join(text for _, text in self.lines())


def shown(kept: Kept | None) -> str:
    """An array as it fits on a line: all of it, or its shape with extremes, mean and norm."""
    if kept is None:
        return "(not known)"
    if kept.array is not None and kept.array.size <= FEW:
        text = np.array2string(kept.array, separator=", ", formatter={"float_kind": lambda x: f"{x:.6g}"})
        return " ".join(text.split())
    s = kept.statistics
    shape = "×".join(map(str, kept.shape)) or "scalar"
    spoiled = "".join(f", {n} {word}" for n, word in ((s.nans, "NaN"), (s.infs, "∞")) if n)
    return f"{shape}: {s.min:.4g} … {s.max:.4g}, mean {s.mean:.4g}, norm {s.norm:.4g}{spoiled}"


def clean(text: str) -> str:
    """Text from a record made harmless for a terminal: no control characters."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _shape(node: RecordNode) -> str:
    return f" {'×'.join(map(str, node.shape))}" if node.shape else ""


def _place(node: RecordNode) -> Iterator[tuple[str, str]]:
    parts = [str(node.source)] if node.source else []
    parts += [f"in {node.module}"] if node.module else []
    if parts:
        yield "place", clean(f"  {'  '.join(parts)}")


def _forward(node: RecordNode) -> Iterator[tuple[str, str]]:
    if node.formula:
        yield "place", f"  {node.formula}"
    for edge in node.inputs:
        yield "value", clean(f"  {edge.argument} ← {edge.source.name} = {shown(edge.source.value_kept)}")
    yield "value", clean(f"  {node.name} = {shown(node.value_kept)}")


def _backward(rec: Record, node: RecordNode) -> Iterator[tuple[str, str]]:
    root = rec.roots[0].name
    upstream = f"∂{root}/∂{node.name}"
    terms = node.terms
    if node.seed is not None:
        yield "note", clean(f"  the backward pass starts here with {shown(rec._pass.seeds[node.id])}")  # type: ignore[union-attr]
    if len(terms) > 1:
        for edge in terms:
            yield "gradient", clean(f"  + through {edge.target.name}: {shown(edge.downstream_kept)}")
    if node.upstream_kept is not None:
        yield "gradient", clean(f"  {upstream} = {shown(node.upstream_kept)}")
    if node.grad_before is not None:
        yield "note", f"  .grad held {shown(Kept(node.grad_before))} before"
    for edge in node.inputs:
        if edge.downstream_kept is not None:
            yield from (("gradient", clean(f"  {line}")) for line in _product(root, edge))


def _product(root: str, edge: Edge) -> Iterator[str]:
    """The chain rule at an edge, symbols first and numbers second; on one line where they are short."""
    target, source = edge.target.name, edge.source.name
    symbols = f"to {source}: ∂{root}/∂{target} · ∂{target}/∂{source}"
    upstream = "(upstream)" if edge.target.upstream_kept is None else shown(edge.target.upstream_kept)
    summed = f", summed over axes {', '.join(map(str, edge.summed_axes))}" if edge.summed_axes else ""
    local, downstream = _local(edge), shown(edge.downstream_kept)
    line = f"{symbols} = {upstream} × {local}{summed} = {downstream}"
    if len(line) <= WIDTH:
        yield line
    else:
        yield from (
            symbols,
            f"  upstream    {upstream}",
            f"  × local     {local}{summed}",
            f"  downstream  {downstream}",
        )


def _local(edge: Edge) -> str:
    """The local gradient in few words, or why it is not known."""
    try:
        local = edge.local
        if local.kind in ("scalar", "diagonal") and local.value is not None:
            return shown(Kept(np.asarray(local.value)))
        value = local.value if local.kind == "matrix" and np.prod(local.shape) <= FEW else None
        return shown(Kept(value)) if value is not None else f"[{edge.target.gate or 'Jacobian'}]"
    except (BacklitError, *FAULTS):
        return "(local gradient not known)"
