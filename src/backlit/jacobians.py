"""``torch.autograd.functional``: Jacobians, Hessians and products with them at a point, under its names.

:mod:`backlit.func` has the same as functions of functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import func
from .errors import UnsupportedError
from .tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Function = Callable[..., Any]


def jacobian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of a function at a point.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple of them.
        create_graph: record, so that the result can be differentiated.
        strict: not supported; entries that the outputs do not depend on are zero.
        vectorize: accepted; it only saves time in PyTorch.
        strategy: "reverse-mode" (rows, the default) or "forward-mode" (columns).

    Returns:
        A tensor of shape (*output, *input); a tuple of them for several inputs, of tuples for several outputs too.

    >>> import backlit as bl
    >>> bl.autograd.functional.jacobian(lambda x: x * x, bl.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    del vectorize
    by = _func().jacfwd if strategy == "forward-mode" else _func().jacrev
    return _derived(by, func, inputs, create_graph, strict)


def hessian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a scalar function at a point; arguments as for :func:`jacobian`."""
    del vectorize, outer_jacobian_strategy
    return _derived(_func().hessian, func, inputs, create_graph, strict)


def vjp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """``(output, v times the Jacobian)``; ``v`` may be left out where the output has one element."""
    point = _point(inputs, create_graph, strict)
    output, pull = _func().vjp(func, *point)
    found = pull(_ones_like(output) if v is None else v)
    return _plain(output, create_graph), _plain(_as_given(inputs, found), create_graph)


def jvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """``(output, the Jacobian times v)``; ``v`` may be left out where the input has one element."""
    point = _point(inputs, create_graph, strict)
    directions = _ones_like(point) if v is None else v if isinstance(v, tuple) else (v,)
    return _plain(_func().jvp(func, point, directions), create_graph)


def hvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """``(output, the Hessian times v)`` of a scalar function."""
    point = _point(inputs, create_graph, strict)
    directions = _ones_like(point) if v is None else v if isinstance(v, tuple) else (v,)
    gradient = _func().grad(func, tuple(range(len(point))))
    _, found = _func().jvp(gradient, point, directions)
    return _plain((func(*point), _as_given(inputs, found)), create_graph)


vhp = hvp  # the Hessian is symmetric


def _func() -> Any:
    """The module, under a name that PyTorch's argument ``func`` does not hide."""
    return func


def _point(inputs: Any, create_graph: bool, strict: bool) -> tuple[Tensor, ...]:
    if strict:
        raise UnsupportedError("autograd.functional: strict=True is not supported; independent entries give zeros.")
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    return tuple(x.expand(x.shape) if create_graph else x.detach() for x in given)


def _derived(by: Any, function: Function, inputs: Any, create_graph: bool, strict: bool) -> Any:
    point = _point(inputs, create_graph, strict)
    argnums = tuple(range(len(point))) if isinstance(inputs, tuple) else 0
    return _plain(by(function, argnums)(*point), create_graph)


def _as_given(inputs: Any, found: Any) -> Any:
    return found if isinstance(inputs, tuple) else found[0]


def _plain(result: Any, create_graph: bool) -> Any:
    """Detached, unless the graph is wanted."""
    if isinstance(result, tuple):
        return tuple(_plain(part, create_graph) for part in result)
    return result if create_graph else result.detach()


def _ones_like(given: Any) -> Any:
    from .creation import ones_like

    return tuple(map(ones_like, given)) if isinstance(given, tuple) else ones_like(given)
