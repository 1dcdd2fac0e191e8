"""Functions of functions: gradients, products with Jacobians, Jacobians and Hessians, over nested containers.

Each takes a function of tensors (or of nested containers of tensors) and any order of nesting works, reverse over
forward, forward over reverse, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import autograd
from .containers import flatten, map_tensors
from .errors import GradientError, OperationError
from .forward_mode import Tangents
from .graph import Node, enable_grad, mode, reachable
from .ops.joining import stack
from .ops.shape import reshape
from .tensor import Tensor, constant

Argnums = int | tuple[int, ...]


def grad(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns the gradient of a scalar function with respect to its argument(s) ``argnums``.

    >>> import backlit as bl
    >>> bl.func.grad(lambda x: x ** 2 + 2 * x)(bl.tensor(1.0))
    tensor(4.)
    >>> bl.func.grad(bl.func.grad(lambda x: x ** 3))(bl.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(function, argnums, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        gradients, value = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


def value_and_grad(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns ``(value, gradient)``, JAX's order; :func:`grad_and_value` has PyTorch's."""
    both = grad_and_value(function, argnums, has_aux)

    def swapped(*args: Any, **kwargs: Any) -> Any:
        gradients, value = both(*args, **kwargs)
        return value, gradients

    return swapped


def grad_and_value(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns ``(gradient, value)``; with ``has_aux`` the value is ``(value, aux)``."""

    def both(*args: Any, **kwargs: Any) -> Any:
        recorded = _Recorded(function, args, kwargs, argnums, has_aux)
        if not isinstance(recorded.output, Tensor) or recorded.output._data.size != 1:
            shape = recorded.output.shape if isinstance(recorded.output, Tensor) else type(recorded.output).__name__
            raise GradientError(
                f"grad: the function must return one number, this one returned {shape}; use vjp or jacrev."
            )
        gradients = recorded.rebuild(recorded.pull([constant(np.ones_like(recorded.output._data))], keep=False))
        value = recorded.release(recorded.output)
        recorded.close(gradients, value)
        return gradients, (value, recorded.aux) if has_aux else value

    return both


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``(output, pull)``: ``pull(cotangent)`` gives the cotangent times the Jacobian, one result a primal.

    ``pull`` may be called any number of times; the forward pass runs once.

    >>> import backlit as bl
    >>> y, pull = bl.func.vjp(lambda x: x * x, bl.tensor([1.0, 2.0]))
    >>> pull(bl.tensor([1.0, 10.0]))
    (tensor([ 2., 40.]),)
    """
    recorded = _Recorded(function, primals, {}, tuple(range(len(primals))), has_aux)
    outputs, rebuild = flatten(recorded.output)

    def pull(*cotangents: Any) -> Any:
        given, _ = flatten(cotangents[0] if len(cotangents) == 1 else cotangents)
        _check_match("vjp: the cotangent", given, outputs)
        return recorded.rebuild(recorded.pull(given, keep=True))

    output = rebuild([recorded.release(t) for t in outputs])
    return (output, pull, recorded.aux) if has_aux else (output, pull)


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """``(output, output_tangent)``: the Jacobian times a tangent, by forward mode.

    >>> import backlit as bl
    >>> bl.func.jvp(lambda x: x.sin(), (bl.tensor(0.0),), (bl.tensor(3.0),))
    (tensor(0.), tensor(3.))
    """
    leaves, rebuild = flatten(tuple(primals))
    directions, _ = flatten(tuple(tangents))
    _check_match("jvp: the tangent", directions, leaves)
    fresh = [_alias(leaf) for leaf in leaves]
    with Tangents() as level:
        for leaf, direction in zip(fresh, directions, strict=True):
            level.set(leaf, direction)
        output = function(*rebuild(fresh))
        aux = None
        if has_aux:
            output, aux = output
        tangent = map_tensors(lambda t: _or_zeros(level.get(t), t), output)
    _cut_closed(output, tangent)
    return (output, tangent, aux) if has_aux else (output, tangent)


def linearize(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """``(output, push)``: ``push(*tangents)`` is the Jacobian product at ``primals``; the function runs only once.

    The pull-back is linear in its cotangent, so its own transpose is the push-forward.
    """
    with enable_grad():
        recorded = _Recorded(function, primals, {}, tuple(range(len(primals))), False)
        outputs, rebuild = flatten(recorded.output)
        probes = [_zeros_like(t).requires_grad_() for t in outputs]
        pulled = recorded.pull(probes, keep=True, create_graph=True)

    def push(*tangents: Any) -> Any:
        given, _ = flatten(tangents)
        _check_match("linearize: the tangent", given, recorded.leaves)
        live = [(p, t) for p, t in zip(pulled, given, strict=True) if p.requires_grad]
        found = (
            autograd.grad([p for p, _ in live], probes, [t for _, t in live], retain_graph=True, materialize_grads=True)
            if live
            else tuple(_zeros_like(p) for p in probes)
        )
        return rebuild(list(found))

    return rebuild([t.detach() for t in outputs]), push


def jacrev(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns the Jacobian, row by row in reverse mode (best with few outputs).

    For an output of shape ``s`` and an argument of shape ``t`` the Jacobian has shape ``s + t``. Nested outputs give a
    nested result of Jacobians.
    """

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        recorded = _Recorded(function, args, kwargs, argnums, has_aux)
        outputs, rebuild = flatten(recorded.output)
        results = [recorded.rebuild(_rows(recorded, outputs, i)) for i in range(len(outputs))]
        out = rebuild(results)
        recorded.close(out)
        return (out, recorded.aux) if has_aux else out

    return jacobian


def _rows(recorded: _Recorded, outputs: list[Tensor], which: int) -> list[Tensor]:
    """The Jacobians of one output with respect to every leaf."""
    output = outputs[which]
    rows: list[list[Tensor]] = []
    for i in range(output._data.size):
        seeds = [np.zeros_like(t._data) for t in outputs]
        seeds[which].reshape(-1)[i] = 1
        rows.append(recorded.pull([constant(s) for s in seeds], keep=True))
    return [_stacked([row[k] for row in rows], output.shape, leaf) for k, leaf in enumerate(recorded.leaves)]


def _stacked(rows: list[Tensor], front: tuple[int, ...], leaf: Tensor) -> Tensor:
    if not rows:
        return constant(np.zeros(front + leaf.shape, leaf.dtype))
    return reshape(stack(rows), front + leaf.shape)


def jacfwd(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns the Jacobian, column by column in forward mode (best with few inputs)."""
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        leaves, rebuild_args = flatten(tuple(args[i] for i in positions))

        def of_leaves(*values: Tensor) -> Any:
            chosen = dict(zip(positions, rebuild_args(list(values)), strict=True))
            return function(*[chosen.get(i, a) for i, a in enumerate(args)], **kwargs)

        columns: list[list[list[Tensor]]] = []
        output = aux = None
        for k, leaf in enumerate(leaves):
            columns.append([])
            for i in range(max(1, leaf._data.size)):
                direction = [np.zeros_like(t._data) for t in leaves]
                if leaf._data.size:
                    direction[k].reshape(-1)[i] = 1
                output, tangent, *rest = jvp(of_leaves, leaves, [constant(d) for d in direction], has_aux)
                aux = rest[0] if rest else None
                columns[k].append(flatten(tangent)[0])
        outputs, rebuild = flatten(output)
        results = []
        for j, out in enumerate(outputs):
            blocks = [_side_by_side([c[j] for c in columns[k]], out, leaf) for k, leaf in enumerate(leaves)]
            parts = rebuild_args(blocks)
            results.append(parts[0] if isinstance(argnums, int) else parts)
        jac = rebuild(results)
        return (jac, aux) if has_aux else jac

    return jacobian


def _side_by_side(columns: list[Tensor], out: Tensor, leaf: Tensor) -> Tensor:
    if leaf._data.size == 0:
        return constant(np.zeros(out.shape + leaf.shape, out.dtype))
    return reshape(stack(columns, -1), out.shape + leaf.shape)


def hessian(function: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The function that returns the matrix of second derivatives of a scalar function, forward over reverse.

    >>> import backlit as bl
    >>> bl.func.hessian(lambda x: (x ** 3).sum())(bl.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(function, argnums), argnums)


def __getattr__(name: str) -> Any:
    """``functional_call`` stands with the modules, above this file."""
    if name == "functional_call":
        from .nn.stateless import functional_call

        return functional_call
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=None)


class _Recorded:
    """A function run once on fresh copies of its arguments, ready to be walked back any number of times."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any, argnums: Argnums, has_aux: bool) -> None:
        self.single = isinstance(argnums, int)
        positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        for i in positions:
            if not -len(args) <= i < len(args):
                raise OperationError(
                    f"argnums={argnums}: the function was called with {len(args)} positional arguments."
                )
        self.outside = mode.recording
        chosen, self._rebuild = flatten(tuple(args[i] for i in positions))
        with enable_grad():
            self.leaves = [_fresh(leaf) for leaf in chosen]
            replaced = dict(zip([i % len(args) for i in positions], self._rebuild(self.leaves), strict=True))
            self.output = function(*[replaced.get(i, a) for i, a in enumerate(args)], **kwargs)
        self.aux = None
        if has_aux:
            self.output, self.aux = self.output
        self._connected = self._depends_on_others()

    def _depends_on_others(self) -> bool:
        """Whether anything besides the fresh arguments requires gradients: then results must stay differentiable."""
        if any(observer is not mode.tracer for observer in mode.observers):
            return True
        if not self.outside:
            return False
        nodes = reachable([t._node for t in flatten(self.output)[0] if t._node is not None])
        own = {id(leaf) for leaf in self.leaves if leaf._node is None}
        return any(
            edge is not None and type(edge) is not Node and id(edge) not in own for node in nodes for edge in node.edges
        )

    def pull(self, cotangents: list[Tensor], keep: bool, create_graph: bool | None = None) -> list[Tensor]:
        """The gradients of the outputs, weighted by cotangents, with respect to every leaf (zeros where unused)."""
        create = self._connected if create_graph is None else create_graph
        outputs = flatten(self.output)[0]
        live = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
        create = create or any(c.requires_grad for _, c in live)
        if not live:
            return [_zeros_like(leaf) for leaf in self.leaves]
        with enable_grad():
            found = autograd.grad(
                [o for o, _ in live],
                self.leaves,
                [c for _, c in live],
                retain_graph=keep or create,
                create_graph=create,
                materialize_grads=True,
            )
        return [g for g in found if g is not None]

    def rebuild(self, gradients: list[Tensor]) -> Any:
        """Gradients in the structure of the arguments."""
        parts = self._rebuild(gradients)
        return parts[0] if self.single else parts

    def release(self, value: Tensor) -> Tensor:
        """An output as the caller may see it: connected only to what the caller differentiates."""
        return value if self._connected else value.detach()

    def close(self, *results: Any) -> None:
        """Nothing will be walked back to the fresh arguments any more; results that only they connect become plain."""
        for leaf in self.leaves:
            if leaf._node is None:
                leaf._requires_grad = False
        _cut_closed(*results)


def _cut_closed(*results: Any) -> None:
    """Take the history off tensors none of whose leaves requires gradients any more.

    Only forward mode around reverse mode leaves such history behind. The tensor keeps its array, by which an outer
    forward mode knows its tangent.
    """
    for tensor in flatten(results)[0]:
        if tensor._node is None:
            continue
        edges = (edge for node in reachable([tensor._node]) for edge in node.edges)
        if not any(edge is not None and type(edge) is not Node and edge._requires_grad for edge in edges):
            tensor._node, tensor._requires_grad = None, False


def _alias(tensor: Tensor) -> Tensor:
    """The same values and history as another tensor object, so that a closure over the original is not affected."""
    return reshape(tensor, tensor.shape)


def _fresh(tensor: Tensor) -> Tensor:
    if tensor.dtype.kind != "f":
        raise GradientError(
            f"cannot differentiate with respect to a {tensor.dtype.name} argument; convert it with .float()."
        )
    fresh = _alias(tensor)
    if fresh._node is None:
        fresh._view = None
        fresh.requires_grad = True
    return fresh


def _or_zeros(tangent: Tensor | None, like: Tensor) -> Tensor:
    return _zeros_like(like) if tangent is None else tangent


def _zeros_like(like: Tensor) -> Tensor:
    return constant(np.zeros_like(like._data))


def _check_match(what: str, given: list[Tensor], wanted: list[Tensor]) -> None:
    if [t.shape for t in given] != [t.shape for t in wanted]:
        raise OperationError(
            f"{what} must have the structure and shapes {[t.shape for t in wanted]}, got {[t.shape for t in given]}."
        )
