"""``backlit train``: from one line to a trained network and a report about it."""

from __future__ import annotations

from typing import Any

import click

from .names import OneOf
from .settings import (
    ACTIVATIONS,
    CLASS_LOSSES,
    DATASETS,
    NUMBER_LOSSES,
    OPTIMIZERS,
    BatchSize,
    Layers,
    Number,
    settle,
)

_LOSSES = tuple(dict.fromkeys((*CLASS_LOSSES, *NUMBER_LOSSES)))
_RESUMABLE = frozenset({"resume", "epochs", "quiet", "checkpoint_every"})


@click.command(
    epilog="\b\nExamples:\n"
    "  backlit train digits\n"
    "  backlit train spirals --layers 100 --activation tanh --optimizer sgd --momentum 0.9\n"
    "  backlit train mnist --data ~/mnist --layers 256,128 --dropout 0.2 --augment\n"
    "  backlit train csv houses.csv --target price --early-stopping 10\n"
    "  backlit train --resume runs/digits-1 --epochs 100"
)
@click.argument("dataset", required=False, metavar=f"[{'|'.join(DATASETS)}]")
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--data", metavar="DIR", help="mnist: the folder of the four IDX files (plain or .gz).")
@click.option("--target", metavar="COLUMN", help="csv: the column to predict.")
@click.option(
    "--task", type=OneOf("task", ("classification", "regression")), help="csv: what kind of target it is, if not clear."
)
@click.option("--drop", multiple=True, metavar="COLUMN", help="csv: a column to leave out (may be repeated).")
@click.option(
    "--categorical", multiple=True, metavar="COLUMN", help="csv: a column of codes, not numbers (may be repeated)."
)
@click.option("--layers", type=Layers(), help="Widths of the hidden layers, as in 256,128, or none.")
@click.option("--activation", type=OneOf("activation", ACTIVATIONS), help="Between the layers.")
@click.option(
    "--loss", type=OneOf("loss", _LOSSES), help="cross_entropy, hinge or mse for classes; mse, l1 or huber for numbers."
)
@click.option("--optimizer", type=OneOf("optimizer", OPTIMIZERS), help="How the weights are updated.")
@click.option("--lr", type=Number(0, above=True), help="Learning rate.")
@click.option("--momentum", type=Number(0, 1, below=True), help="For sgd and rmsprop.")
@click.option("--batch-size", type=BatchSize(), help="Rows for each update, or full.")
@click.option("--epochs", type=Number(1, 10**6, whole=True), help="Passes over the training rows.")
@click.option("--weight-decay", "--l2", "weight_decay", type=Number(0), help="L2 penalty on the weights.")
@click.option("--l1", type=Number(0), help="L1 penalty on the weights.")
@click.option(
    "--dropout", type=Number(0, 1, below=True), help="Share of hidden units switched off at random in training."
)
@click.option("--validation-fraction", type=Number(0, 0.9), help="Share of the training rows kept for validation.")
@click.option(
    "--early-stopping",
    type=Number(0, 10**6, whole=True),
    metavar="EPOCHS",
    help="Stop when validation has not improved for so long.",
)
@click.option("--clip", type=Number(0), help="Largest norm of the gradient; 0 is no limit.")
@click.option("--augment/--no-augment", default=None, help="Turn and shift training images at random.")
@click.option(
    "--checkpoint-every",
    type=Number(1, 10**6, whole=True),
    default=1,
    show_default=True,
    metavar="EPOCHS",
    help="How often to save what --resume needs.",
)
@click.option("--seed", type=Number(0, 2**32 - 1, whole=True), help="The same seed gives the same run.")
@click.option(
    "--threads", type=Number(1, 1024, whole=True), help="Threads for matrix products (default: as many as pay)."
)
@click.option("--eager", is_flag=True, default=None, help="Do not compile the training step to native code.")
@click.option("--out", metavar="FOLDER", help="Where to write (default: runs/NAME-N).")
@click.option("--force", is_flag=True, help="Replace the run that is in the --out folder.")
@click.option("--resume", metavar="FOLDER", help="Go on with an interrupted run.")
@click.option("--quiet", is_flag=True, help="Print the result only.")
@click.pass_context
def train(ctx: click.Context, dataset: str | None, file: str | None, **options: Any) -> None:
    """Train a network, and write a report about it.

    The data are digits (bundled), moons or spirals (made up), mnist (from --data DIR), or csv FILE with --target
    COLUMN. A run's folder holds config.json, metrics.csv, weights.safetensors, a checkpoint, and report.html, which
    opens offline. Options that are left out have good values for the data set.
    """
    from .run import resume, start

    if options["resume"] is not None:
        _check_resume(ctx, dataset)
        resume(options["resume"], epochs=options["epochs"], every=options["checkpoint_every"], quiet=options["quiet"])
        return
    settings = settle(_dataset(dataset), _chosen(dataset, file, options))
    start(
        settings, out=options["out"], force=options["force"], every=options["checkpoint_every"], quiet=options["quiet"]
    )


def _dataset(name: str | None) -> str:
    if name is None:
        raise click.UsageError(
            f"what to train on is missing; give one of {', '.join(DATASETS)}, as in: backlit train digits"
        )
    return OneOf("data set", DATASETS).convert(name, None, None)


def _chosen(dataset: str | None, file: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The options that are settings, after checking that they belong to the data set."""
    name = _dataset(dataset)
    chosen = {
        key: value
        for key, value in options.items()
        if key not in ("data", "out", "force", "resume", "quiet", "checkpoint_every")
    }
    if file is not None and name != "csv":
        raise click.UsageError(f"{name} takes no file, but {file!r} is given; leave it out, or write: train csv {file}")
    if options["data"] is not None and name != "mnist":
        raise click.UsageError(f"--data belongs to mnist, not to {name}; leave it out.")
    for key in ("target", "task", "drop", "categorical"):
        if options[key] and name != "csv":
            raise click.UsageError(f"--{key} belongs to csv, not to {name}; leave it out.")
    if name == "mnist" and options["data"] is None:
        raise click.UsageError("mnist needs --data DIR, the folder that holds its four files.")
    if name == "csv" and file is None:
        raise click.UsageError("csv needs a file, as in: backlit train csv flowers.csv --target species")
    if name == "csv" and options["target"] is None:
        raise click.UsageError("csv needs --target COLUMN, the column to predict.")
    return {**chosen, "file": file if name == "csv" else options["data"]}


def _check_resume(ctx: click.Context, dataset: str | None) -> None:
    """Everything but the length of the run is decided by what it was started with."""
    if dataset is not None:
        raise click.UsageError(f"--resume goes on with the data of the run, so leave {dataset!r} out.")
    for parameter in ctx.command.params:
        name = str(parameter.name)
        source = ctx.get_parameter_source(name)
        if source is click.core.ParameterSource.COMMANDLINE and name not in _RESUMABLE:
            raise click.UsageError(
                f"{parameter.opts[0]} cannot be changed by --resume; a new run can have another value."
            )
