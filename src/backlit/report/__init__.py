"""The training report: what happened in a run, as plain data and as one self-contained HTML page."""

from .advice import Advice, advise
from .page import render
from .record import CheckedParameter, LayerFlow, Mistake, Regions, Report

__all__ = ["Advice", "CheckedParameter", "LayerFlow", "Mistake", "Regions", "Report", "advise", "render"]
