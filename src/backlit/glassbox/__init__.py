"""The glass box: what happened in a computation and in its backward pass, as plain data."""

from .errors import EvaluationError, ExpressionError
from .formula import ValueFileError, ValueTextError, explain_formula, read_value, read_value_of
from .notes import notes
from .record import Record, RecordNode, explain, load_record, record
from .why import Verdict, why

__all__ = [
    "EvaluationError",
    "ExpressionError",
    "Record",
    "RecordNode",
    "ValueFileError",
    "ValueTextError",
    "Verdict",
    "explain",
    "explain_formula",
    "load_record",
    "notes",
    "read_value",
    "read_value_of",
    "record",
    "why",
]
