"""Recurrences: one weight applied again and again to what it made before, and the gradient at each of these steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...graph import Node, mode
from ...tensor import Tensor
from ..finding import Finding
from .norms import squared_norm

APPLIES_WEIGHTS = frozenset({"linear", "matmul", "convolution"})

FEWEST_STEPS = 5
"""Fewer steps are depth, not time."""

VANISHED = 1e-3
"""Gradient norm at the first step over that at the last, from which on the early steps teach nothing."""

HALF_OPEN = 0.35
"""Gates that have learned nothing yet are half open and halve the gradient at each step; training opens them. Only a
gated network that shrinks it faster than this is sick."""


@dataclass
class TimeFlow:
    """What the backward pass did to the steps of one recurrence.

    Attributes:
        name: the weight that is applied at each step.
        gated: whether sigmoids gate the state, as in LSTM and GRU.
        gradient_norms: a norm for each step, in the order in which the forward pass made them: of the loss's gradient
            with respect to what the weight gave there; 0 where none arrived.
    """

    name: str
    gated: bool
    gradient_norms: list[float]

    @property
    def reached(self) -> tuple[int, int]:
        """The first and the last step that a gradient reached."""
        steps = [i for i, norm in enumerate(self.gradient_norms) if norm > 0]
        return (steps[0], steps[-1]) if steps else (0, 0)

    @property
    def factor(self) -> float:
        """How much the gradient grows from one step to the one before it, on average (the geometric mean); NaN where
        fewer than two steps have one."""
        first, last = self.reached
        norms = self.gradient_norms
        if first == last or not math.isfinite(norms[first]) or not math.isfinite(norms[last]):
            return math.nan
        return math.exp((math.log(norms[first]) - math.log(norms[last])) / (last - first))


@dataclass
class _Moment:
    """One step of a recurrence; ``see_gradient`` is called when the walk reaches it."""

    node: Node
    squares: float = 0.0

    def see_gradient(self, upstream: Any) -> None:
        self.squares += squared_norm(upstream)


@dataclass
class _Chain:
    name: str
    scope: Any
    moments: list[_Moment] = field(default_factory=list)


class Recurrences:
    """Collects the steps while the forward pass runs; :meth:`result` tells about them after the backward pass."""

    def __init__(self, model: Any) -> None:
        self.names = {id(p): name for name, p in model.named_parameters()}
        self._chains: dict[int, _Chain] = {}
        self._gated: set[int] = set()

    def see(self, name: str, inputs: Iterable[Any], result: Tensor) -> _Moment | None:
        """Take note of an operation; a moment to be told of its gradient, where it may be a step."""
        if name == "sigmoid" and mode.scope is not None:
            self._gated.add(id(mode.scope[1]))
        if name not in APPLIES_WEIGHTS or result._node is None:
            return None
        weight = next((key for x in inputs if (key := self._weight(x)) is not None), None)
        if weight is None:
            return None
        chain = self._chains.get(weight)
        if chain is None:
            chain = self._chains[weight] = _Chain(self.names[weight], mode.scope)
        if chain.moments and not _made_from(result._node, chain.moments[-1].node):
            chain.moments.clear()  # the same weight for other rows: no step after the last one
        chain.moments.append(_Moment(result._node))
        return chain.moments[-1]

    def _weight(self, x: Any) -> int | None:
        """The parameter that an operand is, or is a view of (a transposed weight)."""
        if not isinstance(x, Tensor):
            return None
        key = id(x if x._view is None else x._view.base)
        return key if key in self.names else None

    def result(self) -> list[TimeFlow]:
        """The recurrences with enough steps, in the order in which they began."""
        return [
            TimeFlow(chain.name, self._is_gated(chain), [math.sqrt(m.squares) for m in chain.moments])
            for chain in self._chains.values()
            if len(chain.moments) >= FEWEST_STEPS
        ]

    def _is_gated(self, chain: _Chain) -> bool:
        return chain.scope is not None and id(chain.scope[1]) in self._gated


def _made_from(node: Node, earlier: Node) -> bool:
    """Whether a node was computed from an earlier one. Nodes are numbered, so the search never looks further back."""
    seen = {node}
    stack = [node]
    while stack:
        for edge in stack.pop().edges:
            if edge is earlier:
                return True
            if type(edge) is Node and edge.id > earlier.id and edge not in seen:
                seen.add(edge)
                stack.append(edge)
    return False


def judge_time(flows: Iterable[TimeFlow]) -> Iterator[Finding]:
    """Gradients that vanish or explode on their way back through time."""
    for flow in flows:
        first, last = flow.reached
        if last - first + 1 < FEWEST_STEPS or math.isnan(flow.factor):
            continue
        whole = flow.factor ** (last - first)
        vanishing = whole < VANISHED and (not flow.gated or flow.factor < HALF_OPEN)
        if vanishing or whole > 1 / VANISHED:
            yield _finding(flow, first, last, vanishing)


def _finding(flow: TimeFlow, first: int, last: int, vanishing: bool) -> Finding:
    norms = flow.gradient_norms
    none = " Earlier steps get none at all." if first else ""
    return Finding(
        "vanishing_gradients" if vanishing else "exploding_gradients",
        f"On its way back through time, from step {last + 1} to step {first + 1}, the gradient "
        f"{'shrinks' if vanishing else 'grows'} from {norms[last]:.2g} to {norms[first]:.2g}, by a factor of "
        f"{flow.factor:.2g} a step over {last - first} steps.{none}",
        "each step multiplies it by the recurrent weights and the slope of the activation, which together are below 1, "
        "so what happened early cannot be learned."
        if vanishing
        else "recurrent weights that are too large, step after step.",
        "use LSTM or GRU (with biases that keep the forget gate open), start the recurrent weights orthogonal "
        "(nn.init.orthogonal_), or give the loss the outputs of all steps."
        if vanishing
        else "start the recurrent weights orthogonal (nn.init.orthogonal_), use LSTM or GRU, or clip gradients.",
        where=flow.name,
        likelihood=0.85,
        data={"factor": flow.factor, "norms": list(norms)},
    )
