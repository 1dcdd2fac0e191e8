"""What a static picture shows: things (operations, leaves, closed modules) and the wires between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .labels import gradient_label, shape_text, short_values, value_label

MOST = 150
"""Graphs with more nodes are drawn with their modules closed."""
_CLOSED = 60
"""How many things are then drawn at most, as far as closing modules can help."""
_PART = 60
SYMBOLS = {
    "add": "+",
    "sub": "−",
    "mul": "×",
    "div": "÷",
    "neg": "−x",
    "pow": "xʸ",
    "square": "x²",
    "sqrt": "√",
    "matmul": "@",
    "sigmoid": "σ",
    "relu": "ReLU",
    "maximum": "max",
    "minimum": "min",
    "reciprocal": "1/x",
    "abs": "|x|",
    "gelu": "GELU",
}


@dataclass
class Thing:
    """A box: ``kind`` is a node's kind, ``"number"`` for a constant drawn as what it is, or ``"module"``."""

    key: str
    kind: str
    title: str
    subtitle: str = ""
    caption: str = ""
    path: tuple[str, ...] = ()
    nodes: int = 1


@dataclass
class Wire:
    """A use of a value: the value above, the gradient that comes back below; ``head`` is None behind a result."""

    tail: str
    head: str | None
    above: str = ""
    below: str = ""


@dataclass
class Scene:
    """A picture's contents."""

    title: str
    things: dict[str, Thing] = field(default_factory=dict)
    wires: list[Wire] = field(default_factory=list)


def build_scene(data: dict[str, Any], most: int = MOST) -> Scene:
    """The things and wires of a record's dictionary, with modules closed so that at most ``most`` things are drawn."""
    nodes = {node["id"]: node for node in data["nodes"]}
    paths = _paths(data["nodes"])
    scene = Scene(data.get("title") or "")
    homes = _homes(nodes, paths, _depth(nodes, paths, most), most)
    for id_, node in nodes.items():
        _add(scene, homes[id_], node, paths[id_])
    shown = data["passes"][-1] if data["passes"] else {"edges": [], "roots": [], "nodes": []}
    scene.wires.extend(_wires(nodes, homes, shown, scene))
    for root in shown["roots"]:
        node = nodes[root["node"]]
        above = value_label(node.get("value"), node["shape"])
        scene.wires.append(Wire(homes[node["id"]], None, above, gradient_label(root["seed"])))
    return scene


def _paths(nodes: list[dict[str, Any]]) -> dict[int, tuple[str, ...]]:
    """The modules around each node; a leaf is in the innermost module that holds all its users."""
    paths = {n["id"]: tuple(n["module"].split(".")) if n.get("module") else () for n in nodes}
    users: dict[int, list[tuple[str, ...]]] = {}
    for node in nodes:
        for edge in node["inputs"]:
            users.setdefault(edge["node"], []).append(paths[node["id"]])
    for node in nodes:
        if node["kind"] != "operation":
            paths[node["id"]] = _shared(users.get(node["id"], []))
    return paths


def _shared(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    shared = []
    for names in zip(*paths, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return tuple(shared)


def _depth(nodes: dict[int, Any], paths: dict[int, tuple[str, ...]], most: int) -> int | None:
    """How many levels of modules may be open; None for all."""
    if len(nodes) <= most:
        return None
    deepest = max(map(len, paths.values()))
    for depth in range(deepest, 0, -1):
        if len({paths[i][: depth + 1] if len(paths[i]) > depth else i for i in nodes}) <= min(most, _CLOSED):
            return depth
    return 0


def _homes(nodes: dict[int, Any], paths: dict[int, tuple[str, ...]], depth: int | None, most: int) -> dict[int, str]:
    """The key of the thing that stands for each node."""
    if depth is None:
        return {i: f"node {i}" for i in nodes}
    homes = {
        i: f"module {'.'.join(path[: depth + 1])}" if len(path) > depth else f"node {i}" for i, path in paths.items()
    }
    if len(set(homes.values())) > most:
        loose = [i for i, home in homes.items() if home.startswith("node")]
        for place, i in enumerate(loose):
            first = place // _PART * _PART
            homes[i] = f"module nodes {first + 1}–{min(first + _PART, len(loose))}"
    return homes


def _add(scene: Scene, home: str, node: dict[str, Any], path: tuple[str, ...]) -> None:
    if home in scene.things:
        thing = scene.things[home]
        thing.nodes += node["kind"] == "operation"
        thing.subtitle = _count(thing.nodes)
        return
    if home.startswith("module "):
        path = tuple(home.removeprefix("module ").split("."))
        operations = int(node["kind"] == "operation")
        made = Thing(home, "module", ".".join(path[-2:]), _count(operations), "", path[:-1], operations)
    else:
        made = _thing(home, node, path)
    scene.things[home] = made


def _count(operations: int) -> str:
    return f"{operations} operation{'' if operations == 1 else 's'}"


def _thing(key: str, node: dict[str, Any], path: tuple[str, ...]) -> Thing:
    name = node["name"].rpartition("#")[0] if "#" in node["name"] else node["name"]
    name = name.rpartition(".")[2] or node["name"]
    if node["kind"] == "operation":
        op = node["op"]
        return Thing(key, "operation", SYMBOLS.get(op, op), caption="" if name == op else name, path=path)
    plain = short_values(node.get("value")) if node["kind"] == "constant" and not node["shape"] else None
    if plain is not None:
        return Thing(key, "number", plain, path=path)
    return Thing(key, node["kind"], name, shape_text(node["shape"]), path=path)


def _wires(nodes: dict[int, Any], homes: dict[int, str], walked: dict[str, Any], scene: Scene) -> Iterator[Wire]:
    """One wire for an edge; between closed modules one for all edges of a value."""
    flows = {(edge["node"], edge["position"]): edge["downstream"] for edge in walked["edges"]}
    upstream = {entry["node"]: entry["upstream"] for entry in walked.get("nodes", ())}
    seeded = {root["node"] for root in walked["roots"]}
    used: dict[int, list[tuple[int, int]]] = {}
    bundles: dict[tuple[int, str, int | None], list[tuple[int, int]]] = {}
    for node in nodes.values():
        for edge in node["inputs"]:
            head, place = homes[node["id"]], (node["id"], edge["position"])
            if place in flows:
                used.setdefault(edge["node"], []).append(place)
            if homes[edge["node"]] != head:
                apart = edge["position"] if head.startswith("node") else None
                bundles.setdefault((edge["node"], head, apart), []).append(place)
    for (id_, head, _), places in bundles.items():
        source, tail = nodes[id_], homes[id_]
        if scene.things[tail].kind == "number":
            yield Wire(tail, head)
            continue
        flowing = [place for place in places if place in flows]
        whole = len(flowing) > 1 and flowing == used[id_] and id_ not in seeded
        below = upstream.get(id_) if whole else flows[flowing[0]] if len(flowing) == 1 else None
        yield Wire(tail, head, value_label(source.get("value"), source["shape"]), gradient_label(below))
