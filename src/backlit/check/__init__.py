"""Checks: gradients against numerical differences, and the health of networks, data and training runs."""

from .finding import Finding, Findings
from .first_culprit.anomaly import Anomaly, BatchPlace, Growth
from .first_culprit.nonfinite import Entries
from .gradient_check.causes import Cause
from .gradient_check.examine import gradients, model
from .gradient_check.network import ParameterCheck, check_network
from .gradient_check.numerical import Comparison, bends, compare_gradients, numerical_gradient, rounding
from .gradient_check.report import GradientReport, InputReport
from .health.compare import Difference, Differences, compare
from .health.course import curves
from .health.flow import FlowReport, flow
from .health.flow_history import Flow
from .health.initial_loss import InitialLoss, initial_loss
from .health.landscape import Landscape, landscape
from .health.lr_range import LRRange, lr_range
from .health.overfit import Overfit, overfit
from .health.probe import LayerFlow
from .rows.data import data
from .verdicts.doctor import diagnose, doctor

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
