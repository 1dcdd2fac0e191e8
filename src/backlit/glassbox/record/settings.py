"""Settings of operations as JSON: numbers, texts, slices, dtypes, nested tuples; arrays go beside, by a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from ...errors import RecordError
from ...ops.definition import Op
from ...random import Generator
from ...tensor import Tensor

Store = Callable[[np.ndarray], str]
"""Takes an array and gives the key under which it is kept."""


def encode(value: Any, store: Store) -> Any:
    """A setting as JSON can hold it; what JSON does not have becomes an object with one ``$``-key.

    Raises:
        RecordError: the value is of a type that no operation of the library takes as a setting.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if np.isfinite(value) else {"$float": str(value)}
        case np.generic():
            return {"$scalar": value.dtype.name, "value": encode(value.item(), store)}
        case np.dtype():
            return {"$dtype": value.name}
        case Tensor():
            return {"$array": store(value._data)}
        case np.ndarray():
            return {"$array": store(value)}
        case slice():
            return {"$slice": [encode(part, store) for part in (value.start, value.stop, value.step)]}
        case tuple():
            return {"$tuple": [encode(part, store) for part in value]}
        case list():
            return [encode(part, store) for part in value]
        case dict():
            return {"$dict": [[encode(k, store), encode(v, store)] for k, v in value.items()]}
        case Generator():
            return None  # what it drew is kept beside the operation
        case type() if issubclass(value, Op):
            return {"$op": definition_name(value)}
        case type() if issubclass(value, np.generic):
            return {"$dtype": np.dtype(value).name}
    if value is Ellipsis:
        return {"$ellipsis": True}
    raise RecordError(f"a setting of type {type(value).__name__} cannot be written to a record file.")


def decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The inverse of :func:`encode`.

    Raises:
        RecordError: the text is not what :func:`encode` writes.
    """
    if isinstance(value, list):
        return [decode(part, arrays) for part in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$float": str(text)}:
            return float(text)
        case {"$scalar": str(name), "value": number}:
            return np.dtype(name).type(decode(number, arrays))
        case {"$dtype": str(name)}:
            return np.dtype(name)
        case {"$array": str(key)} if key in arrays:
            return arrays[key]
        case {"$slice": [start, stop, step]}:
            return slice(decode(start, arrays), decode(stop, arrays), decode(step, arrays))
        case {"$tuple": list(parts)}:
            return tuple(decode(part, arrays) for part in parts)
        case {"$dict": list(pairs)}:
            return {decode(k, arrays): decode(v, arrays) for k, v in pairs}
        case {"$op": str(name)} if name in definitions():
            return definitions()[name]
        case {"$ellipsis": True}:
            return Ellipsis
    raise RecordError(f"the file holds a setting that is not understood: {str(value)[:80]}")


def definition_name(op: type[Op]) -> str:
    """An operation's definition by module and class, such as ``ops.products:Matmul``."""
    return f"{op.__module__.removeprefix('backlit.')}:{op.__qualname__}"


@cache
def definitions() -> dict[str, type[Op]]:
    """Every definition of the library by :func:`definition_name`; files can name these and nothing else."""
    from ... import nn  # noqa: F401  (defines operations of its own)

    found: dict[str, type[Op]] = {}
    stack: list[type[Op]] = [Op]
    while stack:
        op = stack.pop()
        stack += op.__subclasses__()
        if op.__module__.startswith("backlit."):
            found[definition_name(op)] = op
    return found
