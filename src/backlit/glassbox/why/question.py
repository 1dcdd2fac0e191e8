"""The question: which tensor, which loss, and the graph between them as far as it is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...autograd import kept_graphs
from ...breadcrumbs import Cut, returned
from ...graph import Node, leading_to, reachable
from ...journal import Call, journal
from ...tensor import Tensor
from .names import name_of

if TYPE_CHECKING:
    from ...compile.consumed import Consumed


@dataclass(eq=False)
class Question:
    """Why is the gradient of ``tensor`` what it is?

    ``loss`` is where the gradient comes from: the one given, or where the last backward pass started that is still in
    memory (None: there is none). ``root`` is its place in the graph, a node or a leaf; None where it is in no graph.
    ``given`` says that the loss was given.
    """

    tensor: Tensor
    loss: Tensor | None
    root: Any
    given: bool = False

    @cached_property
    def place(self) -> Any:
        """The tensor's place in the graph: its node, or itself."""
        return self.tensor.grad_fn or self.tensor

    @property
    def held(self) -> Tensor | None:
        """What ``.grad`` holds; None where there is nothing, or only word of what a compiled step used up."""
        return self.tensor._grad if self.consumed is None else None

    @cached_property
    def consumed(self) -> Consumed | None:
        """What stands in ``.grad`` after a compiled step that kept no gradient."""
        grad = self.tensor._grad
        if grad is None or grad.__class__ is Tensor:
            return None
        from ...compile.consumed import Consumed

        return grad if isinstance(grad, Consumed) else None

    @cached_property
    def nodes(self) -> list[Node]:
        """What the root was computed from, newest first."""
        return reachable([self.root]) if type(self.root) is Node else []

    @cached_property
    def useful(self) -> set[Node]:
        """The nodes through which the tensor is reached."""
        return leading_to(self.nodes, {self.place})

    @cached_property
    def reached(self) -> bool:
        """Whether a path leads from the root to the tensor."""
        return self.root is not None and (self.root is self.place or self.root in self.useful)

    def passes(self, *numbers: int) -> bool:
        """Whether every path from the root to the tensor goes through one of the nodes of these numbers."""
        seen: set[Any] = set()
        stack = [self.root]
        while stack:
            place = stack.pop()
            if place is self.place:
                return False
            if type(place) is Node and place not in seen and place.id not in numbers:
                seen.add(place)
                stack.extend(edge for edge in place.edges if edge in self.useful or edge is self.place)
        return True

    @cached_property
    def name(self) -> str:
        """What the tensor is called."""
        return name_of(self.tensor, self.nodes)

    @cached_property
    def loss_name(self) -> str:
        """What the loss is called."""
        return "the loss" if self.loss is None else name_of(self.loss, otherwise="the loss")

    @cached_property
    def calls(self) -> list[Call]:
        """What was done to gradients in this thread, oldest first."""
        return journal.calls()

    @cached_property
    def walked(self) -> bool:
        """Whether a backward pass ran from the root."""
        root = self.root
        if type(root) is Node:
            return root.saved is None or root in kept_graphs or bool(self.walks)
        return bool(self.walks)

    @cached_property
    def walks(self) -> list[Call]:
        """The backward passes from the root that are remembered and came to their end, oldest first."""
        calls = [call for call in self.calls if call.kind in ("backward", "grad", "failed")]
        ended = [call for call, after in zip(calls, [*calls[1:], None], strict=False) if not _failed(call, after)]
        return [call for call in ended if self.starts(call)]

    def starts(self, call: Call) -> bool:
        """Whether a call walked from the root."""
        return any((start.grad_fn or start) is self.root for start in _alive(call))

    def constants(self) -> Iterator[tuple[Node, int, Any]]:
        """The constants of the graph: node, position, and the value or what remembers it."""
        for node in self.nodes:
            for position, value in enumerate(node.constants or ()):
                if node.edges[position] is None:
                    yield node, position, value

    def cuts(self) -> Iterator[tuple[Node | None, Cut]]:
        """The cuts that the graph holds, each with the node that used what was cut off."""
        if self.loss is not None and self.loss._cut is not None:
            yield None, self.loss._cut
        for node, _, value in self.constants():
            found = getattr(value, "_cut", None)
            if found is None and value.__class__ is float:
                found = returned(value)
            if found is not None:
                yield node, found
        for node in self.nodes:
            for edge in node.edges:
                if isinstance(edge, Tensor) and edge._cut is not None:
                    yield node, edge._cut
            context = node.params.get("ctx")
            for own in getattr(context, "_cuts", ()):
                if own is not None:
                    yield node, own


def _alive(call: Call) -> list[Tensor]:
    return [start for target in call.targets if (start := target()) is not None]


def _failed(call: Call, after: Call | None) -> bool:
    return call.kind == "failed" or (after is not None and after.kind == "failed" and after.mark == call.mark)


def ask(tensor: Tensor, loss: Tensor | None) -> Question:
    """The question about a tensor, with the loss given or the start of the last backward pass that is in memory."""
    if loss is not None:
        return _about(tensor, loss, given=True)
    walks = [call for call in reversed(journal.calls()) if call.kind in ("backward", "grad")]
    questions = [_about(tensor, start) for call in walks for start in _alive(call)]
    reaching = [question for question in questions if question.reached]
    last = [_about(tensor, start) for start in (_alive(walks[0]) if walks else ())]
    return next(iter(reaching or last), Question(tensor, None, None))


def _about(tensor: Tensor, loss: Tensor, given: bool = False) -> Question:
    return Question(tensor, loss, (loss.grad_fn or loss) if loss.requires_grad else None, given)
