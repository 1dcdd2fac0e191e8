"""The debugger in the terminal: single keys, or, where standard input is no terminal, one command a line.

The second way makes it scriptable: ``printf 'n\\nb isnan\\nr\\nq\\n' | backlit explain … --step``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from ...errors import BacklitError, RecordError
from .conditions import Condition
from .debugger import Debugger
from .keys import Keyboard, has_keys
from .state import State, clean, shown

_STYLES = {"head": "bold", "place": "dim", "value": "green", "gradient": "red", "note": "yellow"}
_OTHER_KEYS = {" ": "n", "right": "n", "left": "p", "home": "0", "end": "$", "\n": "n", "\r": "n", "?": "h"}

Action = Callable[[Debugger, str], "State | str"]


class Command(NamedTuple):
    """What a key does; ``asks`` is what has to be typed after it, None if nothing."""

    key: str
    asks: str | None
    about: str
    act: Action


def interact(debugger: Debugger) -> None:
    """Read commands and show what they give, until ``q`` or the end of the input."""
    console = Console(highlight=False, soft_wrap=True)
    show(console, debugger.state)
    console.print(Text(help_line(), "dim"))
    try:
        with closing(_typed() if has_keys() else _lines()) as commands:  # closing puts the terminal back
            for key, argument in commands:
                if key == "q":
                    return
                show(console, answer(debugger, key, argument))
    except KeyboardInterrupt:
        console.print()


def answer(debugger: Debugger, key: str, argument: str) -> State | str:
    """What a command gives; mistakes are answers too."""
    command = COMMANDS.get(_OTHER_KEYS.get(key, key))
    if command is None:
        return f"'{clean(key)}' is no command. {help_line()}"
    if command.asks is not None and not argument and command.key in _NEEDS:
        return f"{command.key} needs {command.asks}: {command.about}"
    try:
        return command.act(debugger, argument)
    except BacklitError as error:
        return str(error)


def show(console: Console, what: State | str) -> None:
    """Print a state in colours, or a text as it is; nothing in it is taken for markup."""
    if isinstance(what, str):
        console.print(Text(what))
        return
    for kind, text in what.lines():
        console.print(Text(text, _STYLES[kind]))


def help_line() -> str:
    """All keys on one line."""
    return "n next · p back · r run · g go to · b break · v look · e edit · u undo · c compare · h help · q quit"


# -- input ---------------------------------------------------------------------------------------------------------


def _typed() -> Generator[tuple[str, str], None, None]:
    """Keys as they are pressed; a command that asks for something gets a line."""
    with Keyboard() as keyboard:
        while True:
            try:
                key = keyboard.key()
                command = COMMANDS.get(_OTHER_KEYS.get(key, key))
                asks = None if command is None else command.asks
                yield key, "" if asks is None else keyboard.line(f"{key} ({asks}): ").strip()
            except EOFError:
                return


def _lines() -> Generator[tuple[str, str], None, None]:
    """Commands from lines such as ``b grad norm > 10``; an empty line is one step."""
    for line in sys.stdin:
        key, _, argument = line.strip().partition(" ")
        yield key or "n", argument.strip()


# -- commands ------------------------------------------------------------------------------------------------------


def _count(argument: str) -> int:
    if not argument:
        return 1
    if not argument.isascii() or not argument.isdigit():
        raise RecordError(f"'{argument}' is no number of steps.")
    return min(int(argument[:9]), 10**9)


def _go(debugger: Debugger, argument: str) -> State:
    name, _, phase = argument.rpartition(" ")
    if phase in ("forward", "backward") and name:
        return debugger.run_to(_named(name), phase)  # type: ignore[arg-type]
    return debugger.run_to(_named(argument))


def _break(debugger: Debugger, argument: str) -> str:
    if argument:
        debugger.break_on(argument)
    texts = (p.text if isinstance(p, Condition) else repr(p) for p in debugger.breakpoints)
    lines = [f"{i}  {clean(text)}" for i, text in enumerate(texts)]
    return "\n".join(lines) or "no break points; write a condition, such as: grad norm > 10, isnan, op == relu"


def _clear(debugger: Debugger, argument: str) -> str:
    debugger.clear(_count(argument) if argument else None)
    return _break(debugger, "")


def _look(debugger: Debugger, argument: str) -> str:
    node = debugger.record.node(_named(argument)) if argument else debugger._node(None)
    lines = [f"{node.name}: {node.op or node.kind} {'×'.join(map(str, node.shape)) or 'scalar'} {node.dtype}"]
    lines += [f"  value     {shown(node.value_kept)}", f"  gradient  {_maybe(node.upstream_kept)}"]
    lines += [f"  from {e.source.name} (as {e.argument}), handed down {_maybe(e.downstream_kept)}" for e in node.inputs]
    lines += [f"  used by {edge.target.name}" for edge in node.users]
    lines += [f"  {node.source}"] if node.source else []
    return "\n".join(clean(line) for line in lines)


def _maybe(kept: Any) -> str:
    return "none" if kept is None else shown(kept)


def _edit(debugger: Debugger, argument: str) -> State:
    """``w = [1, 2]`` edits a value, ``grad w = [1, 2]`` a gradient; ``= 3`` the present node."""
    match = re.fullmatch(r"(grad\b)?\s*(.*?)\s*=\s*(.*)", argument)
    if match is None:
        raise RecordError("write the node, '=' and the numbers, such as: w = [1, 2], or for its gradient: grad w = 3")
    edit = debugger.set_upstream if match[1] else debugger.set_value
    return edit(_named(match[2]) if match[2] else None, _numbers(match[3]))


def _numbers(text: str) -> Any:
    """Numbers and lists of them; NaN and Infinity too."""
    try:
        return json.loads(text.replace("−", "-"))
    except (ValueError, RecursionError):
        raise RecordError(
            f"'{text}' cannot be read; write a number or a list, such as 0.5 or [[1, 2], [3, 4]]"
        ) from None


def _named(text: str) -> str | int:
    """A node's name, or ``#12`` for its number."""
    return int(text[1:10]) if re.fullmatch(r"#\d+", text, re.ASCII) else text


def _nodes(debugger: Debugger, argument: str) -> str:
    found = debugger.record.find(name=argument or None)
    lines = [f"#{node.id:<4} {node.name:<28} {node.op or node.kind:<14} {shown(node.value_kept)}" for node in found]
    return "\n".join(clean(line) for line in lines) or f"no node has '{clean(argument)}' in its name"


def _help(debugger: Debugger, argument: str) -> str:
    rows = [f"  {c.key}  {c.asks or '':<20} {c.about}" for c in COMMANDS.values()]
    return "\n".join([*rows, "  q                       quit", "  space, →: n   ←: p   Home: 0   End: $"])


COMMANDS = {
    command.key: command
    for command in (
        Command("n", None, "one step on (or as many as are given)", lambda d, a: d.step(_count(a))),
        Command("p", None, "one step back", lambda d, a: d.back(_count(a))),
        Command("r", None, "run to the next break point, or to the end", lambda d, a: d.run()),
        Command("0", None, "rewind to the start", lambda d, a: d.rewind()),
        Command("$", None, "to the end, past all break points", lambda d, a: d.step(len(d.steps))),
        Command("g", "node [phase]", "go on to a node, such as: g loss backward", _go),
        Command("b", "condition", "break where it holds, such as: b grad norm > 10 (alone: list)", _break),
        Command("d", "number", "delete a break point (alone: all)", _clear),
        Command("l", "part of a name", "list the nodes (alone: all)", _nodes),
        Command("v", "node", "look at a node (alone: at the present one)", _look),
        Command("w", None, "where: the line and the module", lambda d, a: clean(d.where())),
        Command("e", "node = numbers", "edit a value, or with 'grad' in front a gradient, and go on", _edit),
        Command("u", None, "undo the last edit", lambda d, a: d.undo()),
        Command("c", None, "compare with the run without edits", lambda d, a: clean_lines(str(d.compare()))),
        Command("h", None, "this help", _help),
    )
}
_NEEDS = frozenset("ge")
"""Commands that do nothing without an argument."""


def clean_lines(text: str) -> str:
    """Several lines made harmless for a terminal."""
    return "\n".join(clean(line) for line in text.splitlines())


__all__ = ["COMMANDS", "answer", "interact"]
