"""Running a user's own file, and showing what goes wrong in it by its own lines."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from ..source import inside
from .names import suggestion

_FRAMES = 8
"""Deeper tracebacks are shortened in the middle."""


class UserCodeError(click.UsageError):
    """A user's file or function raised; the message ends with the lines of the traceback that are theirs."""


def find(target: str) -> Any:
    """The object that ``FILE.py:NAME`` names; the file is run.

    Raises:
        click.UsageError: there is no such file or name, or it cannot be called.
        UserCodeError: the file raises when it is run.
    """
    file, colon, name = target.rpartition(":")
    if not colon or not name or not file:
        raise click.UsageError(f"{target!r} names no function; write FILE.py:FUNCTION, as in losses.py:focal_loss.")
    path = Path(file)
    if not path.is_file():
        raise click.UsageError(f"there is no file {file!r}{suggestion(path.name, _beside(path))}.")
    found: Any = load(path)
    for part in name.split("."):
        if not hasattr(found, part):
            public = [n for n in vars(found) if not n.startswith("_")]
            raise click.UsageError(f"{file} has no {name!r}{suggestion(name, public)}.")
        found = getattr(found, part)
    if not callable(found):
        raise click.UsageError(f"{name!r} in {file} is a {type(found).__name__}, which cannot be called.")
    return found


def load(path: Path) -> ModuleType:
    """Run a file as a module; its folder is searched for what it imports."""
    name = f"checked_{path.stem}"  # a file called random.py must not stand in for another module
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise click.UsageError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UserCodeError(f"{path} cannot be run: {said(error)}") from error
    return module


def said(error: BaseException) -> str:
    """The name and message of an error, and below it the lines of the traceback that lie in the user's files."""
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not inside[frame.filename]]
    lines = traceback.format_list(frames[: _FRAMES // 2])
    if len(frames) > _FRAMES:
        lines.append(f"  … {len(frames) - _FRAMES} more\n")
    lines += traceback.format_list(frames[_FRAMES // 2 :][-_FRAMES // 2 :])
    if isinstance(error, SyntaxError):
        lines, message = traceback.format_exception_only(error)[:-1], message.splitlines()[0]
    return f"{message}\n{''.join(lines)}".rstrip()


def _beside(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []
