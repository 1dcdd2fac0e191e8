"""The debugger in the terminal: as a script from a pipe, and with single keys at a real terminal."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import backlit as bl
from backlit.glassbox.debugger import keys
from backlit.glassbox.debugger.terminal import COMMANDS, answer

PROGRAM = """
import backlit as bl
x, y, z = (bl.tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
q = x + y
f = q * z
bl.explain(f, names=dict(x=x, y=y, z=z, q=q, f=f)).debugger().interact()
"""


def debugger():
    x, y, z = (bl.tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
    q = x + y
    f = q * z
    return bl.explain(f).debugger()


def said(*commands):
    """What the last of some commands gives, as text."""
    current = debugger()
    for command in commands:
        key, _, argument = command.partition(" ")
        text = str(answer(current, key, argument.strip()))
    return text


def test_a_script_through_a_pipe():
    script = "n\n\nb grad norm > 3\nr\ne z = 10\nc\nu\nq\nn\n"
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=script.encode(), capture_output=True, check=True, env=environment
    )
    text = done.stdout.decode()
    assert "[0/7] at the start" in text
    assert "[2/7] forward · f · mul" in text
    assert "stopped: grad norm > 3" in text
    assert "first   value of z: -4 → 10" in text
    assert text.rstrip().splitlines()[-1].endswith("= -4 × 1 = -4")  # undone, and nothing after q


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX; Windows reads keys by msvcrt")
def test_single_keys_at_a_terminal():
    import pty
    import select

    child, descriptor = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM])
    text = ""
    for waits_for, typed in (
        ("q quit", b"n"),
        ("[1/7]", b"\x1b[C"),
        ("[2/7]", b"g"),
        ("g (node [phase]): ", b"y\n"),
        ("[7/7]", b"\x1b[D"),
        ("[6/7]", b"\x1b[1~"),
        ("at the start", b"\x1b[3~"),
        ("'escape' is no command", b"$0"),
        ("at the start", b"q"),
    ):
        seen = ""
        while waits_for not in seen:
            assert select.select([descriptor], [], [], 20)[0], f"waited for {waits_for!r} in {seen!r}"
            seen += os.read(descriptor, 4096).decode(errors="replace")
        text += seen
        os.write(descriptor, typed)
    assert os.waitpid(child, 0)[1] == 0
    os.close(descriptor)
    assert "backward · y · variable" in text


def test_keys_of_windows(monkeypatch):
    codes = iter(["n", "\xe0", "M", "\x00", "K", "\xe0", "?", "\x03"])
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(getwch=lambda: next(codes)))
    assert [keys._windows_key() for _ in range(5)] == ["n", "right", "left", "escape", keys.INTERRUPT]


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (["n 3", "p"], "[2/7] forward · f"),
        (["right"], "[1/7] forward · q"),
        (["$"], "[7/7] backward · y"),
        (["$", "0"], "[0/7] at the start"),
        (["g f backward"], "[3/7] backward · f"),
        (["g #3"], "backward · z"),
        (["g p"], "no node is called 'p'"),
        (["g"], "g needs node [phase]"),
        (["b isnan", "b op == mul", "b"], "0  isnan\n1  op == mul"),
        (["b"], "no break points; write a condition"),
        (["b grad nrm > 1"], "     ^^^"),
        (["b isnan", "d 0"], "no break points"),
        (["d 7"], "there is no break point 7"),
        (["n", "w"], "q = x + y"),
        (["v z"], "gradient  3"),
        (["n", "v"], "from x (as x), handed down -4"),
        (["v"], "at the start, where there is no node yet"),
        (["l q"], "#2    q "),
        (["l nobody"], "no node has 'nobody'"),
        (["n", "e = 10"], "q = 10"),
        (["g x", "e grad q = 2"], "∂f/∂x = 2"),
        (["e z = 1 2"], "'1 2' cannot be read"),
        (["e z"], "write the node, '=' and the numbers"),
        (["e z = [1, 2]"], "They must agree"),
        (["u"], "nothing to undo"),
        (["c"], "no difference"),
        (["n two"], "'two' is no number of steps"),
        (["x"], "'x' is no command"),
        (["h"], "run to the next break point"),
    ],
)
def test_commands(commands, expected):
    assert expected in said(*commands)


def test_help_lists_every_command():
    text = said("?")
    assert all(f"  {command.key} " in text and command.about in text for command in COMMANDS.values())
