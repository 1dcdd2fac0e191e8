"""Checks of gradients: numerical differences, and whole networks against them."""

from .network import ParameterCheck, check_network
from .numerical import Comparison, bends, compare_gradients, numerical_gradient, rounding

__all__ = [
    "Comparison",
    "ParameterCheck",
    "bends",
    "check_network",
    "compare_gradients",
    "numerical_gradient",
    "rounding",
]
