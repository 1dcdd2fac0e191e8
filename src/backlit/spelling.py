"""What was probably meant by a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable


def near(word: str, options: Iterable[str], most: int = 3) -> list[str]:
    """Those options that resemble a word, best first; upper and lower case are the same."""
    from difflib import get_close_matches

    by_lower_case = {option.lower(): option for option in options}
    return [by_lower_case[key] for key in get_close_matches(word.lower(), by_lower_case, n=most, cutoff=0.6)]


def did_you_mean(word: str, options: Iterable[str], most: int = 3) -> str:
    """`` (did you mean 'x'?)`` for the options that resemble a word, or an empty text where none does.

    >>> did_you_mean("sigmod", ["relu", "sigmoid"])
    " (did you mean 'sigmoid'?)"
    """
    names = " or ".join(repr(option) for option in near(word, options, most))
    return f" (did you mean {names}?)" if names else ""
