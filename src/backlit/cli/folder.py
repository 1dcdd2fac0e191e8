"""A run's folder: its name, its files, and what must not be overwritten."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from .. import __version__
from .settings import Settings

CONFIG, METRICS, LAYERS, WEIGHTS, REPORT = (
    "config.json", "metrics.csv", "layers.csv", "weights.safetensors", "report.html",
)  # fmt: skip
CHECKPOINTS = "checkpoints"
FORMAT = 1


def choose(name: str, out: str | None, force: bool) -> Path:
    """The folder to write to, which is not made yet.

    Raises:
        click.UsageError: it holds a run, and the user does not want it replaced; or it is not a folder.
    """
    if out is None:
        return next(p for p in (Path("runs", f"{name}-{n}") for n in range(1, 10**6)) if not p.exists())
    folder = Path(os.path.expanduser(out))
    if folder.exists() and not folder.is_dir():
        raise click.UsageError(f"--out {out} is a file; give the name of a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (force or _agreed(folder)):
        raise click.UsageError(f"--out {out} is not empty; give another folder, or --force to replace the run in it.")
    return folder


def _agreed(folder: Path) -> bool:
    """Ask, where there is somebody to ask."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return click.confirm(f"{folder} is not empty. Replace the run in it?", default=False, err=True)


def make(folder: Path) -> None:
    """Make the folder, and remove the files of a run that was there."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*(folder / name for name in (CONFIG, METRICS, LAYERS, WEIGHTS, REPORT)), *_checkpoints(folder)):
        file.unlink(missing_ok=True)


def _checkpoints(folder: Path) -> list[Path]:
    return list((folder / CHECKPOINTS).glob("checkpoint-*.safetensors"))


def write_config(folder: Path, settings: Settings, about: dict[str, Any]) -> None:
    """``config.json``: the settings, and what they met."""
    from ..serialization import write_atomically

    config = {"format": FORMAT, "backlit": __version__, "settings": settings.to_dict(), "data": about}
    write_atomically(folder / CONFIG, (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode())


def read_config(given: str) -> tuple[Path, Settings, dict[str, Any]]:
    """The folder of an interrupted run, with its settings and what is known of its data.

    Raises:
        click.UsageError: there is no such run, or it cannot be read.
    """
    from .names import suggestion

    folder = Path(os.path.expanduser(given))
    if not folder.is_dir():
        siblings = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
        raise click.UsageError(
            f"--resume {given}: there is no such folder{suggestion(folder.name, siblings)}; check the path."
        )
    for what, there in ((CONFIG, (folder / CONFIG).is_file()), ("checkpoint", bool(_checkpoints(folder)))):
        if not there:
            raise click.UsageError(f"--resume {given}: the folder holds no {what}, so there is no run to go on with.")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']}")
        return folder, Settings.from_dict(config["settings"]), dict(config["data"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise click.UsageError(f"--resume {given}: {CONFIG} is damaged ({error}); start a new run.") from None
