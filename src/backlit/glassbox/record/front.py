"""How a record is made: ``bl.explain(loss)`` and ``with bl.record()``."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np

from ...autograd import backward, kept_graphs
from ...errors import GradientError, OperationError, RecordError
from ...graph import mode, no_grad, walk
from ...numerics import quiet
from ...source import describe, mark
from ...tensor import Tensor
from .capture import Capture, Keep
from .model import Record
from .naming import Names, name_entries, variables
from .replay import Rebuilt


def explain(
    loss: Tensor,
    grad: Any = None,
    *,
    keep: Keep = "all",
    names: Mapping[str, Tensor] | None = None,
    title: str = "",
) -> Record:
    """A complete account of how ``loss`` was computed and of its backward pass.

    Call it instead of ``loss.backward()``: it runs the backward pass, fills ``.grad`` as ``backward`` does, and records
    every number on the way. Called after ``loss.backward()`` it leaves every ``.grad`` alone: values that the graph has
    released are computed again from the leaves.

    Args:
        loss: a tensor that requires gradients.
        grad: the upstream gradient to start with; ones where it is left out (a result with several elements is summed).
        keep: ``"all"`` arrays, ``"stats"`` only, or a function of a :class:`Brief` that says whether an array is kept.
        names: names for tensors, beside those of the variables of the calling code.
        title: what the record is about; for pictures.

    Raises:
        GradientError: ``loss`` does not require gradients; ``bl.why(loss)`` tells the reason.
        RecordError: a leaf was overwritten since, so the values can no longer be had.

    >>> import backlit as bl
    >>> w = bl.tensor(1.0, requires_grad=True)
    >>> rec = bl.explain((w * 3 - 1) ** 2)
    >>> w.grad, rec.node("w").grad
    (tensor(12.), array(12., dtype=float32))
    """
    if not isinstance(loss, Tensor):
        raise OperationError(f"explain at {describe(mark())}: needs a tensor, got {type(loss).__name__}.")
    if not loss.requires_grad:
        raise GradientError(
            f"explain at {describe(mark())}: this tensor does not require gradients, so there is no backward pass to "
            "explain. bl.why(it) tells the reason."
        )
    capture = Capture(_checked(keep))
    found = variables(names)
    number = capture.history_of(loss)
    _check_same(capture, number, loss)
    walked = _was_walked(loss)
    seed = Tensor(np.ones(loss.shape, loss.dtype)) if grad is None else grad
    if walked:
        name_entries(capture.entries, found.tensors, {})
        _walk_again(capture, loss, seed)
    else:
        with _watching(walkers=(capture,)):
            backward(loss, seed)
    return finished(capture, found, title)


def _checked(keep: Any) -> Keep:
    if keep in ("all", "stats") or callable(keep):
        return keep
    raise RecordError(f"keep={keep!r}: give 'all', 'stats', or a function that says what to keep.")


def _check_same(capture: Capture, number: int, loss: Tensor) -> None:
    """Hold the value computed again against the one that the user holds."""
    kept = capture.entries[number].kept
    if kept is not None and kept.array is not None and not _close(kept.array, loss._data):
        raise RecordError(
            f"explain at {describe(mark())}: computed again, the result is {kept.array.ravel()[0]:.6g} where it was "
            f"{loss._data.ravel()[0]:.6g}: a tensor it was computed from has been written to since, as an optimizer's "
            "step does. Call explain(loss) before the write, or put the code in `with bl.record() as rec:`."
        )


def _close(a: Any, b: Any) -> bool:
    tolerance = 1e3 * np.finfo(b.dtype).eps
    return bool(np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True))


def _was_walked(loss: Tensor) -> bool:
    node = loss._node
    return node is not None and (node.saved is None or node in kept_graphs)


def _walk_again(capture: Capture, loss: Tensor, seed: Any) -> None:
    """The backward pass once more, for the record only: over the graph if it was kept, else over one built anew."""
    node = loss._node
    assert node is not None
    array = seed._data if isinstance(seed, Tensor) else np.asarray(seed, loss.dtype)
    if node.saved is not None:
        with _watching(walkers=(capture,)), no_grad(), quiet():
            walk([(node, array)], keep=True, arrive=lambda leaf, gradient, owned: None)
        return
    rebuilt = Rebuilt(Record(capture.entries, ()), {})
    rebuilt.introduce(capture)
    rebuilt.walk(capture, {capture.index_of(loss): array})


class record:
    """Record everything inside a ``with`` block: every operation, and every backward pass.

    ``keep``, ``names`` and ``title`` are as for ``explain``. The record is complete when the block is left.

    >>> import backlit as bl
    >>> w = bl.tensor([1.0, 2.0], requires_grad=True)
    >>> with bl.record() as rec:
    ...     loss = (w * w).sum()
    ...     loss.backward()
    >>> rec.node("loss").value, rec.node("w").grad
    (array(5., dtype=float32), array([2., 4.], dtype=float32))
    """

    def __init__(self, *, keep: Keep = "all", names: Mapping[str, Tensor] | None = None, title: str = "") -> None:
        self._capture = Capture(_checked(keep))
        self._names = names
        self._title = title
        self._watching: Any = None
        self._made = _Unfinished((), (), _word(keep), title)

    def __enter__(self) -> Record:
        self._watching = _watching(observers=(self._capture,), walkers=(self._capture,))
        self._watching.__enter__()
        return self._made

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._watching.__exit__(kind, error, trace)
        whole = finished(self._capture, variables(self._names), self._title)
        self._made.__class__ = Record  # type: ignore[assignment]
        self._made.__dict__.clear()
        self._made.__dict__.update(whole.__dict__)
        for node in self._made.nodes:
            node._record = self._made


class _Unfinished(Record):
    """The record while its block still runs: asking it for anything says so."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") or name == "_repr":
            return super().__getattribute__(name)
        raise RecordError("the record is complete when its `with` block is left; ask it after that.")

    def __init__(self, *arguments: Any) -> None:
        pass

    def __repr__(self) -> str:
        return "<Record: still recording>"

    __str__ = __repr__


class _watching:
    """Observers put in place for the time of a block."""

    def __init__(self, observers: tuple[Any, ...] = (), walkers: tuple[Any, ...] = ()) -> None:
        self._observers, self._walkers = observers, walkers

    def __enter__(self) -> None:
        self._before = mode.observers, mode.walkers
        mode.observers = (*mode.observers, *self._observers)
        mode.walkers = (*mode.walkers, *self._walkers)

    def __exit__(self, *exc: object) -> None:
        mode.observers, mode.walkers = self._before


def finished(capture: Capture, found: Names, title: str) -> Record:
    """The record of what a capture wrote down, named."""
    held = capture.numbers_of(found.nodes)
    tensors = found.tensors
    held |= {number: tensors[key] for key, (ref, _, number) in capture.noted() if key in tensors and ref() is not None}
    name_entries(capture.entries, tensors, held)
    rec = Record(capture.entries, capture.passes, _word(capture.keep), title)
    rec._number_of = capture.finder()
    return rec


def _word(keep: Keep) -> str:
    return keep if isinstance(keep, str) else "filter"
