"""Checks of gradients: numerical differences, and whole networks against them."""

from .causes import Cause
from .examine import gradients, model
from .network import ParameterCheck, check_network
from .numerical import Comparison, bends, compare_gradients, numerical_gradient, rounding
from .report import GradientReport, InputReport

__all__ = [
    "Cause",
    "Comparison",
    "GradientReport",
    "InputReport",
    "ParameterCheck",
    "bends",
    "check_network",
    "compare_gradients",
    "gradients",
    "model",
    "numerical_gradient",
    "rounding",
]
