"""Compiled programs that are found on disk by the program's own text: no pass runs, and no memory is planned.

What is kept of one is its :class:`~.frame.Frame`, as JSON, with the name of its code among the cache's entries. The
rest is worked out when somebody asks for it (``explain``, ``plan``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..codegen.engine import NativeCode
from ..ir.layout import Strides
from ..ir.program import Program, Value
from ..ir.text import Unwritable, text_of
from ..runtime.disk_cache import CODE, STEP, keep, kept, key_of
from .frame import Frame

if TYPE_CHECKING:
    from .build import Built


class Stored:
    """A compiled program of which the frame was found."""

    def __init__(self, frame: Frame, build: Callable[[], Built]) -> None:
        self.frame = frame
        self._build = build
        self._built: Built | None = None

    def whole(self) -> Built:
        """Everything there is to know about it."""
        if self._built is None:
            self._built = self._build()
        return self._built


def found_or_built(
    program: Program, strides: dict[Value, Strides], *, clocked: bool = False, threads: int = 1
) -> Built | Stored:
    """A compiled program, from the disk if it was compiled before; arguments as for :func:`.build.build`."""
    from .build import build

    try:
        order = [strides.get(value) for value in program.inputs]
        key = key_of(f"step {threads} {clocked} {np.__version__} {order} {text_of(program)}")
    except Unwritable:
        return build(program, strides, clocked=clocked, threads=threads)
    make = partial(build, program, strides, clocked=clocked, threads=threads)
    frame = _found(key, program)
    if frame is not None:
        return Stored(frame, make)
    built = make()
    if all(isinstance(part, str) for part in built.recipe.sequence):
        keep(key, STEP, json.dumps({**_facts(built.frame), "code": key_of(built.recipe.text)}).encode())
    return built


_FACTS: dict[str, type] = {"arena": int, "regions": int, "shared": bool, "sequence": list}
"""What is written down of a frame."""


def _facts(frame: Frame) -> dict[str, Any]:
    return {name: getattr(frame, name) for name in _FACTS}


def _found(key: str, program: Program) -> Frame | None:
    """The frame under a key; None where it or its code is not there or not whole."""
    entry = kept(key, STEP)
    facts = {} if entry is None else json.loads(entry)
    if any(type(facts.get(name)) is not kind for name, kind in _FACTS.items()):
        return None
    code = kept(str(facts.pop("code", "")), CODE)
    if code is None:
        return None
    outputs = [(v.shape, v.dtype) for v in program.outputs]
    return Frame(len(program.inputs), outputs, **facts, code=NativeCode(code, facts["sequence"]))


__all__ = ["Stored", "found_or_built"]
