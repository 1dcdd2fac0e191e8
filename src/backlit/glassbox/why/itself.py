"""Why there is no gradient, where the tensor itself is the reason: it is a constant, or not a leaf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...graph import Node
from ...journal import switched_at
from ...source import resolve
from ...tensor import Tensor
from .cuts import Found, told, way_to
from .question import Question
from .verdict import Verdict, line_of, link_of


def none(question: Question, cause: str, sentence: str, remedy: str, mark: Any = None, **known: Any) -> Verdict:
    return Verdict(question.name, "None", cause, sentence, remedy, resolve(mark), **known)


def constant(question: Question) -> Verdict:
    """The tensor does not require gradients."""
    tensor, name = question.tensor, question.name
    if tensor._cut is not None:
        ways = list(tensor._cut.ends())
        if ways:
            verdict = told(question, Found(None, max(ways, key=lambda way: way[-1].stamp)))
            return verdict.told(sentence=verdict.sentence.replace(f"from {name}", f"from other tensors into {name}"))
    if tensor.dtype.kind != "f":
        return none(
            question,
            "integer_dtype",
            f"{name} holds {tensor.dtype.name}; only floating numbers have gradients.",
            f"Make it floating from the start: {name} = {name}.float().requires_grad_().",
            _used_at(question),
        )
    used = _used_at(question)
    return none(
        question,
        "not_required",
        f"requires_grad of {name} is False, so operations on it are not recorded.",
        f"Set it before the computation: {name}.requires_grad_(), or bl.tensor(…, requires_grad=True).",
        switched_at(tensor) or used,
        evidence=(f"it was used as a constant at {line_of(used)}",) if used else (),
    )


def _used_at(question: Question) -> Any:
    """The line that used the tensor as a constant on the way to the root."""
    node = next((node for node, value in same(question)), None)
    return None if node is None else node.mark


def same(question: Question) -> Iterator[tuple[Node, Tensor]]:
    for node, _, value in question.constants():
        held = value() if callable(value) and not isinstance(value, Tensor) else value
        if held is question.tensor:
            yield node, held


def not_a_leaf(question: Question) -> Verdict:
    node = question.tensor.grad_fn
    assert node is not None
    converted = node.name in ("cast", "clone")
    cause = "converted" if converted else "not_a_leaf"
    return none(
        question,
        cause,
        f"{question.name} is the result of {node.name}, not a leaf: backward() passes through it and keeps gradients "
        "only in the tensors that everything starts from.",
        "Ask the tensor that was converted; or convert first and call .requires_grad_() last."
        if converted
        else f"Call {question.name}.retain_grad() before backward(), or look at the leaf it was computed from.",
        node.mark,
        path=tuple(link_of(n) for n in way_to(question.nodes, node)) if question.nodes else (link_of(node),),
    )
