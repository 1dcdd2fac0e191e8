"""Well-known PyTorch names that Backlit does not have, and what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .errors import UnsupportedError
from .spelling import did_you_mean

_COMPLEX = "Backlit has no complex numbers; keep real and imaginary parts as two tensors"
_SPARSE = "Backlit has no sparse tensors; use dense ones, or `scipy.sparse` outside the graph"
_QUANTISED = "Backlit has no quantised numbers; float16 halves the memory of stored weights"
_FACTORISE = "factorisations are not supported; without gradients, `numpy.linalg` takes `x.detach().numpy()`"
_PRECISION = "computing follows the tensors' dtypes; leave it out, and convert with `.half()` what should be small"
_DRAW = "draw with `multinomial`, `normal`, `bernoulli` or `rand`, and write the log-density as a formula"
_PATTERN = "operations on the CPU are deterministic; leave it out"

MISSING = {
    **dict.fromkeys(("complex", "complex64", "complex128", "cfloat", "cdouble", "polar", "view_as_real"), _COMPLEX),
    **dict.fromkeys(("view_as_complex", "real", "imag", "conj", "angle"), _COMPLEX),
    **dict.fromkeys(("fft", "stft", "istft"), f"{_COMPLEX}; `numpy.fft` takes `x.detach().numpy()`"),
    **dict.fromkeys(("sparse", "sparse_coo_tensor", "sparse_csr_tensor"), _SPARSE),
    **dict.fromkeys(("quantization", "ao", "quantize_per_tensor", "qint8", "quint8"), _QUANTISED),
    **dict.fromkeys(("bfloat16", "float8_e4m3fn", "float8_e5m2"), "NumPy has no such numbers; use float16 or float32"),
    **dict.fromkeys(
        ("jit", "fx", "export", "_dynamo"), "use `compile`, which turns a whole training step to native code"
    ),
    "onnx": "export is not supported; `save` writes safetensors files, which other libraries read",
    **dict.fromkeys(("autocast", "amp"), _PRECISION),
    **dict.fromkeys(("set_float32_matmul_precision", "set_flush_denormal"), _PRECISION),
    **dict.fromkeys(("distributed", "multiprocessing"), "training runs in one process; leave the wrapping out"),
    **dict.fromkeys(("hub", "package"), "there is no model zoo; load weights with `load` from a safetensors file"),
    "distributions": _DRAW,
    "vmap": "write the function for a batch (operations broadcast), or use a Python loop and `stack`",
    "set_num_interop_threads": "one pool computes; use `set_num_threads`",
    **dict.fromkeys(("use_deterministic_algorithms", "set_deterministic_debug_mode"), _PATTERN),
    **dict.fromkeys(("svd", "qr", "cholesky", "inverse", "det", "logdet", "slogdet", "lstsq", "pinverse"), _FACTORISE),
    **dict.fromkeys(("lu", "eig", "symeig", "matrix_exp", "matrix_power", "solve"), _FACTORISE),
    "set_default_device": "there is only the CPU; leave it out",
    "set_default_tensor_type": "use `set_default_dtype(backlit.float64)`",
    "set_printoptions": "use `numpy.set_printoptions`, which tensors follow",
    "profiler": "use `python -m cProfile`, or the `backlit` command's throughput",
    "xpu": "Backlit computes on the CPU",
    "mps": "Backlit computes on the CPU",
}
"""Name and advice. Names that are only near to one that exists are found by their spelling instead."""


_ALONE = "training runs in one process on the CPU; leave the wrapping out"
_ADAPTIVE = "choose the kernel size, or use the adaptive average"
_FIXED = "give the sizes: modules do not wait for their first input"
_TRANSFORMER = "build it from MultiheadAttention, TransformerEncoderLayer, LayerNorm and Linear"
_OTHER_RULES = "use SGD, Adam, AdamW, RMSprop, Adagrad or Adadelta, or subclass Optimizer"

MISSING_NN = {
    **dict.fromkeys(("DataParallel", "SyncBatchNorm", "parallel"), _ALONE),
    **dict.fromkeys((f"AdaptiveMaxPool{n}d" for n in (1, 2, 3)), _ADAPTIVE),
    **dict.fromkeys(("LazyLinear", "LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyBatchNorm2d"), _FIXED),
    **dict.fromkeys(("Transformer", "TransformerDecoder", "TransformerDecoderLayer"), _TRANSFORMER),
    **dict.fromkeys(("EmbeddingBag",), "use Embedding, then a sum or mean over the bag"),
    **dict.fromkeys(("Fold", "Unfold"), "windows are `x.unfold(dim, size, step)`; convolutions need none"),
    **dict.fromkeys(("AlphaDropout", "FeatureAlphaDropout", "RReLU"), "use Dropout, or LeakyReLU"),
    "CTCLoss": "alignments are not summed over; give one label a step to CrossEntropyLoss",
    "LocalResponseNorm": "use GroupNorm or BatchNorm2d",
}
"""The same for ``nn``."""

MISSING_FUNCTIONAL = {
    **dict.fromkeys((f"adaptive_max_pool{n}d" for n in (1, 2, 3)), _ADAPTIVE),
    **dict.fromkeys(("fold", "unfold"), "windows are `x.unfold(dim, size, step)`; convolutions need none"),
    "embedding_bag": "use embedding, then a sum or mean over the bag",
    "ctc_loss": "alignments are not summed over; give one label a step to cross_entropy",
    "local_response_norm": "use group_norm or batch_norm",
    **dict.fromkeys(("alpha_dropout", "rrelu"), "use dropout, or leaky_relu"),
    **dict.fromkeys(("grid_sample", "affine_grid"), "pictures are resized with interpolate"),
}
"""The same for ``nn.functional``."""

MISSING_OPTIM = {
    "LBFGS": "use `scipy.optimize.minimize` with nn.utils.parameters_to_vector, or one of the others",
    **dict.fromkeys(("Adamax", "NAdam", "RAdam", "Rprop", "ASGD", "Adafactor", "SparseAdam", "Muon"), _OTHER_RULES),
}
"""The same for ``optim``."""


def refuse(name: str, place: str = "backlit", table: Mapping[str, str] = MISSING) -> None:
    """Raise for a name in the table.

    Raises:
        UnsupportedError: with the table's advice.
    """
    advice = table.get(name)
    if advice is not None:
        raise Missing(f"{place}.{name} does not exist: {advice}.")


def attributes_of(place: str, table: Mapping[str, str], names: Mapping[str, Any]) -> Callable[[str], Any]:
    """A module's ``__getattr__``: advice for what is in the table, the nearest of its own names for the rest. Private
    names, which tools ask every object for (``__wrapped__``, say), get none: finding it takes milliseconds."""

    def getattr_(name: str) -> Any:
        refuse(name, place, table)
        hint = "" if name.startswith("_") else did_you_mean(name, [n for n in names if not n.startswith("_")])
        raise AttributeError(f"module {place!r} has no attribute {name!r}{hint}", name=name, obj=None)

    return getattr_


class Missing(UnsupportedError, AttributeError):
    """An attribute that PyTorch has; also an AttributeError, so that ``hasattr`` answers."""
