"""A module's state as a dictionary of tensors, and back: everything that fits is loaded, or nothing is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from ..spelling import near
from ..tensor import Tensor
from .parameter import Parameter, overwrite

_LISTED = 12  # keys named in an error before "and n more"


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` could not match: keys only the model has, and keys only the file has."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load(module: Any, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Check all of ``state`` against the module, then copy it in (or adopt its tensors, with ``assign``)."""
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict: expected a dictionary of tensors by name, got {type(state).__name__}.")
    own = module.state_dict(keep_vars=True)
    values = {key: _array(key, value) for key, value in state.items() if key in own}
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    wrong = [key for key, value in values.items() if value.shape != own[key].shape]
    if wrong or (strict and (missing or unexpected)):
        strict_only = (missing, unexpected) if strict else ([], [])
        raise OperationError(_complaint(module, own, values, *strict_only, wrong))
    for key, value in values.items():
        if assign:
            _adopt(module, key, own[key], state[key], value)
        else:
            overwrite(own[key], value)
    return IncompatibleKeys(missing, unexpected)


def _array(key: str, value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        return value._data
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise OperationError(f"load_state_dict: the entry {key!r} is a {type(value).__name__}, not a tensor.")
    return array


def _adopt(module: Any, key: str, own: Tensor, given: Any, value: np.ndarray) -> None:
    tensor = given if isinstance(given, Tensor) else Tensor(np.array(value))
    if isinstance(own, Parameter):
        tensor = tensor if isinstance(tensor, Parameter) else Parameter(tensor.detach(), own.requires_grad)
    path, _, name = key.rpartition(".")
    setattr(module.get_submodule(path), name, tensor)


def _complaint(
    module: Any,
    own: Mapping[str, Any],
    values: Mapping[str, Any],
    missing: list[str],
    extra: list[str],
    wrong: list[str],
) -> str:
    parts = [f"load_state_dict for {type(module).__name__} at {describe(mark())}: the state does not fit the model."]
    if missing:
        parts.append("Missing (the model needs it, the state lacks it): " + _list(missing, extra))
    if extra:
        parts.append("Unexpected (the state has it, the model does not): " + _list(extra, missing))
    if wrong:
        sizes = [f"{key!r} is {tuple(values[key].shape)}, the model's {tuple(own[key].shape)}" for key in wrong]
        parts.append("Of another shape: " + _cut(sizes))
    hint = " Pass strict=False to load only the keys that match." if not wrong else ""
    return "\n  ".join([*parts, "Nothing was loaded." + hint])


def _list(keys: list[str], others: Iterable[str]) -> str:
    return _cut([f"{key!r}{_near(key, others)}" for key in keys[:_LISTED]] + [""] * (len(keys) - _LISTED))


def _near(key: str, others: Iterable[str]) -> str:
    found = near(key, others, 1)
    return f" (near {found[0]!r})" if found else ""


def _cut(entries: list[str]) -> str:
    left = len(entries) - _LISTED
    return ", ".join(entries[:_LISTED]) + (f" and {left} more" if left > 0 else "") + "."
