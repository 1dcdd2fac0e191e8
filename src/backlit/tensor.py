"""Tensor: an array and its place in the graph.

Arithmetic and the other operations are attached to the class by :mod:`backlit.ops.methods`, and ``backward`` by
:mod:`backlit.autograd`; this file holds what makes a tensor a tensor: its array, its gradient, where it came from, and
who shares its memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import dtypes
from .breadcrumbs import Cut, export, leave, taken
from .devices import CPU, Device
from .devices import device as device
from .errors import GradientError, OperationError, UnsupportedError
from .graph import Hook, Node, mode, run_hooks
from .hooks import HookHandle, Keeper, on_tensors
from .journal import changed, grad_switched, walk_started
from .memory import address
from .printing import tensor_repr
from .source import describe, mark
from .storage import Storage

if TYPE_CHECKING:
    from ._methods import TensorMethods
else:
    TensorMethods = object

Array = NDArray[Any]


class Tensor(TensorMethods):
    """A multi-dimensional array that can remember how it was computed.

    Make one with :func:`backlit.tensor`; ``Tensor(array)`` wraps a NumPy array without copying and is for internal use.
    ``Tensor([1, 2])`` is PyTorch's older way to say ``tensor([1.0, 2.0])``.

    >>> import backlit as bl
    >>> x = bl.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ("__weakref__", "_cut", "_data", "_grad", "_hooks", "_node", "_requires_grad", "_storage", "_view")
    __array_priority__ = 1000

    _cut: Cut | None
    _data: Array
    _grad: Tensor | None
    _hooks: list[Hook] | None
    _node: Node | None
    _requires_grad: bool
    _storage: Storage | None
    _view: Any

    def __init__(self, data: Array) -> None:
        if data.__class__ is not np.ndarray:
            data = _array(data)
        self._data = data
        self._requires_grad = False
        self._node = self._grad = self._hooks = self._storage = self._view = self._cut = None

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along each dimension."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type, a NumPy dtype."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._data.ndim

    @property
    def device(self) -> Device:
        """Where the data lives; always the CPU."""
        return CPU

    @property
    def is_leaf(self) -> bool:
        """True for tensors that were not computed from tensors that require gradients."""
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The node that made this tensor, or None for a leaf."""
        self.refresh()
        return self._node

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded."""
        if self._view is not None:
            self.refresh()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._requires_grad != bool(value):
            grad_switched(self)
        self.start_requiring(value)

    def start_requiring(self, value: bool = True) -> None:
        """Set ``requires_grad`` of a tensor that is being made: nobody can have used it without."""
        if self._node is not None and not value:
            raise GradientError("requires_grad can only be cleared on leaf tensors; use .detach() on computed ones.")
        if value and self._data.dtype.kind != "f":
            raise GradientError(
                f"only floating tensors can require gradients; this one is {self._data.dtype.name}. "
                "Convert it first, for example with .float()."
            )
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad`` and return the tensor itself."""
        self.requires_grad = requires_grad
        return self

    @property
    def grad(self) -> Tensor | None:
        """The gradient collected by :meth:`backward`: a tensor of the same shape, or None before any arrived."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise OperationError(f".grad must be a Tensor or None, got {type(value).__name__}.")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise OperationError(
                    f".grad must match its tensor: tensor {self.shape} {self.dtype.name}, "
                    f"gradient {value.shape} {value.dtype.name}."
                )
        changed("grad_cleared" if value is None else "grad_set", self)
        self._grad = value
        if value is None and mode.tracer is not None:
            mode.tracer.cleared(self)

    # -- sharing memory -----------------------------------------------------------------------------------------

    def storage(self) -> Storage:
        """The record of who shares this memory, made when first asked for."""
        if self._storage is None:
            self._storage = Storage(self._data)
        return self._storage

    @property
    def _version(self) -> int:
        return 0 if self._storage is None else self._storage.version

    @property
    def data(self) -> Tensor:
        """The same memory without the graph. Writes to it are noticed by the backward pass."""
        return self._outside("data")

    @data.setter
    def data(self, value: Tensor) -> None:
        array = value._data if isinstance(value, Tensor) else np.asarray(value)
        if _same_memory(array, self._data):  # w.data -= step: written in place already
            return
        if mode.tracer is not None:
            mode.tracer.replaced(self, value)
        storage = self.storage()
        self._data = storage.array = array
        storage.wrote()

    def detach(self) -> Tensor:
        """A tensor that shares this one's memory and is a constant to the graph."""
        return self._outside("detach")

    def _outside(self, how: str) -> Tensor:
        out = Tensor(self._data[...])  # another array object: forward-mode tangents are kept by array
        out._storage = self.storage()
        out._cut = taken(how, how, self) if self.requires_grad else self._cut
        return out

    def detach_(self) -> Tensor:
        """Cut this tensor off from what it was computed from."""
        self._cut = taken("detach_", "detach_", self)
        self._node = self._view = None
        self._requires_grad = False
        return self

    def numpy(self, *, force: bool = False) -> Array:
        """The data as a NumPy array that shares memory with the tensor.

        Writing to the array is allowed; if a value that the backward pass needs is overwritten this way, backward
        raises instead of giving a wrong gradient.

        Raises:
            GradientError: the tensor requires gradients (use ``.detach().numpy()`` or ``force=True``).
        """
        if self.requires_grad and not force:
            raise GradientError(
                "numpy(): this tensor requires gradients, and NumPy code is not recorded. "
                "Use .detach().numpy(), or numpy(force=True)."
            )
        return self._handed_out("numpy")

    def _handed_out(self, how: str) -> Array:
        self.storage().expose(mark(), saved=True)
        export(self, "numpy", how)
        return self._data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is True or (dtype is not None and np.dtype(dtype) != self._data.dtype):
            if copy is False:
                raise ValueError("a copy is needed to convert the dtype")
            leave("numpy", "__array__", self)
            return np.array(self._data, dtype=dtype)
        return self._handed_out("__array__")

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise GradientError("__dlpack__: this tensor requires gradients; export .detach() of it.")
        return self._handed_out("__dlpack__").__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()

    # -- history ------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Let a view follow its base after the base, or another view of it, was written to in place."""
        view = self._view
        if view is not None and view.history != self._storage.history:  # type: ignore[union-attr]
            view.replay(self)

    def accumulate(self, gradient: Any, owned: bool = False) -> None:
        """Take a contribution from the reverse walk; ``owned`` says that nobody else holds the array."""
        hooks = self._hooks
        if hooks is not None:
            if not isinstance(gradient, Tensor):
                gradient = Tensor(gradient)
            gradient = run_hooks(hooks, gradient)
            if not mode.recording:
                gradient, owned = gradient._data, False
        if self._grad is None and not isinstance(gradient, Tensor):
            self._grad = Tensor(_own(gradient, self._data, owned))
        else:
            self.collect(gradient)

    def collect(self, gradient: Any) -> None:
        """Add to ``.grad``: in place, or, where the walk is recorded (``gradient`` is a tensor), as a new tensor.

        Raises:
            OperationError: the old gradient has another shape.
        """
        held = self._grad
        recorded = isinstance(gradient, Tensor)
        if held is None:
            if recorded:  # a copy, for what else the walk made may be the same tensor, and later walks write to .grad
                self._grad = gradient if mode.tracer is not None else gradient.clone()
            else:
                self._grad = Tensor(_own(gradient, self._data, False))
        elif recorded:
            self._grad = held + gradient
        else:
            self._grad = _added(held, gradient)

    def register_hook(self, hook: Hook) -> Callable[[], None]:
        """Call ``hook(grad)`` when this tensor's gradient is computed; a returned tensor replaces it.

        Returns:
            A function that removes the hook (it also has ``.remove()``).
        """
        if not self.requires_grad:
            raise GradientError("register_hook: this tensor does not require gradients, so none will be computed.")
        if self._node is not None:
            return HookHandle(self._node.register_hook(on_tensors(hook, Tensor)))
        if self._hooks is None:
            self._hooks = []
        hooks = self._hooks
        hooks.append(hook)
        return HookHandle(lambda: hooks.remove(hook))

    @property
    def hooked(self) -> bool:
        """Whether hooks wait for this leaf's gradient."""
        return self._hooks is not None

    def retain_grad(self) -> None:
        """Keep the gradient of a computed tensor in ``.grad``, as leaves do."""
        if not self.requires_grad:
            raise GradientError("retain_grad: this tensor does not require gradients.")
        if self._node is None or self.retains_grad:
            return
        keeper = Keeper(self, Tensor)
        self._node.register_hook(keeper)
        self._hooks = [keeper]

    @property
    def retains_grad(self) -> bool:
        """Whether :meth:`retain_grad` was called on this computed tensor."""
        return self._node is not None and self._hooks is not None

    # -- conversions --------------------------------------------------------------------------------------------

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number."""
        value = self._number()
        leave("item", "item", self, value)
        return value

    def _number(self) -> Any:
        if self._data.size != 1:
            raise OperationError(f"item(): needs a tensor with one element, this one has shape {self.shape}.")
        return self._data.item()

    def tolist(self) -> Any:
        """The values as nested Python lists (a plain number for a 0-d tensor)."""
        values = self._data.tolist()
        leave("tolist", "tolist", self, values)
        return values

    def __len__(self) -> int:
        if self._data.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self._data.shape[0]

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise OperationError(
                f"the truth value of a tensor with shape {self.shape} is ambiguous; use .any(), .all() or where."
            )
        leave("branch", "bool", self)
        return bool(self._data)

    def __float__(self) -> float:
        value = float(self._number())
        leave("item", "float", self, value)
        return value

    def __int__(self) -> int:
        leave("item", "int", self)
        return int(self._number())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iub":
            raise TypeError(f"only integer tensors can be used as an index, this one is {self._data.dtype.name}")
        leave("item", "int", self)
        return int(self._number())

    def __format__(self, spec: str) -> str:
        return format(self._number(), spec) if self._data.ndim == 0 else object.__format__(self, spec)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return tensor_repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise GradientError(
                "deepcopy: only leaf tensors can be copied; this one was computed. Use .detach().clone()."
            )
        out = type(self).__new__(type(self))
        Tensor.__init__(out, self._data.copy())
        out._cut = taken("copy", "deepcopy", self)
        out._requires_grad = self._requires_grad
        out._grad = self._grad.__deepcopy__(memo) if self._grad is not None else None
        memo[id(self)] = out
        return out

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise GradientError("pickle: only leaf tensors can be pickled; use .detach() first.")
        return _rebuild, (type(self), self._data, self._requires_grad)

    def cuda(self, *_: Any, **__: Any) -> Tensor:
        """Raises: Backlit computes on the CPU."""
        raise UnsupportedError("cuda(): Backlit computes on the CPU; leave the tensor where it is.")


def _same_memory(a: Array, b: Array) -> bool:
    """Whether two arrays show the same elements of the same memory."""
    return address(a) == address(b) and (a.shape, a.strides, a.dtype) == (b.shape, b.strides, b.dtype)


def _array(data: Any) -> Array:
    """What else may stand for an array: NumPy's scalars and subclasses; sequences, as numbers of the default dtype."""
    if isinstance(data, (np.ndarray, np.generic)):
        return np.asarray(data)
    if isinstance(data, (list, tuple)):
        try:
            return np.array(data, dtype=dtypes.get_default_dtype())
        except (ValueError, TypeError) as error:
            raise OperationError(f"Tensor: the data is not a regular array of numbers ({error}).") from error
    raise OperationError(
        f"Tensor({data!r}): use backlit.tensor for data, backlit.empty or backlit.zeros for a tensor of a given size."
    )


def _rebuild(kind: type[Tensor], data: Array, requires_grad: bool) -> Tensor:
    out = kind.__new__(kind)
    Tensor.__init__(out, data)
    out._requires_grad = requires_grad
    return out


def _added(held: Tensor, gradient: Array) -> Tensor:
    """A gradient with a contribution added to it, in place where its memory allows."""
    array = held._data
    if array.shape != gradient.shape:
        raise OperationError(
            f"backward at {describe(mark())}: .grad has shape {array.shape}, left from before the tensor's data was "
            f"replaced, and the new gradient {gradient.shape}; call zero_grad(), or set .grad = None."
        )
    if array.dtype != gradient.dtype or not array.flags.writeable:
        return Tensor(np.asarray(array + gradient))
    np.add(array, gradient, out=array)
    storage = held._storage or held.storage()
    storage.version += 1
    storage.writer, storage.fingerprint = walk_started(), None
    return held


def _own(gradient: Array, like: Array, owned: bool) -> Array:
    """A gradient array that nobody else holds, writable, with its leaf's dtype.

    A view can be of the upstream gradient, which others hold, and 0-d results of NumPy are scalars: both are copied.
    """
    if owned and type(gradient) is np.ndarray and gradient.base is None:
        return gradient
    return np.array(gradient, dtype=like.dtype, copy=True)


def constant(array: Any) -> Tensor:
    """Wrap an array that only the library holds; no outsider can write to it."""
    return Tensor(np.asarray(array))
