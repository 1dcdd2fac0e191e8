"""Settings of operations as JSON: numbers, texts, slices, dtypes, nested tuples; arrays go beside, by a key."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ...dtypes import SUPPORTED
from ...errors import RecordError
from ...function import _Own
from ...ops.average_pooling import Shares
from ...ops.definition import Op
from ...ops.labels import Labels
from ...ops.standardize import Layout
from ...ops.windows import Windows
from ...random import Generator
from ...tensor import Tensor

Store = Callable[[np.ndarray], str]
"""Takes an array and gives the key under which it is kept."""

DTYPES: dict[str, np.dtype[Any]] = {
    dtype.name: dtype for dtype in (*SUPPORTED, *(np.dtype(f"uint{bits}") for bits in (16, 32, 64)))
}
"""Element types that files can name, and nothing else."""


@dataclass(frozen=True)
class Lost:
    """Stands for an argument of a user's own operation that no file can hold; ``what`` names its type."""

    what: str


def encode(value: Any, store: Store) -> Any:
    """A setting as JSON can hold it; what JSON does not have becomes an object with one ``$``-key.

    Raises:
        RecordError: the value is of a type that no operation of the library takes as a setting.
    """
    match value:
        case np.generic():
            return {"$scalar": value.dtype.name, "value": encode(value.item(), store)}
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"$float": str(value)}
        case np.dtype():
            return {"$dtype": value.name}
        case Tensor():
            return {"$tensor": store(value._data)}
        case np.ndarray():
            return {"$array": store(value)}
        case slice():
            return {"$slice": [encode(part, store) for part in (value.start, value.stop, value.step)]}
        case Shares() | Windows() | Layout() | Labels():
            return {f"${type(value).__name__}": {name: encode(getattr(value, name), store) for name in _fields(value)}}
        case tuple() if type(value) is tuple:
            return {"$tuple": [encode(part, store) for part in value]}
        case list():
            return [encode(part, store) for part in value]
        case dict():
            return {"$dict": [[encode(k, store), encode(v, store)] for k, v in value.items()]}
        case Generator():
            return None  # what it drew is kept beside the operation
        case Lost():
            return {"$lost": value.what}
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
        case {"$float": "nan" | "inf" | "-inf" as text}:
            return float(text)
        case {"$scalar": str(name), "value": number} if name in DTYPES and _is_number(number):
            return DTYPES[name].type(decode(number, arrays))
        case {"$dtype": str(name)} if name in DTYPES:
            return DTYPES[name]
        case {"$array": str(key)} if key in arrays:
            return arrays[key]
        case {"$tensor": str(key)} if key in arrays and arrays[key].dtype in SUPPORTED:
            return Tensor(arrays[key])
        case {"$slice": [start, stop, step]}:
            return slice(decode(start, arrays), decode(stop, arrays), decode(step, arrays))
        case {"$tuple": list(parts)}:
            return tuple(decode(part, arrays) for part in parts)
        case {"$dict": list(pairs)} if all(_is_pair(pair) for pair in pairs):
            return {k: decode(v, arrays) for k, v in pairs}
        case {"$op": str(name)} if name in definitions():
            return definitions()[name]
        case {**single} if len(single) == 1 and set(single) <= _STRUCTURES.keys():
            return _structure(*single.popitem(), arrays)
        case {"$lost": str(what)}:
            return Lost(what)
        case {"$ellipsis": True}:
            return Ellipsis
    raise RecordError(f"the file holds a setting that is not understood: {str(value)[:80]}")


_STRUCTURES: dict[str, Any] = {f"${kind.__name__}": kind for kind in (Shares, Windows, Layout, Labels)}
"""What operations of the library prepare for themselves: layouts, windows, class indices."""


def _fields(kind: Any) -> tuple[str, ...]:
    return getattr(kind, "_fields", None) or kind.__slots__


def _structure(name: str, fields: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    kind = _STRUCTURES[name]
    if not isinstance(fields, dict) or sorted(fields) != sorted(_fields(kind)):
        raise RecordError(f"the file holds a {name[1:]} with other parts than {', '.join(_fields(kind))}")
    values = {field: decode(value, arrays) for field, value in fields.items()}
    if kind is not Labels:
        return kind(**values)
    found = Labels.__new__(Labels)  # its constructor derives the parts from targets; here they are given
    for field, value in values.items():
        setattr(found, field, value)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) or (isinstance(value, dict) and set(value) == {"$float"})


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], (str, int, float, type(None)))


def definition_name(op: type[Op]) -> str:
    """An operation's definition by module and class, such as ``ops.linalg:Matmul``."""
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
        if op.__module__.startswith("backlit.") and not issubclass(op, _Own):
            found[definition_name(op)] = op
    return found
