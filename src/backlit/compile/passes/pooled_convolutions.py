"""A convolution whose ReLU is max-pooled: one kernel forwards, and one for all gradients.

Behind a 2×2 maximum and a ReLU at most one upstream gradient in four is not zero, and the kernels compute with those
only. What is looked for is the shape of the program, not a network: a convolution with a bias whose result goes through
``max(·, 0)`` into a max pooling with windows side by side, and nowhere else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...ops.max_pooling import MaxPool
from ..codegen.dense_pooled_convolution import PooledConvolution
from ..ir.program import Instruction, Program, Value
from ..leaves.convolution import Convolve, InputGradient, WeightGradient
from ..leaves.leaf import Leaf
from ..leaves.pooled_convolution import ConvolveAndPool, ConvolveAndPoolBack

Array = np.ndarray


class _Forward(NamedTuple):
    convolution: Instruction
    relu: Instruction
    pooling: Instruction
    spec: PooledConvolution


class _Backward(NamedTuple):
    pooling: Instruction
    gate: list[Instruction]
    dy: Value
    dx: Instruction | None
    dw: Instruction
    dbias: Instruction


def with_pooled_convolutions(program: Program) -> Program:
    """The program with every such convolution computed by one kernel each way."""
    search = _Search(program)
    for pooling in program.body:
        forward = search.forward(pooling)
        if forward is not None:
            backward = search.backward(forward)
            if backward is not None or not search.users(pooling.results[1]):
                program = _replaced(program, forward, backward)
                search = _Search(program)
    return program


class _Search:
    def __init__(self, program: Program) -> None:
        self.makers = program.makers()
        self.uses = program.uses()
        self.results = set(program.results())

    def users(self, value: Value) -> list[Instruction]:
        return self.uses.get(value, [])

    def maker(self, value: Value, opcode: str) -> Instruction | None:
        found = self.makers.get(value)
        return found if found is not None and found.opcode == opcode else None

    def is_zero(self, value: Value) -> bool:
        found = self.maker(value, "constant")
        return found is not None and found.params["value"] == 0

    def leaf(self, instruction: Instruction | None, kind: type[Leaf]) -> Any:
        if instruction is None or instruction.opcode != "leaf":
            return None
        leaf = instruction.params["leaf"]
        return leaf if isinstance(leaf, kind) else None

    def forward(self, pooling: Instruction) -> _Forward | None:
        call = pooling.params.get("call")
        if pooling.opcode != "extern" or getattr(call, "op", None) is not MaxPool or len(pooling.results) != 2:
            return None
        relu = self.maker(pooling.operands[0], "maximum")
        if relu is None or not self.is_zero(relu.operands[1]):
            return None
        convolution = self.maker(relu.operands[0], "leaf")
        leaf = self.leaf(convolution, Convolve)
        inner = {relu.operands[0], relu.result}
        if convolution is None or leaf is None or not leaf.bias or leaf.spec.groups != 1 or inner & self.results:
            return None
        windows = call.params["windows"]  # type: ignore[union-attr]
        plain = tuple(windows.padding) == (0, 0) == tuple(d - 1 for d in windows.dilation)
        if not plain or windows.kernel != windows.stride or self.users(relu.operands[0]) != [relu]:
            return None
        spec = PooledConvolution(leaf.spec, tuple(windows.kernel))
        fits = spec.shape == pooling.results[0].shape and np.prod(spec.pool) <= 254
        return _Forward(convolution, relu, pooling, spec) if fits else None

    def backward(self, forward: _Forward) -> _Backward | None:
        pooled = self.users(forward.pooling.results[1])
        if len(pooled) != 1 or pooled[0].opcode != "extern" or len(pooled[0].operands) != 2:
            return None
        gates = self.users(pooled[0].result)
        if len(gates) != 1 or gates[0].opcode != "where" or not self.is_zero(gates[0].operands[2]):
            return None
        open_ = self.maker(gates[0].operands[0], "gt")
        if open_ is None or open_.operands[0] is not forward.relu.result or not self.is_zero(open_.operands[1]):
            return None
        others = [u for u in self.users(forward.relu.result) if u not in (forward.pooling, open_)]
        if others or self.users(open_.result) != [gates[0]]:
            return None
        return self._gradients(pooled[0], [open_, gates[0]])

    def _gradients(self, pooling: Instruction, gate: list[Instruction]) -> _Backward | None:
        dy = gate[-1].result
        kinds: dict[str, Instruction] = {}
        for user in self.users(dy):
            if self.leaf(user, InputGradient):
                kinds["dx"] = user
            elif self.leaf(user, WeightGradient):
                kinds["dw"] = user
            elif user.opcode == "reduce" and user.params == {"kind": "sum", "axes": (0, 2, 3)}:
                kinds["dbias"] = user
            else:
                return None
        if len(kinds) != len(self.users(dy)) or not {"dw", "dbias"} <= set(kinds) or dy in self.results:
            return None
        return _Backward(pooling, gate, dy, kinds.get("dx"), kinds["dw"], kinds["dbias"])


def _replaced(program: Program, forward: _Forward, backward: _Backward | None) -> Program:
    """The program with the kernels in the places of the two poolings."""
    gone = {forward.convolution, forward.relu, forward.pooling}
    spec, pooled = forward.spec, forward.pooling.results[0]
    winners = Value((spec.winners,), np.dtype(np.uint8), "winners")
    operands = forward.convolution.operands
    run = _leaf(
        forward.convolution, ConvolveAndPool(spec), operands, (pooled, winners), _forward_meaning(forward, spec)
    )
    if backward is not None:
        gone |= {backward.pooling, *backward.gate, backward.dw, backward.dbias, *filter(None, [backward.dx])}
    body = []
    for instruction in program.body:
        if instruction is forward.pooling:
            body.append(run)
        elif backward is not None and instruction is backward.pooling:
            body.append(_back(forward, backward, winners))
        elif instruction not in gone:
            body.append(instruction)
    return program.replaced(body)


def _back(forward: _Forward, backward: _Backward, winners: Value) -> Instruction:
    g = backward.pooling.operands[0]
    dx = () if backward.dx is None else (backward.dx.result,)
    results = (*dx, backward.dw.result, backward.dbias.result)
    leaf = ConvolveAndPoolBack(forward.spec, backward.dx is not None)
    operands = (*forward.convolution.operands, g, winners)
    return _leaf(backward.dw, leaf, operands, results, _backward_meaning(forward, backward))


def _leaf(source: Instruction, leaf: Leaf, operands: Any, results: Any, meaning: Any) -> Instruction:
    params = {"leaf": leaf, "meaning": meaning}
    return Instruction("leaf", tuple(operands), tuple(results), params, source.mark, source.scope)


def _forward_meaning(forward: _Forward, spec: PooledConvolution) -> Any:
    convolve, pool = forward.convolution.params["meaning"], forward.pooling.params["call"]

    def meaning(*arrays: Array) -> tuple[Array, Array]:
        y, _ = pool(np.maximum(convolve(*arrays)[0], 0))
        return y, np.zeros(spec.winners, np.uint8)  # only the kernels can read these

    return meaning


def _backward_meaning(forward: _Forward, backward: _Backward) -> Any:
    convolve, pool = forward.convolution.params["meaning"], forward.pooling.params["call"]
    unpool = backward.pooling.params["call"]

    def meaning(x: Array, weight: Array, bias: Array, g: Array, _: Array) -> tuple[Array, ...]:
        y = np.maximum(convolve(x, weight, bias)[0], 0)
        dy = np.where(y > 0, unpool(g, pool(y)[1])[0], 0).astype(y.dtype)
        parts = [backward.dw.params["meaning"](x, dy)[0], dy.sum(axis=(0, 2, 3), keepdims=True)]
        if backward.dx is not None:
            parts.insert(0, backward.dx.params["meaning"](dy, weight)[0])
        return tuple(parts)

    return meaning
