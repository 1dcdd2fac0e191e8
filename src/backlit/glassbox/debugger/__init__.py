"""The debugger: both passes of a record, one step at a time, with break points, edits and a way back."""

from .comparison import Comparison, Difference, compare
from .conditions import Condition
from .debugger import Debugger
from .state import State
from .timeline import Step, timeline

__all__ = ["Comparison", "Condition", "Debugger", "Difference", "State", "Step", "compare", "timeline"]
