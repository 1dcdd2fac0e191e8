"""Names that users type: what is allowed, and what they may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click


def suggestion(word: str, options: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for options that resemble `word`, or an empty text."""
    from ..spelling import did_you_mean

    return did_you_mean(word, options)


class OneOf(click.ParamType):
    """An option that takes one of a few names, and suggests the nearest for a wrong one."""

    def __init__(self, kind: str, names: Iterable[str]) -> None:
        self.kind = kind
        self.names = tuple(names)
        self.name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself; case does not matter."""
        lowered = str(value).lower()
        if lowered in self.names:
            return lowered
        raise click.UsageError(
            f"there is no {self.kind} {value!r}{suggestion(lowered, self.names)}; choose from {', '.join(self.names)}."
        )

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """What the help shows in place of the value."""
        return "|".join(self.names)
