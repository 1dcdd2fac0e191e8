"""Devices: there is one, the CPU."""

from __future__ import annotations

from typing import Any

from .errors import UnsupportedError


class Device(str):
    """The name of a device, comparable with strings: ``tensor.device == "cpu"``."""

    @property
    def type(self) -> str:
        """The kind of device."""
        return str(self)


CPU = Device("cpu")


def device(name: Any = "cpu") -> Device:
    """Name a device. Only ``"cpu"`` exists."""
    if str(name) not in ("cpu", "cpu:0"):
        raise UnsupportedError(f"device {str(name)!r}: Backlit computes on the CPU; use 'cpu'.")
    return CPU
