"""What is checked: a function of float64 leaves, seen as a vector function that can be evaluated anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import autograd
from ...containers import flatten
from ...errors import GradientError, OperationError
from ...graph import enable_grad, mode, no_grad
from ...numerics import quiet
from ...random import default_generator
from ...tensor import Tensor, constant

Vector = NDArray[np.float64]
Direction = tuple[int, ...] | NDArray[Any]
"""One entry, or an array of the leaf's shape."""


class Subject:
    """A function and the leaves it is differentiated in.

    ``run(leaves)`` computes the outputs (tensors, possibly nested). Every evaluation starts from the same state of the
    default random generator, so that dropout and its relatives are functions. ``cotangents`` are random upstream
    gradients, one an output: what is checked is the gradient of their inner product with the outputs, which is right
    for random cotangents only if every entry of the Jacobian is.
    """

    def __init__(
        self,
        run: Callable[[list[Tensor]], Any],
        leaves: Sequence[Tensor],
        names: Sequence[str],
        *,
        seed: int = 0,
        cotangents: Sequence[Any] | None = None,
        state: Tensor | None = None,
        copies: bool = True,
    ) -> None:
        self.run = run
        self._copies = copies
        self.leaves = list(leaves)
        self.names = list(names)
        self.state = default_generator.get_state() if state is None else state
        self._draws = True
        first = self._evaluate()
        if not first:
            raise OperationError(
                "the function to check returned no floating-point tensor; return the results it computes."
            )
        after = default_generator.get_state()
        self._draws = bool(np.any(after._data != self.state._data))
        rng = np.random.default_rng(seed)
        self.cotangents = [
            np.asarray(rng.normal(size=out.shape) if cotangents is None else cotangents[i])
            for i, out in enumerate(first)
        ]
        self.u: Vector = _flat(self.cotangents)
        self.here: Vector = _flat(first)
        self.precision = max((float(np.finfo(out.dtype).eps) for out in first), default=0.0)

    @property
    def draws(self) -> bool:
        """Whether the function draws random numbers from the default generator."""
        return self._draws

    @property
    def noise(self) -> float:
        """How much rounding can move the inner product of cotangents and outputs; over 2h, a difference."""
        with quiet():
            return 4 * self.precision * float(np.abs(self.u * self.here).sum())

    def outputs(self, leaves: list[Tensor]) -> list[Tensor]:
        """The floating outputs for these leaves, recorded if recording is on."""
        if self._draws:
            default_generator.set_state(self.state)
        return [t for t in flatten(self.run(leaves))[0] if t.dtype.kind == "f"]

    def values(self) -> Vector:
        """All outputs at the leaves' present values, one after the other."""
        return _flat(self._evaluate())

    def _evaluate(self) -> list[Any]:
        """A function may write to what it is given, so it is given copies; networks leave their parameters alone."""
        before, mode.observers = mode.observers, ()
        try:
            with no_grad(), quiet():
                leaves = [constant(x._data.copy()) for x in self.leaves] if self._copies else self.leaves
                return [t._data for t in self.outputs(leaves)]
        finally:
            mode.observers = before

    def along(self, k: int, direction: Direction) -> Callable[[float], Vector]:
        """The outputs as a function of the distance that leaf ``k`` is moved along a direction."""
        array = self.leaves[k]._data

        def at(t: float) -> Vector:
            if isinstance(direction, tuple):
                before = array[direction]
                array[direction] = before + t
            else:
                before = array.copy()
                np.add(array, t * direction, out=array)
            try:
                return self.values()
            finally:
                if isinstance(direction, tuple):
                    array[direction] = before
                else:
                    array[...] = before

        return at

    def backward(self, create_graph: bool = False) -> list[Any]:
        """The gradients by backpropagation: arrays, or None where nothing arrived."""
        with enable_grad():
            outs = self.outputs(self.leaves)
            live = [(o, constant(u.astype(o.dtype))) for o, u in zip(outs, self.cotangents, strict=True)]
            live = [(o, u) for o, u in live if o.requires_grad]
            if not live:
                return [None] * len(self.leaves)
            found = autograd.grad([o for o, _ in live], self.leaves, [u for _, u in live], allow_unused=True)
        return [None if g is None else g._data for g in found]

    def forward_mode(self, k: int, direction: NDArray[Any]) -> float | None:
        """The derivative along a direction by forward mode; None where an operation has no forward rule."""
        from ...func import jvp

        tangents = [np.zeros(x.shape) for x in self.leaves]
        tangents[k] = direction
        try:
            with quiet():
                _, pushed = jvp(
                    lambda *xs: tuple(self.outputs(list(xs))),
                    tuple(constant(x._data.copy()) for x in self.leaves),
                    tuple(constant(t) for t in tangents),
                )
        except (NotImplementedError, GradientError, AttributeError):
            return None
        with quiet():
            return float(self.u @ _flat([t._data for t in pushed]))


def double_copy(tensor: Tensor) -> Tensor:
    """A float64 leaf with a tensor's values, which may be changed freely."""
    return constant(np.array(tensor._data, np.float64)).requires_grad_()


def _flat(arrays: Sequence[Any]) -> Vector:
    if not arrays:
        return np.zeros(0)
    return np.concatenate([np.asarray(a, np.float64).reshape(-1) for a in arrays])
