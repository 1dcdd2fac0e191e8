"""The command group, and the one way in which everything that a user got wrong is said."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from .. import __version__
from ..errors import BacklitError
from .names import suggestion


class Application(click.Group):
    """A group whose mistakes are one sentence on stderr and exit code 2, with a suggestion where a name is near."""

    def main(self, args: Sequence[str] | None = None, *_: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the command line; user mistakes never show a traceback."""
        _print_anywhere()
        try:
            code = super().main(args, standalone_mode=False, **extra)
        except click.ClickException as error:
            fail(error.format_message())
        except (click.Abort, KeyboardInterrupt):
            click.echo("stopped.", err=True)
            sys.exit(130)
        except BrokenPipeError:
            # Whoever read our output has gone (| head); nobody is left to tell.
            sys.stderr.close()
            sys.exit(1)
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except _user_mistakes() as error:
            fail(str(error))
        sys.exit(code if isinstance(code, int) else 0)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click, with a suggestion for a misspelt command."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(
                f"there is no command {args[0]!r}{suggestion(args[0], self.commands)}; "
                f"the commands are {' and '.join(sorted(self.commands))}."
            )
        return super().resolve_command(ctx, args)


def _print_anywhere() -> None:
    """Let a terminal that lacks a character show a question mark instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _user_mistakes() -> tuple[type[Exception], ...]:
    """The errors that say what a user got wrong; `DataError` counts where its module was loaded at all."""
    module = sys.modules.get("backlit.datasets.errors")
    return (BacklitError, module.DataError) if module else (BacklitError,)


def fail(message: str) -> None:
    """Say on stderr what is wrong, and leave with exit code 2."""
    click.echo(f"backlit: {message}", err=True)
    sys.exit(2)


@click.group(
    cls=Application,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Each command has its own help: backlit train --help",
)
@click.version_option(__version__, prog_name="backlit", message="%(prog)s %(version)s")
def main() -> None:
    """Train small networks and look inside them.

    \b
    Examples:
      backlit train digits                         train, and write a report you can open offline
      backlit train spirals --layers 64,64 --activation tanh
      backlit train csv flowers.csv --target species
      backlit explain "(x+y)*z" x=-2 y=5 z=-4      every value and gradient of a formula
      backlit check losses.py:focal_loss 8,10      are the gradients right, and if not, why
    """


def _add_commands() -> None:
    from .check import check
    from .doctor import doctor
    from .explain import explain
    from .train import train

    main.add_command(train)
    main.add_command(explain)
    main.add_command(doctor)
    main.add_command(check)


_add_commands()
