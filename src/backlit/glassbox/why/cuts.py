"""Where the path was cut: the sentence and the remedy for each way of leaving the graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from ...breadcrumbs import Cut, leaves_of, recent
from ...graph import Node, reachable
from ...source import resolve
from .question import Question
from .verdict import Link, Verdict, line_of, link_of


class Words(NamedTuple):
    """What a way of leaving the graph is called, what it does, and what to do instead."""

    cause: str
    sentence: str
    remedy: str


WORDS = {
    "detach": Words(
        "detach",
        "detach() made a constant of a value that was computed from {name}; gradients end there.",
        "Leave .detach() out where the gradient should flow; keep it for values that are only looked at.",
    ),
    "detach_": Words(
        "detach_",
        "detach_() cut the tensor off from what it was computed from, {name} among it; it is a constant since.",
        "Leave .detach_() out, or call it only after backward().",
    ),
    "data": Words(
        "data",
        ".data gave the bare values of what was computed from {name}, outside the graph.",
        "Use the tensor itself instead of .data; for a write that is not to be recorded use `with bl.no_grad():`.",
    ),
    "no_grad": Words(
        "no_grad",
        "{op} used {name} while recording was switched off by no_grad, so its result is a constant.",
        "Compute what the loss needs outside the no_grad block (or outside the decorated function).",
    ),
    "inference_mode": Words(
        "inference_mode",
        "{op} used {name} in inference mode, where nothing is recorded, so its result is a constant.",
        "Compute what the loss needs outside inference_mode.",
    ),
    "set_grad_enabled": Words(
        "no_grad",
        "{op} used {name} while recording was switched off by set_grad_enabled(False), so its result is a constant.",
        "Call set_grad_enabled(True) before computing what the loss needs.",
    ),
    "cast": Words(
        "integer_cast",
        "A conversion to whole numbers or booleans cut off what was computed from {name}: they do not vary smoothly.",
        "Keep floating numbers on the way to the loss; convert copies for indexing and printing.",
    ),
    "not_differentiable": Words(
        "not_differentiable",
        "{op} has no gradient: its result (indices, or true and false) does not vary smoothly with {name}.",
        "Put something smooth in its place: softmax for argmax, sigmoid for a comparison, the values that max or sort "
        "return instead of the indices.",
    ),
    "sampled": Words(
        "sampled",
        "{op} drew random numbers; how they depend on {name} is not recorded.",
        "Draw noise that does not depend on parameters and transform it (mean + std * bl.randn(…)), or use the log "
        "probability of the sample.",
    ),
    "copy": Words(
        "copy",
        "{op} copied {name}, or values that were computed from it; the copy has no history.",
        "Use the tensor itself, .clone() for a copy that stays in the graph, or bl.stack([…]) for several; give the "
        "optimizer the parameters of the model that is trained.",
    ),
    "numpy": Words(
        "numpy",
        "The values computed from {name} went out to NumPy here; arrays carry no graph, and what is made of them is a "
        "constant.",
        "Stay with tensors: every NumPy function that Backlit knows can be called on them directly (np.exp(t)).",
    ),
    "item": Words(
        "item",
        "{op}() turned a value that was computed from {name} into a Python number; what is computed from a number is a "
        "constant.",
        "Compute with the tensor itself; take numbers out only to print or store them.",
    ),
    "tolist": Words(
        "tolist",
        "tolist() turned values that were computed from {name} into Python numbers; what is made of them is a "
        "constant.",
        "Compute with the tensor itself; take numbers out only to print or store them.",
    ),
    "branch": Words(
        "branch",
        "A Python `if` (or bool()) looked at a value that was computed from {name}; only the chosen branch is in the "
        "graph, not the choice.",
        "Where the choice should be learned, mix both branches smoothly: p * a + (1 - p) * b.",
    ),
}

_TAKEN_OUT = ("numpy", "item", "tolist")


class Found(NamedTuple):
    """A cut between the loss and the tensor: the node that used it (None: the loss itself), and the way through."""

    node: Node | None
    way: tuple[Cut, ...]

    @property
    def cut(self) -> Cut:
        """The cut where the graph was left."""
        return self.way[-1]

    @property
    def left(self) -> bool:
        """Whether the values left the library on the way, as a number or an array."""
        return any(cut.kind in (*_TAKEN_OUT, "branch") for cut in self.way)

    @property
    def kind(self) -> str:
        """What to call it: leaving through ``x.detach().numpy()`` counts as leaving through NumPy."""
        last = self.way[-1]
        before = self.way[-2] if len(self.way) > 1 else None
        bare = last.kind in ("detach", "data")
        if before is not None and bare and before.kind in _TAKEN_OUT and _one_line(before, last):
            return before.kind
        return last.kind


def _one_line(a: Cut, b: Cut) -> bool:
    here, there = resolve(a.mark), resolve(b.mark)
    return here is not None and there is not None and here[:2] == there[:2]


def cuts_towards(question: Question, cuts: Iterable[tuple[Node | None, Cut]]) -> list[Found]:
    """Those of the cuts behind which the tensor was, those nearest to the loss first."""
    found: dict[int, Found] = {}
    for node, cut in cuts:
        for way in cut.ends():
            known = found.get(id(way[-1]))
            if (known is None or len(known.way) < len(way)) and _leads(way[-1], question):
                found[id(way[-1])] = Found(node, way)
    return sorted(found.values(), key=lambda one: -one.cut.stamp)


def _leads(cut: Cut, question: Question) -> bool:
    place = question.place
    if type(place) is not Node:
        return any(leaf() is place for leaf in cut.leaves)
    nodes = [source[0]() for source in cut.sources if isinstance(source, tuple)]
    if None not in nodes:
        return place in reachable(nodes)
    return place.id < cut.stamp and not leaves_of(place).isdisjoint(cut.leaves)


def lately(question: Question) -> list[Found]:
    """The last cuts behind which the tensor was, whatever became of their results."""
    return cuts_towards(question, [(None, cut) for cut in recent])


def told(question: Question, found: Found, others: Iterable[Found] = ()) -> Verdict:
    """The verdict on a cut."""
    cut = found.cut
    words = WORDS[found.kind]
    op = next((one.op for one in reversed(found.way) if one.kind == found.kind), cut.op)
    return Verdict(
        question.name,
        "None",
        words.cause,
        words.sentence.format(name=question.name, op=op),
        words.remedy,
        resolve(cut.mark),
        path(question, found),
        tuple(_facts(found)),
        tuple(_other(question, other) for other in others),
    )


def _facts(found: Found) -> Iterable[str]:
    cut = found.cut
    if cut.block is not None and cut.kind in ("no_grad", "inference_mode", "set_grad_enabled"):
        block = resolve(cut.block[1])
        if block is not None:
            yield f"recording was switched off by {cut.block[0]} at {block}"
    for after in reversed(found.way[:-1]):
        if after.kind and after.mark is not None and not _one_line(after, cut):
            yield f"the constant then went through {after.op} at {line_of(after.mark)}"
    if found.node is not None:
        yield f"the loss uses it as a constant in {found.node.name} at {line_of(found.node.mark)}"


def _other(question: Question, found: Found) -> str:
    return f"{WORDS[found.kind].cause.replace('_', ' ')} at {line_of(found.cut.mark)}"


def path(question: Question, found: Found) -> tuple[Link, ...]:
    """From the root to the node that used the constant, and on to where it was cut off."""
    links = [] if found.node is None else [link_of(node) for node in way_to(question.nodes, found.node)]
    ends = [Link(cut.op, resolve(cut.mark)) for cut in found.way if cut.kind]
    return (*links, *ends[:-1], replace(ends[-1], note="the path ends here"))


def way_to(nodes: list[Node], target: Node) -> list[Node]:
    """A path of nodes from the newest of ``nodes`` to ``target``."""
    users: dict[Node, Node] = {}
    for node in nodes:
        for edge in node.edges:
            if type(edge) is Node:
                users.setdefault(edge, node)
    way = [target]
    while way[-1] is not nodes[0] and way[-1] in users:
        way.append(users[way[-1]])
    return way[::-1]
