"""Tools beside the mathematics: :mod:`backlit.utils.data`."""

from . import data

__all__ = ["data"]
