"""What the page is given: the record, small enough to be opened quickly, and formulas that it can compute with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .programs import Operator, programs_of

_MANY_NODES = 200
"""From here on, pictures are kept for nodes only and made coarser: a thousand nodes would be 20 MB of text."""
_COARSE = 12


def page_data(record: Any, title: str | None = None) -> dict[str, Any]:
    """``{"record": …, "programs": …}`` for a record or its dictionary."""
    data = as_dictionary(record)
    data = {**data, "title": title if title is not None else data.get("title") or ""}
    if len(data["nodes"]) > _MANY_NODES:
        data = _slim(data)
    return {"record": data, "programs": programs_of(_operators(record))}


def _operators(record: Any) -> Iterator[Operator]:
    """The operations of a record; a dictionary holds their settings as texts, from which no formula is made."""
    if isinstance(record, dict):
        return
    for node in record.nodes:
        if node.kind == "operation":
            yield Operator(node.id, node.op, node.params)


def as_dictionary(record: Any) -> dict[str, Any]:
    """A record's ``to_dict(inline=True)``, or the dictionary that was given."""
    found: dict[str, Any] = record if isinstance(record, dict) else record.to_dict(inline=True)
    return found


def _slim(data: dict[str, Any]) -> dict[str, Any]:
    nodes = [{**node, "value": _coarser(node.get("value"))} for node in data["nodes"]]
    return {**data, "nodes": nodes, "passes": [_slim_pass(one) for one in data["passes"]]}


def _slim_pass(one: dict[str, Any]) -> dict[str, Any]:
    return {
        **one,
        "nodes": [{**entry, "upstream": _coarser(entry["upstream"])} for entry in one["nodes"]],
        "edges": [_slim_edge(entry) for entry in one["edges"]],
        "leaves": [{**leaf, **{key: _plain(leaf[key]) for key in ("before", "after")}} for leaf in one["leaves"]],
    }


def _slim_edge(entry: dict[str, Any]) -> dict[str, Any]:
    local = entry.get("local")
    slim = local and {**local, "value": _plain(local.get("value"))}
    return {**entry, "downstream": _plain(entry["downstream"]), "local": slim}


def _plain(numbers: dict[str, Any] | None) -> dict[str, Any] | None:
    """Numbers without their pictures."""
    return numbers and {key: value for key, value in numbers.items() if key not in ("picture", "histogram")}


def _coarser(numbers: dict[str, Any] | None) -> dict[str, Any] | None:
    """A picture of at most 12 by 12 blocks, each the mean of those it covers, to three digits."""
    picture = numbers and numbers.get("picture")
    if not numbers or not picture:
        return numbers
    rows = [list(_means(row, _COARSE)) for row in picture["values"]]
    columns = [list(_means(column, _COARSE)) for column in zip(*rows, strict=True)]
    values = [[_short(x) for x in row] for row in zip(*columns, strict=True)]
    return {**numbers, "picture": {"rows": len(values), "columns": len(values[0]) if values else 0, "values": values}}


def _means(values: Any, most: int) -> Iterator[Any]:
    count = len(values)
    pieces = min(count, most)
    for i in range(pieces):
        part = values[i * count // pieces : (i + 1) * count // pieces]
        odd = [x for x in part if isinstance(x, str)]
        yield odd[0] if odd else sum(part) / len(part)


def _short(x: Any) -> Any:
    return float(f"{x:.3g}") if isinstance(x, float) else x
