"""Explaining a user's own function: the values of its arguments, and a record of calling it."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..autograd import backward
from ..dtypes import get_default_dtype
from ..errors import BacklitError
from ..spelling import did_you_mean
from ..tensor import Tensor
from .formula.values import generator, read_value_of
from .record.front import _was_walked, record
from .record.model import Record

_PLAIN = (bool, int, str)
"""Parameters of these types are given Python values."""
_WHOLE = re.compile(r"\s*[-+]?\d+\s*")


class ArgumentError(BacklitError, ValueError):
    """A function cannot be called with the values that were given for its arguments."""


class ResultError(BacklitError, ValueError):
    """A function did not return what has a backward pass."""


class Arguments:
    """The arguments of a call: those given as texts, those by default, and those made up.

    A value becomes a tensor of the default dtype that requires gradients, unless it is made of whole numbers on purpose
    (``int([0, 2])``, an integer ``.npy`` file) or its parameter is declared, by its annotation or default, to be an
    ``int``, a ``bool`` or a ``str``. (Where only the default is an ``int``, ``2.0`` is a tensor and ``2`` is not.) An
    argument without value and default is a single number, drawn from the standard normal distribution.

    Args:
        function: the function.
        texts: values by the names of parameters, as :func:`~backlit.glassbox.read_value` reads them.
        wrt: names of the arguments that require gradients; all of them where it is left out.
        seed: what values are drawn with.

    Raises:
        ArgumentError: a name that the function does not have, or a value that its parameter cannot take.
        ValueTextError, ValueFileError: a value that cannot be read.
    """

    def __init__(
        self, function: Callable[..., Any], texts: Mapping[str, str], wrt: Collection[str] = (), seed: int = 0
    ) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.made_up: dict[str, float] = {}
        self._wrt, self._seed = wrt, seed
        signature = signature_of(function)
        self._check_names(signature, texts)
        self.bound = inspect.BoundArguments(signature, {})  # type: ignore[arg-type]
        hints = _annotations(function)
        for parameter in signature.parameters.values():
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                self._give(parameter, texts, hints.get(parameter.name))
        self.bound.apply_defaults()

    def notes(self) -> list[str]:
        """What was made up, in a sentence each."""
        return [
            f"no value was given for {name}, so it is a number drawn at random, {value:.6g}; give another with {name}=…"
            for name, value in self.made_up.items()
        ]

    def _check_names(self, signature: inspect.Signature, texts: Mapping[str, str]) -> None:
        parameters = signature.parameters
        unknown = next((name for name in texts if name not in parameters), None)
        if unknown is not None:
            raise ArgumentError(
                f"the function has no argument {unknown!r}{did_you_mean(unknown, parameters)}; it is called as "
                f"{signature}."
            )

    def _give(self, parameter: inspect.Parameter, texts: Mapping[str, str], hint: Any) -> None:
        name = parameter.name
        plain = next((kind for kind in _PLAIN if kind is hint or type(parameter.default) is kind), None)
        if plain is int and hint is not int and not _WHOLE.fullmatch(texts.get(name, "0")):
            plain = None
        if name in texts:
            self.bound.arguments[name] = self._read(name, texts[name], plain)
        elif parameter.default is parameter.empty:
            if plain is not None:
                message = f"{name} is declared as {plain.__name__} and has no value; give one, as in {name}=2."
                raise ArgumentError(message)
            tensor = self._tensor(name, np.asarray(generator(name, self._seed).normal()))
            self.made_up[name] = tensor.item()
            self.bound.arguments[name] = tensor

    def _read(self, name: str, text: str, plain: type | None) -> Any:
        if plain is str:
            return text
        value = read_value_of(name, text, self._seed)
        if plain is None:
            return self._tensor(name, value)
        if value.shape != () or value != np.rint(value):
            raise ArgumentError(f"{name} is declared as {plain.__name__}; give one whole number.")
        return plain(value)

    def _tensor(self, name: str, value: NDArray[Any]) -> Tensor:
        array = value.astype(get_default_dtype()) if value.dtype == np.float64 else value
        tensor = Tensor(array)
        tensor.requires_grad = array.dtype.kind == "f" and (not self._wrt or name in self._wrt)
        self.tensors[name] = tensor
        return tensor


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """How a function, or the forward of a module, is called.

    Raises:
        ArgumentError: it is a class, or says nothing of its arguments.
    """
    if inspect.isclass(function):
        raise ArgumentError(
            f"{function.__name__} is a class; name a function that returns a loss, or an object made of it."
        )
    forward = getattr(function, "forward", None)
    try:
        return inspect.signature(forward if callable(forward) else function)
    except (TypeError, ValueError):
        raise ArgumentError(f"{function!r} does not say what arguments it takes.") from None


def _annotations(function: Callable[..., Any]) -> Mapping[str, Any]:
    forward = getattr(function, "forward", None)
    try:
        return typing.get_type_hints(forward if callable(forward) else function)
    except (NameError, TypeError, AttributeError):
        return {}


def explain_call(function: Callable[..., Any], arguments: Arguments, title: str = "") -> Record:
    """Call a function and record it with the backward pass of what it returns, which is summed if it is no scalar.

    A function that runs ``backward`` on what it returns by itself is shown as it did.

    Raises:
        ResultError: it does not return a tensor that requires gradients.
        Exception: whatever the function raises.

    >>> rec = explain_call(lambda w, x: (w * x).sum(), Arguments(lambda w, x: None, {"w": "2", "x": "[1, 3]"}))
    >>> rec.node("w").upstream
    array(4., dtype=float32)
    """
    with record(names=arguments.tensors, title=title) as rec:
        result = function(*arguments.bound.args, **arguments.bound.kwargs)
        _check_result(result)
        if not _was_walked(result):
            backward(result, Tensor(np.ones(result.shape, result.dtype)))
    return rec


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _check_result(result: Any) -> None:
    if not isinstance(result, Tensor):
        what = "nothing (is a return missing?)" if result is None else _a(type(result).__name__)
        advice = " A number has left the graph; return the tensor." if isinstance(result, (int, float)) else ""
        raise ResultError(f"the function must return its loss, a tensor; it returned {what}.{advice}")
    if not result.requires_grad:
        from .why import why

        raise ResultError(f"the function returned a tensor without gradients. {why(result)}")
    if not result._data.size:
        raise ResultError(f"the function returned an empty tensor, of shape {result.shape}.")
