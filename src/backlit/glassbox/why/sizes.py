"""Why a gradient has the size it has: exactly zero, tiny, huge, or simply what the chain rule gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...graph import Node, no_grad
from ...numerics import quiet
from .flow import Flow, Hop, Measure
from .gates import Gate, Reading, read
from .question import Question
from .twin import Twin
from .verdict import Verdict, link_of

TINY, HUGE = 1e-5, 1e3
"""Largest entries below and above these are called tiny and huge."""

MASKED = 0.5
"""From this share of exact zeros on, the zeros are what the verdict is about."""

_MASKS = frozenset(
    ["relu", "clamp", "where", "dropout", "max_pool", "max_pick", "max", "min", "embedding", "index", "gather", "slice"]
)

_CARRIERS = frozenset({"stack", "cat", "pad", "index_put", "view_write", "assemble", "reshape", "permute"})
"""They only put entries together: where nothing comes to one of the inputs, something after them sent it elsewhere."""

ALONE = 0.5
"""A step that does at least this share of the shrinking or growing (in powers of ten) is named as the cause."""


def word_for(size: Measure) -> str:
    """What a gradient of this size is called."""
    if not size.finite:
        return "not finite"
    if size.largest == 0:
        return "zero"
    if size.largest < TINY:
        return f"tiny (largest entry {size.largest:.3g})"
    if size.largest > HUGE:
        return f"huge (largest entry {size.largest:.3g})"
    return f"ordinary (largest entry {size.largest:.3g})"


def explain_size(question: Question, twin: Twin, flow: Flow) -> Verdict:
    """The verdict on a finite gradient that came down."""
    size = Measure.of(flow.gradient)
    if size.largest == 0:
        return _zero(question, twin, flow)
    if size.largest < TINY:
        return _tiny(question, twin, flow, size)
    if size.largest > HUGE:
        return _huge(question, twin, flow, size)
    if size.zeros >= MASKED:
        masked = _mostly_zero(question, twin, flow, size)
        if masked is not None:
            return masked
    return _ordinary(question, flow, size)


# -- zero ------------------------------------------------------------------------------------------------------


def _zero(question: Question, twin: Twin, flow: Flow) -> Verdict:
    blockers = [hop for hop in flow.hops if hop.blocked]
    empty = next((hop.node for hop in flow.hops if 0 in hop.node.shape), None)
    if question.tensor._data.size == 0 or empty is not None:
        return _empty(question, flow, empty)
    if not blockers:
        return _cancelled(question, flow)
    first = max(blockers, key=lambda hop: (question.passes(hop.node.id), hop.up.length, hop.node.id))
    if first.node.name in _CARRIERS:
        first = _router(flow, first)
    upstream = flow.arrived.get(first.node.id)
    reading = _underflow(first, upstream) or read(gate_of(twin, first, upstream))
    others = {hop.node for hop in blockers} - {first.node}
    return verdict_of(question, "zero", reading, first.node, flow).told(
        others=tuple(f"{node.name} at {node.source} stops another path" for node in sorted(others, key=lambda n: -n.id))
    )


def _empty(question: Question, flow: Flow, node: Node | None) -> Verdict:
    what = question.name if node is None else f"the result of {node.name}"
    shape = question.tensor.shape if node is None else node.shape
    return Verdict(
        question.name,
        "zero",
        "empty",
        f"{what} has no entries at all (shape {shape}), so nothing can flow through it.",
        "Skip empty batches and selections.",
        None if node is None else node.source,
        flow.links(),
    )


def _router(flow: Flow, blocked: Hop) -> Hop:
    """Who sent the gradient to other parts of what a carrier put together; the carrier itself where nobody did."""
    place: Any = blocked.node
    while hops := flow.into(place):
        hop = hops[0]
        if hop.down is not None and hop.down.zeros > hop.up.zeros:
            return hop
        place = hop.node
    return blocked


def _underflow(hop: Hop, upstream: Any) -> Reading | None:
    """Whether the rule, which is linear in what arrives, hands on more than zeros when more arrives."""
    if not isinstance(upstream, (np.ndarray, np.floating)) or hop.up.largest >= 1:
        return None
    with no_grad(), quiet():
        part = hop.node.op.pull(hop.node, upstream / upstream.dtype.type(hop.up.largest), False)[hop.position]
    if part is None or not Measure.of(part).largest:
        return None
    return Reading(
        "underflow",
        f"what arrives at {hop.node.name} is at most {hop.up.largest:.3g}, and the next factor takes it below the "
        f"smallest {hop.node.dtype.name}.",
        "Compute in a wider dtype (float32 or float64), or scale the loss up and the gradients down again.",
    )


def _cancelled(question: Question, flow: Flow) -> Verdict:
    places: list[Any] = [flow.target, *[hop.node for hop in reversed(flow.hops)]]
    for place in places:
        terms = [hop for hop in flow.into(place) if hop.down is not None and hop.down.largest != 0]
        if len(terms) > 1:
            break
    return _sum_of(question, flow, place, terms)


def _sum_of(question: Question, flow: Flow, place: Any, terms: list[Hop]) -> Verdict:
    where = f"at {place.name} ({place.source})" if type(place) is Node else f"at {question.name}"
    return Verdict(
        question.name,
        "zero",
        "cancelled",
        f"{len(terms)} paths meet {where}, and their contributions cancel: each is not zero, their sum is.",
        "Expect this where the loss does not depend on the tensor after all, as x - x; otherwise look at the signs.",
        terms[0].node.source,
        flow.links(),
        tuple(f"{hop.node.name} at {hop.node.source} contributes length {_length(hop):.3g}" for hop in terms),
    )


def _length(hop: Hop) -> float:
    return math.nan if hop.down is None else hop.down.length


def _mostly_zero(question: Question, twin: Twin, flow: Flow, size: Measure) -> Verdict | None:
    """A mask on the way, where most entries are exactly zero."""
    for hop in reversed(flow.main_path()):
        if hop.node.name in _MASKS:
            reading = read(gate_of(twin, hop, None))
            return verdict_of(question, f"zero in {size.zeros:.0%} of its entries", reading, hop.node, flow).also(
                f"the other entries are not zero: the largest is {size.largest:.3g}"
            )
    return None


# -- tiny, huge, ordinary --------------------------------------------------------------------------------------


def _tiny(question: Question, twin: Twin, flow: Flow, size: Measure) -> Verdict:
    culprit = _alone(flow.main_path(), shrinking=True)
    if culprit is not None:
        return verdict_of(question, word_for(size), _shrunk(twin, culprit, flow), culprit.node, flow).also(
            _product(flow)
        )
    cancelled = _nearly_cancelled(question, flow, size)
    if cancelled is not None:
        return cancelled
    weakest = min(flow.main_path(), key=lambda hop: math.inf if hop.factor is None else hop.factor)
    return Verdict(
        question.name,
        word_for(size),
        "vanishing",
        f"No single step is to blame: the gradient is a product of {len(flow.main_path())} factors along the path, "
        f"most of them below 1 (the smallest, {weakest.factor:.3g}, at {weakest.node.name}).",
        "Use relu or gelu instead of sigmoid and tanh, kaiming initialisation, residual connections or normalization.",
        weakest.node.source,
        flow.links(),
        (_product(flow),),
    )


def _shrunk(twin: Twin, hop: Hop, flow: Flow) -> Reading:
    reading = read(gate_of(twin, hop, flow.arrived.get(hop.node.id)))
    if reading.cause == "flat_point" and hop.factor is not None:
        return reading._replace(
            cause="small_factor",
            sentence=f"{hop.node.name} makes the gradient {1 / hop.factor:.3g} times shorter here.",
        )
    return reading


def _nearly_cancelled(question: Question, flow: Flow, size: Measure) -> Verdict | None:
    terms = [hop for hop in flow.into(flow.target) if hop.down is not None]
    if len(terms) < 2 or max(_length(hop) for hop in terms) < 100 * size.length:
        return None
    found = _sum_of(question, flow, flow.target, terms)
    return found.told(gradient=word_for(size), sentence=found.sentence.replace("their sum is.", "their sum nearly is."))


def _huge(question: Question, twin: Twin, flow: Flow, size: Measure) -> Verdict:
    culprit = _alone(flow.main_path(), shrinking=False)
    if culprit is None:
        return Verdict(
            question.name,
            word_for(size),
            "exploding",
            f"No single step is to blame: the gradient is a product of {len(flow.main_path())} factors along the path, "
            "most of them above 1.",
            "Use smaller initial weights, normalization, or clip the gradient norm "
            "(bl.nn.utils.clip_grad_norm_(parameters, 1.0)).",
            max(flow.main_path(), key=lambda hop: hop.factor or 0.0).node.source,
            flow.links(),
            (_product(flow),),
        )
    node = culprit.node
    reading = Reading(
        "large_factor",
        f"{node.name} makes the gradient {culprit.factor:.3g} times longer{_why_large(gate_of(twin, culprit, None))}.",
        "Scale its operands down, keep divisors and arguments of log and sqrt away from 0, or take a mean in place of "
        "a sum.",
    )
    return verdict_of(question, word_for(size), reading, node, flow).also(_product(flow))


def _why_large(gate: Gate) -> str:
    name, x = gate.node.name, gate.x
    if name in ("log", "sqrt", "reciprocal", "rsqrt", "log2", "log10") and x is not None and x.size:
        return f": its slope is large near 0, and the smallest |x| is {np.abs(x).min():.3g}"
    if name == "div" and gate.others:
        return f": the smallest divisor is {np.abs(gate.others[0]).min():.3g}"
    if name in ("sum", "expand") and x is not None:
        return f": it counts {x.size} entries alike"
    if gate.others and gate.others[0].size:
        return f": the largest entry of the other factor is {max(float(np.abs(o).max()) for o in gate.others):.3g}"
    return "" if x is None or not x.size else f": its input goes up to {np.abs(x).max():.3g}"


def _ordinary(question: Question, flow: Flow, size: Measure) -> Verdict:
    links = flow.links()
    zeros = f"{size.zeros:.0%} of its entries are exactly 0" if size.zeros else ""
    return Verdict(
        question.name,
        word_for(size),
        "chain_rule",
        f"It is what the chain rule gives: the product of {len(links)} local factors from the loss to {question.name}.",
        "Nothing is wrong with it.",
        links[-1].source if links else None,
        links,
    ).also(_product(flow), zeros)


def _alone(path: list[Hop], *, shrinking: bool) -> Hop | None:
    """The step that does most of the shrinking or growing by itself."""
    sign = -1.0 if shrinking else 1.0
    logs = [(sign * math.log10(hop.factor), hop) for hop in path if hop.factor]
    moved = [(amount, hop) for amount, hop in logs if amount > 0]
    if not moved:
        return None
    most, hop = max(moved, key=lambda pair: pair[0])
    return hop if most >= 2 and most >= ALONE * sum(amount for amount, _ in moved) else None


def _product(flow: Flow) -> str:
    factors = [hop.factor for hop in flow.main_path() if hop.factor is not None]
    if not factors:
        return ""
    shown = " · ".join(f"{factor:.3g}" for factor in factors[:24]) + (" · …" if len(factors) > 24 else "")
    return f"factors along the path: {shown} = {math.prod(factors):.3g}"


# -- common ----------------------------------------------------------------------------------------------------


def gate_of(twin: Twin, hop: Hop, upstream: Any) -> Gate:
    """A hop's node with its values."""
    return Gate(hop.node, hop.position, twin.inputs(hop.node), twin.values[hop.node.id], upstream)


def verdict_of(question: Question, gradient: str, reading: Reading, node: Node, flow: Flow) -> Verdict:
    """The verdict that a gate's reading gives; its place on the path is marked."""
    links = tuple(
        link_of(hop.node, hop.factor, reading.cause.replace("_", " ") if hop.node is node else "")
        for hop in flow.main_path()
    )
    return Verdict(
        question.name, gradient, reading.cause, reading.sentence, reading.remedy, node.source, links, reading.evidence
    )
