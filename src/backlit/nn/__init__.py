"""Networks: modules, parameters, layers, losses, initial values."""

# ruff: noqa: F403  (each file lists what it offers in __all__)

from ..missing import MISSING_NN, attributes_of
from . import functional as functional
from . import init as init
from . import utils as utils
from .activation import *
from .attention import *
from .containers import *
from .convolution import *
from .distance import *
from .dropout import *
from .embedding import *
from .linear import *
from .losses import *
from .module import Module as Module
from .normalization import *
from .padding import *
from .parameter import Buffer as Buffer
from .parameter import Parameter as Parameter
from .penalties import l1_penalty as l1_penalty
from .penalties import l2_penalty as l2_penalty
from .pooling import *
from .recurrent import *
from .resampling import *

__getattr__ = attributes_of("backlit.nn", MISSING_NN, globals())
