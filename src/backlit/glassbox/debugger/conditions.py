"""Conditions at which a debugger stops, as text: ``grad norm > 10 and module == net.layers.0``.

A condition is read by the small grammar below and never run as Python::

    any    = all ("or" all)*
    all    = one ("and" one)*
    one    = "not" one | "(" any ")" | "isnan" | "isinf" | amount | field
    amount = ["grad" | "value"] statistic ("<" | "<=" | ">" | ">=" | "==" | "!=") number
    field  = ("op" | "module" | "name" | "kind" | "phase") ("==" | "!=") word
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import NamedTuple

from ...spelling import did_you_mean
from ..errors import ExpressionError, Span
from ..record.numbers import Kept
from .timeline import Step

Test = Callable[[Step], bool]

STATISTICS = ("norm", "min", "max", "mean", "std", "absmax", "zeros", "nans", "infs", "size")
FIELDS = ("op", "module", "name", "kind", "phase")
DEEPEST = 50
"""Deeper nesting of brackets is refused before any recursion could run out of stack."""

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_TOKEN = re.compile(r"""\s*(?P<word>"[^"]*"|'[^']*'|[<>=!]=|[<>()]|[^\s<>=!()"']+)""")


class Condition:
    """A condition read from text; calling it with a :class:`Step` tells whether it holds there.

    Statistics are of the value in the forward phase and of the upstream gradient in the backward phase; with ``value``
    or ``grad`` in front, a test holds in that phase only. ``isnan`` and ``isinf`` look at everything that a step
    brings. A module is meant with everything inside it.

    Raises:
        ExpressionError: the text is no condition; carets show where.

    >>> import backlit as bl
    >>> from backlit.glassbox.debugger import timeline
    >>> x = bl.tensor([0.0, 2.0], requires_grad=True)
    >>> rec = bl.explain(bl.log(x).sum())
    >>> [step.node.op for step in timeline(rec) if Condition("isinf and phase == forward")(step)]
    ['log', 'sum']
    """

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        self._test = _Reader(self.text).whole()

    def __call__(self, step: Step) -> bool:
        return self._test(step)

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"


class _Token(NamedTuple):
    text: str
    span: Span


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._split())
        self.at = 0
        self.depth = 0

    def whole(self) -> Test:
        if not self.tokens:
            raise ExpressionError(
                "the condition is empty; write one such as 'grad norm > 10' or 'isnan'", self.text, Span(0, 1)
            )
        test = self._any()
        if self.at < len(self.tokens):
            raise self._error("this does not belong here; join conditions with 'and' or 'or'")
        return test

    # -- the grammar, a method a rule -------------------------------------------------------------------------------

    def _any(self) -> Test:
        tests = [self._all()]
        while self._take("or"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda step: any(test(step) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda step: all(test(step) for test in tests)

    def _one(self) -> Test:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._error("the condition is nested too deeply")
        try:
            return self._negated() if self._take("not") else self._bracket() if self._take("(") else self._test()
        finally:
            self.depth -= 1

    def _negated(self) -> Test:
        inner = self._one()
        return lambda step: not inner(step)

    def _bracket(self) -> Test:
        inner = self._any()
        if not self._take(")"):
            raise self._error("a ')' is missing here")
        return inner

    def _test(self) -> Test:
        word = self._word("a condition")
        if word.text == "isnan":
            return lambda step: any(_count(kept, "nans") for kept in step.results)
        if word.text == "isinf":
            return lambda step: any(_count(kept, "infs") for kept in step.results)
        if word.text in FIELDS:
            return self._field(word.text)
        if word.text in ("grad", "value"):
            phase = "backward" if word.text == "grad" else "forward"
            return self._amount(self._word("a statistic, such as norm"), phase)
        return self._amount(word, None)

    def _amount(self, statistic: _Token, phase: str | None) -> Test:
        name = statistic.text
        if name not in STATISTICS:
            known = (*STATISTICS, *((*FIELDS, "isnan", "isinf", "grad", "value", "not") if phase is None else ()))
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            raise ExpressionError(f"'{name}' is nothing to ask a step{hint}", self.text, statistic.span)
        compare = self._comparison(_COMPARE)
        limit = self._number()
        return lambda step: (phase is None or step.phase == phase) and _holds(step, name, compare, limit)

    def _field(self, name: str) -> Test:
        equal = self._comparison({key: _COMPARE[key] for key in ("==", "!=")}) is operator.eq
        wanted = self._word("a name").text.strip("\"'")
        return lambda step: _is(step, name, wanted) == equal

    # -- tokens -----------------------------------------------------------------------------------------------------

    def _split(self) -> list[_Token]:
        found: list[_Token] = []
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                start = at + len(self.text[at:]) - len(self.text[at:].lstrip())
                reason = "write '==' to compare" if self.text[start] == "=" else "this cannot be read"
                raise ExpressionError(reason, self.text, Span(start, start + 1))
            found.append(_Token(match["word"], Span(*match.span("word"))))
            at = match.end()
        return found

    def _take(self, text: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at].text == text:
            self.at += 1
            return True
        return False

    def _word(self, what: str) -> _Token:
        if self.at >= len(self.tokens) or self.tokens[self.at].text in (*_COMPARE, "(", ")", "and", "or"):
            raise self._error(f"{what} is missing here")
        self.at += 1
        return self.tokens[self.at - 1]

    def _comparison(self, allowed: dict[str, Callable[[float, float], bool]]) -> Callable[[float, float], bool]:
        if self.at >= len(self.tokens) or self.tokens[self.at].text not in allowed:
            raise self._error(f"a comparison is missing here: {' '.join(allowed)}")
        self.at += 1
        return allowed[self.tokens[self.at - 1].text]

    def _number(self) -> float:
        word = self._word("a number")
        try:
            return float(word.text.replace("−", "-"))
        except ValueError:
            raise ExpressionError(f"'{word.text}' is not a number", self.text, word.span) from None

    def _error(self, message: str) -> ExpressionError:
        end = Span(len(self.text), len(self.text) + 1)
        return ExpressionError(message, self.text, self.tokens[self.at].span if self.at < len(self.tokens) else end)


def _count(kept: Kept, what: str) -> int:
    return getattr(kept.statistics, what)  # type: ignore[no-any-return]


def _holds(step: Step, statistic: str, compare: Callable[[float, float], bool], limit: float) -> bool:
    kept = step.node.value_kept if step.phase == "forward" else step.node.upstream_kept
    return kept is not None and compare(getattr(kept.statistics, statistic), limit)


def _is(step: Step, field: str, wanted: str) -> bool:
    node = step.node
    match field:
        case "module":
            path = f"{node.module}."
            return path.startswith(f"{wanted}.") or path.partition(".")[2].startswith(f"{wanted}.")
        case "name":
            return wanted in (node.name, node.name.partition(".")[2])
        case "phase":
            return step.phase == wanted
    return getattr(node, field) == wanted  # type: ignore[no-any-return]


__all__ = ["Condition"]
