"""The IDX format, in which MNIST and its successors are published.

A file is a magic number, the length of each dimension, and the values in row-major order, all big-endian:

    00 00 TT DD     TT: the type of the values, DD: the number of dimensions
    NN NN NN NN     DD times, the length of a dimension
    ...             the values

Source: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits", section "File formats".
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError, locate, unreadable

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(text).newbyteorder("="): code for code, text in _DTYPES.items()}
_GZIP = b"\x1f\x8b"
_MAX_DIMENSIONS = 64  # NumPy's own limit; the format allows 255
_CHUNK = 1 << 20

_LOOKALIKES = {
    b"PK": "it is a zip archive; unpack it first",
    b"<": "it looks like a web page, so the download failed; download the file again",
    b"ver": "it looks like a Git LFS pointer; fetch the real file with 'git lfs pull'",
    b"\x93NUM": "it is a NumPy file; read it with numpy.load",
    _GZIP: "it was compressed twice; unpack it once with gunzip",
}


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array in an IDX file, plain or compressed with gzip (told by its content, not by its name).

    Args:
        path: the file; a leading `~` stands for the home folder.

    Returns:
        An array of the shape in the header and of dtype uint8, int8, int16, int32, float32 or float64, in the byte
        order of this machine.

    Raises:
        DataError: the file is missing, is no IDX file, is damaged, or is shorter or longer than its header says.
            A header that claims more than the file holds is refused before memory is taken for it.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name, "numbers.idx.gz")
        >>> write_idx(path, np.arange(6, dtype=np.int16).reshape(2, 3))
        >>> read_idx(path)
        array([[0, 1, 2],
               [3, 4, 5]], dtype=int16)
        >>> folder.cleanup()
    """
    import gzip

    place = locate(path)
    try:
        with open(place, "rb") as file:
            compressed = file.peek(2)[:2] == _GZIP
            return _read(gzip.GzipFile(fileobj=file) if compressed else file, place)
    except DataError:
        raise
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{place}: the gzip data are damaged ({error}); download or copy the file again.") from error
    except (OSError, ValueError) as error:
        raise unreadable(place, error) from error


def write_idx(path: str | os.PathLike[str], array: ArrayLike) -> None:
    """Write an array as an IDX file, compressed where the path ends in `.gz`.

    An existing file is replaced only once the new one is complete. The same array gives the same bytes.

    Args:
        path: the file to write; a leading `~` stands for the home folder.
        array: uint8, int8, int16, int32, float32 or float64, of any shape.

    Raises:
        DataError: the dtype has no IDX code, a dimension exceeds 2³²-1, or the file cannot be written.

    Example:
        >>> write_idx("labels.idx", np.array([1, 2, 3], dtype=np.int64))
        Traceback (most recent call last):
            ...
        backlit.datasets.errors.DataError: labels.idx: IDX cannot hold int64;
        convert with array.astype to one of uint8, int8, int16, int32, float32, float64.
    """
    import gzip

    place = locate(path)
    content = _encode(np.asarray(array), place)
    if place.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    unfinished = Path(f"{place}.part")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, place)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            unfinished.unlink()
        raise DataError(f"{place}: the file cannot be written ({error}); check the folder and its rights.") from error


def _encode(array: NDArray[Any], place: Path) -> bytes:
    code = _CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        names = ", ".join(dtype.name for dtype in _CODES)
        raise DataError(f"{place}: IDX cannot hold {array.dtype}; convert with array.astype to one of {names}.")
    if any(length >= 1 << 32 for length in array.shape):
        raise DataError(f"{place}: IDX cannot hold shape {array.shape}; split dimensions longer than 2**32 - 1.")
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(_DTYPES[code]).tobytes()


def _read(stream: _Readable, place: Path) -> NDArray[Any]:
    dtype, shape = _read_header(stream, place)
    size = math.prod(shape) * dtype.itemsize
    values = _take(stream, size)
    if len(values) < size:
        raise DataError(
            f"{place}: the file is cut short: shape {_brief(shape)} needs {size} bytes of values and {len(values)} "
            "are there; download or copy it again."
        )
    # Asking for one byte more also makes gzip compare its checksum.
    if stream.read(1):
        raise DataError(f"{place}: bytes follow the {size} that shape {_brief(shape)} needs; get an intact copy.")
    try:
        array = np.frombuffer(values, dtype).reshape(shape)
    except ValueError as error:  # a length of 0 beside lengths whose product no array can have
        raise DataError(f"{place}: the shape {_brief(shape)} is not usable; get an intact copy.") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(stream: _Readable, place: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = _take(stream, 4)
    if magic and (len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES):
        raise DataError(
            f"{place}: this is no IDX file (it begins with bytes {magic.hex(' ')}); {_advice(bytes(magic))}."
        )
    if not magic:
        raise DataError(f"{place}: the file is empty; download or copy it again.")
    dimensions = magic[3]
    if dimensions > _MAX_DIMENSIONS:
        raise DataError(
            f"{place}: the header claims {dimensions} dimensions (at most {_MAX_DIMENSIONS} work); get an intact copy."
        )
    lengths = _take(stream, 4 * dimensions)
    if len(lengths) < 4 * dimensions:
        raise DataError(f"{place}: the file ends inside its header; download or copy it again.")
    return np.dtype(_DTYPES[magic[2]]), struct.unpack(f">{dimensions}I", lengths)


def _advice(start: bytes) -> str:
    for prefix, advice in _LOOKALIKES.items():
        if start.startswith(prefix):
            return advice
    return "an IDX file begins with 00 00, a type from 08 to 0e and the number of dimensions, so check the path"


def _brief(shape: tuple[int, ...]) -> str:
    return str(shape) if len(shape) <= 6 else f"with {len(shape)} dimensions"


def _take(stream: _Readable, size: int) -> bytearray:
    """Up to `size` bytes, in chunks: a header's claim must not decide how much memory is taken."""
    taken = bytearray()
    while len(taken) < size:
        chunk = stream.read(min(size - len(taken), _CHUNK))
        if not chunk:
            break
        taken += chunk
    return taken
