"""``bl.why``: the question put to those who can answer it."""

from __future__ import annotations

import numpy as np

from ...errors import OperationError, OverwrittenError
from ...graph import Node
from ...source import describe, mark
from ...tensor import Tensor
from .collected import explain_collected
from .flow import Flow, Measure, flow_of
from .missing import explain_missing
from .nonfinite import explain_nonfinite
from .question import Question, ask
from .sizes import explain_size, word_for
from .twin import Twin
from .uncollected import used_up
from .verdict import Verdict, line_of, link_of


def why(tensor: Tensor, loss: Tensor | None = None) -> Verdict:
    """Why the gradient of ``tensor`` is None, zero, tiny, huge, not finite, or simply what it is.

    Nothing is changed: no ``.grad`` is touched, hooks do not run, and the graph stays as it is. After a backward pass
    the values it released are computed again from the leaves as they are now.

    Args:
        tensor: any tensor: a parameter, an input, something computed.
        loss: where the gradient comes from; left out, it is the start of the last backward pass that is still in
            memory. Given before ``backward()``, it tells what the gradient will be.

    Returns:
        The verdict, which prints as a short text: ``cause``, ``sentence``, ``source`` (the line), ``path``,
        ``remedy``, ``evidence``.

    Raises:
        OperationError: an argument is not a tensor.

    >>> import backlit as bl
    >>> w = bl.tensor([1.0, 2.0], requires_grad=True)
    >>> h = (w * 2).detach()
    >>> scale = bl.tensor(3.0, requires_grad=True)
    >>> loss = (h * scale).sum()
    >>> loss.backward()
    >>> w.grad, bl.why(w, loss).cause
    (None, 'detach')
    """
    for given in (tensor, *([] if loss is None else [loss])):
        if not isinstance(given, Tensor):
            raise OperationError(f"why at {describe(mark())}: needs tensors, got {type(given).__name__}.")
    question = ask(tensor, loss)
    verdict = _answer(question)
    return verdict.also(*_unsaid(question, verdict))


def _answer(question: Question) -> Verdict:
    about_the_step = question.root is None or not question.given or (question.reached and question.walked)
    if question.consumed is not None and about_the_step:
        return used_up(question, question.consumed)
    missing = question.held is None
    if missing and (not question.reached or question.walked or not question.tensor.requires_grad):
        return explain_missing(question)
    if question.root is None or not question.reached:
        return _held_only(question)
    if question.root is question.place:
        return _start(question)
    verdict = _measured(question)
    if verdict is None:
        return explain_missing(question) if missing else _held_only(question, _first_lost(question))
    if not missing or verdict.cause != "chain_rule":
        return verdict
    return explain_missing(question) if question.consumed is None else used_up(question, question.consumed)


def _measured(question: Question) -> Verdict | None:
    """The verdict of a walk over the graph's twin; None where values that it needs are gone."""
    assert type(question.root) is Node
    twin = Twin(question.root)
    flow = flow_of(question, twin)
    if isinstance(flow.failure, OverwrittenError) or flow.gradient is None:
        return None
    if not Measure.of(flow.gradient).finite or not _finite(question.held):
        found = explain_nonfinite(question, twin)
        if found is not None:
            return found
    changed = _weights_changed(question, twin)
    collected = None if changed else explain_collected(question, flow)
    if collected is not None:
        return collected
    if not Measure.of(flow.gradient).finite or (changed and _other_size(question, flow)):
        return _held_only(question).also(changed)
    return explain_size(question, twin, flow).also(changed)


def _other_size(question: Question, flow: Flow) -> bool:
    """Whether the gradient of now is of another kind than the one in ``.grad``."""
    grad = question.held
    return grad is not None and _kind(Measure.of(grad)) != _kind(Measure.of(flow.gradient))


def _kind(size: Measure) -> str:
    return word_for(size).split(" (")[0]


def _first_lost(question: Question) -> Node | None:
    """The oldest node on the way whose value is gone."""
    values = Twin(question.root).values
    return next((node for node in reversed(question.nodes) if values[node.id] is None), None)


def _finite(grad: Tensor | None) -> bool:
    return grad is None or bool(np.isfinite(grad._data).all())


def _weights_changed(question: Question, twin: Twin) -> str:
    """Whether the loss, computed again, is another than it was: then the numbers are not those of the backward pass."""
    loss, value = question.loss, twin.values[twin.root.id]
    if loss is None or value is None or np.allclose(value, loss._data, rtol=1e-6, atol=0, equal_nan=True):
        return ""
    return "tensors were written to since the loss was computed (an optimizer's step); the factors are those of now"


def _start(question: Question) -> Verdict:
    """The tensor is the loss itself."""
    return Verdict(
        question.name,
        "1",
        "chain_rule",
        f"{question.name} is where the backward pass starts: its gradient with respect to itself is 1.",
        "Nothing is wrong with it.",
    )


def _held_only(question: Question, lost: Node | None = None) -> Verdict:
    """What ``.grad`` alone tells, where the graph that it came from is gone, or a value in it (that of ``lost``)."""
    grad = question.held
    if grad is None:
        return explain_missing(question)
    size = Measure.of(grad)
    storage = grad._storage
    walks = [call for call in question.calls if call.kind == "backward"]
    facts = [f"the last backward pass ran at {line_of(walks[-1].mark)}" if walks else "no backward pass is remembered"]
    if storage is not None and storage.version and not isinstance(storage.writer, str):
        facts.append(f".grad was written to in place at {line_of(storage.writer)}")
    what = "The graph that this gradient came from is no longer there" if lost is None else _lost(lost)
    return Verdict(
        question.name,
        word_for(size),
        "graph_gone",
        f"{what}, so only .grad itself can be looked at.",
        "Ask bl.why(tensor, loss) before backward() or after backward(retain_graph=True), while the loss is in memory.",
        path=tuple(link_of(node) for node in question.nodes if node in question.useful),
        evidence=(f"{size.zeros:.0%} of its entries are exactly 0", *facts),
    )


def _lost(node: Node) -> str:
    return (
        f"backward() released the values, and the result of {node.name} ({node.source}) cannot be computed again: an "
        "input of it is no longer in memory, or it drew random numbers, or is a function of your own"
    )


def _unsaid(question: Question, verdict: Verdict) -> list[str]:
    """What else the reader should know."""
    if question.held is not None or verdict.gradient == "None" or question.root is None or question.walked:
        return []
    now = "None" if question.consumed is None else "that of a compiled step, which did not keep it"
    return [f"backward() has not run yet, so {question.name}.grad is still {now}"]
