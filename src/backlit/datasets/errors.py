"""What goes wrong with data, said in one sentence: which file, what is wrong, what to do."""

from __future__ import annotations

import os
from pathlib import Path

from ..spelling import did_you_mean


class DataError(ValueError):
    """A file or an array cannot be used as data.

    The message is one sentence for the person who holds the data: it names the file (and the line and column where
    there is one), says what is wrong with it, and what to do about it.

    Example:
        >>> from backlit.datasets import read_idx
        >>> read_idx("no-such-file")
        Traceback (most recent call last):
            ...
        backlit.datasets.errors.DataError: no-such-file: there is no such file; check the path.
    """


def locate(path: str | os.PathLike[str]) -> Path:
    """The path as a `Path`, with a leading `~` standing for the home folder."""
    return Path(os.path.expanduser(path))


def unreadable(path: Path, error: Exception) -> DataError:
    """The `DataError` for an operating-system error met while opening or reading `path`."""
    if isinstance(error, FileNotFoundError):
        hint = did_you_mean(path.name, _siblings(path))
        return DataError(f"{path}: there is no such file{hint}; check the path.")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{path}: this is a folder; give the path of the file inside it.")
    if isinstance(error, PermissionError):
        return DataError(f"{path}: reading is not permitted; change the file's permissions or copy it.")
    return DataError(f"{path}: the file cannot be read ({error}); check the path and the disk.")


def shown(value: str, limit: int = 40) -> str:
    """The value as Python would write it, cut short where it is long."""
    return repr(value) if len(value) <= limit else f"{value[:limit]!r}... ({len(value)} characters)"


def _siblings(path: Path) -> list[str]:
    try:
        return os.listdir(path.parent)
    except (OSError, ValueError):
        return []
