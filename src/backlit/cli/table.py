"""A record as tables in the terminal: every step with its value, and what the backward pass did there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..errors import RecordError
from ..glassbox import Record, RecordNode, notes
from ..glassbox.record import Edge, Local

_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "matmul": "@"}
_TITLE = "Steps: values forward ↓, gradients back ↑"
_PIPED = 110
_NARROW = 80
_SHOWN = 16
"""Arrays with more elements are described by their shape."""
_SHOWN_IN_STEPS = 9
"""Matrices in the table of steps, whose columns are narrow."""
_LABEL = 24
"""Longer names give way to what the operation calls its input."""
MOST_STEPS = 40
"""Of longer records the first and the last steps are shown."""


def show(rec: Record, console: Console | None = None, about: Sequence[str] = (), only: Sequence[str] = ()) -> None:
    """Print the steps, the gradients of the leaves, and what is worth knowing about them.

    Args:
        rec: the record; its last root is the result.
        console: where to print.
        about: sentences about how the record came to be, printed with the notes.
        only: the leaves whose gradients are shown; all of them where it is left out.
    """
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPED)  # files and pipes have no width of their own
    result = rec.roots[-1] if rec.roots else rec.nodes[-1]
    steps = [node for node in rec.operations if node.phase == "forward" or node.upstream_kept is not None]
    leaves = [node for node in rec.leaves if node.requires_grad and (not only or node.name in only)]
    _show_values(rec, result, console)
    if steps:
        table = _steps(steps)
        console.print(table if _fits(table, console) else _listed(steps))
    if leaves:
        console.print(_gradients(leaves, result))
    for note in (*about, *notes(rec)):
        console.print(Text(f"Note: {note}", style="yellow"))
    if steps:
        console.print(_legend(steps))


def _show_values(rec: Record, result: RecordNode, console: Console) -> None:
    """The result and the values it was computed from."""
    console.print(Text(rec.title, style="bold"), Text("="), Text(number(result.value)))
    for node in (node for node in rec.leaves if _is_given(node)):
        rows = number(node.value).replace("\n", "\n" + " " * (len(node.name) + 5))
        console.print(Text(f"  {node.name} = {rows}", style="dim"))
    if result.shape and result.requires_grad:
        shape = "×".join(map(str, result.shape))
        console.print(Text(f"The result has shape {shape}; its elements are summed for the backward pass.", "yellow"))


def _fits(table: Table, console: Console) -> bool:
    """Whether the columns keep a readable width: a narrow terminal would break numbers in the middle."""
    return console.width >= _NARROW or Measurement.get(console, console.options, table).maximum < console.width


def number(value: Any, matrix: int = _SHOWN) -> str:
    """A number with six digits, arrays row by row with four, those with too many elements by their shape and range."""
    if value is None:
        return "—"
    array = np.asarray(value)
    if array.size > (_SHOWN if array.ndim < 2 else matrix):
        low, high = (_digits(float(end), 4) for end in (array.min(), array.max()))
        return f"{'×'.join(map(str, array.shape))} values from {low} to {high}"
    if array.ndim == 0:
        return _digits(float(array), 6)
    if array.ndim == 1:
        return "[" + ", ".join(_digits(float(item), 4) for item in array) + "]"
    return "[" + ",\n ".join(number(item).replace("\n", "\n ") for item in array) + "]"


def brief(value: Any) -> str:
    """As :func:`number`, for narrow columns."""
    return number(value, _SHOWN_IN_STEPS).partition(" from ")[0]


def _digits(x: float, count: int) -> str:
    if math.isnan(x):
        return "not a number"
    if math.isinf(x):
        return "∞" if x > 0 else "-∞"
    return f"{x + 0.0:.{count}g}"


def _is_given(node: RecordNode) -> bool:
    """Whether a leaf has a name of the user's, and is not a number or list written out in the formula."""
    return all(part.isidentifier() or part.isdigit() for part in node.name.split(".")) and not node.name.isdigit()


def label(edge: Edge) -> str:
    """An input of an operation: the name of what it is, the number that it is, or its role where the name is long."""
    node = edge.source
    if node.kind == "constant" and node.shape == () and not _is_given(node):
        return number(node.value)
    return node.name if len(node.name) <= _LABEL else edge.argument


# -- the steps --------------------------------------------------------------------------------------------------------


def _steps(steps: list[RecordNode]) -> Table:
    table = Table(box=box.ROUNDED, title=_TITLE, title_justify="left", title_style="")
    table.add_column("step", style="cyan", overflow="fold")
    table.add_column("computes", overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("upstream", justify="right", style="magenta", overflow="fold")
    table.add_column("local gradients", overflow="fold")
    table.add_column("hands down", style="magenta", overflow="fold")
    for step in _shortened(steps):
        if isinstance(step, str):
            table.add_row("…", step)
        else:
            computes, numbers = Text.assemble(_formula(step), (f"\n{_does(step)}", "dim")), (step.value, step.upstream)
            values = (Text(brief(value)) for value in numbers)
            table.add_row(Text(step.name), computes, *values, Text(_locals(step)), Text(_handed_down(step)))
        table.add_section()
    return table


def _listed(steps: list[RecordNode]) -> Text:
    """The same below one another, for narrow terminals."""
    text = Text(f"{_TITLE}\n")
    for step in _shortened(steps):
        if isinstance(step, str):
            text.append(f"… {step}\n")
            continue
        value = brief(step.value)
        text.append(step.name, "cyan").append(f" = {_formula(step)} =")
        text.append(f"\n{_indented(value)}" if "\n" in value else f" {value}\n")
        text.append(f"  {_does(step)}\n", "dim")
        text.append(_indented(brief(step.upstream), "upstream "), "magenta")
        text.append(_indented(_locals(step)))
        text.append(_indented(_handed_down(step), "hands down "), "magenta")
    text.rstrip()
    return text


def _indented(lines: str, before: str = "") -> str:
    rest = " " * len(before)
    return "".join(f"  {rest if i else before}{line}\n" for i, line in enumerate(lines.splitlines()))


def _shortened(steps: list[RecordNode]) -> Iterator[RecordNode | str]:
    """The steps, those in the middle of a long record replaced by a sentence."""
    left_out = len(steps) - MOST_STEPS
    if left_out <= 0:
        yield from steps
        return
    yield from steps[: MOST_STEPS // 2]
    yield f"{left_out} more steps; --html and --json show all of them"
    yield from steps[-MOST_STEPS // 2 :]


def _formula(step: RecordNode) -> str:
    """The step in terms of those before it, such as ``q1 * z``."""
    names = [label(edge) for edge in step.inputs]
    symbol = _SYMBOLS.get(step.op or "")
    return f" {symbol} ".join(names) if symbol and len(names) > 1 else _applied(step.op or "", names)


def _does(step: RecordNode) -> str:
    """The operation's name, and what it does to gradients."""
    return f"{step.op}: {gate_word(step.gate)}" if step.gate else f"{step.op}"


def _applied(operation: str, names: list[str]) -> str:
    if operation == "square":
        return f"{names[0]} ** 2"
    return f"-{names[0]}" if operation == "neg" else f"{operation}({', '.join(names)})"


def gate_word(gate: str) -> str:
    """The first words of a gate's description: what it does, without the detail."""
    for mark in (":", ";", ",", " the upstream", " by ", " forward"):
        gate = gate.split(mark)[0]
    return gate


def _locals(step: RecordNode) -> str:
    if step.upstream_kept is None and step.requires_grad:
        return "no gradient comes here"
    return "\n".join(_local(edge) for edge in step.inputs if edge.differentiable) or "constant"


def _local(edge: Edge) -> str:
    value = _local_value(edge)
    return f"∂{edge.target.name}/∂{label(edge)} =" + ("\n" if "\n" in value else " ") + value


def _local_value(edge: Edge) -> str:
    """The local gradient: a number, one slope for each element, or a Jacobian by its shape where it is large."""
    local = edge.local
    slopes = local.kind in ("scalar", "diagonal") or edge.target.shape == ()
    shape = edge.source.shape if edge.target.shape == () else edge.target.shape if slopes else local.shape
    if math.prod(shape) > (_SHOWN if len(shape) < 2 else _SHOWN_IN_STEPS) or len(shape) > 2:
        return f"{'×'.join(map(str, shape))} {'slopes, one for each element' if slopes else 'Jacobian'}"
    try:
        return number(_array(local)) + (" each" if local.kind == "diagonal" and shape else "")
    except RecordError:
        return "known to its author only"


def _array(local: Local) -> Any:
    return local.matrix() if local.kind == "implicit" else local.value


def _handed_down(step: RecordNode) -> str:
    parts = [edge for edge in step.inputs if edge.downstream_kept is not None]
    return "\n".join(f"{brief(edge.downstream)} → {label(edge)}" for edge in parts) or "—"


# -- the leaves -------------------------------------------------------------------------------------------------------


def _gradients(leaves: list[RecordNode], result: RecordNode) -> Table:
    top = f"Σ{result.name}" if result.shape else result.name
    table = Table(box=box.ROUNDED, title="Gradients of the inputs", title_justify="left", title_style="")
    table.add_column("input", style="cyan", overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    table.add_column(f"∂{top}/∂input", justify="right", style="bold magenta", overflow="fold")
    table.add_column("where it comes from", overflow="fold")
    for leaf in leaves:
        table.add_row(Text(leaf.name), Text(number(leaf.value)), Text(number(leaf.upstream)), Text(_origin(leaf)))
    return table


def _origin(leaf: RecordNode) -> str:
    parts = [f"{number(edge.downstream, 4)} from {edge.target.name}" for edge in leaf.terms]
    if leaf.upstream_kept is None:
        return "none: no path with a gradient leads here"
    return " + ".join(parts) or "it is the result"


def _legend(steps: list[RecordNode]) -> Table:
    """What each gate does, once for each operation."""
    grid = Table.grid(padding=(0, 2))
    for name, formula, gate in dict.fromkeys((s.op or "", s.formula, s.gate) for s in steps if s.formula):
        grid.add_row(Text(f"  {name}", style="cyan"), Text(formula), Text(gate, style="dim"))
    return grid
