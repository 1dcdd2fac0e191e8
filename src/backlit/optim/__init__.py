"""Optimizers and learning-rate schedules, with PyTorch's names, defaults and formulas."""

from ..missing import MISSING_OPTIM, attributes_of
from . import lr_scheduler
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]

__getattr__ = attributes_of("backlit.optim", MISSING_OPTIM, globals())
