"""Second names: PyTorch knows many operations by several, and programs use them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .definition import REGISTRY

ALIASES = {
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "clip": "clamp",
    "divide": "div",
    "fix": "trunc",
    "ger": "outer",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "multiply": "mul",
    "negative": "neg",
    "not_equal": "ne",
    "row_stack": "vstack",
    "sgn": "sign",
    "subtract": "sub",
    "true_divide": "div",
}
"""Second name and the operation's own. What is a tensor method (and its in-place form) is one under both names."""


def functions() -> dict[str, Callable[..., Any]]:
    """The operations by their second names."""
    return {name: REGISTRY[own].function for name, own in ALIASES.items()}
