"""Recurrent layers, composed step by step of other operations, so that each step can be looked at."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import ops
from ..creation import zeros
from ..errors import OperationError, UnsupportedError
from ..source import describe, mark
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import empty_parameter
from .module import Module

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]

State = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, State], State]
"""(input's part of the gates, state's part of the gates, state) to the next state, whose first tensor is the output."""


def _tanh_step(x: Tensor, h: Tensor, state: State) -> State:
    return (ops.tanh(x + h),)


def _relu_step(x: Tensor, h: Tensor, state: State) -> State:
    return (ops.relu(x + h),)


def _lstm_step(x: Tensor, h: Tensor, state: State) -> State:
    """Gates in the order input, forget, candidate, output (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""
    i, f, g, o = ops.chunk(x + h, 4, -1)
    cell = ops.sigmoid(f) * state[1] + ops.sigmoid(i) * ops.tanh(g)
    return ops.sigmoid(o) * ops.tanh(cell), cell


def _gru_step(x: Tensor, h: Tensor, state: State) -> State:
    """Gates in the order reset, update, candidate; the reset gate acts behind the matrix, as in cuDNN."""
    xr, xz, xn = ops.chunk(x, 3, -1)
    hr, hz, hn = ops.chunk(h, 3, -1)
    z = ops.sigmoid(xz + hz)
    n = ops.tanh(xn + ops.sigmoid(xr + hr) * hn)
    return (n + z * (state[0] - n),)


def _elman_step(nonlinearity: str) -> Step:
    steps: dict[str, Step] = {"tanh": _tanh_step, "relu": _relu_step}
    if nonlinearity not in steps:
        raise OperationError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}.")
    return steps[nonlinearity]


class _Recurrent(Module):
    """What the cells share: a step, how many gates it has, and how many tensors are its state."""

    _gates = 1
    _states = 1
    _step: Step

    def _make(self, suffix: str, inputs: int, hidden: int, bias: bool, options: dict[str, Any]) -> None:
        rows = self._gates * hidden
        setattr(self, f"weight_ih{suffix}", empty_parameter(rows, inputs, **options))
        setattr(self, f"weight_hh{suffix}", empty_parameter(rows, hidden, **options))
        for name in (f"bias_ih{suffix}", f"bias_hh{suffix}"):
            self.register_parameter(name, empty_parameter(rows, **options) if bias else None)

    def reset_parameters(self) -> None:
        """Draw all parameters anew: uniform in ±1/√hidden_size."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _recur(self, suffix: str, gates: Tensor, state: State) -> State:
        weight, bias = getattr(self, f"weight_hh{suffix}"), getattr(self, f"bias_hh{suffix}")
        return self._step(gates, ops.linear(state[0], weight, bias), state)

    def _input_gates(self, suffix: str, x: Tensor) -> Tensor:
        return ops.linear(x, getattr(self, f"weight_ih{suffix}"), getattr(self, f"bias_ih{suffix}"))


class _Layers(_Recurrent):
    """Layers of cells over a sequence, in one direction or both."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if proj_size:
            raise UnsupportedError(f"{type(self).__name__}: proj_size is not supported; add a Linear layer behind it.")
        if num_layers < 1 or not 0 <= dropout <= 1:
            raise OperationError(
                f"{type(self).__name__} at {describe(mark())}: needs num_layers >= 1 and dropout between 0 and 1, got "
                f"{num_layers} and {dropout}."
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        self._directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * len(self._directions)
            for direction in self._directions:
                self._make(f"_l{layer}{direction}", inputs, hidden_size, bias, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Run over a sequence.

        Args:
            input: (length, batch, input_size), or as ``batch_first`` says; or (length, input_size) without a batch.
            hx: the initial state (layers · directions, batch, hidden_size), a pair of them for LSTM; zeros by default.

        Returns:
            The last layer's outputs (length, batch, directions · hidden_size), and the final state.
        """
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            raise OperationError(
                f"{type(self).__name__} at {describe(mark())}: expected (length, batch, {self.input_size}) or "
                f"(length, {self.input_size}), got {input.shape}."
            )
        batched = input.ndim == 3
        x = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            x = x.transpose(0, 1)
        out, final = self._run(x, self._initial(hx, x, batched))
        if not batched:
            out, final = out.squeeze(1), tuple(f.squeeze(1) for f in final)
        elif self.batch_first:
            out = out.transpose(0, 1)
        return out, final if self._states > 1 else final[0]

    def _initial(self, hx: Any, x: Tensor, batched: bool) -> State:
        """One tensor (layers · directions, batch, hidden) for each part of the state."""
        shape = (self.num_layers * len(self._directions), x.shape[1], self.hidden_size)
        if hx is None:
            return tuple(zeros(shape, dtype=x.dtype) for _ in range(self._states))
        parts = tuple(hx) if self._states > 1 else (hx,)
        parts = parts if batched else tuple(part.unsqueeze(1) for part in parts)
        if len(parts) != self._states or any(part.shape != shape for part in parts):
            raise OperationError(
                f"{type(self).__name__} at {describe(mark())}: the initial state must be {self._states} tensor(s) of "
                f"shape {shape}, got {[part.shape for part in parts]}."
            )
        return parts

    def _run(self, x: Tensor, initial: State) -> tuple[Tensor, State]:
        states = list(zip(*[ops.unbind(part, 0) for part in initial], strict=True))
        finals: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = F.dropout(x, self.dropout)
            outs = []
            for direction in self._directions:
                out, final = self._sweep(f"_l{layer}{direction}", x, states[len(finals)], direction != "")
                outs.append(out)
                finals.append(final)
            x = outs[0] if len(outs) == 1 else ops.cat(outs, -1)
        return x, tuple(ops.stack(parts, 0) for parts in zip(*finals, strict=True))

    def _sweep(self, suffix: str, x: Tensor, state: State, backwards: bool) -> tuple[Tensor, State]:
        """One layer in one direction; the inputs' part of the gates is computed for all steps at once."""
        steps = ops.unbind(self._input_gates(suffix, x), 0)
        outs = []
        for gates in reversed(steps) if backwards else steps:
            state = self._recur(suffix, gates, state)
            outs.append(state[0])
        return ops.stack(outs[::-1] if backwards else outs, 0), state

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        text += f", num_layers={self.num_layers}" if self.num_layers != 1 else ""
        text += "" if self.bias else ", bias=False"
        text += ", batch_first=True" if self.batch_first else ""
        text += f", dropout={self.dropout}" if self.dropout else ""
        return text + (", bidirectional=True" if self.bidirectional else "")


class RNN(_Layers):
    """``h = tanh(W_ih x + b_ih + W_hh h + b_hh)`` over a sequence (Elman 1990); or with ``nonlinearity="relu"``."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.nonlinearity, self._step = nonlinearity, _elman_step(nonlinearity)
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )


class LSTM(_Layers):
    """Long short-term memory over a sequence (Hochreiter & Schmidhuber 1997); the state is a pair (h, c)."""

    _gates = 4
    _states = 2
    _step = staticmethod(_lstm_step)


class GRU(_Layers):
    """Gated recurrent units over a sequence (Cho et al. 2014)."""

    _gates = 3
    _step = staticmethod(_gru_step)


class _Cell(_Recurrent):
    """One step: the input (batch, input_size), or without a batch, and the state to the next state."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self._make("", input_size, hidden_size, bias, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        if hx is None:
            state = tuple(zeros((*input.shape[:-1], self.hidden_size), dtype=input.dtype) for _ in range(self._states))
        else:
            state = tuple(hx) if self._states > 1 else (hx,)
        after = self._recur("", self._input_gates("", input), state)
        return after if self._states > 1 else after[0]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of :class:`RNN`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.nonlinearity, self._step = nonlinearity, _elman_step(nonlinearity)
        super().__init__(input_size, hidden_size, bias, device, dtype)


class LSTMCell(_Cell):
    """One step of :class:`LSTM`."""

    _gates = 4
    _states = 2
    _step = staticmethod(_lstm_step)


class GRUCell(_Cell):
    """One step of :class:`GRU`."""

    _gates = 3
    _step = staticmethod(_gru_step)
