"""The complex step: a derivative without subtraction, for functions made of analytic operations.

f(x + ih) = f(x) + ih f′(x) − …, so Im f(x + ih) / h is the derivative with no cancellation, however small h is
(Squire and Trapp 1998). Tensors are real, so the recorded operations' forward rules are run on complex arrays directly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph import enable_grad
from ...numerics import quiet
from .subject import Subject
from .tape import Tape

_ELEMENTWISE = {"add", "sub", "mul", "div", "neg", "reciprocal", "square", "exp", "expm1", "log", "log1p", "sqrt"}
_PERIODIC = {"sin", "cos", "tan", "sinh", "cosh", "tanh"}
_LINEAR = {"sum", "mean", "matmul", "mm", "bmm", "mv", "dot"}
_SHAPES = {"reshape", "permute", "expand", "transpose", "squeeze", "unsqueeze", "flatten", "broadcast_to"}
ANALYTIC = frozenset(_ELEMENTWISE | _PERIODIC | _LINEAR | _SHAPES)
"""Operations whose forward rule, given complex numbers, is the analytic continuation of the real function."""
STEP = 1e-100


def complex_step(subject: Subject, k: int, direction: NDArray[Any]) -> float | None:
    """The derivative of the inner product along a direction, to full precision; None where it does not apply.

    It applies when every operation is in :data:`ANALYTIC`, nothing is written in place, and the values repeated from
    the recording are those of the function.
    """
    with Tape() as tape, enable_grad():
        outs = subject.outputs(subject.leaves)
    if any(step.op.name not in ANALYTIC or step.own is not None for step in tape.steps):
        return None
    known: dict[int, Any] = {id(leaf._data): leaf._data for leaf in subject.leaves}
    leaf = subject.leaves[k]
    known[id(leaf._data)] = leaf._data + 1j * STEP * direction
    try:
        with quiet():
            for step in tape.steps:
                given = [
                    known.get(id(getattr(x, "_data", x)), c) for x, c in zip(step.inputs, step.copies, strict=True)
                ]
                known[id(step.result._data)] = step.op.forward(*given, **step.params)
    except (TypeError, ValueError):
        return None
    total = 0.0
    for out, u in zip(outs, subject.cotangents, strict=True):
        value = known.get(id(out._data))
        if value is None or not np.allclose(np.real(value), out._data, rtol=1e-12, atol=1e-300):
            return None
        total += float((u * np.imag(value)).sum()) / STEP
    return total
