"""A built program that can be called with arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...memory import LINE, address, empty
from ...numerics import quiet
from ...source import describe
from ..assemble.frame import CONTROL_SLOT, FIRST_INPUT, STATUS_SLOT
from ..ir.program import Instruction, Value
from .pool import threads
from .scratch import Scratch

if TYPE_CHECKING:
    from ..assemble.build import Built
    from ..assemble.stored import Stored

Array = np.ndarray

SMALL = 4096
"""Bytes up to which copying an output is quicker than asking for the address of new memory."""


class Executable:
    """Native code with its table of addresses and its arena.

    ``table`` holds the address of each buffer. Whoever calls keeps the entries of inputs up to date (:meth:`bind`).
    """

    def __init__(self, program: Built | Stored, scratch: Scratch | None = None) -> None:
        """``scratch``: where the arena lies, shared with others; without it the program has its own."""
        self._program = program
        self.frame = frame = program.frame
        self.first_input = FIRST_INPUT
        self.first_output = frame.first_output
        self._after_outputs = frame.first_output + len(frame.outputs)
        self.table = (ctypes.c_void_p * (frame.clock_slot + 1))()
        self.status = ctypes.c_int64(0)
        self.table[STATUS_SLOT] = ctypes.addressof(self.status)
        self.scratch = scratch or Scratch()
        self.scratch.reserve(frame.arena)
        self.find_arena()
        self.clock = np.zeros(frame.regions + 1, np.int64)
        self.table[frame.clock_slot] = address(self.clock)
        self.arrays: list[Any] = [None] * (frame.clock_slot + 1)
        sizes = [prod(shape) * dtype.itemsize if dtype is not None else 0 for shape, dtype in frame.outputs]
        self._small = [i for i, size in enumerate(sizes) if size <= SMALL]
        self._large = [i for i, size in enumerate(sizes) if size > SMALL]
        for i in self._small:
            self._place_output(i, np.empty(*frame.outputs[i]))
        self._objects: dict[Value, Any] = {}
        pointer = ctypes.cast(self.table, ctypes.c_void_p)
        self._parts = [self._part(part, pointer) for part in frame.sequence]

    @property
    def alone(self) -> tuple[Callable[[Any], Any], Any, Array] | None:
        """Where the program is one piece of native code for one thread, and has one output, a small one: the code, its
        argument, and where it leaves the output; else None."""
        native = isinstance(self.frame.sequence[0], str)
        if len(self._parts) != 1 or not native or self.frame.shared or self._large or len(self._small) != 1:
            return None
        return *self._parts[0], self.arrays[self.first_output]

    @property
    def built(self) -> Built:
        """Everything there is to know about the program."""
        return self._program.whole()

    def find_arena(self) -> None:
        """Others may have asked for more memory, and the arena is somewhere else since."""
        self.arena = self.scratch.block
        self.table[self.frame.arena_slot] = address(self.arena)

    def bind(self, i: int, array: Array) -> None:
        """Input ``i`` is read from (and written to) this array from now on."""
        slot = self.first_input + i
        self.arrays[slot] = array
        self.table[slot] = address(array)

    def surround(self, mark: int) -> Array:
        """Fill the bytes next to the arena's end with a mark, for tests that watch them; returns those bytes."""
        block = self.arena.base
        assert isinstance(block, np.ndarray)
        begin = address(self.arena) - address(block) + self.arena.size
        block[begin : begin + LINE] = mark
        return block[begin : begin + LINE]

    def outputs(self) -> list[Array] | None:
        """Compute, and give the outputs as arrays that no later run touches; None where an assumption of the program
        failed, and nothing was written.

        Large outputs get new memory, small ones are copied out of a place of their own.
        """
        for i in self._large:
            shape, dtype = self.frame.outputs[i]
            self._place_output(i, empty(shape, dtype))
        if not self.run():
            return None
        found = self.arrays[self.first_output : self._after_outputs]
        for i in self._small:
            found[i] = found[i].copy()
        return found

    def _place_output(self, i: int, array: Array) -> None:
        slot = self.first_output + i
        self.arrays[slot] = array
        self.table[slot] = address(array)

    def run(self) -> bool:
        """Compute; false where an assumption of the program failed, and nothing was written."""
        if self.arena is not self.scratch.block:
            self.find_arena()
        if not self.frame.shared:
            return self._run()
        with threads() as control:
            self.table[CONTROL_SLOT] = control
            return self._run()

    def _run(self) -> bool:
        for part, argument in self._parts:
            part(argument)
            if self.status.value:
                self.status.value = 0
                return False
        return True

    def _part(self, part: str | Instruction, table: Any) -> tuple[Callable[[Any], Any], Any]:
        if isinstance(part, str):
            return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.frame.code[part]), table
        return self._call, part

    def _call(self, instruction: Instruction) -> None:
        """Call a Python function on arrays that show the operands, and copy its results to their places."""
        results = _called(instruction, [self._shown(v) for v in instruction.operands])
        for value, result in zip(instruction.results, results, strict=True):
            if value.dtype is None:
                self._objects[value] = result
            elif value in self.built.places:
                self._shown(value)[...] = result

    def _shown(self, value: Value) -> Any:
        if value.dtype is None:
            return self._objects[value]
        layout = self.built.layouts[value]
        slot, offset = self.built.places[layout.base]
        size = value.dtype.itemsize
        strides = tuple(s * size for s in layout.strides)
        if slot == self.frame.arena_slot:
            memory = self.arena
            return np.ndarray(value.shape, value.dtype, memory, offset + layout.offset * size, strides)
        held = self.arrays[slot]
        start = held if not layout.offset else _at(held, layout.offset)
        return np.lib.stride_tricks.as_strided(start, value.shape, strides)


def _called(instruction: Instruction, operands: list[Any]) -> Any:
    """The results of a Python function; its errors say where the program asks for it."""
    call = instruction.params["call"]
    try:
        with quiet():
            return call(*operands)
    except Exception as error:
        name = getattr(call, "__name__", type(call).__name__)
        error.add_note(f"Raised by {name}, which the compiled function calls for {describe(instruction.mark)}")
        raise


def _at(array: Array, offset: int) -> Array:
    """The memory of an array from an element on, counted as it lies."""
    flat = np.lib.stride_tricks.as_strided(array, (1,), (array.itemsize,))
    moved = flat.__array_interface__
    return np.asarray(_Memory({**moved, "data": (moved["data"][0] + offset * array.itemsize, False)}, array))


class _Memory:
    """Memory described to NumPy, and the array that owns it."""

    def __init__(self, interface: dict[str, Any], owner: Array) -> None:
        self.__array_interface__ = interface
        self.owner = owner
