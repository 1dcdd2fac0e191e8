"""What is written down of a computation while it runs: one :class:`Entry` a value, one :class:`Pass` a reverse walk.

This is the raw material; :mod:`.model` is what people navigate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...source import Mark, Source
from .numbers import Kept


@dataclass(eq=False)
class Entry:
    """A value: a leaf (``op`` None), or the result of an operation applied to the entries numbered ``inputs``, None for
    an input that was left out.

    ``kept`` is None where the value is no longer known. ``held`` gives the tensor of a
    leaf, to find its name; of a constant only as long as the program holds it, for batches would fill the memory.
    ``saved`` names what the backward pass keeps and ``saved_bytes`` how much. ``walk`` is the number of the pass during
    which the operation was applied (gradients of gradients), None for the forward pass. ``weak`` says that a constant
    was a Python number, which does not decide the dtype of a result. ``inside`` marks what the ``forward`` of a user's
    own operation did within. ``source``, ``expression`` and ``module`` are set in records from files and of formulas,
    and follow from ``mark`` and ``scope`` in others. ``span`` is the expression's place in a formula.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: Any
    kept: Kept | None
    requires_grad: bool
    op: Any = None
    params: dict[str, Any] = field(default_factory=dict)
    extra: Any = None
    inputs: tuple[int | None, ...] = ()
    mark: Mark | None = None
    scope: tuple[Any, ...] | None = None
    held: Callable[[], Any] | None = None
    saved: tuple[str, ...] = ()
    saved_bytes: int = 0
    walk: int | None = None
    weak: bool = False
    inside: bool = False
    name: str | None = None
    source: Source | None = None
    expression: str | None = None
    span: tuple[int, int] | None = None

    @property
    def tensor(self) -> Any:
        """A leaf's tensor; None for results, and for constants that are gone."""
        return None if self.held is None else self.held()

    module: str | None = None


@dataclass(eq=False)
class Pass:
    """A reverse walk: ``seeds`` by root, upstream gradients by entry in the order of the walk, downstream contributions
    by (entry, position of the input), and for leaves the sum that arrived and their ``.grad`` before and after."""

    seeds: dict[int, Kept] = field(default_factory=dict)
    upstream: dict[int, Kept] = field(default_factory=dict)
    downstream: dict[tuple[int, int], Kept] = field(default_factory=dict)
    leaves: dict[int, Kept] = field(default_factory=dict)
    before: dict[int, Kept | None] = field(default_factory=dict)
    after: dict[int, Kept | None] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Pass: {len(self.upstream)} operations, {len(self.downstream)} edges, {len(self.leaves)} leaves>"
