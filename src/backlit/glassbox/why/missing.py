"""Why there is no gradient at all: ``.grad`` is None."""

from __future__ import annotations

from .itself import constant, not_a_leaf
from .question import Question
from .uncollected import no_backward, uncollected
from .unreached import no_root, unreached
from .verdict import Verdict


def explain_missing(question: Question) -> Verdict:
    """The verdict on a gradient that is None; there always is one."""
    tensor = question.tensor
    if not tensor.requires_grad:
        return constant(question)
    if question.root is None:
        return no_root(question)
    if not question.reached:
        return unreached(question)
    if not tensor.is_leaf and not tensor.retains_grad:
        return not_a_leaf(question)
    return uncollected(question) if question.walked else no_backward(question)
