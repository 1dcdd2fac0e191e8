"""What is known about a NaN or an infinity: which operation made it, from what, where, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ...errors import AnomalyError
from ...source import Source
from .nonfinite import Entries


@dataclass(frozen=True)
class BatchPlace:
    """The batch that training stood at: epoch and number, counted from 1, and the rows concerned, from 0."""

    epoch: int
    batch: int
    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()

    def __str__(self) -> str:
        text = f"epoch {self.epoch}, batch {self.batch}"
        if self.rows:
            text += f", {_numbers('row', self.rows)}"
        if self.columns:
            text += f", {_numbers('column', self.columns)}"
        return text


@dataclass(frozen=True)
class Growth:
    """How training went before: the losses of the last batches, and the norm of all weights at the start and now."""

    losses: tuple[float, ...]
    weights_before: float
    weights_now: float
    learning_rate: float

    @property
    def loss_factor(self) -> float:
        """How many times larger the last loss is than the smallest of those before it."""
        if len(self.losses) < 2:
            return 1.0
        least = min(abs(loss) for loss in self.losses[:-1])
        return abs(self.losses[-1]) / least if least else 1.0

    @property
    def weight_factor(self) -> float:
        """How many times longer the weights are than at the start."""
        comparable = 0.0 < self.weights_before < math.inf
        return self.weights_now / self.weights_before if comparable else 1.0

    @property
    def runaway(self) -> bool:
        """Whether loss or weights grew tenfold, which no training that works does."""
        return not (self.loss_factor < 10.0 and self.weight_factor < 10.0)

    def __str__(self) -> str:
        losses = " → ".join(f"{loss:.4g}" for loss in self.losses[-5:])
        text = f"losses {losses}; " if losses else ""
        return text + (
            f"norm of all weights {self.weights_before:.4g} at the start, {self.weights_now:.4g} now "
            f"(learning rate {self.learning_rate:g})"
        )


@dataclass(frozen=True)
class Anomaly:
    """The first culprit of a NaN or an infinity.

    Attributes:
        phase: ``"forward"``, ``"backward"``, ``"data"`` (it came in with the batch or another given tensor),
            ``"parameter"`` (a weight already held it) or ``"update"`` (the optimizer would have made it).
        operation, formula: what produced it (in the phases data and parameter: what first met it).
        source, module: the user's line, and the path of the module.
        result: the bad entries produced; in the backward phase, of the gradient handed down to ``input``.
        operands: the entries that they were made from.
        upstream: in the backward phase, the upstream gradient at the bad entries.
        cause: a short name, such as ``"log of zero"``.
        diagnosis, fix: what happened, and what to do.
        passed: the operations through which it went on, in order, the first few.
        batch, growth: where training stood, and how it went before; None outside ``fit``.
        head: what the report is about.
    """

    phase: str
    operation: str
    formula: str
    source: Source | None
    module: str
    result: Entries
    operands: tuple[Entries, ...]
    upstream: Entries | None
    cause: str
    diagnosis: str
    fix: str
    passed: tuple[str, ...] = ()
    batch: BatchPlace | None = None
    growth: Growth | None = None
    head: str = "a value is not finite"

    def error(self) -> AnomalyError:
        """The exception that carries this report."""
        return AnomalyError(str(self), self)

    @property
    def brief(self) -> str:
        """The report in one line."""
        module = f" in {self.module}" if self.module else ""
        return f"{self.head}, {_ROLES[self.phase]} {self.operation}{module}: {self.cause}: {self.diagnosis}"

    def lines(self) -> Iterator[tuple[str, str]]:
        """The report as pairs of label and text."""
        yield _ROLES[self.phase], f"{self.operation}  ({self.formula})" if self.formula else self.operation
        if self.source is not None:
            yield "at", str(self.source)
        if self.module:
            yield "in module", self.module
        for operand in self.operands:
            yield "from", str(operand)
        if self.upstream is not None:
            yield "upstream", str(self.upstream)
        yield "result", str(self.result)
        if self.passed:
            yield "then through", " → ".join(self.passed)
        if self.batch is not None:
            yield "batch", str(self.batch)
        if self.growth is not None:
            yield "before", str(self.growth)
        yield "cause", f"{self.cause}: {self.diagnosis}"
        yield "fix", self.fix

    def __str__(self) -> str:
        return "\n".join([f"{self.head}.", *(f"  {label + ':':<14}{text}" for label, text in self.lines())])

    def __rich__(self) -> Any:
        """A panel with the report, for ``rich.print``."""
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in self.lines():
            table.add_row(label, Text(text, style=_STYLES.get(label, "")))
        return Panel(table, title=Text(self.head), title_align="left", border_style="red", expand=False)

    def told(self, **known: Any) -> Anomaly:
        """The same with more known about it."""
        return replace(self, **known)


_ROLES = {
    "forward": "produced by",
    "backward": "gradient of",
    "data": "first met by",
    "parameter": "first met by",
    "update": "update by",
}
_STYLES = {"cause": "bold red", "fix": "green", "at": "cyan"}


def _numbers(word: str, numbers: tuple[int, ...]) -> str:
    return f"{word}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
