"""What ``why`` answers: the cause, the line, the path from the loss, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ...graph import Node
from ...source import Mark, Source, resolve

SHOWN = 16
"""How many links of a path are printed; the middle of a longer one is left out."""


@dataclass(frozen=True)
class Link:
    """One step of the path from the loss back to the tensor.

    Attributes:
        op: the operation, or what ended the path there (``"detach"``).
        source, module, shape: the user's line, the path of the module, and the shape of the result.
        factor: length of the gradient handed on over the length of the one that arrived (L2 norms); None where
            unknown.
        note: what is special here; may be empty.
    """

    op: str
    source: Source | None
    module: str = ""
    shape: tuple[int, ...] = ()
    factor: float | None = None
    note: str = ""

    def __str__(self) -> str:
        factor = "" if self.factor is None else f" × {self.factor:.3g}"
        module = f" in {self.module}" if self.module else ""
        place = f"  {self.source}" if self.source else ""
        note = f"  ({self.note})" if self.note else ""
        return f"{self.op}{factor}{module}{note}{place}"


@dataclass(frozen=True, repr=False)
class Verdict:
    """Why a gradient is what it is; prints as a short text.

    Attributes:
        name: what the tensor is called in the program.
        gradient: what the gradient is: ``None``, ``zero``, ``tiny``, ``huge``, ``not finite``, or its size.
        cause: a short stable name, such as ``"detach"``; see docs/why.md for all of them.
        sentence: what happened.
        source: the user's line that did it: file, line, function and text; None where no line did.
        path: the way from the loss back to the tensor, or to where it ends.
        remedy: what to do.
        evidence: the facts behind it, one sentence each.
        others: other candidates, one sentence each.
    """

    name: str
    gradient: str
    cause: str
    sentence: str
    remedy: str
    source: Source | None = None
    path: tuple[Link, ...] = ()
    evidence: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def told(self, **known: Any) -> Verdict:
        """The same with more known about it."""
        return replace(self, **known)

    def also(self, *evidence: str) -> Verdict:
        """The same with more evidence; empty sentences are left out."""
        return replace(self, evidence=(*self.evidence, *filter(None, evidence)))

    def to_dict(self) -> dict[str, Any]:
        """Everything as dictionaries, lists, numbers and texts that JSON can hold."""
        return {
            "name": self.name,
            "gradient": self.gradient,
            "cause": self.cause,
            "sentence": self.sentence,
            "remedy": self.remedy,
            "source": _place(self.source),
            "path": [
                {
                    "op": link.op,
                    "source": _place(link.source),
                    "module": link.module,
                    "shape": list(link.shape),
                    "factor": _number(link.factor),
                    "note": link.note,
                }
                for link in self.path
            ],
            "evidence": list(self.evidence),
            "others": list(self.others),
        }

    def lines(self) -> Iterator[tuple[str, str]]:
        """The text as pairs of label and content."""
        if self.source is not None:
            yield "at", str(self.source)
        yield "because", self.sentence
        for i, link in enumerate(shortened(self.path)):
            yield "" if i else "path", str(link) if isinstance(link, Link) else link
        for sentence in self.evidence:
            yield "evidence", sentence
        yield "fix", self.remedy
        for sentence in self.others:
            yield "or else", sentence

    @property
    def head(self) -> str:
        """The question and the name of the cause."""
        return f"The gradient of {self.name} is {self.gradient}: {self.cause.replace('_', ' ')}."

    def __str__(self) -> str:
        body = [f"  {label + ':' if label else '':<11}{text}" for label, text in self.lines()]
        return "\n".join([self.head, *body])

    __repr__ = __str__

    def __rich__(self) -> Any:
        """A panel with the text, for ``rich.print``."""
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in self.lines():
            table.add_row(label, Text(text, style=_STYLES.get(label, "")))
        return Panel(table, title=Text(self.head), title_align="left", border_style="yellow", expand=False)


_STYLES = {"because": "bold", "fix": "green", "at": "cyan"}


def shortened(path: tuple[Link, ...]) -> list[Link | str]:
    """The links of a path, with the middle of a long one counted."""
    if len(path) <= SHOWN:
        return list(path)
    half = SHOWN // 2
    between = path[half:-half]
    known = [link.factor for link in between if link.factor is not None]
    product = f", together × {math.prod(known):.3g}" if known else ""
    return [*path[:half], f"… {len(between)} more{product} …", *path[-half:]]


def link_of(node: Node, factor: float | None = None, note: str = "") -> Link:
    """The link of a node."""
    return Link(node.name, node.source, node.module, node.shape, factor, note)


def line_of(mark: Mark | None) -> str:
    """A line for the middle of a sentence, or a phrase that says that it is not known."""
    source = resolve(mark)
    return f"{source}" if source else "a line that is not known"


def _place(source: Source | None) -> dict[str, Any] | None:
    return None if source is None else dict(source._asdict())


def _number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)
