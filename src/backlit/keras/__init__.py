"""Keras's shape over :mod:`backlit.nn` and :mod:`backlit.train`: layers by size, ``compile``, ``fit``.

There is no mathematics here: layers make modules, ``compile`` chooses a loss and an optimizer, ``fit`` is
:func:`backlit.train.fit`. Images are (height, width, channels), as in Keras.
"""

from . import callbacks, layers, losses, metrics, optimizers, regularizers, utils
from .layers import Input
from .model import Sequential

__all__ = [
    "Input",
    "Sequential",
    "callbacks",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
    "utils",
]
