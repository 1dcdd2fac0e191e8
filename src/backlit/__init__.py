"""Backlit: deep learning whose backpropagation you can see through."""

__version__ = "0.1.0"

from . import autograd
from .creation import as_tensor, from_numpy, tensor
from .graph import no_grad
from .ops.arithmetic import *
from .ops.linalg import linear, matmul
from .ops.activations import relu, sigmoid
from .ops.losses import mse_loss
from .tensor import Tensor
from .ops import methods
