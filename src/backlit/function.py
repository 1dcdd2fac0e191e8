"""Own nodes: a function whose gradient the user writes.

:class:`Function` is PyTorch's interface; :func:`custom_vjp` is a shorter one, a function that returns its result and
its gradient rule together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from .breadcrumbs import Cut, cut
from .errors import GradientError, OperationError, UnsupportedError
from .graph import Node, mode, no_grad
from .ops.definition import Op, check_version, remembered, saved_output
from .source import describe, mark
from .tensor import Tensor, constant


class FunctionContext:
    """What ``forward`` leaves for ``backward``: saved tensors, and any attributes you set.

    ``needs_input_grad`` says, one entry an argument, whether its gradient will be used.
    """

    needs_input_grad: tuple[bool, ...]

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self._saved: list[Tensor | None] = []
        self._no_gradient: set[int] = set()
        self._dirty: set[int] = set()
        self._materialize = True
        self._cuts: tuple[Cut | None, ...] = ()
        self._node: Node | None = None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for ``backward``; overwriting one in between is noticed. Keep inputs and outputs so."""
        self._saved = list(tensors)

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors given to :meth:`save_for_backward`."""
        node = self._node
        if node is None:
            return tuple(self._saved)
        if node.saved is None:
            raise GradientError(
                f"{node!r}: its saved tensors were released by an earlier backward(); pass retain_graph=True."
            )
        out: list[Tensor | None] = []
        for i, value in enumerate(node.saved):
            if value is not None and value._storage is not None:
                check_version(node, i, value._storage)
            out.append(value if value is None or isinstance(value, Tensor) else value.restore(node))
        return tuple(out)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Tell that ``forward`` wrote into these inputs and returns them."""
        self._dirty = {id(t) for t in tensors}

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Tell that these outputs have no gradient."""
        self._no_gradient = {id(t) for t in tensors}

    def set_materialize_grads(self, value: bool) -> None:
        """Whether outputs that were not used get zeros (the default) or None as upstream gradient."""
        self._materialize = value


class _Part:
    """The upstream gradient of one output among several; parts of the same node add up to a fuller set."""

    __slots__ = ("parts",)

    def __init__(self, parts: dict[int, Any]) -> None:
        self.parts = parts

    def __add__(self, other: _Part) -> _Part:
        both = dict(self.parts)
        for i, g in other.parts.items():
            both[i] = both[i] + g if i in both else g
        return _Part(both)


class _Pick(Op):
    """One output of an own node with several."""

    name = "output"
    formula = "y = the i-th output"
    gate = "passes"

    @classmethod
    def pull(cls, node: Node, g: Any, create_graph: bool) -> Any:
        return [_Part({node.params["index"]: g})]


class _Own(Op):
    """The operation behind every :class:`Function`; ``owner`` is the user's class."""

    fresh = False
    owner: type[Function]

    @classmethod
    def pull(cls, node: Node, g: Any, create_graph: bool) -> Any:
        ctx: FunctionContext = node.params["ctx"]
        outputs = node.params["outputs"]
        parts = g.parts if isinstance(g, _Part) else {0: g}
        upstream = []
        for i, (shape, dtype) in enumerate(outputs):
            part = parts.get(i)
            if part is None and ctx._materialize:
                part = constant(np.zeros(shape, dtype))
            upstream.append(part if part is None or isinstance(part, Tensor) else Tensor(part))
        given = cls.owner.backward(ctx, *upstream)
        return cls.checked(node, given if isinstance(given, tuple) else (given,), create_graph)

    @classmethod
    def checked(cls, node: Node, given: tuple[Any, ...], create_graph: bool) -> list[Any]:
        """Hold what ``backward`` returned against the inputs: their number, shapes and types."""
        edges = node.edges
        if len(given) > len(edges) and all(extra is None for extra in given[len(edges) :]):
            given = given[: len(edges)]
        if len(given) != len(edges):
            raise GradientError(
                f"{cls.name}.backward returned {len(given)} gradients for {len(edges)} inputs (applied at "
                f"{describe(node.mark)}); return one an input, None where none is needed."
            )
        out: list[Any] = []
        for i, (edge, gradient) in enumerate(zip(edges, given, strict=True)):
            if edge is None or gradient is None:
                out.append(None)
                continue
            if not isinstance(gradient, Tensor):
                gradient = Tensor(np.asarray(gradient))
            shape = node.shapes[i]  # type: ignore[index]
            if gradient.shape != shape:
                raise GradientError(
                    f"{cls.name}.backward returned a gradient of shape {gradient.shape} for input {i}, which has shape "
                    f"{shape} (applied at {describe(node.mark)}). Sum over broadcast axes, or transpose, as needed."
                )
            out.append(gradient if create_graph else gradient._data)
        return out

    @classmethod
    def push(cls, ctx: Any, inputs: tuple[Any, ...], out: Any, tangents: list[Any]) -> Any:
        if "jvp" not in vars(cls.owner):
            raise UnsupportedError(
                f"{cls.name}: forward mode needs a static method jvp(ctx, *tangents) on the Function."
            )
        rule = vars(cls.owner)["jvp"].__func__
        return rule(ctx.params["ctx"], *tangents)


class Function:
    """Base of own nodes, as in PyTorch: static methods ``forward(ctx, *args)`` and ``backward(ctx, *upstream)``.

    ``backward`` gets one upstream gradient an output and returns one gradient an argument (None for constants). Written
    in library operations it can be differentiated again.

    >>> import backlit as bl
    >>> class Cube(bl.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x ** 3
    ...     @staticmethod
    ...     def backward(ctx, upstream):
    ...         (x,) = ctx.saved_tensors
    ...         return upstream * 3 * x ** 2
    >>> x = bl.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    _operation: type[_Own]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._operation = type(cls.__name__, (_Own,), {"name": cls.__name__, "owner": cls, "__doc__": cls.__doc__})

    def __init__(self) -> None:
        raise GradientError(
            f"{type(self).__name__} is not called or instantiated; use {type(self).__name__}.apply(...)."
        )

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs from the arguments; to be written by the subclass."""
        raise GradientError("a Function needs a static method forward(ctx, *args).")

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Compute the arguments' gradients from the outputs' upstream gradients; to be written by the subclass."""
        raise GradientError("a Function needs a static method backward(ctx, *upstream).")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward`` unrecorded and connect its outputs to the graph through one node."""
        needs = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        ctx = FunctionContext(needs)
        with no_grad():
            if "setup_context" in vars(cls):
                outputs = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, outputs)  # type: ignore[attr-defined]
            else:
                outputs = cls.forward(ctx, *args, **kwargs)
        several = isinstance(outputs, (tuple, list))
        results = _outputs(cls, outputs if several else (outputs,), args, ctx)
        if any(needs) and mode.recording:
            _connect(cls, ctx, args, results)
        elif any(needs):
            for result in results:
                result._cut = cut("no_grad", cls.__name__, args, mode.stopped)
        for observer in mode.observers:
            _observe(observer, cls, ctx, args, kwargs, results)
        return tuple(results) if several else results[0]


def _outputs(cls: type[Function], outputs: Any, args: tuple[Any, ...], ctx: FunctionContext) -> list[Any]:
    """The outputs as tensors of their own: an argument returned as it is becomes a new tensor on the same memory."""
    own = {id(a) for a in args}
    results = []
    for output in outputs:
        if not isinstance(output, Tensor):
            raise OperationError(
                f"{cls.__name__}.forward must return tensors, got {type(output).__name__} at {describe(mark())}."
            )
        if id(output) in own and id(output) not in ctx._dirty:
            output = output.detach()
        results.append(output)
    return results


def _connect(cls: type[Function], ctx: FunctionContext, args: tuple[Any, ...], results: list[Tensor]) -> None:
    edges = tuple((a.grad_fn or a) if isinstance(a, Tensor) and a.requires_grad else None for a in args)
    shapes = tuple(getattr(a, "shape", ()) for a in args)
    params = {"ctx": ctx, "outputs": [(r.shape, r.dtype) for r in results]}
    node = Node(cls._operation, params, edges, results[0], shapes, mark())
    ctx._node = node
    outputs = {id(r) for r in results}
    node.saved = [saved_output(t) if t is not None and id(t) in outputs else t for t in ctx._saved]
    node.versions = [0 if t is None else t._version for t in ctx._saved]
    node.constants = tuple(remembered(a) if edge is None else None for a, edge in zip(args, edges, strict=True))
    ctx._saved = []
    ctx._cuts = tuple(result._cut for result in results)
    if any(edge is None for edge in edges):
        node.constants = tuple(remembered(a) if edge is None else None for a, edge in zip(args, edges, strict=True))
    for i, result in enumerate(results):
        result._cut = None
        if id(result) in ctx._no_gradient or result.dtype.kind != "f":
            result._cut = cut("not_differentiable", cls.__name__, args)
            continue
        result._node = (
            node if len(results) == 1 else Node(_Pick, {"index": i}, (node,), result, (result.shape,), node.mark)
        )
        result._requires_grad = True
        if id(result) in ctx._dirty:
            result.storage().history += 1


def _observe(
    observer: Any, cls: type[Function], ctx: FunctionContext, args: Any, kwargs: Any, results: list[Tensor]
) -> None:
    for result in results:
        observer.applied(cls._operation, args, {"ctx": ctx, "kwargs": kwargs}, None, result)


def custom_vjp(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """Turn a function that returns ``(result, rule)`` into an own node.

    ``rule(upstream)`` returns the gradient of the positional tensor arguments (a tuple when there are several, None
    where none is needed).

    >>> import backlit as bl
    >>> @bl.autograd.custom_vjp
    ... def clipped_exp(x):
    ...     y = x.exp().clamp(max=10.0)
    ...     return y, lambda upstream: upstream * y
    >>> x = bl.tensor(1.0, requires_grad=True)
    >>> clipped_exp(x).backward()
    >>> round(x.grad.item(), 4)
    2.7183
    """

    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        returned = function(*args, **kwargs)
        if not (isinstance(returned, tuple) and len(returned) == 2 and callable(returned[1])):
            raise GradientError(
                f"{function.__name__} is decorated with custom_vjp and must return a pair (result, rule), where "
                f"rule(upstream) is the gradient; it returned {type(returned).__name__}."
            )
        result, ctx.rule = returned
        return result

    def backward(ctx: Any, *upstream: Any) -> Any:
        return ctx.rule(*upstream)

    own: Any = type(
        function.__name__,
        (Function,),
        {
            "forward": staticmethod(forward),
            "backward": staticmethod(backward),
            "__doc__": function.__doc__,
        },
    )

    @wraps(function)
    def applied(*args: Any, **kwargs: Any) -> Tensor:
        return own.apply(*args, **kwargs)

    applied._operation = own._operation  # type: ignore[attr-defined]
    return applied


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a ``backward`` that cannot itself be differentiated: doing so raises instead of being wrong."""

    @wraps(backward)
    def guarded(ctx: Any, *upstream: Any) -> Any:
        if mode.recording and any(isinstance(g, Tensor) and g.requires_grad for g in upstream):
            raise GradientError("this backward was marked once_differentiable: it has no second derivative.")
        return backward(ctx, *upstream)

    return guarded


__all__ = ["Function", "FunctionContext", "custom_vjp", "once_differentiable"]
