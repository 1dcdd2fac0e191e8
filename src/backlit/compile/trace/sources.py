"""Where the inputs of a program are read from when it runs.

A function uses tensors that it is given as arguments, that its variables name (globals, closure cells, attributes of
the object it is a method of), and that modules and optimizers hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...tensor import Tensor
from ..signature import contents_of

Array = np.ndarray


class Source:
    """Base of all sources: ``name`` for people."""

    name: str = ""

    def now(self, arguments: Sequence[Tensor]) -> Any:
        """The tensor (or array) that a call with these arguments finds there.

        Raises:
            KeyError, IndexError, ValueError: there is none.
        """
        raise NotImplementedError(type(self).__name__)


class Fixed(Source):
    """An array that is the same at each call and is never written to."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.name = ""

    def now(self, arguments: Sequence[Tensor]) -> Any:
        return self.array


class Argument(Source):
    """The tensor in a place of the flattened arguments."""

    def __init__(self, index: int, name: str) -> None:
        self.index = index
        self.name = name

    def now(self, arguments: Sequence[Tensor]) -> Any:
        return arguments[self.index]


class ByReference(Source):
    """A tensor object; its memory is looked up at each call. Writes to one that is not ``counted`` are nobody's
    business: an optimizer's state."""

    def __init__(self, tensor: Tensor, name: str = "", counted: bool = True) -> None:
        self.tensor = tensor
        self.counted = counted
        self.name = name

    def now(self, arguments: Sequence[Tensor]) -> Any:
        return self.tensor


class Variable(Source):
    """A tensor (or array) that a variable names: an entry of a mapping."""

    def __init__(self, holder: Any, key: Any) -> None:
        self.holder = holder
        self.key = key
        self.name = str(key)

    def now(self, arguments: Sequence[Tensor]) -> Any:
        return self.holder[self.key]


class Attributes(Source):
    """The attributes of the object at another source, as a mapping."""

    def __init__(self, of: Source) -> None:
        self.of = of
        self.name = of.name

    def now(self, arguments: Sequence[Tensor]) -> Any:
        return self.of.now(arguments).__dict__


class Given(Source):
    """A container among a call's arguments, by the keys that lead to it from ``(args, kwargs)``."""

    def __init__(self, path: tuple[Any, ...]) -> None:
        self.path = path
        self.name = "argument"

    def now(self, arguments: Any) -> Any:
        found = arguments.given
        for key in self.path:
            found = contents_of(found)[key]
        return found


class Gradient(Source):
    """What ``.grad`` of the tensor at another source holds when the function is called."""

    def __init__(self, leaf: Source) -> None:
        self.leaf = leaf
        self.name = f"{leaf.name}.grad"

    def now(self, arguments: Sequence[Tensor]) -> Any:
        return self.leaf.now(arguments)._grad


class Number(Source):
    """A number that is worked out at each call, such as a learning rate; ``feed`` gives all of its kind."""

    def __init__(self, feed: Any, index: int, name: str = "") -> None:
        self.feed = feed
        self.index = index
        self.name = name
