"""Training: :func:`fit`, :func:`evaluate`, :func:`predict`, metrics, callbacks, checkpoints.

>>> import backlit as bl
>>> from backlit.datasets import digits
>>> from backlit.train import EarlyStopping, evaluate, fit
>>> data = digits().scaled()
>>> model = bl.nn.Sequential(bl.nn.Linear(64, 32), bl.nn.ReLU(), bl.nn.Linear(32, 10))
>>> history = fit(model, (data.x_train, data.y_train), epochs=3, validation_split=0.1, seed=0, progress=False)
>>> evaluate(model, (data.x_test, data.y_test))["accuracy"] > 0.7
True
"""

from . import metrics
from .callbacks import Callback, EarlyStopping, LearningRateScheduler
from .checkpoint import CheckpointEvery, latest_checkpoint, load_checkpoint
from .evaluation import evaluate, predict
from .fit import fit
from .history import History
from .metrics import Metric
from .statistics import LayerStatistics
from .trainer import Trainer

__all__ = [
    "Callback",
    "CheckpointEvery",
    "EarlyStopping",
    "History",
    "LayerStatistics",
    "LearningRateScheduler",
    "Metric",
    "Trainer",
    "evaluate",
    "fit",
    "latest_checkpoint",
    "load_checkpoint",
    "metrics",
    "predict",
]
