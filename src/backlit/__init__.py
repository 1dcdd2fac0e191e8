"""Backlit: deep learning whose backpropagation you can see through.

>>> import backlit as bl
>>> x = bl.tensor(-2.0, requires_grad=True)
>>> f = (x + 5) * -4
>>> f.backward()
>>> x.grad
tensor(-4.)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import autograd, errors
from .creation import *
from .dtypes import *
from .dtypes import bool_ as bool
from .dtypes import float16 as half
from .dtypes import float32 as float
from .dtypes import float64 as double
from .dtypes import int16 as short
from .dtypes import int32 as int
from .dtypes import int64 as long
from .graph import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .ops import *
from .random import *
from .serialization import load, save
from .tensor import Tensor, device
from .threads import get_num_threads, set_num_threads
from .vocabulary import *

if TYPE_CHECKING:
    from . import backends, cuda, datasets, func, glassbox, keras, linalg, nn, optim, train, utils
    from .glassbox import explain, load_record, record, why  # type: ignore[no-redef]

__version__ = "0.1.0"

_ON_DEMAND = frozenset(
    {
        *("backends", "check", "compile", "cuda", "datasets", "func", "glassbox", "keras", "linalg", "nn", "optim"),
        *("report", "train", "utils"),
    }
)

_FUNCTIONAL = frozenset({"bilinear", "celu", "cosine_similarity", "pairwise_distance", "prelu", "threshold"})
"""What PyTorch has both here and in ``nn.functional``."""


_GLASSBOX = frozenset({"explain", "load_record", "record", "why"})


def __getattr__(name: str) -> Any:
    """Import the larger parts when they are first used, which keeps ``import backlit`` quick."""
    if name in _ON_DEMAND:
        return import_module(f".{name}", __name__)
    if name in _GLASSBOX:
        return getattr(import_module(".glassbox", __name__), name)
    if name in _FUNCTIONAL:
        return getattr(import_module(".nn.functional", __name__), name)
    from .missing import refuse
    from .spelling import did_you_mean

    refuse(name)
    hint = "" if name.startswith("_") else did_you_mean(name, [*globals(), *_ON_DEMAND])
    raise AttributeError(f"module 'backlit' has no attribute {name!r}{hint}", name=name, obj=None)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND, *_GLASSBOX})
