"""The eight training steps that engines are compared by: the same weights, batches and arithmetic in each of them."""

from .contestants import ENGINES, contestants, installed, steps_of
from .problems import PROBLEMS, Problem

__all__ = ["ENGINES", "PROBLEMS", "Problem", "contestants", "installed", "steps_of"]
