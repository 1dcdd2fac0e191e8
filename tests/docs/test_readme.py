"""The README's programs run as printed, and its links point at files that exist."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.M | re.S)


def test_there_are_programs():
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_program_runs(number, tmp_path):
    prelude = "import backlit as bl\n" if "import backlit" not in BLOCKS[number] else ""
    program = tmp_path / "program.py"
    program.write_text(prelude + BLOCKS[number], encoding="utf-8")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for line in BLOCKS[number].splitlines():
        printed = re.match(r"print\(.*\) +# (tensor\(.*)", line)
        if printed:
            assert printed[1] in done.stdout


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_exist(target):
    assert (ROOT / target).exists()


def test_architecture_names_every_package():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    source = ROOT / "src" / "backlit"
    parts = [p.name for p in source.iterdir() if p.is_dir() and (p / "__init__.py").exists()]
    missing = [name for name in parts if f"{name}/" not in text]
    assert not missing, f"docs/architecture.md does not mention {missing}"
