"""Losses by Keras's names.

Keras's cross-entropies take probabilities. Where the network ends with the softmax (or sigmoid) that makes them, the
logits before it are used instead: the same loss and gradient, without the logarithm of a rounded probability.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..nn import functional as F
from ..tensor import Tensor
from .names import look_up

_TINY = 1e-7  # Keras's epsilon: probabilities are kept this far from 0 and 1


class Loss(NamedTuple):
    """A loss of (target, output): on what the network gives, and on the logits before its last activation."""

    name: str
    function: Callable[[Any, Any], Any]
    on_logits: Callable[[Any, Any], Any] | None = None
    activation: str | None = None
    """The last activation that may be left out when ``on_logits`` is used: Softmax or Sigmoid."""
    labels: bool = False
    """Targets are class numbers."""


def _class_numbers(target: Any) -> Any:
    target = target.reshape(target.shape[:-1]) if target.ndim > 1 and target.shape[-1] == 1 else target
    return target if target.dtype.kind in "iu" else target.long()


def _like(target: Any, output: Any) -> Any:
    """A target in the output's dtype and shape; (N,) may stand for (N, 1)."""
    target = target.to(output.dtype)
    return target.reshape(output.shape) if target.ndim + 1 == output.ndim and output.shape[-1] == 1 else target


def _probabilities(p: Tensor) -> Tensor:
    return p.clamp(_TINY, 1.0 - _TINY)


def _sparse(target: Any, p: Any) -> Any:
    return F.nll_loss(_probabilities(p).log(), _class_numbers(target))


def _sparse_logits(target: Any, z: Any) -> Any:
    return F.cross_entropy(z, _class_numbers(target))


def _categorical(target: Any, p: Any) -> Any:
    return -(_like(target, p) * _probabilities(p).log()).sum(-1).mean()


def _categorical_logits(target: Any, z: Any) -> Any:
    return F.cross_entropy(z, _like(target, z))


def _binary(target: Any, p: Any) -> Any:
    return F.binary_cross_entropy(_probabilities(p), _like(target, p))


def _binary_logits(target: Any, z: Any) -> Any:
    return F.binary_cross_entropy_with_logits(z, _like(target, z))


def _plain(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda target, output: function(output, _like(target, output))


SPARSE = Loss("sparse_categorical_crossentropy", _sparse, _sparse_logits, "Softmax", labels=True)
CATEGORICAL = Loss("categorical_crossentropy", _categorical, _categorical_logits, "Softmax")
BINARY = Loss("binary_crossentropy", _binary, _binary_logits, "Sigmoid")
SQUARED = Loss("mean_squared_error", _plain(F.mse_loss))
ABSOLUTE = Loss("mean_absolute_error", _plain(F.l1_loss))
HUBER = Loss("huber", _plain(F.huber_loss))

LOSSES = {
    "sparse_categorical_crossentropy": SPARSE,
    "categorical_crossentropy": CATEGORICAL,
    "binary_crossentropy": BINARY,
    "mean_squared_error": SQUARED,
    "mse": SQUARED,
    "mean_absolute_error": ABSOLUTE,
    "mae": ABSOLUTE,
    "huber": HUBER,
}


def _from(loss: Loss) -> Callable[..., Loss]:
    def make(from_logits: bool = False) -> Loss:
        if not from_logits or loss.on_logits is None:
            return loss
        return loss._replace(function=loss.on_logits, on_logits=None, activation=None)

    return make


SparseCategoricalCrossentropy = _from(SPARSE)
CategoricalCrossentropy = _from(CATEGORICAL)
BinaryCrossentropy = _from(BINARY)


def MeanSquaredError() -> Loss:
    """Mean of squared differences."""
    return SQUARED


def MeanAbsoluteError() -> Loss:
    """Mean of absolute differences."""
    return ABSOLUTE


def Huber(delta: float = 1.0) -> Loss:
    """Quadratic below ``delta``, linear above."""
    return Loss("huber", _plain(lambda output, target: F.huber_loss(output, target, delta=delta)))


def resolve_loss(given: Any) -> Loss:
    """A loss by name, made by this module, or a function of (target, output) as Keras orders them."""
    if isinstance(given, Loss):
        return given
    if callable(given):
        return Loss(getattr(given, "__name__", "loss"), lambda target, output: given(target, output).mean())
    return look_up("loss", given, LOSSES)
