"""Why there is no gradient, where no path leads from the loss to the tensor: cut on the way, or never there."""

from __future__ import annotations

import numpy as np

from ...graph import Node
from ...journal import Call, switched_at
from ...tensor import Tensor
from .cuts import Found, cuts_towards, lately, told, way_to
from .itself import none, not_a_leaf, same
from .question import Question
from .uncollected import cleared_after, left_out, no_backward
from .verdict import Verdict, line_of, link_of


def no_root(question: Question) -> Verdict:
    """The loss is not in the graph, or no backward pass is in memory."""
    if question.loss is not None:
        return unreached(question)
    walks = [call for call in question.calls if call.kind == "backward"]
    if not walks:
        return no_backward(question)
    last = walks[-1]
    found = cuts_towards(question, [(None, cut) for cut in last.detail or ()])
    if found:
        return told(question, found[0], found[1:])
    since = question.calls[question.calls.index(last) :]
    return cleared_after(question, since) or left_out(question, last) or _by_memory(question, last)


def _by_memory(question: Question, last: Call) -> Verdict:
    """The loss of the last backward pass is gone; what is remembered is what was cut before it."""
    if not question.tensor.is_leaf and not question.tensor.retains_grad:
        return not_a_leaf(question)
    found = [one for one in lately(question) if one.cut.stamp < last.stamp]
    if found:
        return told(question, found[0], found[1:]).also(f"the last backward pass ran at {line_of(last.mark)}")
    return _unused(question, [], last)


def unreached(question: Question) -> Verdict:
    """No path leads from the loss to the tensor: cut, or never there."""
    late = next(same(question), None)
    if late is not None:
        return _late(question, late[0])
    found = cuts_towards(question, question.cuts())
    if found:
        return told(question, found[0], found[1:])
    never_recorded = question.loss is not None and not question.loss.requires_grad
    return (
        _same_memory(question)
        or _left(question)
        or (_late(question, None) if never_recorded and switched_at(question.tensor) else None)
        or _unused(question, lately(question), None)
    )


def _left(question: Question) -> Verdict | None:
    """Values that left the library before the loss was computed; how they came into it cannot be told."""
    exits = [one for one in lately(question) if one.left and _between(question, one)]
    if not exits:
        return None
    return told(question, exits[0], exits[1:]).told(
        others=(f"{question.name} has nothing to do with {question.loss_name} and was only looked at there",)
    )


def _between(question: Question, found: Found) -> bool:
    """Whether a value left before the loss was computed, and after the last backward pass before that."""
    root = question.root
    end = root.id if type(root) is Node else found.cut.stamp + 1
    starts = [call.stamp for call in question.calls if call.kind == "backward" and call.stamp < end]
    return (starts[-1] if starts else 0) < found.cut.stamp < end


def _late(question: Question, node: Node | None) -> Verdict:
    switched = switched_at(question.tensor)
    facts = (f"requires_grad was set at {line_of(switched)}",) if switched else ()
    return none(
        question,
        "requires_grad_late",
        f"{question.name} did not require gradients when it was used; what was computed then is not recorded.",
        f"Set requires_grad before the first use: {question.name}.requires_grad_() above this line.",
        switched if node is None else node.mark,
        path=() if node is None else tuple(link_of(n) for n in way_to(question.nodes, node)),
        evidence=facts,
    )


def _same_memory(question: Question) -> Verdict | None:
    """Another tensor with the same memory was used in place of this one."""
    for node in question.nodes:
        for edge in node.edges:
            if isinstance(edge, Tensor) and np.shares_memory(edge._data, question.tensor._data):
                return none(
                    question,
                    "other_tensor",
                    f"The loss was computed from another tensor that shares the memory of {question.name}; gradients "
                    "collect in the tensor that was used.",
                    "Use this tensor in the computation, or look at the .grad of the other one.",
                    node.mark,
                )
    return None


def _unused(question: Question, nearby: list[Found], last: Call | None) -> Verdict:
    root = question.root
    mark = root.mark if type(root) is Node else None if last is None else last.mark
    what = question.loss_name if question.loss is not None else "the loss of the last backward pass"
    facts = [
        f"{one.cut.op} at {line_of(one.cut.mark)} used it, but {what} does not depend on the result" for one in nearby
    ]
    return none(
        question,
        "unused",
        f"{question.name} was not used: nothing that {what} was computed from leads back to it.",
        "Call the layer or use the tensor on the way to the loss; if that is intended, leave it out of the optimizer.",
        mark,
        evidence=tuple(facts),
        others=() if question.given else ("backward() has not been called yet on what was computed from it",),
    )
