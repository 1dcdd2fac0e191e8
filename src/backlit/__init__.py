"""Backlit: deep learning whose backpropagation you can see through."""

__version__ = "0.1.0"

from . import autograd, nn, optim
from .creation import *
from .dtypes import *
from .graph import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .ops import *
from .random import *
from .tensor import Tensor, device
