"""The ``backlit`` command. Commands import what they need when they run, so that ``--help`` and errors are quick."""

from .app import main

__all__ = ["main"]
