"""Small pictures as PNG data URIs, so that a page needs no other file."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def data_uri(pixels: NDArray[Any]) -> str:
    """``data:image/png;base64,...`` for uint8 pixels: (H, W) grey or (H, W, 4) red, green, blue, opacity."""
    payload = base64.b64encode(encode(pixels)).decode()
    return f"data:image/png;base64,{payload}"


def encode(pixels: NDArray[Any]) -> bytes:
    """A PNG file (ISO/IEC 15948): 8 bits a channel, no filter, one compressed block."""
    height, width = pixels.shape[:2]
    colour_type = 0 if pixels.ndim == 2 else 6
    rows = np.ascontiguousarray(pixels, dtype=np.uint8).reshape(height, -1)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(filtered, 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
