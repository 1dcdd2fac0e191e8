"""Internal functions of a kernel, made when first called, so that code that many loops share exists once.

Those whose key says all that they depend on serve every kernel of a module: the products of a network's layers cut
and pack their operands in a few ways.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from llvmlite import ir

from .values import BOOL, INT64, Pointer, Value, constant
from .vector import VectorBuilder

_EVERYWHERE = "backlit_subroutines"
"""The attribute of a module that holds those for all kernels: they refer to it, and go when it goes."""


class Subroutines:
    """A kernel's internal functions by key. Arguments are pointers, scalar values, and Python integers or booleans."""

    def __init__(self, b: VectorBuilder) -> None:
        self.b = b
        self.made: dict[Hashable, ir.Function] = {}

    def call(
        self, key: Hashable, arguments: Sequence[Any], body: Callable[..., None], everywhere: bool = False
    ) -> None:
        """Call the function for ``key``; ``body(builder, *arguments)`` writes it where it does not exist yet.

        ``everywhere``: for other kernels of the module, too, which have the same target."""
        given = [x if isinstance(x, (Pointer, Value)) else _scalar(self.b, x) for x in arguments]
        made = vars(self.b.ir.module).setdefault(_EVERYWHERE, {}) if everywhere else self.made
        key = (key, self.b.element) if everywhere else key
        if key not in made:
            made[key] = self._define(given, body)
        self.b.ir.call(made[key], [x.ir for x in given])

    def _define(self, given: Sequence[Any], body: Callable[..., None]) -> ir.Function:
        outer = self.b.ir.function
        name = f"{outer.name}.{len(self.b.ir.module.globals)}"
        defined = ir.Function(self.b.ir.module, ir.FunctionType(ir.VoidType(), [x.ir.type for x in given]), name)
        defined.linkage = "internal"
        defined.attributes.add("noinline")
        b = self.b.inside(defined)
        inner = [
            b.pointer(argument, x.element) if isinstance(x, Pointer) else Value(b, argument)
            for x, argument in zip(given, defined.args, strict=True)
        ]
        body(b, *inner)
        b.ir.ret_void()
        return defined


def _scalar(b: VectorBuilder, number: int) -> Value:
    return Value(b, constant(number, BOOL if isinstance(number, bool) else INT64))


__all__ = ["Subroutines"]
