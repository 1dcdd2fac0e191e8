"""``backlit explain``: a formula's values and gradients, step by step."""

from __future__ import annotations

import click


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog="\b\nExamples:\n"
    '  backlit explain "(x+y)*z" x=-2 y=5 z=-4\n'
    '  backlit explain "1/(1+exp(-(w0*x0+w1*x1+w2)))" w0=2 x0=-1 w1=-3 x1=-2 w2=-3\n'
    '  backlit explain "cross_entropy(W@x, t)" "W=[[1,2],[3,4],[0,1]]" "x=[1,-1]" t=2',
)
@click.argument("expression")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...", type=click.UNPROCESSED)
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON instead of a table.")
def explain(expression: str, values: tuple[str, ...], as_json: bool) -> None:
    """Compute a formula and its gradients, and show every step of the forward and the backward pass.

    EXPRESSION may use numbers, names, + - * / ** @, parentheses, lists, and the functions sigmoid relu max min exp
    log sqrt tanh sin cos abs sum mean matmul softmax log_softmax cross_entropy mse dot transpose norm. A VALUE is a
    number or a list. Everything is computed in float64. A result with several elements is summed before the backward
    pass.
    """
    from ..glassbox import explain_formula

    explanation = explain_formula(expression, read_values(values))
    if as_json:
        import json

        click.echo(json.dumps(explanation.to_dict(), ensure_ascii=False, indent=2))
        return
    from .table import show

    show(explanation)


def read_values(assignments: tuple[str, ...]) -> dict[str, object]:
    """The values from texts such as ``x=-2``."""
    from ..glassbox import read_value

    values: dict[str, object] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if assignment.startswith("--"):
            raise click.UsageError(f"there is no option {assignment!r}; explain has --json and --help.")
        if not equals or not name.isidentifier():
            raise click.UsageError(f"{assignment!r} is no value; write NAME=VALUE without spaces, as in x=-2.")
        if name in values:
            raise click.UsageError(f"{name!r} is given twice; give each name one value.")
        values[name] = read_value(text)
    return values
