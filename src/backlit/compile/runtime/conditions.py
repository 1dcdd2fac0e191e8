"""What must be as it was when a function was traced, looked at when its program is called.

Loops over what to look at and what was there do it, in half the time that ``map`` takes with functions of ``operator``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from ...tensor import Tensor
from ..errors import Misfit
from ..trace.capture import Capture
from ..trace.guards import Cell, Lacks, Names, Order, Size
from ..trace.sources import ByReference, Source


class Conditions:
    """The conditions of one program, by kind: what closure cells hold, how long containers are, what modules' members
    are called, what entries of mappings hold, and which tensors require gradients or have one."""

    def __init__(self, capture: Capture, references: list[Tensor]) -> None:
        guards = capture.guards
        self.guards = guards
        self.references = references
        self.seen: list[Any] = [None] * len(references)
        """The references' arrays at the last call."""
        self.cells = [(g.holder.cell, g.expected) for g in guards if isinstance(g.holder, Cell)]
        self.sizes = [(g.holder.container, g.expected) for g in guards if isinstance(g.holder, Size)]
        self.orders = [(g.holder.mapping, g.holder.keys) for g in guards if isinstance(g.holder, Order)]
        self.lacking = [[g.holder.mapping, -1, g.holder.names] for g in guards if isinstance(g.holder, Lacks)]
        self.names = [g for g in guards if isinstance(g.holder, Names)]
        self.changes = self.names[0].holder.changes if self.names else SimpleNamespace(count=0)
        self.changed = [-1]
        """How often members had been added or removed when their names were last compared."""
        apart = (Cell, Size, Order, Lacks, Names)
        self.entries = [(g.holder, g.key, g.expected) for g in guards if not isinstance(g.holder, apart)]
        self.requiring = [
            (source.tensor, flag)
            for source, flag in zip(capture.sources, capture.requiring, strict=True)
            if isinstance(source, ByReference) and source.counted
        ]
        self.gradient_free, self.moving_gradient_free = _fixed_first(capture.gradient_free)
        self.shared = capture.shared

    def check(self, arguments: Sequence[Tensor]) -> None:
        """Look at everything, whatever the last call saw.

        Raises:
            Misfit: a condition does not hold.
        """
        for container, size in self.sizes:
            if len(container) != size:
                raise Misfit
        for mapping, keys in self.orders:
            if [*mapping] != keys:
                raise Misfit
        for held in self.lacking:
            if len(held[0]) != held[1]:
                self._look_for(held)
        if self.changes.count != self.changed[0]:
            self._compare_names()
        if not self._same_entries() and not all(guard.holds() for guard in self.guards):
            raise Misfit
        for tensor, flag in self.requiring:
            if tensor._requires_grad is not flag or tensor._hooks:
                raise Misfit
        for shared in self.shared:
            if not shared.holds(arguments):
                raise Misfit
        for leaf in self.gradient_free:
            if leaf._grad is not None:
                raise Misfit
        for source in self.moving_gradient_free:
            if source.now(arguments)._grad is not None:
                raise Misfit

    def _look_for(self, held: list[Any]) -> None:
        """A mapping has more or fewer entries: that matters only if one is there that was missing."""
        mapping, _, names = held
        if not names.isdisjoint(mapping.keys()):
            raise Misfit
        held[1] = len(mapping)

    def _compare_names(self) -> None:
        """Members were added or removed somewhere: look whether it was here."""
        now = self.changes.count
        if not all(guard.holds() for guard in self.names):
            raise Misfit
        self.changed[0] = now

    def _same_entries(self) -> bool:
        """Whether variables and entries hold the very objects that they held; equal numbers will do as well."""
        try:
            for cell, held in self.cells:
                if cell.cell_contents is not held:
                    return False
            for holder, key, held in self.entries:
                if holder[key] is not held:
                    return False
        except (KeyError, IndexError, ValueError):
            raise Misfit from None
        return True


def _fixed_first(sources: list[Source]) -> tuple[list[Tensor], list[Source]]:
    """The tensors that are always the same, and the sources of the others."""
    fixed = [source.tensor for source in sources if isinstance(source, ByReference)]
    return fixed, [source for source in sources if not isinstance(source, ByReference)]
