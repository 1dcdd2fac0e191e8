"""What a program means, said in NumPy: the yardstick for passes and native code, and slow."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...numerics import quiet
from .primitives import MEANING
from .program import Instruction, Program

Array = np.ndarray

_REDUCTIONS = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


class AssumptionError(Exception):
    """A program met values that it was not made for."""


def neutral(kind: str, dtype: Any) -> Any:
    """What a reduction gives where there is nothing to reduce."""
    if kind in ("sum", "prod"):
        return dtype.type(kind == "prod")
    if dtype.kind == "f":
        return dtype.type(-np.inf if kind == "max" else np.inf)
    limits = np.iinfo(dtype)
    return dtype.type(limits.min if kind == "max" else limits.max)


def interpret(program: Program, arrays: list[Any]) -> tuple[list[Any], list[tuple[int, Any]]]:
    """Run a program on arrays for its inputs, which stay as they are.

    Returns:
        The outputs, and pairs of an input's position and what was to be written into it.
    """
    known: dict[Any, Any] = dict(zip(program.inputs, arrays, strict=True))
    with quiet():
        for instruction in program.body:
            made = evaluate(instruction, [known[v] for v in instruction.operands])
            known.update(zip(instruction.results, made, strict=True))
    position = {value: i for i, value in enumerate(program.inputs)}
    return [known[v] for v in program.outputs], [(position[t], known[v]) for t, v in program.writes]


def evaluate(instruction: Instruction, operands: list[Any]) -> tuple[Any, ...]:
    """The results of one instruction."""
    opcode, params, results = instruction.opcode, instruction.params, instruction.results
    if opcode == "extern":
        return params["call"](*operands)
    if opcode == "require":
        if operands[0] != 0:
            raise AssumptionError(f"{instruction!r} does not hold")
        return ()
    if opcode == "leaf":
        return params["meaning"](*operands)
    result = results[0]
    meaning = MEANING.get(opcode)
    out = _OTHERS[opcode](operands, params, result) if meaning is None else meaning(*operands)
    return (np.broadcast_to(np.asarray(out, result.dtype), result.shape),)


def _range(start: int, step: int, count: int) -> slice:
    """``count`` positions from ``start`` on. A slice cannot name a stop below 0."""
    stop = start + step * count
    return slice(start, stop if stop >= 0 else None, step)


_OTHERS: dict[str, Any] = {
    "constant": lambda x, p, v: np.asarray(p["value"], v.dtype),
    "cast": lambda x, p, v: x[0].astype(v.dtype),
    "iota": lambda x, p, v: np.arange(v.shape[0]),
    "copy": lambda x, p, v: x[0],
    "move": lambda x, p, v: x[0],
    "reshape": lambda x, p, v: x[0].reshape(v.shape),
    "permute": lambda x, p, v: x[0].transpose(p["dims"]),
    "cat": lambda x, p, v: np.concatenate(x, axis=p["dim"]),
    "slice": lambda x, p, v: x[0][tuple(map(_range, p["starts"], p["steps"], v.shape))],
    "expand": lambda x, p, v: np.broadcast_to(x[0], v.shape),
    "reduce": lambda x, p, v: _REDUCTIONS[p["kind"]].reduce(
        x[0], axis=p["axes"], keepdims=True, initial=neutral(p["kind"], v.dtype)
    ),
    "matmul": lambda x, p, v: np.matmul(*x),
}
