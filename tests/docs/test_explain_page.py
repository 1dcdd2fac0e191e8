"""docs/explain.md: its commands run as printed, its output is what they print, and it names every function."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from backlit.cli import main
from backlit.glassbox.formula.functions import words

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.M | re.S) for line in block.splitlines()]
OUTPUTS = re.findall(r"^```text\n(.*?)^```", PAGE, flags=re.M | re.S)

LOSSES = """
import backlit as bl

def focal_loss(logits, target, gamma=2.0):
    log_p = bl.nn.functional.log_softmax(logits, dim=-1).gather(1, target.unsqueeze(1))
    return -((1 - log_p.exp()) ** gamma * log_p).mean()
"""


def run(line):
    program, command, *arguments = shlex.split(line)
    assert (program, command) == ("backlit", "explain")
    return CliRunner().invoke(main, ["explain", *arguments], input="q\n")


def without_trailing_space(text):
    return "\n".join(line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "losses.py").write_text(LOSSES)
    result = run(line)
    assert result.exit_code == 0 and result.stdout, result.stderr


def test_outputs():
    assert without_trailing_space(run(COMMANDS[0]).stdout) == OUTPUTS[0].rstrip()
    result = run('backlit explain "x + log(y)" x=1 y=-1')
    assert (result.stderr, result.exit_code) == (OUTPUTS[1], 1)


def test_every_function_is_named():
    (listed,) = re.findall(r"<!-- functions -->\n\n(.*?)\n\n", PAGE, flags=re.S)
    assert re.findall(r"`(\w+)`", listed) == words()
