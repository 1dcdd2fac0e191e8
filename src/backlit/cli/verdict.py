"""A doctor's findings in the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from ..report.advice import advice_of

_STATES = {"finished": "finished", "failed": "broke off", "unfinished": "running or interrupted"}
_PIPED = 100


def show(record: Any, findings: Any, notes: list[str], console: Console | None = None) -> None:
    """Print the run, each finding with evidence, cause and remedy, and the remarks."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPED)  # files and pipes have no width of their own
    console.print(Text.assemble((str(record.folder), "bold"), f"  {_summary(record)}"), soft_wrap=True)
    if not findings:
        console.print(Text("Nothing is wrong that could be found.", style="green"))
    for i, found in enumerate(findings, 1):
        console.print(_panel(i, found))
    for note in notes:
        console.print(Text(note, style="dim"))


def _summary(record: Any) -> str:
    """The state, how many epochs, and where the losses stand."""
    last = {name: values[-1] for name, values in record.columns.items() if values and name != "lr"}
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
    epochs = len(record.epochs)
    return f"{_STATES[record.state]}, {epochs} epoch{'s' * (epochs != 1)}{f'; {numbers}' if numbers else ''}"


def _panel(number: int, found: Any) -> Panel:
    advice = advice_of(found)
    where = f" · {found.where}" if found.where else ""
    body = Text.assemble(
        f"{advice.evidence}\n", ("Likely cause: ", "dim"), f"{found.cause}\n", ("Try: ", "green"), advice.remedy
    )
    title = Text(f"{number}. {advice.fault}{where} ({found.likelihood:.0%})", style="yellow")
    return Panel(body, box=box.ROUNDED, title=title, title_align="left")
