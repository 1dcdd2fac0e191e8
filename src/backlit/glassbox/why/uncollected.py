"""Why there is no gradient, though a path leads to the tensor: not walked yet, left out, cleared, or stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...graph import Node
from ...journal import Call
from ...nn.module import Module
from ...tensor import Tensor
from .cuts import way_to
from .itself import none
from .question import Question
from .verdict import Verdict, line_of, link_of

if TYPE_CHECKING:
    from ...compile.consumed import Consumed

_WALKS = ("backward", "grad", "failed")


def no_backward(question: Question) -> Verdict:
    """A path is there, and nobody walked it yet."""
    root = question.root
    return none(
        question,
        "no_backward",
        f"backward() has not been called yet{f' on {question.loss_name}' if question.loss is not None else ''}; "
        "gradients are computed then.",
        "Call loss.backward().",
        root.mark if type(root) is Node else None,
        path=tuple(link_of(node) for node in question.nodes if node in question.useful),
    )


def uncollected(question: Question) -> Verdict:
    """A path is there and was walked, and ``.grad`` is None all the same."""
    calls = [call for call in question.calls if call.kind in _WALKS and question.starts(call)]
    if calls and calls[-1].kind == "failed":
        return _failed(question, calls[-1], question.walks)
    since = question.calls[question.calls.index(calls[0]) :] if calls else question.calls
    left = next((found for call in calls if (found := left_out(question, call)) is not None), None)
    return (
        cleared_after(question, since)
        or left
        or _only_grad(question, calls)
        or _returned_none(question)
        or _retained_late(question)
        or _cleared_unseen(question, calls)
    )


def _only_grad(question: Question, calls: list[Call]) -> Verdict | None:
    if not calls or any(call.kind != "grad" for call in calls):
        return None
    return none(
        question,
        "autograd_grad",
        "autograd.grad returned the gradients and stored none: it leaves .grad alone.",
        "Use what it returned, or call backward() to fill .grad.",
        calls[-1].mark,
    )


def _retained_late(question: Question) -> Verdict | None:
    if question.tensor.is_leaf:
        return None
    return none(
        question,
        "retained_late",
        f"retain_grad() was called on {question.name} after the backward pass, which had kept nothing for it.",
        "Call retain_grad() before backward().",
        question.place.mark,
    )


def _cleared_unseen(question: Question, calls: list[Call]) -> Verdict:
    return none(
        question,
        "cleared",
        f"A backward pass went through {question.name}, and its .grad was set to None afterwards; by which line is not "
        "remembered.",
        "Look at .grad before it is cleared.",
        calls[-1].mark if calls else None,
    )


def _failed(question: Question, call: Call, walks: list[Call]) -> Verdict:
    message = str(call.detail)
    writer = _writer(question)
    if writer is not None:
        return none(
            question,
            "overwritten",
            "backward() stopped: a value that it needed was overwritten in place at this line, before it was used.",
            "Write to a copy (x = x.clone()), use the out-of-place form, or call backward() before the write.",
            writer,
            evidence=(message,),
        )
    if "released" in message:
        return none(
            question,
            "freed_graph",
            "backward() stopped: an earlier walk over this graph had already released its saved values.",
            "Pass retain_graph=True to the first walk, or compute the loss again before the second.",
            walks[0].mark if walks else call.mark,
            evidence=(f"the walk that stopped: {line_of(call.mark)}", message),
        )
    return none(
        question, "backward_failed", "backward() stopped with an error.", message, call.mark, evidence=(message,)
    )


def _writer(question: Question) -> Any:
    """The line that overwrote a saved value, if one did."""
    for node in question.nodes:
        for position, saved in enumerate(node.saved or ()):
            storage = getattr(saved, "_storage", None)
            expected = 0 if node.versions is None else node.versions[position]
            if storage is not None and storage.version != expected:
                return storage.exposed_at if storage.writer == "outside" else storage.writer
    return None


def left_out(question: Question, call: Call) -> Verdict | None:
    if call.kind != "backward" or call.wanted is None or any(want() is question.tensor for want in call.wanted):
        return None
    return none(
        question,
        "left_out",
        f"backward(inputs=…) collected gradients only into the tensors it was given, and {question.name} is not among "
        "them.",
        f"Leave inputs= out, or put {question.name} into it.",
        call.mark,
    )


def cleared_after(question: Question, calls: list[Call]) -> Verdict | None:
    """A clearing of this gradient after the last walk among the calls."""
    walks = [i for i, call in enumerate(calls) if call.kind == "backward"]
    if not walks:
        return None
    clearing = next((call for call in calls[walks[-1] :] if clears(call, question.tensor)), None)
    if clearing is None:
        return None
    how = "zero_grad()" if clearing.kind == "zero_grad" else ".grad = None"
    return none(
        question,
        "cleared",
        f"{how} cleared the gradient after the backward pass.",
        "Look at .grad between backward() and zero_grad(); zero_grad(set_to_none=False) leaves zeros instead of None.",
        clearing.mark,
        evidence=(f"the backward pass ran at {line_of(calls[walks[-1]].mark)}",),
    )


def clears(call: Call, tensor: Tensor) -> bool:
    """Whether a call cleared the gradient of a tensor."""
    owner = call.targets[0]()
    if call.kind == "grad_cleared":
        return owner is tensor
    if call.kind != "zero_grad" or owner is None:
        return False
    held = owner.parameters() if isinstance(owner, Module) else owner._all_params()
    return any(p is tensor for p in held)


def used_up(question: Question, consumed: Consumed) -> Verdict:
    """A compiled step computed the gradient and kept none of it."""
    return none(
        question,
        "compiled",
        "The compiled step used the gradient up inside: each piece went into the parameter's update as soon as it was "
        "computed, and no array ever held all of it.",
        "Compile with bl.compile(step, gradients=True) to have it in .grad after each step; or call the step inside "
        "`with bl.record() as rec:`, where it runs eagerly and every gradient is kept; zero_grad() clears it.",
        consumed.called_at,
    ).told(gradient="not kept")


def _own_functions(question: Question) -> list[Node]:
    """The user's own functions on the way, where every path goes through one."""
    own = [node for node in question.nodes if node in question.useful and hasattr(node.op, "owner")]
    return own if own and question.passes(*[node.id for node in own]) else []


def _returned_none(question: Question) -> Verdict | None:
    own = _own_functions(question)
    if not own:
        return None
    node = own[0]
    code = getattr(node.op.owner.backward, "__code__", None)
    where = f" ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno})" if code is not None else ""
    return none(
        question,
        "function_returned_none",
        f"{node.name}.backward{where} returned None for the input that leads to {question.name}.",
        "Return a gradient for every input that needs one (ctx.needs_input_grad tells).",
        node.mark,
        path=tuple(link_of(n) for n in way_to(question.nodes, node)),
    )
