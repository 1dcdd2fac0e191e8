"""The scalar functions of an elementwise declaration, writing instructions instead of computing.

``Relu.value(s, x)`` with this module's namespace for ``s`` and a :class:`Symbol` for ``x`` appends the instructions of
a rectifier to a program: the declaration that eager mode computes with is the one that is compiled.
"""

from __future__ import annotations

from typing import Any

from ...ops.powers import written_power
from ..ir.build import Builder, Operand
from ..ir.primitives import MEANING
from ..ir.program import Value


class Symbol:
    """A value that stands in for an array in a scalar expression."""

    __slots__ = ("builder", "value")
    __array_ufunc__ = None

    def __init__(self, builder: Builder, value: Value) -> None:
        self.builder = builder
        self.value = value

    @property
    def dtype(self) -> Any:
        """The dtype of the array it stands for."""
        return self.value.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array it stands for."""
        return self.value.shape

    def __bool__(self) -> bool:
        raise TypeError("an elementwise declaration branched on a value; it must use s.where.")


def _plain(x: Any) -> Operand:
    return x.value if isinstance(x, Symbol) else x


def _written(builder: Builder, opcode: str, operands: tuple[Any, ...]) -> Value:
    return builder.elementwise(opcode, *map(_plain, operands))


def _operator(opcode: str, swapped: bool) -> Any:
    def method(self: Symbol, *other: Any) -> Symbol:
        operands = (*other, self) if swapped else (self, *other)
        return self.__class__(self.builder, _written(self.builder, opcode, operands))

    return method


_BINARY = {"truediv": "div", "floordiv": "floor_divide"}

for _name in ("add", "sub", "mul", "truediv", "floordiv", "and", "or", "xor"):
    setattr(Symbol, f"__{_name}__", _operator(_BINARY.get(_name, _name), False))
    setattr(Symbol, f"__r{_name}__", _operator(_BINARY.get(_name, _name), True))
for _name, _opcode in {"neg": "neg", "invert": "not", "abs": "abs"}.items():
    setattr(Symbol, f"__{_name}__", _operator(_opcode, False))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Symbol, f"__{_name}__", _operator(_name, False))
setattr(Symbol, "__hash__", object.__hash__)  # noqa: B010  (== writes an instruction)


class Scalars:
    """The namespace ``s``: each function appends its instruction to a builder."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    def __getattr__(self, name: str) -> Any:
        if name not in MEANING:
            raise AttributeError(name)

        def write(*operands: Any, **settings: Any) -> Symbol:
            if settings:
                raise NotImplementedError(f"{name} with {settings}")
            return Symbol(self._builder, _written(self._builder, name, operands))

        return write

    def pow(self, x: Any, exponent: Any) -> Any:
        """A power; where the exponent is a number, the products and roots that eager mode takes."""
        written = written_power(self, x, exponent) if isinstance(exponent, int | float) else None
        return Symbol(self._builder, _written(self._builder, "pow", (x, exponent))) if written is None else written


def write_expression(builder: Builder, expression: Any, operands: list[Operand], params: dict[str, Any]) -> Value:
    """Write down ``expression(s, *operands, **params)`` and give the value that it makes."""
    symbols = [Symbol(builder, x) if isinstance(x, Value) else x for x in operands]
    made = expression(Scalars(builder), *symbols, **params)
    return builder.as_value(_plain(made), None)
