"""The record: a complete, documented account of a computation and its backward pass."""

from .capture import Brief, Keep
from .file import load_record
from .front import explain, record
from .local import Local
from .model import Edge, Record, RecordNode
from .numbers import Kept, Statistics
from .replay import rerun
from .retrace import retrace

__all__ = [
    "Brief",
    "Edge",
    "Keep",
    "Kept",
    "Local",
    "Record",
    "RecordNode",
    "Statistics",
    "explain",
    "load_record",
    "record",
    "rerun",
    "retrace",
]
