"""Formulas such as ``(x + y) * z``: read, computed with the library's operations, and recorded."""

from .explain import explain_formula
from .values import ValueFileError, ValueTextError, read_value, read_value_of

__all__ = ["ValueFileError", "ValueTextError", "explain_formula", "read_value", "read_value_of"]
