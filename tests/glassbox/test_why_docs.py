"""docs/why.md: its example prints what it says, and every cause it lists is tested."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "why.md").read_text(encoding="utf-8")


def test_the_example_prints_what_is_shown(tmp_path):
    program, output = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, flags=re.S).groups()
    (tmp_path / "train.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, capture_output=True, timeout=60, check=True, encoding="utf-8"
    )
    assert done.stdout == output


def test_every_cause_is_documented_and_tested():
    documented = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.M)
    assert len(documented) == len(set(documented)) >= 50
    tests = "".join(path.read_text(encoding="utf-8") for path in pathlib.Path(__file__).parent.glob("test_why_*.py"))
    named = set(re.findall(r'return .*"(\w+)"$|cause == "(\w+)"', tests, flags=re.M))
    assert set(documented) == {name for pair in named for name in pair if name}
