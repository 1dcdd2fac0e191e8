"""From the document of a record file back to a record. The document is checked part by part; nothing of it is run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import RecordError
from ...function import _Own, _Pick
from ...ops.definition import Op
from ...source import Source
from .checked import Part
from .entries import Entry, Pass
from .model import Record
from .numbers import Kept, Statistics
from .settings import DTYPES, decode, definitions

KINDS = ("parameter", "variable", "constant", "operation")
PHASES = ("forward", "backward", "inside")
LARGEST = 2**40
"""More elements than this no array has; a file that says otherwise is not believed."""


@dataclass(frozen=True)
class Beside:
    """What stands beside the document: the file's arrays, and operations of the user's own by name."""

    arrays: Mapping[str, np.ndarray]
    own: Mapping[str, Any]


def from_document(document: Part, beside: Beside) -> Record:
    """The record that a document describes.

    Raises:
        RecordError: a part is missing, of the wrong kind, or does not fit the others; the message names its place.
    """
    reader = _Reader(beside)
    keep = document["keep"].one_of(("all", "stats", "filter"))
    title = document["title"].text()
    for part in document["nodes"]:
        reader.node(part)
    passes = [reader.walked(part) for part in document["passes"]]
    if any(entry.walk is not None and entry.walk >= len(passes) for entry in reader.entries):
        raise RecordError("nodes: one is of a backward pass that the document does not have")
    return Record(reader.entries, passes, keep, title)


class _Reader:
    def __init__(self, beside: Beside) -> None:
        self.beside = beside
        self.entries: list[Entry] = []
        self._names: set[str] = set()
        self._kept: dict[str, Kept] = {}

    # -- nodes ------------------------------------------------------------------------------------------------------

    def node(self, part: Part) -> None:
        """Read the next node; it can only refer to those before it, so there are no cycles."""
        if part["id"].whole() != len(self.entries):
            raise part["id"].wrong(f"{len(self.entries)}, the node's place in the list")
        entry = self._described(part)
        if entry.name in self._names:
            raise part["name"].wrong("a name that no other node has")
        self._names.add(entry.name or "")
        if entry.kind == "operation":
            self._operation(part, entry)
        elif not part["op"].missing:
            raise part["op"].wrong("null, for a leaf is the result of no operation")
        if entry.weak and (entry.shape or entry.kind != "constant"):
            raise part["number"].wrong("false, for only a constant without dimensions can be a Python number")
        self.entries.append(entry)

    def _described(self, part: Part) -> Entry:
        shape, dtype = shape_of(part["shape"]), dtype_of(part["dtype"])
        phase = part["phase"].one_of(PHASES)
        requires_grad = part["requires_grad"].flag()
        if requires_grad and dtype.kind != "f":
            raise part["requires_grad"].wrong(f"false, for {dtype} has no gradients")
        if (phase == "backward") == part["walk"].missing:
            raise part["walk"].wrong("the number of a backward pass for nodes of one, and null for others")
        return Entry(
            kind=part["kind"].one_of(KINDS),
            shape=shape,
            dtype=dtype,
            kept=self._maybe(part["value"], shape, dtype),
            requires_grad=requires_grad,
            saved=tuple(item.text() for item in part["saved"]),
            saved_bytes=part["saved_bytes"].whole(),
            walk=None if part["walk"].missing else part["walk"].whole(),
            weak=part["number"].flag(),
            inside=phase == "inside",
            name=part["name"].text(),
            source=source_of(part["source"]),
            expression=part["expression"].text_or_none(),
            span=span_of(part["span"]),
            module=part["module"].text(),
        )

    def _operation(self, part: Part, entry: Entry) -> None:
        name = part["op"].text()
        entry.op = self._definition(part, name)
        entry.inputs = self._inputs(part)
        if not part["own"].flag():
            self._check_count(part["inputs"], entry)
        settings = decode(part["settings"].value, self.beside.arrays)
        if not isinstance(settings, dict):
            raise part["settings"].wrong("settings by name")
        entry.params = settings
        entry.extra = decode(part["extra"].value, self.beside.arrays)

    def _definition(self, part: Part, name: str) -> Any:
        known = part["definition"].text_or_none()
        if known in definitions():
            op = definitions()[known]
            if getattr(op, "name", None) != name:
                raise part["definition"].wrong(f"an operation of this Backlit called {name!r}")
            return op
        given = self.beside.own.get(name)
        if given is None:
            return type("Own", (_Own,), {"name": name, "inputs": ()})
        op = getattr(given, "_operation", given)
        if not (isinstance(op, type) and issubclass(op, Op)):
            raise RecordError(f"own={{{name!r}: …}} must be an autograd.Function or what custom_vjp gave")
        return op

    def _inputs(self, part: Part) -> tuple[int | None, ...]:
        found: dict[int, int | None] = {item.whole(): None for item in part["left_out"]}
        for item in part["inputs"]:
            position = item["position"].whole()
            if position in found:
                raise item["position"].wrong("a position that no other input has")
            found[position] = item["node"].whole(len(self.entries))
        if sorted(found) != list(range(len(found))):
            raise part["inputs"].wrong("inputs at positions 0, 1, 2 …, none left out that is not in left_out")
        return tuple(found[i] for i in range(len(found)))

    def _check_count(self, part: Part, entry: Entry) -> None:
        op = entry.op
        if issubclass(op, _Own):
            return
        most = 1 if op is _Pick else None if op.variadic else len(op.inputs)
        if most is not None and len(entry.inputs) > most:
            raise part.wrong(f"at most {most} inputs for {op.name}")

    # -- gradients --------------------------------------------------------------------------------------------------

    def walked(self, part: Part) -> Pass:
        """Read a backward pass."""
        found = Pass()
        for item in part["roots"]:
            number = self._number(item["node"], found.seeds)
            found.seeds[number] = self._of(item["seed"], number)
        for item in part["nodes"]:
            number = item["node"].whole(len(self.entries))
            target = found.leaves if self.entries[number].op is None else found.upstream
            target[self._number(item["node"], target)] = self._of(item["upstream"], number)
        for item in part["edges"]:
            place = self._place(item, found)
            source = self.entries[place[0]].inputs[place[1]]
            assert source is not None
            found.downstream[place] = self._of(item["downstream"], source)
        for item in part["leaves"]:
            number = self._number(item["node"], found.before)
            entry = self.entries[number]
            found.before[number] = self._maybe(item["before"], entry.shape)
            found.after[number] = self._maybe(item["after"], entry.shape)
        return found

    def _number(self, part: Part, taken: Mapping[int, Any]) -> int:
        number = part.whole(len(self.entries))
        if number in taken:
            raise part.wrong("a node that is listed once")
        return number

    def _place(self, item: Part, found: Pass) -> tuple[int, int]:
        number = item["node"].whole(len(self.entries))
        inputs = self.entries[number].inputs
        position = item["position"].whole(len(inputs))
        if inputs[position] is None or (number, position) in found.downstream:
            raise item["position"].wrong("an input that is there and that is listed once")
        return number, position

    def _of(self, part: Part, number: int) -> Kept:
        return self._numbers(part, self.entries[number].shape)

    def _maybe(self, part: Part, shape: tuple[int, ...], dtype: Any = None) -> Kept | None:
        return None if part.missing else self._numbers(part, shape, dtype)

    def _numbers(self, part: Part, shape: tuple[int, ...], dtype: Any = None) -> Kept:
        """An array by its key, or the statistics that were kept in its place; without a ``dtype`` it is a gradient."""
        kept = self._array(part) if "array" in part else statistics_of(part)
        if kept.shape != shape or (kept.dtype.kind != "f" if dtype is None else kept.dtype != dtype):
            expected = f"{shape} {dtype or 'of floating point'}"
            raise RecordError(f"{part.place} holds {kept.shape} {kept.dtype} where {expected} is expected")
        return kept

    def _array(self, part: Part) -> Kept:
        key = part["array"].text()
        if key not in self.beside.arrays:
            raise part["array"].wrong("the key of an array in the file")
        if key not in self._kept:
            self._kept[key] = Kept(self.beside.arrays[key])
        return self._kept[key]


def shape_of(part: Part) -> tuple[int, ...]:
    """Sizes along each dimension."""
    shape = tuple(size.whole() for size in part)
    if len(shape) > 64 or math.prod(shape) > LARGEST:
        raise part.wrong("the sizes of an array that a computer can hold")
    return shape


def dtype_of(part: Part) -> np.dtype[Any]:
    """An element type."""
    return DTYPES[part.one_of(tuple(DTYPES))]


def source_of(part: Part) -> Source | None:
    """A line of the user's program."""
    if part.missing:
        return None
    return Source(part["file"].text(), part["line"].whole(), part["function"].text(), part["text"].text())


def span_of(part: Part) -> tuple[int, int] | None:
    """A place in a formula."""
    if part.missing:
        return None
    found = tuple(item.whole() for item in part)
    if len(found) != 2 or found[0] > found[1]:
        raise part.wrong("two numbers, the first not above the second")
    return found[0], found[1]


def statistics_of(part: Part) -> Kept:
    """Statistics that stand for an array."""
    stats = part["stats"]
    counts = tuple(item.whole() for item in part["histogram"]["counts"]) if "histogram" in part else ()
    found = Statistics(
        size=stats["size"].whole(),
        nans=stats["nans"].whole(),
        infs=stats["infs"].whole(),
        counts=counts,
        **{name: stats[name].number() for name in ("min", "max", "mean", "std", "norm", "absmax", "zeros")},
    )
    return Kept.described(shape_of(part["shape"]), dtype_of(part["dtype"]), found)


__all__ = ["Beside", "from_document"]
