"""The glass box: what happened in a computation and in its backward pass, as plain data."""

from .errors import ExpressionError
from .explanation import Explanation, Local, Operand, Step, Variable
from .formula import explain_formula, read_value
from .record import Record, RecordNode, explain, load_record, record
from .why import Verdict, why

__all__ = [
    "Explanation",
    "ExpressionError",
    "Local",
    "Operand",
    "Record",
    "RecordNode",
    "Step",
    "Variable",
    "Verdict",
    "explain",
    "explain_formula",
    "load_record",
    "read_value",
    "record",
    "why",
]
