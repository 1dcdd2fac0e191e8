"""Work in a fresh interpreter, so that threads, memory and settings of one contestant do not reach the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
_RESULT = "BACKLIT_BENCHMARK_RESULT"


class Failed(Exception):
    """A script did not hand back anything; the text is the end of what it printed."""


def apart(script: str, *arguments: object, settings: dict[str, str] | None = None, timeout: float = 900.0) -> Any:
    """Run a script of this folder and return what it gave to :func:`hand_back`.

    Args:
        script: its name.
        arguments: its command line.
        settings: environment variables to set.
        timeout: seconds until it is stopped.

    Raises:
        Failed: it ended with an error, took too long, or handed nothing back.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        environment = {**os.environ, **(settings or {}), _RESULT: str(result)}
        command = [sys.executable, str(FOLDER / script), *map(str, arguments)]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{script} took more than {timeout:.0f} s") from None
        if done.returncode or not result.exists():
            raise Failed((done.stderr or done.stdout).strip()[-2000:])
        return json.loads(result.read_text(encoding="utf-8"))


def hand_back(result: Any) -> None:
    """Give a result (of plain lists, dictionaries, numbers, texts) to the process that called :func:`apart`."""
    Path(os.environ[_RESULT]).write_text(json.dumps(result), encoding="utf-8")


def keep(path: str | None, result: Any) -> None:
    """Write a result to a JSON file, if one is wanted."""
    if path:
        Path(path).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
