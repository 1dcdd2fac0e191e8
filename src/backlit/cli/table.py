"""An explanation as tables in the terminal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..glassbox import Explanation, Local, Operand, Step

_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "matmul": "@"}
_PIPED = 110
_SHOWN = 16
"""Arrays with more elements are described by their shape."""


def show(explanation: Explanation, console: Console | None = None) -> None:
    """Print the steps, the gradients of the variables, and what is worth knowing about them."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPED)  # files and pipes have no width of their own
    console.print(Text(explanation.expression, style="bold"), Text("="), Text(number(explanation.value)))
    for name, value in ((v.name, v.value) for v in explanation.variables):
        rows = number(value).replace("\n", "\n" + " " * (len(name) + 5))
        console.print(Text(f"  {name} = {rows}", style="dim"))
    if explanation.summed:
        shape = "×".join(map(str, explanation.shape))
        console.print(
            Text(f"The result has shape {shape}; its elements are summed for the backward pass.", style="yellow")
        )
    if explanation.steps:
        console.print(_steps(explanation))
    if explanation.variables:
        console.print(_gradients(explanation))
    for note in explanation.notes:
        console.print(Text(f"Note: {note}", style="yellow"))
    if explanation.steps:
        console.print(_legend(explanation))


def number(value: Any) -> str:
    """A number with six digits, arrays row by row with four, long ones by their shape."""
    if value is None:
        return "—"
    array = np.asarray(value)
    if array.size > _SHOWN:
        return f"{'×'.join(map(str, array.shape))} values"
    if array.ndim == 0:
        return _digits(float(array), 6)
    if array.ndim == 1:
        return "[" + ", ".join(_digits(float(item), 4) for item in array) + "]"
    return "[" + ",\n ".join(number(item).replace("\n", "\n ") for item in array) + "]"


def _digits(x: float, count: int) -> str:
    if math.isnan(x):
        return "not a number"
    if math.isinf(x):
        return "∞" if x > 0 else "-∞"
    return f"{x + 0.0:.{count}g}"


def _steps(explanation: Explanation) -> Table:
    table = Table(
        box=box.ROUNDED, title="Steps: values forward ↓, gradients back ↑", title_justify="left", title_style=""
    )
    table.add_column("step", style="cyan", no_wrap=True)
    table.add_column("computes", overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("upstream", justify="right", style="magenta", overflow="fold")
    table.add_column("local gradients", overflow="fold")
    table.add_column("hands down", style="magenta", overflow="fold")
    for step in explanation.steps:
        table.add_row(
            step.name, _computes(step), Text(number(step.value)), Text(number(step.upstream)), Text(_locals(step)),
            Text(_handed_down(step)),
        )  # fmt: skip
        table.add_section()
    return table


def _computes(step: Step) -> Text:
    """The step in terms of those before it, such as ``q1 * z``, and what it does to gradients."""
    names = [_short(operand) for operand in step.operands]
    symbol = _SYMBOLS.get(step.operation)
    formula = f" {symbol} ".join(names) if symbol and len(names) > 1 else _applied(step.operation, names)
    return Text.assemble(formula, (f"\n{step.operation}: {gate_word(step.gate)}", "dim"))


def _applied(operation: str, names: list[str]) -> str:
    if operation == "square":
        return f"{names[0]} ** 2"
    return f"-{names[0]}" if operation == "neg" else f"{operation}({', '.join(names)})"


def _short(operand: Operand) -> str:
    """The operand's name, or its role in the operation where it is a long list of numbers."""
    return operand.name if len(operand.name) <= 12 else operand.role


def gate_word(gate: str) -> str:
    """The first words of a gate's description: what it does, without the detail."""
    for mark in (":", ";", ",", " the upstream", " by ", " forward"):
        gate = gate.split(mark)[0]
    return gate


def _locals(step: Step) -> str:
    return "\n".join(_local(step, operand) for operand in step.operands if operand.local is not None) or "constant"


def _local(step: Step, operand: Operand) -> str:
    local = operand.local
    assert local is not None
    value = _local_value(local)
    return f"∂{step.name}/∂{_short(operand)} =" + ("\n" if "\n" in value else " ") + value


def _local_value(local: Local) -> str:
    if local.kind == "large" or math.prod(local.shape) > _SHOWN or len(local.shape) > 2:
        what = "slopes, one for each element" if local.kind in ("elementwise", "gradient") else "Jacobian"
        return f"{'×'.join(map(str, local.shape))} {what}"
    return number(local.value) + (" each" if local.kind == "elementwise" else "")


def _handed_down(step: Step) -> str:
    parts = [o for o in step.operands if o.downstream is not None]
    return "\n".join(f"{number(o.downstream)} → {_short(o)}" for o in parts) or "—"


def _gradients(explanation: Explanation) -> Table:
    result = explanation.steps[-1].name if explanation.steps else explanation.expression
    top = f"Σ{result}" if explanation.summed else result
    table = Table(box=box.ROUNDED, title="Gradients of the inputs", title_justify="left", title_style="")
    table.add_column("input", style="cyan", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column(f"∂{top}/∂input", justify="right", style="bold magenta")
    table.add_column("where it comes from")
    for variable in explanation.variables:
        parts = explanation.contributions(variable.name)
        origin = " + ".join(f"{number(value)} from {step}" for step, value in parts)
        if variable.gradient is None:
            origin = "none: no path with a gradient leads here"
        table.add_row(
            variable.name,
            Text(number(variable.value)),
            Text(number(variable.gradient)),
            Text(origin or "it is the result"),
        )
    return table


def _legend(explanation: Explanation) -> Table:
    """What each gate does, once for each operation."""
    grid = Table.grid(padding=(0, 2))
    for name, formula, gate in dict.fromkeys((s.operation, s.formula, s.gate) for s in explanation.steps):
        grid.add_row(Text(f"  {name}", style="cyan"), Text(formula), Text(gate, style="dim"))
    return grid
