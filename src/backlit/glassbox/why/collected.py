"""Where ``.grad`` is not what the last loss alone gives: edited, changed by a hook, or accumulated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...graph import Node
from ...journal import CALLS, Call
from ...source import Mark, Source, resolve
from .flow import Flow, Measure
from .question import Question
from .sizes import word_for
from .uncollected import clears
from .verdict import Verdict, line_of

CLOSE = 1e-3
"""Relative difference below which two gradients count as the same."""


def explain_collected(question: Question, flow: Flow) -> Verdict | None:
    """The verdict on a ``.grad`` that differs from the gradient of the loss; None where they agree."""
    grad = question.held
    if grad is None or not question.walked:
        return None
    held, fresh = np.asarray(grad._data, np.float64), np.asarray(_array(flow.gradient), np.float64)
    if _agree(held, fresh):
        return None
    facts = (
        f".grad has length {np.linalg.norm(held):.4g}, the gradient of {question.loss_name} alone "
        f"{np.linalg.norm(fresh):.4g}",
        _ratio(held, fresh),
    )
    verdict = _edited(question) or _hooked(question) or _accumulated(question)
    if verdict is None:
        return None
    return verdict.told(gradient=word_for(Measure.of(held)), path=flow.links()).also(*facts)


def _array(gradient: Any) -> Any:
    return getattr(gradient, "_data", gradient)


def _agree(held: np.ndarray, fresh: np.ndarray) -> bool:
    scale = max(float(np.abs(held).max(initial=0)), float(np.abs(fresh).max(initial=0)))
    return bool(np.allclose(held, fresh, rtol=CLOSE, atol=CLOSE * scale * 0.01, equal_nan=True))


def _ratio(held: np.ndarray, fresh: np.ndarray) -> str:
    length = float(np.linalg.norm(fresh))
    if not length or not np.isfinite(length):
        return ""
    factor = float((held * fresh).sum()) / length**2
    same = _agree(held, factor * fresh)
    return f".grad is {factor:.4g} times it, entry by entry" if same and factor else ""


def _verdict(question: Question, cause: str, sentence: str, remedy: str, source: Source | None) -> Verdict:
    return Verdict(question.name, "", cause, sentence, remedy, source)


def _edited(question: Question) -> Verdict | None:
    grad = question.held
    assert grad is not None
    storage = grad._storage
    writer = None if storage is None else storage.writer
    if writer is not None and not isinstance(writer, str) and not _by_backward(question, writer):
        return _verdict(
            question,
            "edited",
            "The gradient was written to in place after it was computed (clipping and scaling do this, too).",
            "Expect this of clip_grad_norm_ and its relatives; otherwise leave the write out.",
            resolve(writer),
        )
    last = next((call for call in reversed(question.calls) if call.kind in ("backward", "grad_set")), None)
    if last is not None and last.kind == "grad_set" and last.targets[0]() is question.tensor:
        return _verdict(
            question,
            "assigned",
            "The gradient was replaced by an assignment to .grad after it was computed.",
            "Leave the assignment out, or expect its value.",
            resolve(last.mark),
        )
    return None


def _by_backward(question: Question, writer: Mark) -> bool:
    """Whether a write to ``.grad`` was that of a backward pass, which accumulates in place."""
    return any(call.mark == writer for call in question.calls if call.kind == "backward")


def _hooked(question: Question) -> Verdict | None:
    for what, hook in _hooks(question):
        code = getattr(hook, "__code__", None)
        if code is not None:
            lines = resolve((code, 0))
            return _verdict(
                question,
                "hook",
                f"A hook on {what} replaced the gradient on its way.",
                "Look at what the hook returns; return None to leave the gradient as it is.",
                lines,
            )
    return None


def _hooks(question: Question) -> Iterator[tuple[str, Any]]:
    tensor = question.tensor
    if tensor.is_leaf:
        for hook in tensor._hooks or ():
            yield question.name, hook
    for node in question.nodes:
        if node in question.useful or node is question.place:
            for hook in node.hooks or ():
                yield _label(node), getattr(hook, "__wrapped__", hook)


def _label(node: Node) -> str:
    return f"the result of {node.name} ({node.source})"


def _accumulated(question: Question) -> Verdict | None:
    """More than one backward pass since the gradient was last cleared."""
    walks: list[Call] = []
    for call in question.calls:
        if clears(call, question.tensor):
            walks = []
        elif call.kind == "backward":
            walks.append(call)
    if len(walks) < 2:
        return None
    places = list(dict.fromkeys(line_of(call.mark) for call in walks))
    verdict = _verdict(
        question,
        "accumulated",
        "The gradient was added to what .grad held before: backward() accumulates, and nothing cleared it in between.",
        "Call optimizer.zero_grad() (or set .grad = None) before each backward pass.",
        resolve(walks[-1].mark),
    )
    more = " at least" if len(question.calls) >= CALLS else ""
    return verdict.also(f"{len(walks)} backward passes since{more}, at {'; '.join(places[:3])}")
