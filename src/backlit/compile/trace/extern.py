"""Operations without instructions of their own: their NumPy rules, called between stretches of native code."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops.definition import Context, Op

Array = np.ndarray


class ExternForward:
    """The forward rule of an operation on some inputs that vary and some that do not."""

    def __init__(self, op: type[Op], template: list[Any], params: dict[str, Any], impure: bool = False) -> None:
        """``template`` has a constant in the place of each fixed input and :data:`VARIES` elsewhere; ``impure`` says
        that the rule does more than compute, as drawing random numbers is."""
        self.impure = impure
        self.op = op
        self.template = template
        self.params = params
        self.__name__ = op.name

    def __call__(self, *arrays: Array) -> tuple[Any, ...]:
        """The output, and with an operation that ``has_extra`` what it keeps for its gradient."""
        stream = iter(arrays)
        inputs = [next(stream) if x is VARIES else x for x in self.template]
        made = self.op.forward(*inputs, **self.params)
        if self.op.has_extra:
            out, extra = made
            return np.asarray(out), extra
        return (np.asarray(made),)


class ExternPull:
    """The gradient rules of an operation; ``node`` is the application that was traced."""

    def __init__(self, node: Any, saved: list[Any], wanted: tuple[int, ...], with_extra: bool) -> None:
        """``saved`` has a constant in the place of each fixed value and :data:`VARIES` elsewhere; ``wanted`` says which
        inputs' gradients are results."""
        self.op, self.plan = node.op, node.plan
        self.saved = saved
        self.wanted = wanted
        self.with_extra = with_extra
        self.context = Context()
        self.context.params, self.context.shape, self.context.dtype = node.params, node.shape, node.dtype
        self.context.shapes = node.shapes
        self.context.edges = tuple(None if edge is None else True for edge in node.edges)
        self.context.extra = None if with_extra else node.extra
        self.__name__ = f"{node.op.name}.pull"

    def __call__(self, g: Array, *arrays: Any) -> tuple[Array, ...]:
        """The gradients by the wanted inputs."""
        stream = iter(arrays)
        if self.with_extra:
            self.context.extra = next(stream)
        values = [next(stream) if x is VARIES else x for x in self.saved]
        parts = pull_arrays(self.plan, self.context, g, values)
        return tuple(np.asarray(_total(parts[i])) for i in self.wanted)


VARIES = object()


def pull_arrays(plan: Any, context: Any, g: Array, values: list[Any]) -> list[Any]:
    """The gradient rules of a plan on arrays, one entry an input."""
    if plan.joint is not None:
        return list(plan.joint(context, g, *[values[j] for j in plan.slots]))
    parts: list[Any] = [None] * len(context.edges)
    for i, rule, slots in plan.rules:
        parts[i] = rule(context, g, *[values[j] for j in slots])
    return parts


def _total(part: Any) -> Any:
    return part.total() if hasattr(part, "total") else part
