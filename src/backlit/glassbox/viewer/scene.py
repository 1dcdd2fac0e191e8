"""What a static picture shows: things (operations, leaves, closed modules) and the wires between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .labels import gradient_label, shape_text, short_values, value_label

MOST = 150
"""Graphs with more nodes are drawn with their modules closed."""
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
    shown = data["passes"][-1] if data["passes"] else {"edges": [], "roots": []}
    gradients = {(edge["node"], edge["position"]): edge["downstream"] for edge in shown["edges"]}
    scene.wires.extend(_wires(nodes, homes, gradients, scene))
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
        if len({paths[i][: depth + 1] if len(paths[i]) > depth else i for i in nodes}) <= most:
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
        thing.subtitle = f"{thing.nodes} operations"
        return
    if home.startswith("module "):
        name = home.removeprefix("module ")
        made = Thing(home, "module", name, "", "", tuple(name.split("."))[:-1], int(node["kind"] == "operation"))
        made.subtitle = f"{made.nodes} operations"
    else:
        made = _thing(home, node, path)
    scene.things[home] = made


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


def _wires(nodes: dict[int, Any], homes: dict[int, str], gradients: dict[Any, Any], scene: Scene) -> Iterator[Wire]:
    seen = set()
    for node in nodes.values():
        for edge in node["inputs"]:
            source = nodes[edge["node"]]
            tail, head = homes[source["id"]], homes[node["id"]]
            once = (source["id"], head, edge["position"] if head.startswith("node") else None)
            if tail == head or once in seen:
                continue
            seen.add(once)
            if scene.things[tail].kind == "number":
                yield Wire(tail, head)
                continue
            below = gradient_label(gradients.get((node["id"], edge["position"])))
            yield Wire(tail, head, value_label(source.get("value"), source["shape"]), below)
