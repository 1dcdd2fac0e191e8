"""Checkpoints of training runs: files from which a run goes on exactly where it was.

A checkpoint is one file in the format of :mod:`backlit.serialization`. It holds weights, optimizer, schedules, random
state, the position in epoch and batch, running sums, history and what callbacks remember. It appears under its name
complete or not at all, so a process may be killed at any moment.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, OperationError
from ..serialization import TEMPORARY, dumps, loads, read_bytes, write_atomically

KIND = "training checkpoint 1"
_PARTS: dict[str, type] = {
    **dict.fromkeys(("settings", "position", "model", "optimizer", "loader", "random", "running", "history"), dict),
    "callbacks": list,
}
_NAME = re.compile(r"checkpoint-(\d+)\.safetensors")

PathLike = str | os.PathLike[str]


class CheckpointEvery:
    """Where and how often a run is saved. It is also saved when it ends and when Ctrl-C stops it.

    Args:
        folder: made if it does not exist. It must not hold another run's checkpoints.
        every_n_batches: save after every so many batches.
        every_n_epochs: save after every so many epochs (default 1, if ``every_n_batches`` is not given either).
        keep: how many of the newest files stay; None keeps all.
    """

    def __init__(
        self,
        folder: PathLike,
        every_n_batches: int | None = None,
        every_n_epochs: int | None = None,
        keep: int | None = 3,
    ) -> None:
        for name, value in (("every_n_batches", every_n_batches), ("every_n_epochs", every_n_epochs), ("keep", keep)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise OperationError(f"CheckpointEvery: {name} must be a whole number of at least 1, got {value!r}.")
        self.folder = Path(folder)
        self.every_n_batches = every_n_batches
        self.every_n_epochs = 1 if every_n_batches is None and every_n_epochs is None else every_n_epochs
        self.keep = keep

    def prepare(self, fresh: bool) -> None:
        """Make the folder, clear away what killed processes left, and refuse to mix two runs.

        Raises:
            CheckpointError: the folder cannot be made, or a fresh run finds another run's checkpoints in it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for file in self.folder.glob(f".checkpoint-*{TEMPORARY}"):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"{self.folder}: this cannot be used as a folder for checkpoints ({error})."
            ) from error
        if fresh and _numbered(self.folder):
            raise CheckpointError(
                f"{self.folder}: the folder already holds checkpoints of a run; pass resume='auto' to go on with it, "
                "or another folder."
            )

    def save(self, state: dict[str, Any], step: int) -> Path:
        """Write the checkpoint of a step and remove old ones."""
        path = self.folder / f"checkpoint-{step:08d}.safetensors"
        write_atomically(path, dumps({"kind": KIND, **state}))
        if self.keep is not None:
            passed = [file for number, file in _numbered(self.folder) if number <= step]
            for file in passed[: -self.keep]:
                with contextlib.suppress(OSError):
                    file.unlink()
        return path


def latest_checkpoint(folder: PathLike) -> Path | None:
    """The newest checkpoint in a folder, or None."""
    found = _numbered(Path(folder))
    return found[-1][1] if found else None


def load_checkpoint(path: PathLike) -> dict[str, Any]:
    """Read a checkpoint: its ``model``, ``optimizer``, ``history`` and so on, as dicts of tensors and numbers.

    Args:
        path: a file, or a folder, whose newest checkpoint is read.

    Raises:
        CheckpointError: there is none, or the file is damaged or of another kind.
    """
    place = Path(path)
    if place.is_dir():
        found = latest_checkpoint(place)
        if found is None:
            raise CheckpointError(f"{place}: there is no checkpoint in this folder; check the path.")
        place = found
    try:
        state = loads(read_bytes(place), str(place))
    except CheckpointError as error:
        raise CheckpointError(f"{str(error).rstrip('.')}{_older(place)}.") from error.__cause__
    if not isinstance(state, dict) or state.get("kind") != KIND:
        raise CheckpointError(f"{place}: this is not a checkpoint of a training run; load weights with backlit.load.")
    if any(not isinstance(state.get(part), kind) for part, kind in _PARTS.items()):
        raise CheckpointError(f"{place}: this checkpoint lacks parts; use another one.")
    return state


def find_resume(resume: PathLike | bool | None, checkpoint: CheckpointEvery | None) -> PathLike | None:
    """What to resume from: a path as it is; ``"auto"`` or True for the newest of the run's own folder, if any."""
    if resume is None or resume is False:
        return None
    if resume is True or resume == "auto":
        if checkpoint is None:
            raise OperationError("fit: resume='auto' needs checkpoint=, whose folder it looks into.")
        return latest_checkpoint(checkpoint.folder)
    return resume


def check_model(model: Any, saved: dict[str, Any]) -> None:
    """Raise unless saved weights fit a model exactly, in names, shapes and dtypes."""
    own = model.state_dict()
    for name in [*own, *saved]:
        if name not in saved or name not in own:
            where = "the model but not in the checkpoint" if name in own else "the checkpoint but not in the model"
            raise CheckpointError(
                f"the checkpoint is of another architecture: {name} is in {where}; nothing was changed."
            )
        a, b = own[name], saved[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            raise CheckpointError(
                f"the checkpoint is of another architecture: {name} is {b.shape} {b.dtype} there and "
                f"{a.shape} {a.dtype} in the model; nothing was changed."
            )


def check_optimizer(optimizer: Any, saved: dict[str, Any]) -> None:
    """Raise unless a saved optimizer state belongs to as many parameters, in the same groups, of the same shapes."""
    groups = [len(group["params"]) for group in optimizer.param_groups]
    if groups != [len(group["params"]) for group in saved["param_groups"]]:
        raise CheckpointError("the checkpoint's optimizer has other groups of parameters; nothing was changed.")
    shapes = [p.shape for group in optimizer.param_groups for p in group["params"]]
    for index, entries in saved["state"].items():
        for name, value in entries.items():
            if name != "step" and getattr(value, "shape", ()) not in ((), shapes[index]):
                raise CheckpointError(
                    f"the checkpoint's optimizer keeps {name} of shape {value.shape} for a parameter of shape "
                    f"{shapes[index]}; nothing was changed."
                )


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """A folder's checkpoints with their steps, oldest first."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    matches = [match for name in names if (match := _NAME.fullmatch(name))]
    return sorted((int(match[1]), folder / match[0]) for match in matches)


def _older(path: Path) -> str:
    """A hint at the checkpoint before a damaged one."""
    match = _NAME.fullmatch(path.name)
    before = [file for number, file in _numbered(path.parent) if match and number < int(match[1])]
    return f"; an older checkpoint is {before[-1]}" if before else ""
