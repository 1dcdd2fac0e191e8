"""Records in files.

A record file is one ordinary safetensors file: the record's arrays, and among them ``record.json``, the bytes of the
JSON document of docs/record.md. One file, because that can be replaced in one step; the document as an array rather
than as metadata, because safetensors allows 100 MB of metadata and long recordings have more. The metadata holds
format, version and a checksum. Loading parses and checks; no code is run, and only operations of the library can be
named.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CheckpointError, RecordError
from ...serialization import read_bytes, unpack, write_atomically
from .checked import Part, parse
from .model import Record
from .numbers import Kept
from .reading import Beside, from_document
from .schema import FORMAT, VERSION, to_dict
from .settings import DTYPES

DOCUMENT = "record.json"
"""The array that holds the JSON document."""


def save_record(rec: Record, path: str | os.PathLike[str]) -> None:
    """Write a record to a file; the file appears under its name complete or not at all.

    Raises:
        RecordError: the file cannot be written, or an operation has a setting that no file can hold.
    """
    try:
        write_atomically(Path(path), dumps(rec))
    except CheckpointError as error:
        raise RecordError(str(error)) from error.__cause__


def load_record(path: str | os.PathLike[str], own: Mapping[str, Any] | None = None) -> Record:
    """Read a record that :meth:`Record.save` wrote. It answers everything that the original did; no code is run.

    Args:
        path: the file.
        own: the user's own ``autograd.Function`` classes (and ``custom_vjp`` functions) by name, which ``rerun`` needs
            where the recorded program used such. Without them the record can be read and asked.

    Raises:
        RecordError: there is no such file, it is damaged, or it is of another kind or a newer version.

    >>> import backlit as bl, tempfile, os
    >>> w = bl.tensor(3.0, requires_grad=True)
    >>> rec = bl.explain(w * w)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rec.save(os.path.join(folder, "run.safetensors"))
    ...     again = load_record(os.path.join(folder, "run.safetensors"))
    >>> again.node("w").upstream, again.rerun(values={"w": 5.0}).node("w").upstream
    (array(6., dtype=float32), array(10., dtype=float32))
    """
    try:
        content = read_bytes(Path(path))
    except CheckpointError as error:
        raise RecordError(str(error)) from error.__cause__
    return loads(content, str(path), own)


def dumps(rec: Record) -> bytes:
    """The bytes of a record file."""
    from safetensors.numpy import save as pack

    arrays = _Arrays()
    document = to_dict(rec, arrays.numbers, arrays.store)
    document["layouts"] = arrays.layouts
    text = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    held = {DOCUMENT: np.frombuffer(text, np.uint8), **arrays.held}
    about = {"format": FORMAT, "version": VERSION, "checksum": _checksum(held)}
    return pack(held, {FORMAT: json.dumps(about)})


def loads(content: bytes, name: str = "the file", own: Mapping[str, Any] | None = None) -> Record:
    """The record in the bytes of a file; ``name`` is what error messages call it."""
    try:
        arrays, metadata = unpack(content, name)
    except CheckpointError as error:
        raise RecordError(str(error)) from error.__cause__
    if FORMAT not in metadata:
        raise RecordError(f"{name}: this is not a record; if it holds weights, read it with backlit.load.")
    try:
        _check_about(parse(metadata[FORMAT].encode()), arrays)
        document = parse(arrays.pop(DOCUMENT).tobytes())
        _check_about(document)
        _lay_out(document["layouts"], arrays)
        return from_document(document, Beside(arrays, own or {}))
    except (RecordError, RecursionError, OverflowError, MemoryError) as error:
        reason = str(error).rstrip(".") if isinstance(error, RecordError) else "it is nested too deeply, or too large"
        raise RecordError(f"{name}: the record cannot be read: {reason}. Use another copy of the file.") from error


class _Arrays:
    """Collects arrays under keys, each once, with the order of axes in which its memory lies."""

    def __init__(self) -> None:
        self.held: dict[str, np.ndarray] = {}
        self.layouts: dict[str, list[int]] = {}
        self._keys: dict[int, tuple[np.ndarray, str]] = {}

    def numbers(self, kept: Kept) -> dict[str, Any]:
        """An array by its key, or statistics in its place."""
        if kept.array is None:
            return kept.to_dict()
        return {"shape": list(kept.shape), "dtype": kept.dtype.name, "array": self.store(kept.array)}

    def store(self, array: np.ndarray) -> str:
        """Take an array; sums over it must later run in the same order, so its layout is kept."""
        known = self._keys.get(id(array))
        if known is not None:
            return known[1]
        dtype = array.dtype.newbyteorder("=")
        if dtype.name not in DTYPES:
            raise RecordError(f"an array of {array.dtype} cannot be written to a record file.")
        key = f"a{len(self.held)}"
        axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
        if axes != list(range(array.ndim)):
            self.layouts[key] = axes
        self.held[key] = np.ascontiguousarray(array.transpose(axes), dtype).reshape([array.shape[i] for i in axes])
        self._keys[id(array)] = (array, key)
        return key


def _lay_out(layouts: Part, arrays: dict[str, np.ndarray]) -> None:
    """Give arrays back the order of axes that they had."""
    if not isinstance(layouts.value, dict):
        raise layouts.wrong("an object")
    for key in layouts.value:
        axes = [axis.whole() for axis in layouts[key]]
        if key not in arrays or sorted(axes) != list(range(arrays[key].ndim)):
            raise layouts[key].wrong("the axes of an array in the file, each once")
        arrays[key] = arrays[key].transpose(np.argsort(axes))


def _check_about(about: Part, arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Hold format and version, and with ``arrays`` the checksum, against what this library reads."""
    if about["format"].text() != FORMAT:
        raise about["format"].wrong(FORMAT)
    version = about["version"].whole()
    if version > VERSION:
        raise RecordError(f"it is of version {version}, and this Backlit reads up to {VERSION}; update Backlit")
    if version < 1:
        raise about["version"].wrong("1 or more")
    if arrays is None:
        return
    if DOCUMENT not in arrays or arrays[DOCUMENT].dtype != np.uint8:
        raise RecordError(f"it has no {DOCUMENT}")
    if about["checksum"].text() != _checksum(arrays):
        raise RecordError("it is damaged (what it holds does not match its checksum)")


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over every array's name, dtype, shape and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


__all__ = ["load_record", "save_record"]
