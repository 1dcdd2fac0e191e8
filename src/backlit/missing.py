"""Well-known PyTorch names that Backlit does not have, and what to do instead."""

from __future__ import annotations

from .errors import UnsupportedError

_COMPLEX = "Backlit has no complex numbers; keep real and imaginary parts as two tensors"
_SPARSE = "Backlit has no sparse tensors; use dense ones, or `scipy.sparse` outside the graph"
_QUANTISED = "Backlit has no quantised numbers; float16 halves the memory of stored weights"
_EAGER = "functions run as they are written; leave the call out"
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
    **dict.fromkeys(("jit", "fx", "export", "_dynamo"), f"there is no tracer or script compiler; {_EAGER}"),
    "compile": _EAGER,
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


def refuse(name: str) -> None:
    """Raise for a name in the table.

    Raises:
        UnsupportedError: with the table's advice.
    """
    advice = MISSING.get(name)
    if advice is not None:
        raise Missing(f"backlit.{name} does not exist: {advice}.")


class Missing(UnsupportedError, AttributeError):
    """An attribute that PyTorch has; also an AttributeError, so that ``hasattr`` answers."""
