"""Running a record again, without the user's code: with other values, other gradients, or just as it was.

The graph is built anew from the recorded values and the operations' definitions; whatever depends on an edited value is
computed again. The backward pass is then the library's own walk over that graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import BacklitError, RecordError
from ...function import _Pick
from ...graph import enable_grad, mode, no_grad, walk
from ...numerics import quiet
from ...ops.definition import record as record_node
from ...tensor import Tensor
from .capture import Capture, is_own
from .checked import FAULTS
from .entries import Entry, Pass
from .model import Record
from .numbers import Kept
from .settings import Lost

Edits = Mapping[Any, Any]


def rerun(rec: Record, *, values: Edits | None = None, upstream: Edits | None = None, seed: Any = None) -> Record:
    """The recorded computation and its backward pass once more, as a new record; no ``.grad`` is touched.

    Args:
        rec: the record; it must hold values (``keep="all"``).
        values: new values by node (or its name): of leaves, or of results, which then no longer follow their inputs.
        upstream: gradients by node that take the place of what the walk brings there.
        seed: the gradient to start with, of the root's shape; as recorded where it is left out. A record without a
            backward pass gives one without.

    Raises:
        RecordError: values are missing, a shape does not fit, or an operation of the user's own is not at hand.

    >>> import backlit as bl
    >>> w = bl.tensor(3.0, requires_grad=True)
    >>> rec = bl.explain(w * w)
    >>> rec.rerun(values={"w": 5.0}).node("w").upstream
    array(10., dtype=float32)
    """
    new_values, gradients = _by_number(rec, values or {}, "value"), _by_number(rec, upstream or {}, "gradient")
    try:
        return Rebuilt(rec, new_values).backward(gradients, seed)
    except BacklitError:
        raise
    except FAULTS as error:
        raise RecordError(
            f"the record cannot be run again: {type(error).__name__}: {error}. Its operations, settings and values do "
            "not fit together, or an operation of your own failed."
        ) from error


def _by_number(rec: Record, edits: Edits, what: str) -> dict[int, np.ndarray]:
    found = {}
    for which, value in edits.items():
        node = rec.node(which)
        try:
            array = np.array(value._data if isinstance(value, Tensor) else value, node.dtype)
        except (TypeError, ValueError) as error:
            raise RecordError(f"the new {what} of {node.name} is no array of {node.dtype}: {error}.") from None
        if array.shape != node.shape:
            raise RecordError(
                f"the new {what} of {node.name} has shape {array.shape}; the node has shape {node.shape}. They must "
                "agree."
            )
        found[node.id] = array
    return found


class Rebuilt:
    """A graph made from a record: ``tensors`` holds one tensor (or number) for each entry."""

    def __init__(self, rec: Record, values: Mapping[int, np.ndarray]) -> None:
        self.rec = rec
        self.values = values
        self.changed: set[int] = set()
        self.entries: list[Entry] = []
        self.tensors: list[Any] = []
        with enable_grad(), quiet():
            for number, entry in enumerate(rec._entries):
                self.entries.append(entry)
                self.tensors.append(self._tensor(number, entry))

    def _tensor(self, number: int, entry: Entry) -> Any:
        if number in self.values:
            self._set(number, self.values[number].copy(), entry.extra)
            if entry.op is None:
                return self._leaf(number)
        elif entry.op is None:
            return self._leaf(number)
        inputs = [None if n is None else self.tensors[n] for n in entry.inputs]
        if is_own(entry.op):
            return self._own(entry, inputs)
        if entry.op is _Pick:
            return self._picked(number, entry, inputs[0])
        if number not in self.values and any(n in self.changed for n in entry.inputs):
            self._again(number, entry, inputs)
        return self._result(number, inputs)

    def _leaf(self, number: int) -> Any:
        entry = self.entries[number]
        if entry.kept is None or entry.kept.array is None:
            return _Missing(self.rec.nodes[number])
        if entry.weak:
            return entry.kept.array.item()
        tensor = Tensor(np.array(entry.kept.array))
        tensor._requires_grad = entry.requires_grad
        return tensor

    def _result(self, number: int, inputs: list[Any]) -> Any:
        entry = self.entries[number]
        kept = entry.kept
        if kept is None or kept.array is None:
            return _Missing(self.rec.nodes[number])
        out = Tensor(np.array(kept.array))
        needs = sum(1 << i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x._requires_grad)
        if entry.requires_grad and needs:
            self._known(inputs)
            arrays = [getattr(x, "_data", x) for x in inputs]
            record_node(entry.op, inputs, arrays, entry.params, needs, out, entry.extra)
        return out

    def _again(self, number: int, entry: Entry, inputs: list[Any]) -> None:
        """Compute a result from inputs that were edited."""
        self._known(inputs)
        arrays = [getattr(x, "_data", x) for x in inputs]
        out = entry.op.again(entry.extra, *arrays, **entry.params)
        out, extra = out if entry.op.has_extra else (out, entry.extra)
        self._set(number, np.array(out), extra)

    def _set(self, number: int, array: np.ndarray, extra: Any) -> None:
        self.changed.add(number)
        self.entries[number] = replace(self.entries[number], kept=Kept(array), extra=extra)

    def _own(self, entry: Entry, inputs: list[Any]) -> Any:
        """An operation of the user's own: its ``forward`` is called again."""
        owner = getattr(entry.op, "owner", None)
        if owner is None:
            raise RecordError(
                f"{entry.name}: {entry.op.name} is an operation of its author's own, or of another Backlit, and not in "
                f"the file; give it to load_record as own={{{entry.op.name!r}: {entry.op.name}}}."
            )
        self._known(inputs)
        fixed, kwargs = entry.params.get("fixed", {}), entry.params.get("kwargs", {})
        lost = next((x for x in (*fixed.values(), *kwargs.values()) if isinstance(x, Lost)), None)
        if lost is not None:
            raise RecordError(f"{entry.name}: it was given a {lost.what}, which the file could not hold.")
        arguments = [fixed.get(i, x) for i, x in enumerate(inputs)]
        return owner.apply(*arguments, **kwargs)

    def _picked(self, number: int, entry: Entry, outputs: Any) -> Any:
        out = outputs[entry.params["index"]]
        self._set(number, np.array(out._data), None)
        return out

    def _known(self, inputs: list[Any]) -> None:
        missing = next((x for x in inputs if isinstance(x, _Missing)), None)
        if missing is not None:
            missing.node.known_value()

    # -- the walk -----------------------------------------------------------------------------------------------

    def backward(self, gradients: Mapping[int, np.ndarray], seed: Any) -> Record:
        """Walk back over the graph, with some gradients replaced."""
        walked = self.rec._pass
        if walked is None:
            if gradients or seed is not None:
                raise RecordError("the record has no backward pass, so there is no gradient to change.")
            return Record(self.entries, (), "all", self.rec.title)
        if seed is None and any(kept.array is None for kept in walked.seeds.values()):
            raise RecordError("only statistics of the first gradient were kept; give seed=, or record with keep='all'.")
        roots = {number: kept.array if seed is None else seed for number, kept in walked.seeds.items()}
        capture = Capture()
        capture.entries = self.entries
        self.introduce(capture)
        for number, array in gradients.items():
            self._replace(number, array)
        self.walk(capture, _by_number(self.rec, roots, "seed"))
        for number, array in gradients.items():
            self._check_reached(number, capture.passes[-1])
            if self.entries[number].op is None:
                capture.passes[-1].leaves[number] = Kept(array)
        return Record(capture.entries, capture.passes, "all", self.rec.title)

    def walk(self, capture: Capture, roots: Mapping[int, np.ndarray]) -> None:
        """The reverse walk, observed by ``capture``; leaves collect nothing."""
        places = [(self._place(number), array) for number, array in roots.items()]
        before, mode.walkers = mode.walkers, (capture,)
        try:
            with no_grad(), quiet():
                walk(places, keep=True, arrive=lambda leaf, gradient, owned: None)
        finally:
            mode.walkers = before

    def _place(self, number: int) -> Any:
        tensor = self.tensors[number]
        if isinstance(tensor, _Missing):
            tensor.node.known_value()
        return tensor._node or tensor

    def introduce(self, capture: Capture) -> None:
        """Tell a capture which entries the new nodes and leaves stand for."""
        for number, tensor in enumerate(self.tensors):
            if isinstance(tensor, Tensor):
                capture.know(tensor, number)
            elif isinstance(tensor, tuple):
                capture.know_node(tensor[0]._node.edges[0], number)

    def _check_reached(self, number: int, walked: Pass) -> None:
        if number not in walked.upstream and number not in walked.leaves:
            name = self.entries[number].name
            raise RecordError(f"no gradient reaches {name} in this pass, so there is none to change.")

    def _replace(self, number: int, array: np.ndarray) -> None:
        node = getattr(self.tensors[number], "_node", None)
        if node is not None:
            node.register_hook(lambda _: array)


class _Missing:
    """Stands for a value that the record does not hold; asking for it raises."""

    def __init__(self, node: Any) -> None:
        self.node = node
