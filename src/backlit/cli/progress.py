"""What a run shows in the terminal."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..train import History
from ..train.progress import Bar, Lines, Silent
from .prepare import Prepared
from .settings import Settings


class Screen:
    """Standard output, or, when quiet, only the result on it."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.console = Console(highlight=False)

    def opening(self, settings: Settings, prepared: Prepared, folder: Path) -> None:
        """What is going to happen."""
        if self.quiet:
            return
        widths = " → ".join(map(str, (prepared.inputs, *settings.layers, prepared.outputs)))
        parts = (("training", prepared.train), ("validation", prepared.validation), ("test", prepared.test))
        rows = ", ".join(f"{len(part):,} {name}" for name, part in parts) + " rows"
        self.console.print(Text.assemble((prepared.data.name, "bold"), f"  {rows}"))
        how = f"{widths}, {settings.activation}; {settings.loss}; {settings.optimizer}, lr {settings.lr:g}"
        self.console.print(Text(f"{how}; {folder}{os.sep}", style="dim"))

    def interrupted(self, folder: Path, history: History) -> None:
        """What Ctrl-C left, and how to go on."""
        self.console.print(f"Stopped after {len(history)} epochs; everything is saved. To go on:", markup=False)
        self.console.print(f"  backlit train --resume {shlex.quote(str(folder))}", markup=False, soft_wrap=True)

    def result(self, headline: Mapping[str, str], advice: list[Any], report: Path) -> None:
        """The numbers, the most urgent advice, and where the report is."""
        table = Table.grid(padding=(0, 2))
        for name, value in headline.items():
            table.add_row(Text(name, style="dim"), Text(value, style="bold"))
        self.console.print(table)
        if not self.quiet:
            for found in advice[:2]:
                self.console.print(Text.assemble((found.fault, "yellow"), f": {found.evidence} Try: {found.remedy}"))
        self.console.print(Text(f"report: {report}"), soft_wrap=True)


class _Live(Bar):
    """The bar of :func:`backlit.train.fit`; how to go on is said by the command itself."""

    def say(self, text: str) -> None:
        """Nothing: see :meth:`Screen.interrupted`."""


class _Plain(Lines):
    """A line an epoch, likewise."""

    def say(self, text: str) -> None:
        """Nothing: see :meth:`Screen.interrupted`."""


class _Nothing(Silent):
    """Not a word, likewise."""

    def say(self, text: str) -> None:
        """Nothing: see :meth:`Screen.interrupted`."""

    def note(self, text: str) -> None:
        """Nothing: only the result is to be printed."""


def progress_for(screen: Screen) -> Silent:
    """A live bar on a terminal, lines elsewhere, nothing when quiet."""
    if screen.quiet:
        return _Nothing()
    return _Live() if screen.console.is_terminal else _Plain()
