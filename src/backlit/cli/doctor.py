"""``backlit doctor``: what is wrong with a run, in order of likelihood."""

from __future__ import annotations

from typing import Any

import click

from .names import suggestion

FINDINGS = 1


@click.command(
    epilog="\b\nExamples:\n"
    "  backlit doctor runs/digits-1\n"
    "  backlit doctor runs/digits-1 --json\n"
    "The exit code is 0 where all is well, 1 where something was found, 2 where the folder cannot be read."
)
@click.argument("run", metavar="RUN_FOLDER")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(run: str, as_json: bool) -> None:
    """Say what is wrong with a run: finished, running, interrupted or failed.

    The run's curves, layer statistics and weights are read. Where its data can be loaded again, the network is asked as
    well: one forward and backward pass, and a few steps on a copy with other learning rates. Nothing in the folder is
    changed.
    """
    from ..check.verdicts.run_record import read_run

    record = read_run(_existing(run))
    findings, notes = _examine(record)
    if as_json:
        import json

        told = {"folder": str(record.folder), "state": record.state, "epochs": len(record.epochs)}
        click.echo(json.dumps({**told, "notes": notes, "findings": findings.to_dict()}, indent=2, default=str))
    else:
        from .verdict import show

        show(record, findings, notes)
    if findings:
        raise click.exceptions.Exit(FINDINGS)


def _existing(run: str) -> str:
    """The folder, or a mistake with a suggestion."""
    import os
    from pathlib import Path

    place = Path(os.path.expanduser(run))
    if not place.exists() and place.parent.is_dir():
        near = suggestion(place.name, [p.name for p in place.parent.iterdir() if p.is_dir()])
        raise click.UsageError(
            f"{run}: there is no such folder{near}; give the folder of a run, such as runs/digits-1."
        )
    return run


def _examine(record: Any) -> tuple[Any, list[str]]:
    """The findings, and remarks that are no faults."""
    from ..check.finding import Findings
    from ..check.health.course import unfinished
    from ..check.verdicts.doctor import told_once
    from ..check.verdicts.run_record import run_faults

    notes = [f"{f.evidence} More epochs would help." for f in unfinished(record.course)]
    found: list[Any] = []
    try:
        found, learned = _ask(record)
    except Unavailable as reason:
        learned = False
        notes.append(f"{reason} Only curves, layer statistics and weights were looked at.")
    # What the curves suggest counts unless the network, asked itself, has learned and generalizes.
    said = [f for f in run_faults(record) if not learned or f.kind in ("diverged", "symmetric_units")]
    return Findings(told_once([*found, *said])), notes


class Unavailable(Exception):
    """The network cannot be asked: a sentence says why."""


def _ask(record: Any) -> tuple[list[Any], bool]:
    """The findings about the run's own network on its own data, and whether it has learned."""
    from ..check.verdicts.doctor import examine
    from ..check.verdicts.situation import situate

    model, data, loss, optimizer, validation = _rebuilt(record)
    situation = situate(model, data, loss, optimizer, record.course, validation)
    return examine(situation), situation.learned


def _rebuilt(record: Any) -> tuple[Any, ...]:
    """Model, training rows, loss, optimizer and validation rows, as they were when the run was last saved."""
    from .. import random
    from ..datasets import DataError
    from ..errors import BacklitError
    from ..tensor import Tensor
    from .network import build_loss, build_network, build_optimizer
    from .prepare import fingerprint, load, prepare
    from .settings import Settings

    try:
        settings = Settings.from_dict(record.config["settings"])
        data = load(settings)
    except (DataError, OSError) as error:
        raise Unavailable(f"The data cannot be loaded ({str(error).rstrip('.')}).") from None
    except (ValueError, TypeError) as error:
        raise Unavailable(f"The settings in config.json are of another version ({error}).") from None
    if fingerprint(data) != record.config["data"].get("sha256"):
        raise Unavailable("The data have changed since the run was started.")
    prepared = prepare(settings, data)
    state = random.get_rng_state()
    try:
        model = build_network(settings, prepared.inputs, prepared.outputs)
    finally:
        random.set_rng_state(state)
    optimizer = build_optimizer(settings, model)
    try:
        if record.weights:
            model.load_state_dict({name: Tensor(values) for name, values in record.weights.items()})
        if record.checkpoint is not None:
            optimizer.load_state_dict(record.checkpoint["optimizer"])
    except (BacklitError, KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"The weights do not fit the settings ({str(error).rstrip('.')}).") from None
    loss = build_loss(settings.loss, None if data.classes is None else prepared.outputs)
    validation = (prepared.validation.x, prepared.validation.y) if len(prepared.validation) >= 10 else None
    return model, (prepared.train.x, prepared.train.y), loss, optimizer, validation
