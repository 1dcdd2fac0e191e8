"""docs/compile.md: its programs run as one, and what it shows of explain() and profile() is what they print."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("llvmlite")

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "compile.md").read_text(encoding="utf-8")
LOOPS, TABLE = re.findall(r"^```text\n(.*?)^```", PAGE, flags=re.M | re.S)


def program():
    """The page with everything but its programs blank, so that its lines keep their numbers."""
    inside, lines = False, []
    for line in PAGE.splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            lines.append("")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "compile.md").write_text(program(), encoding="utf-8")
    settings = {**os.environ, "BACKLIT_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "compile.md"], cwd=folder, env=settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_loops_are_those_of_the_step(printed):
    def without_counting(text):
        return re.sub(r"\bt\d+", "t", text)

    for loop in LOOPS.strip().split("\n\n"):
        assert without_counting(loop) in without_counting(printed)


def test_the_table_has_these_regions(printed):
    def without_numbers(line):
        return re.sub(r"[\d.,]+", "#", re.sub(r"\s+", " ", line))

    shown = {without_numbers(line) for line in printed.splitlines()}
    assert [line for line in map(without_numbers, TABLE.splitlines()) if line not in shown] == []


def test_messages_are_as_the_comments_say(printed):
    assert re.search(r"at compile.md:\d+: if x.norm\(\) > 1:.*Choose between values with backlit.where", printed)
    assert printed.count("compile: its truth value") == 2


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", PAGE))))
def test_links_exist(target):
    assert (ROOT / "docs" / target).exists()
