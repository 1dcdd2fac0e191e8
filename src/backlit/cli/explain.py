"""``backlit explain``: the values and gradients of a formula, or of a user's own function, step by step."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..glassbox import Record
    from ..glassbox.program import Arguments

_TARGET = re.compile(r".*\.py(:[\w.]*)?", re.DOTALL)


class NotExplained(Exception):
    """What was asked for cannot be computed: exit code 1. Mistakes in the command itself have exit code 2."""


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog="\b\nExamples:\n"
    '  backlit explain "(x+y)*z" x=-2 y=5 z=-4\n'
    '  backlit explain "s = w*x - y; s**2" w=1 x=1 y=2 --wrt w --latex\n'
    '  backlit explain "1/(1+exp(-(w0*x0+w1*x1+w2)))" w0=2 x0=-1 w1=-3 x1=-2 w2=-3 --html neuron.html\n'
    '  backlit explain "cross_entropy(W@x, t)" "W=[[1,2],[3,4],[0,1]]" "x=[1,-1]" t=2\n'
    '  backlit explain "mse(X@w, y)" X=@data.csv w=weights.npy "y=randn(20)" --json\n'
    '  backlit explain losses.py:focal_loss "logits=randn(4,3)" "target=int([0,2,1,1])"',
)
@click.argument("expression")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...", type=click.UNPROCESSED)
@click.option("--wrt", multiple=True, metavar="NAME", help="Only gradients with respect to this; may be repeated.")
@click.option("--html", "page", type=click.Path(dir_okay=False), metavar="FILE", help="Write the graph to a page.")
@click.option("--latex", is_flag=True, help="Print the chain rule written out, as LaTeX.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON (docs/record.md).")
@click.option("--step", is_flag=True, help="Step through both passes in the terminal.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="What random values are drawn with.")
def explain(
    expression: str,
    values: tuple[str, ...],
    wrt: tuple[str, ...],
    page: str | None,
    latex: bool,
    as_json: bool,
    step: bool,
    seed: int,
) -> int:
    """Compute a formula and its gradients, and show every step of the forward and the backward pass.

    EXPRESSION may use numbers, names, + - * / ** @, parentheses, lists, indices as in x[0], named steps as in
    "s = x + y; s**2", and functions: sigmoid relu tanh exp log sqrt max min sum mean var norm softmax cross_entropy mse
    layer_norm … (a name that does not exist lists them all); settings are given by name, as in sum(x, dim=0). A VALUE
    is a number, a list, an array from a file (@data.csv, weights.npy) or made by randn(3,4), rand, zeros, ones, arange
    or eye. Formulas are computed in float64. A result with several elements is summed before the backward pass.

    FILE.py:FUNCTION in place of EXPRESSION explains a function of your own that returns a loss: the file is run, VALUES
    are the function's arguments, and an argument without value and default is a number drawn at random.

    The exit code is 1 if something cannot be computed, such as a division by zero, and 2 for a mistake in the command.
    """
    if latex + as_json + step > 1:
        raise click.UsageError("choose one of --latex, --json and --step.")
    names = tuple(name.strip() for given in wrt for name in given.split(","))
    try:
        rec, about = _recorded(expression, read_texts(values), names, seed)
        if page is not None:
            from ..glassbox.viewer import html

            html(rec, page)
            click.echo(f"wrote {page}", err=True)
        _render(rec, about, names, "latex" if latex else "json" if as_json else "step" if step else "table")
    except NotExplained as error:
        click.echo(f"backlit: {error}", err=True)
        return 1
    return 0


def _recorded(expression: str, texts: dict[str, str], wrt: Sequence[str], seed: int) -> tuple[Record, list[str]]:
    """The record of a formula or of a function, and sentences about how it came to be."""
    if _TARGET.fullmatch(expression):
        return _of_function(expression, texts, wrt, seed)
    from ..glassbox import EvaluationError, explain_formula, read_value_of

    values = {name: read_value_of(name, text, seed) for name, text in texts.items()}
    try:
        return explain_formula(expression, values, wrt=wrt), []
    except EvaluationError as error:
        raise NotExplained(str(error)) from None


def _of_function(target: str, texts: dict[str, str], wrt: Sequence[str], seed: int) -> tuple[Record, list[str]]:
    import sys

    from ..glassbox.program import Arguments
    from ..random import manual_seed
    from .user_code import UserCodeError, find

    with redirect_stdout(sys.stderr):  # what the user's program prints must not mix with what we print
        manual_seed(seed)
        try:
            function = find(target)
        except UserCodeError as error:
            raise NotExplained(error.format_message()) from None
        arguments = Arguments(function, texts, wrt, seed)
        rec = _called(function, arguments, target, wrt)
    _check_wrt(wrt, {**arguments.tensors, **{leaf.name: leaf for leaf in rec.leaves if leaf.requires_grad}})
    return rec, arguments.notes()


def _called(function: Any, arguments: Arguments, target: str, wrt: Sequence[str]) -> Record:
    """The record of the call; whatever goes wrong in it is told in terms of the user's file."""
    from ..errors import BacklitError
    from ..glassbox.program import ResultError, explain_call
    from .user_code import said

    try:
        return explain_call(function, arguments, target)
    except ResultError as error:
        _check_wrt(wrt, arguments.tensors)  # perhaps nothing required gradients for a misspelt name
        raise NotExplained(f"{target}: {error}") from None
    except BacklitError as error:
        raise NotExplained(f"{target}: {error}{_hint(arguments, str(error))}") from None
    except (Exception, SystemExit) as error:
        raise NotExplained(f"{target} raised {said(error)}{_hint(arguments)}") from None


def _check_wrt(wrt: Sequence[str], known: Collection[str]) -> None:
    from .names import suggestion

    for name in wrt:
        if name not in known:
            raise click.UsageError(
                f"--wrt {name}: neither an argument nor a parameter that gets gradients has this name"
                f"{suggestion(name, known)}; there are {', '.join(known)}."
            )


def _hint(arguments: Arguments, message: str = "") -> str:
    """What may help with the values of arguments."""
    if arguments.made_up:
        first = next(iter(arguments.made_up))
        names = " and ".join(arguments.made_up)
        return f"\n(No value was given for {names}; a number was made up. Give one, as in {first}=randn(3,4).)"
    return "\n(Whole numbers are written as in t=int([0, 2]).)" if "integer" in message else ""


def _render(rec: Record, about: Sequence[str], wrt: Sequence[str], form: str) -> None:
    """Print a record in one of its forms."""
    if form == "json":
        import json

        click.echo(json.dumps(rec.to_dict(), ensure_ascii=False, indent=2))
    elif form == "latex":
        click.echo(_latex(rec, wrt))
    elif form == "step":
        rec.debugger().interact()
    else:
        from .table import show

        show(rec, about=about, only=wrt)


def _latex(rec: Record, wrt: Sequence[str]) -> str:
    """The chain rule for each variable, one after the other."""
    from ..errors import RecordError
    from ..glassbox.words import derivation

    names = wrt or [leaf.name for leaf in rec.leaves if leaf.upstream_kept is not None]
    if not names:
        raise NotExplained("nothing here has a gradient, so there is no chain rule to write out.")
    try:
        return "\n".join(f"% the gradient of {name}\n{derivation(rec, name, form='latex')}" for name in names)
    except RecordError as error:
        raise NotExplained(str(error)) from None


def read_texts(assignments: tuple[str, ...]) -> dict[str, str]:
    """The texts of values by name, from arguments such as ``x=-2``."""
    texts: dict[str, str] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = unicodedata.normalize("NFKC", name.strip())  # as Python's grammar reads names
        if assignment.startswith("--"):
            raise click.UsageError(f"there is no option {assignment!r}; see backlit explain --help.")
        if not equals or not name.isidentifier():
            raise click.UsageError(
                f"{assignment!r} is no value; write NAME=VALUE without spaces or in quotes, as in x=-2."
            )
        if name in texts:
            raise click.UsageError(f"{name!r} is given twice; give each name one value.")
        texts[name] = text
    return texts
