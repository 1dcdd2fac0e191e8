"""Methods that convert a tensor: dtype, device, copies, and the questions PyTorch programs ask of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..memory import address
from ..tensor import Device, device
from .cast import cast
from .definition import Tensor
from .elementwise import operand


def to(
    self: Any, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, non_blocking: bool = False
) -> Any:
    """This tensor with another dtype (or another tensor's), itself when nothing changes; devices are the CPU."""
    del non_blocking  # transfers do not exist on one device
    for arg in args:
        if isinstance(arg, Tensor):
            dtype = arg.dtype
        elif isinstance(arg, bool):
            copy = arg
        elif isinstance(arg, Device) or (isinstance(arg, str) and not _names_dtype(arg)):
            device = arg
        else:
            dtype = arg
    _check_device(device)
    if dtype is None or dtypes.as_dtype(dtype) == self.dtype:
        return self.clone() if copy else self
    return cast(self, dtype)


def _names_dtype(name: str) -> bool:
    try:
        np.dtype(name)
    except TypeError:
        return False
    return True


def _check_device(name: Any) -> None:
    if name is not None:
        device(name)


def astype(self: Any, dtype: Any) -> Any:
    """This tensor with another dtype; NumPy's name for :meth:`to`."""
    return self if dtypes.as_dtype(dtype) == self.dtype else cast(self, dtype)


def type_(self: Any, dtype: Any = None) -> Any:
    """The dtype, or this tensor with another one."""
    return self.dtype if dtype is None else to(self, dtype)


def _converter(name: str, target: Any) -> Any:
    def method(self: Any) -> Any:
        return to(self, target)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"This tensor as {np.dtype(target).name}."
    return method


def type_as(self: Any, other: Any) -> Any:
    """This tensor with another tensor's dtype."""
    return to(self, other.dtype)


def cpu(self: Any) -> Any:
    """This tensor; it is on the CPU already."""
    return self


def size(self: Any, dim: int | None = None) -> Any:
    """The shape, or the size along one dimension."""
    return self.shape if dim is None else self.shape[dim]


def numel(self: Any) -> int:
    """Number of elements."""
    return int(operand(self)._data.size)


def dim(self: Any) -> int:
    """Number of dimensions."""
    return self.ndim


def itself(self: Any) -> Any:
    """This tensor: its memory can be shared and copied from as it is."""
    return self


def element_size(self: Any) -> int:
    """Bytes an element."""
    return self._data.itemsize


def stride(self: Any, dim: int | None = None) -> Any:
    """Elements to step over for the next one along each dimension."""
    steps = tuple(s // self._data.itemsize for s in self._data.strides)
    return steps if dim is None else steps[dim]


def is_contiguous(self: Any) -> bool:
    """Whether the elements lie in memory in order, without gaps."""
    return bool(self._data.flags.c_contiguous)


def data_ptr(self: Any) -> int:
    """The memory address of the first element."""
    return address(self._data)


def is_floating_point(self: Any) -> bool:
    """Whether the dtype is a floating one, which can carry gradients."""
    return self.dtype.kind == "f"


def _new(name: str) -> Any:
    def method(self: Any, *shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
        from .. import creation

        _check_device(device)
        maker = getattr(creation, name)
        return maker(*shape, dtype=self.dtype if dtype is None else dtype, requires_grad=requires_grad)

    method.__name__ = method.__qualname__ = f"new_{name}"
    method.__doc__ = f"As :func:`backlit.{name}`, with this tensor's dtype."
    return method


def new(self: Any, *data: Any) -> Any:
    """A new tensor of this tensor's dtype: of the given sizes and uninitialised, or from a sequence."""
    if len(data) == 1 and not isinstance(data[0], int) and not isinstance(data[0], tuple):
        return new_tensor(self, data[0])
    return CONVERSIONS["new_empty"](self, *(data or (0,)))


def new_tensor(self: Any, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A new tensor from data, with this tensor's dtype."""
    from ..creation import tensor

    _check_device(device)
    return tensor(data, dtype=self.dtype if dtype is None else dtype, requires_grad=requires_grad)


def new_full(
    self: Any, size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """As :func:`backlit.full`, with this tensor's dtype."""
    from ..creation import full

    _check_device(device)
    return full(size, fill_value, dtype=self.dtype if dtype is None else dtype, requires_grad=requires_grad)


CONVERSIONS = {
    "to": to,
    "astype": astype,
    "type": type_,
    "type_as": type_as,
    "float": _converter("float", dtypes.float32),
    "double": _converter("double", dtypes.float64),
    "half": _converter("half", dtypes.float16),
    "int": _converter("int", dtypes.int32),
    "long": _converter("long", dtypes.int64),
    "short": _converter("short", dtypes.int16),
    "char": _converter("char", dtypes.int8),
    "byte": _converter("byte", dtypes.uint8),
    "bool": _converter("bool", dtypes.bool_),
    "cpu": cpu,
    "size": size,
    "numel": numel,
    "nelement": numel,
    "dim": dim,
    "ndimension": dim,
    "element_size": element_size,
    "itemsize": property(element_size),
    "nbytes": property(lambda self: int(self._data.nbytes)),
    "stride": stride,
    "is_contiguous": is_contiguous,
    "data_ptr": data_ptr,
    "is_floating_point": is_floating_point,
    "is_complex": lambda self: False,
    "is_signed": lambda self: self.dtype.kind in "if",
    "is_cuda": property(lambda self: False),
    "is_sparse": property(lambda self: False),
    "pin_memory": itself,
    "share_memory_": itself,
    "get_device": lambda self: -1,
    "new": new,
    "new_tensor": new_tensor,
    "new_zeros": _new("zeros"),
    "new_ones": _new("ones"),
    "new_empty": _new("empty"),
    "new_full": new_full,
}
