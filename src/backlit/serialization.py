"""Saving and loading nested containers of tensors: safetensors for the numbers, JSON for the structure.

A file is an ordinary safetensors file. A flat ``state_dict`` keeps its names, so that any safetensors reader sees the
weights; the structure around them (nesting, numbers, strings) is JSON in the file's metadata, with a checksum over
everything. Loading parses; it never runs code. A file appears under its name complete or not at all.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .dtypes import SUPPORTED
from .errors import CheckpointError
from .tensor import Tensor

File = str | os.PathLike[str] | BinaryIO

TEMPORARY = ".tmp"
"""The ending of a file that is being written; one that lies about was left by a process that was killed."""

_FORMAT = "backlit structure 1"
_KEY = "backlit"
_DAMAGED = "the file is damaged (what it holds does not match its checksum)"
_MARKS = ("$tensor", "$array", "$number", "$tuple", "$dict", "$float", "$bytes")


def save(obj: Any, f: File) -> None:
    """Write tensors, and dicts, lists and tuples of them, to a file; :func:`load` gives an equal object back.

    Args:
        obj: a tensor, NumPy array, number, string, bytes or None, or a dict (keys: strings, numbers, None), list or
            tuple of such values, nested to any depth. Save ``model.state_dict()``, not the model: a model is code.
        f: a path, written atomically (the old file stays until the new one is complete), or a binary file object.

    Raises:
        CheckpointError: something in ``obj`` is not data, or the file cannot be written.

    Tensors come back as constants without history, stored once for each place they appear in.

    >>> import backlit as bl, io
    >>> file = io.BytesIO()
    >>> save({"weight": bl.ones(2), "epoch": 3}, file)
    >>> load(io.BytesIO(file.getvalue()))
    {'weight': tensor([1., 1.]), 'epoch': 3}
    """
    content = dumps(obj)
    if hasattr(f, "write"):
        f.write(content)
    else:
        write_atomically(Path(f), content)


def load(f: File, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """Read what :func:`save` wrote, or a safetensors file of another program (as a dict of tensors).

    Args:
        f: a path, or a binary file object.
        map_location: None or ``"cpu"``; nothing else exists.
        weights_only: accepted for PyTorch's sake; loading never runs code, whatever it is set to.

    Raises:
        CheckpointError: there is no such file, or it is damaged, cut short, or of another kind.
    """
    if map_location is not None:
        from .tensor import device

        device(map_location)
    if hasattr(f, "read"):
        return loads(f.read(), getattr(f, "name", "the file"))
    path = Path(f)
    return loads(read_bytes(path), str(path))


def dumps(obj: Any) -> bytes:
    """The bytes that :func:`save` writes."""
    from safetensors.numpy import save as pack

    writer = _Writer()
    tree = writer.encode(obj, "")
    about = {"format": _FORMAT, "checksum": _checksum(tree, writer.arrays), "tree": tree}
    # One entry only: safetensors writes several in an order that changes from run to run.
    return pack(writer.arrays, {_KEY: json.dumps(about, separators=(",", ":"), allow_nan=False)})


def loads(content: bytes, name: str = "the file") -> Any:
    """Read the bytes of a saved file; ``name`` is what error messages call it."""
    arrays, metadata = unpack(content, name)
    if "backlit-record" in metadata:
        raise CheckpointError(f"{name}: this is the record of a computation; read it with backlit.load_record.")
    if _KEY not in metadata and not any(_FORMAT in value or '"checksum"' in value for value in metadata.values()):
        return {key: Tensor(_storable(array, key, name)) for key, array in arrays.items()}
    try:
        about = json.loads(metadata[_KEY])
        whole = about["format"] == _FORMAT and about["checksum"] == _checksum(about["tree"], arrays)
        found = _decode(about["tree"], arrays) if whole else None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{name}: {_DAMAGED}; use another copy.") from error
    if not whole:
        raise CheckpointError(f"{name}: {_DAMAGED}; use another copy.")
    return found


class _Writer:
    """Turns an object into JSON, and collects its arrays under readable names."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def encode(self, obj: Any, path: str) -> Any:
        if obj is None or isinstance(obj, bool | int | str):
            return obj
        if isinstance(obj, float):
            return obj if math.isfinite(obj) else {"$float": repr(obj)}
        if isinstance(obj, Tensor):
            return {"$tensor": self._keep(obj._data, path)}
        if isinstance(obj, np.ndarray | np.generic):
            return {"$number" if isinstance(obj, np.generic) else "$array": self._keep(np.asarray(obj), path)}
        if isinstance(obj, bytes | bytearray):
            return {"$bytes": self._keep(np.frombuffer(obj, np.uint8), path)}
        if isinstance(obj, list):
            return self._encode_items(obj, path)
        if isinstance(obj, tuple):
            return {"$tuple": self._encode_items(obj, path)}
        if isinstance(obj, Mapping):
            return self._encode_mapping(obj, path)
        raise CheckpointError(
            f"save: {path or 'the object'} is a {type(obj).__name__}, which is not data; "
            "save tensors, numbers and strings, and dicts, lists and tuples of them (of a model, its state_dict())."
        )

    def _encode_items(self, items: Any, path: str) -> list[Any]:
        return [self.encode(item, f"{path}.{i}" if path else str(i)) for i, item in enumerate(items)]

    def _encode_mapping(self, obj: Mapping[Any, Any], path: str) -> dict[str, Any]:
        encoded = {key: self.encode(value, f"{path}.{key}" if path else str(key)) for key, value in obj.items()}
        if all(isinstance(key, str) and not key.startswith("$") for key in encoded):
            return encoded
        return {"$dict": [[self.encode(key, path), value] for key, value in encoded.items()]}

    def _keep(self, array: np.ndarray, path: str) -> str:
        if array.dtype.newbyteorder("=") not in SUPPORTED | _EXTRA:
            raise CheckpointError(f"save: {path or 'the object'} holds {array.dtype}, which cannot be stored.")
        name = base = path or "value"
        count = 1
        while name in self.arrays or name == "__metadata__":
            count += 1
            name = f"{base}#{count}"
        self.arrays[name] = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
        return name


_EXTRA = frozenset({np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.uint64)})


def _decode(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(node, list):
        return [_decode(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    mark = next(iter(node)) if len(node) == 1 else None
    if mark not in _MARKS:
        return {key: _decode(value, arrays) for key, value in node.items()}
    value = node[mark]
    match mark:
        case "$tensor":
            return Tensor(arrays[value])
        case "$array":
            return arrays[value]
        case "$number":
            return arrays[value][()]
        case "$bytes":
            return arrays[value].tobytes()
        case "$float":
            return float(value)
        case "$tuple":
            return tuple(_decode(item, arrays) for item in value)
        case _:
            return {_decode(key, arrays): _decode(item, arrays) for key, item in value}


def _checksum(tree: Any, arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over the structure and over every array's name, dtype, shape and bytes."""
    import hashlib

    digest = hashlib.sha256(json.dumps(tree).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def unpack(content: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file."""
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        arrays = {key: _array(entry, key, name) for key, entry in entries}
        return arrays, header.get("__metadata__") or {}
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{name}: {_unreadable(content)}.") from error


def _unreadable(content: bytes) -> str:
    """What a file is that safetensors cannot read, and what to do."""
    if content.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return (
            "this is a pickle (as torch.save writes them), and loading it would run code; "
            "convert it with safetensors.torch.save_file where it was made"
        )
    return f"the file is {'damaged, cut short, or not a safetensors file' if content else 'empty'}; use another copy"


_CODES = {"F": "float", "I": "int", "U": "uint"}


def _array(entry: dict[str, Any], key: str, name: str) -> np.ndarray:
    code = entry["dtype"]
    kind = "bool" if code == "BOOL" else _CODES.get(code[:1], "") + code[1:]
    try:
        dtype = np.dtype(kind)
    except TypeError as error:
        raise CheckpointError(f"{name}: {key} is stored as {code}, which Backlit lacks; convert it first.") from error
    return np.frombuffer(bytearray(entry["data"]), dtype).reshape(entry["shape"])


def _storable(array: np.ndarray, key: str, name: str) -> np.ndarray:
    if array.dtype not in SUPPORTED:
        raise CheckpointError(f"{name}: {key} is {array.dtype}, which Backlit's tensors lack; convert it first.")
    return array


def read_bytes(path: Path) -> bytes:
    """The contents of a file, or a :class:`CheckpointError` that says why not."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such file; check the path.") from error
    except IsADirectoryError as error:
        raise CheckpointError(f"{path}: this is a folder; give the path of a file in it.") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: the file cannot be read ({error}).") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that, whatever happens, its name holds the old contents or the new, complete and on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (OSError, ValueError) as error:
        reason = "the folder does not exist" if isinstance(error, FileNotFoundError) else error
        raise CheckpointError(f"{path}: the file cannot be written ({reason}).") from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure; folders cannot be opened for this on Windows, where it is not needed."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
