"""Checks: gradients against numerical differences, and the health of networks, data and training runs."""

from .anomaly import Anomaly, BatchPlace, Growth
from .causes import Cause
from .compare import Difference, Differences, compare
from .course import curves
from .data import data
from .doctor import diagnose, doctor
from .examine import gradients, model
from .finding import Finding, Findings
from .flow import FlowReport, flow
from .flow_history import Flow
from .initial_loss import InitialLoss, initial_loss
from .landscape import Landscape, landscape
from .lr_range import LRRange, lr_range
from .network import ParameterCheck, check_network
from .nonfinite import Entries
from .numerical import Comparison, bends, compare_gradients, numerical_gradient, rounding
from .overfit import Overfit, overfit
from .probe import LayerFlow
from .report import GradientReport, InputReport

__all__ = [
    "Anomaly",
    "BatchPlace",
    "Cause",
    "Comparison",
    "Difference",
    "Differences",
    "Entries",
    "Finding",
    "Findings",
    "Flow",
    "FlowReport",
    "GradientReport",
    "Growth",
    "InitialLoss",
    "InputReport",
    "LRRange",
    "Landscape",
    "LayerFlow",
    "Overfit",
    "ParameterCheck",
    "bends",
    "check_network",
    "compare",
    "compare_gradients",
    "curves",
    "data",
    "diagnose",
    "doctor",
    "flow",
    "gradients",
    "initial_loss",
    "landscape",
    "lr_range",
    "model",
    "numerical_gradient",
    "overfit",
    "rounding",
]
