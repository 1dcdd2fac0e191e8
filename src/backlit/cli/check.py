"""``backlit check``: the gradients of a function in a user's own file, with an exit code for CI."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ..errors import BacklitError
from .user_code import find, said

if TYPE_CHECKING:
    from ..check import GradientReport


@click.command(
    epilog="\b\nExamples:\n"
    "  backlit check losses.py:focal_loss 8,10 8,10      inputs of these shapes, drawn at random\n"
    "  backlit check layers.py:Swish 4,3                 an autograd.Function\n"
    "  backlit check layers.py:case                      case() returns (function, inputs) or (model, batch, loss)\n"
    "  backlit check losses.py:log_loss 5 --low 0.1 --high 0.9 --plot steps.png"
)
@click.argument("target", metavar="FILE.py:FUNCTION")
@click.argument("shapes", nargs=-1, metavar="[SHAPE]...")
@click.option("--low", type=float, help="Draw inputs uniformly from here (with --high); by default normally.")
@click.option("--high", type=float, help="Draw inputs uniformly up to here.")
@click.option("--seed", type=int, default=0, show_default=True, help="What inputs and weights are drawn with.")
@click.option("--rtol", type=float, default=1e-5, show_default=True, help="Relative disagreement that is accepted.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--plot", "picture", type=click.Path(dir_okay=False), help="Write error against step size to a picture.")
def check(
    target: str,
    shapes: tuple[str, ...],
    low: float | None,
    high: float | None,
    seed: int,
    rtol: float,
    as_json: bool,
    picture: str | None,
) -> int:
    """Check a function's gradients against differences, and say what is wrong and where.

    The file is run. FUNCTION may be a function of tensors, an autograd.Function, or a module; give the shape of each
    argument, such as 8,10 (or 'scalar'). Without shapes FUNCTION is called: it returns (function, inputs) or
    (model, batch, loss). The exit code is 0 if all gradients are right, 1 if one is wrong or could not be checked, 2
    for a mistake in the command.
    """
    subject = find(target)
    if (low is None) != (high is None):
        raise click.UsageError("--low and --high belong together.")
    sizes = [read_shape(shape) for shape in shapes]
    try:
        report = examine(subject, sizes, (low, high), seed, rtol)
    except (BacklitError, click.ClickException):
        raise
    except Exception as error:  # the user's code; exit code 1 is kept for wrong gradients
        raise click.UsageError(f"{target} raised {said(error)}") from error
    click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False) if as_json else str(report))
    if picture is not None:
        try:
            report.plot(picture)
        except ValueError as error:  # an ending that stands for no format
            raise click.UsageError(f"--plot {picture}: {error}") from error
    return 0 if report.ok else 1


def read_shape(text: str) -> tuple[int, ...]:
    """A shape from texts such as ``8,10``, ``8x10``, ``5`` or ``scalar``."""
    if text in ("scalar", "()"):
        return ()
    try:
        shape = tuple(int(n) for n in text.replace("x", ",").strip("()").removesuffix(",").split(","))
    except ValueError:
        shape = (-1,)
    if any(n < 0 for n in shape):
        raise click.UsageError(f"{text!r} is no shape; write sizes with commas between, such as 8,10, or 'scalar'.")
    return shape


def examine(
    subject: Any, shapes: list[tuple[int, ...]], span: tuple[float | None, float | None], seed: int, rtol: float
) -> GradientReport:
    """The report on what the command names."""
    import numpy as np

    from ..autograd import Function
    from ..check import gradients, model
    from ..nn import Module
    from ..tensor import Tensor

    if not shapes:
        return case(subject, seed, rtol)
    rng = np.random.default_rng(seed)
    low, high = span
    drawn = [rng.normal(size=s) if low is None or high is None else rng.uniform(low, high, s) for s in shapes]
    inputs = tuple(Tensor(np.asarray(x)) for x in drawn)
    if isinstance(subject, Module):
        return model(subject, (inputs, ()), lambda output, _: output, rtol=rtol, seed=seed)
    if isinstance(subject, type) and issubclass(subject, Module):
        raise click.UsageError(
            f"{subject.__name__} is a class of modules; name a module that is made in the file, or a function that "
            "returns (model, batch, loss)."
        )
    own = isinstance(subject, type) and issubclass(subject, Function)
    function = subject.apply if own else subject
    if not inspect.isclass(subject):
        _require_arguments(function, len(shapes))
    report = gradients(function, inputs, rtol=rtol, seed=seed, names=_names(subject, len(inputs)))
    if own:  # it was this command that applied it, no line of the user's
        report.culprits = [replace(c, place="") if c.operation == subject.__name__ else c for c in report.culprits]
    return report


def case(subject: Any, seed: int, rtol: float) -> GradientReport:
    """The report on what a function without arguments returns."""
    from ..check import gradients, model

    _require_arguments(subject, 0)
    returned = subject()
    if isinstance(returned, tuple) and len(returned) == 2 and callable(returned[0]):
        return gradients(*returned, rtol=rtol, seed=seed)
    if isinstance(returned, tuple) and len(returned) == 3 and callable(returned[0]):
        return model(*returned, rtol=rtol, seed=seed)
    raise click.UsageError(
        "without shapes the function is called without arguments and must return (function, inputs) or "
        f"(model, batch, loss); this one returned a {type(returned).__name__}."
    )


def _require_arguments(function: Any, count: int) -> None:
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError as error:
        name = getattr(function, "__name__", "the function")
        given = f"{count} shape{'s' * (count > 1)}" if count else "no shapes"
        raise click.UsageError(f"{name}{inspect.signature(function)} was given {given}: {error}.") from None
    except ValueError:  # a built-in without a signature
        return


def _names(subject: Any, count: int) -> list[str] | None:
    """The names of a function's arguments, for the report."""
    try:
        function = getattr(subject, "forward") if inspect.isclass(subject) else subject  # noqa: B009  (any class)
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError, AttributeError):
        return None
    names = names[1:] if inspect.isclass(subject) and names[:1] == ["ctx"] else names
    return names[:count] if len(names) >= count else None
