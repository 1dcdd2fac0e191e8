"""What an operation did to the gradient that it stopped or made small: one rule for each kind of gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...graph import Deferred, Node, no_grad
from ...numerics import quiet

ROWS = 8
"""How many units or rows a sentence names."""

CANCELLED = 100.0
"""How many times larger the sum of magnitudes is than the sum, where terms are said to cancel."""


class Reading(NamedTuple):
    """What a gate did: a cause, the sentence, what to do, and the facts."""

    cause: str
    sentence: str
    remedy: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gate:
    """A node with what is known about it: the position of the input that leads to the tensor, the values of all inputs
    and the result (None: no longer known), and the upstream gradient (None: not kept)."""

    node: Node
    position: int
    inputs: tuple[Any, ...]
    out: Any
    upstream: Any = None

    @property
    def x(self) -> Any:
        """The value of the input that leads to the tensor."""
        value = self.inputs[self.position]
        return None if value is None else np.asarray(value)

    @property
    def others(self) -> list[np.ndarray]:
        """The other inputs."""
        return [np.asarray(v) for i, v in enumerate(self.inputs) if i != self.position and v is not None]

    def asked(self, like: np.ndarray) -> np.ndarray:
        """Where a gradient arrives, in the shape of ``like``; everywhere when that is not known."""
        upstream = getattr(self.upstream, "_data", self.upstream)
        if isinstance(upstream, np.ndarray) and upstream.shape == like.shape and upstream.any():
            return upstream != 0
        return np.ones(like.shape, bool)


def read(gate: Gate) -> Reading:
    """Why this gate hands on nothing, or next to nothing."""
    rule = _RULES.get(gate.node.name)
    if hasattr(gate.node.op, "owner"):
        rule = _own
    found = None if rule is None else rule(gate)
    return found or _sum(gate) or _flat(gate)


def _relu(gate: Gate) -> Reading | None:
    x = gate.x
    if x is None:
        return None
    closed = x <= 0
    units = _units(closed)
    asked = gate.asked(x)
    share = float(closed[asked].mean())
    facts = [f"{share:.0%} of the entries that a gradient arrives at are not above 0; relu is closed there"]
    if x.ndim >= 2:
        dead = np.flatnonzero(units)
        rows = np.flatnonzero(closed.reshape(len(closed), -1).all(axis=1))
        facts.append(f"units closed in every row: {len(dead)} of {units.size}{_named(dead)}")
        if len(rows):
            facts.append(f"rows in which every unit is closed: {len(rows)} of {len(closed)}{_named(rows)}")
    return Reading(
        "dead_relu",
        f"relu passes gradients only where its input is above 0, and {_all(share)} it is not.",
        "Look at the biases and the learning rate (a large step can push units below 0 for good); leaky_relu or gelu "
        "always pass something.",
        tuple(facts),
    )


def _units(closed: np.ndarray) -> np.ndarray:
    """For each unit (second dimension of images, else the last) whether it is closed everywhere."""
    axis = 1 if closed.ndim > 2 else closed.ndim - 1
    units = closed.all(axis=tuple(i for i in range(closed.ndim) if i != axis)) if closed.ndim else closed
    return np.atleast_1d(units)


def _named(numbers: np.ndarray) -> str:
    if not len(numbers):
        return ""
    more = " …" if len(numbers) > ROWS else ""
    return f" ({', '.join(str(n) for n in numbers[:ROWS])}{more})"


def _all(share: float) -> str:
    return "everywhere that a gradient arrives" if share == 1 else f"at {share:.0%} of the places where one arrives"


def _clamp(gate: Gate) -> Reading | None:
    x = gate.x
    if x is None:
        return None
    low, high = gate.node.params.get("low"), gate.node.params.get("high")
    if gate.node.name in ("hardsigmoid", "hardswish"):
        low, high = -3.0, 3.0
    below = np.zeros(x.shape, bool) if low is None else x < low
    above = np.zeros(x.shape, bool) if high is None else x > high
    asked = gate.asked(x)
    share = float((below | above)[asked].mean())
    limits = f"{'−∞' if low is None else f'{low:g}'} … {'∞' if high is None else f'{high:g}'}"
    return Reading(
        "clamped",
        f"{gate.node.name} passes gradients only inside {limits}, and {_all(share)} its input is outside.",
        "Widen the limits, scale its input down, or use a smooth bound such as tanh or sigmoid.",
        (f"below: {below.mean():.0%}, above: {above.mean():.0%}; the input goes from {x.min():.4g} to {x.max():.4g}",),
    )


def _mask(gate: Gate) -> Reading | None:
    name = gate.node.name
    if name == "dropout":
        p = gate.node.params.get("p")
        return Reading(
            "masked",
            f"dropout set these entries to 0 (p = {p:g}), and a dropped entry gets no gradient.",
            "Use a smaller p; in evaluation call model.eval().",
        )
    share = _share_of_choice(gate)
    return Reading(
        "masked",
        f"{name} took its other input{share}, so this one gets exactly 0.",
        "Look at the condition or mask; gradients flow only to what was chosen.",
    )


def _share_of_choice(gate: Gate) -> str:
    condition = gate.inputs[0]
    if gate.node.name != "where" or condition is None:
        return ""
    taken = float(np.mean(np.asarray(condition) if gate.position == 2 else ~np.asarray(condition, bool)))
    return f" at {taken:.0%} of the places"


def _selected(gate: Gate) -> Reading:
    return Reading(
        "not_selected",
        f"{gate.node.name} hands the whole gradient to the entries that it picked; all others get exactly 0.",
        "Expect this where another entry won; softmax or logsumexp share the gradient out.",
    )


def _looked_up(gate: Gate) -> Reading:
    return Reading(
        "not_selected",
        f"{gate.node.name} hands the gradient back to the entries that it read; all others get exactly 0.",
        "Expect this of what was not looked up in this batch.",
    )


def _attention(gate: Gate) -> Reading | None:
    if gate.position > 1:
        return None
    return Reading(
        "saturated",
        "The attention weights do not move here: a query that may attend to a single key, or gives all its weight to "
        "one, has softmax 1 there whatever the scores are.",
        "Look at the mask, and at the size of queries and keys.",
    )


def _step(gate: Gate) -> Reading:
    return Reading(
        "step_function",
        f"{gate.node.name} is a step function: its slope is 0 wherever it has one, so it hands on zeros.",
        "Leave it out while training, or pass the gradient by it: x + (bl.round(x) - x).detach().",
    )


def _saturated(gate: Gate) -> Reading | None:
    x = gate.x
    if x is None or not x.size:
        return None
    far = float(np.abs(x).min())
    if far < 2:
        return None
    return Reading(
        "saturated",
        f"{gate.node.name} is flat here: its inputs lie between {x.min():.4g} and {x.max():.4g}, far from 0, where it "
        "hardly changes.",
        "Make its inputs smaller: standardize the data, use smaller initial weights (xavier_uniform_), or put a "
        "normalization in front.",
        (f"the smallest |x| is {far:.4g}",),
    )


def _softmax(gate: Gate) -> Reading | None:
    x, out = gate.x, gate.out
    if x is None or out is None or not x.size:
        return None
    largest = float(np.max(np.exp(out) if gate.node.name == "log_softmax" else out))
    if largest < 0.99:
        return _unchanged(gate)
    return Reading(
        "saturated",
        f"softmax gives all but nothing to one entry (the largest is {largest:.6g}), and there it is flat.",
        "Make the logits smaller (divide by a temperature, normalize), or use cross_entropy on logits.",
        (f"the logits go from {x.min():.4g} to {x.max():.4g}",),
    )


def _unchanged(gate: Gate) -> Reading:
    """Softmax and normalization give results whose sum is fixed; a loss that only asks for the sum asks for nothing."""
    return Reading(
        "invariant",
        f"{gate.node.name} fixes the sum of its results, and the loss asks the same of all of them, which no input can "
        "change.",
        "Let the loss depend on single entries; summing or averaging everything behind a softmax or a normalization "
        "undoes it.",
    )


def _product(gate: Gate) -> Reading | None:
    for other in gate.others:
        if other.dtype.kind not in "fiub" or not other.size:
            continue
        if not other.any():
            return Reading(
                "multiplied_by_zero",
                f"{gate.node.name} multiplies by zero: every entry of the other factor is exactly 0, and that factor "
                "is the slope.",
                "Look at where the zeros come from (a weight initialised to 0, a mask, a coefficient).",
            )
    largest = max((float(np.abs(o).max()) for o in gate.others if o.size and o.dtype.kind in "fiu"), default=None)
    if largest is not None and gate.node.name in ("mul", "matmul", "linear", "dot", "convolution") and largest < 0.05:
        return Reading(
            "small_factor",
            f"{gate.node.name} multiplies by small numbers: the largest of the other factor is {largest:.3g}.",
            "Scale that factor up, or the loss.",
        )
    return None


def _division(gate: Gate) -> Reading | None:
    if gate.position == 0 and gate.others and gate.others[0].size:
        divisor = float(np.abs(gate.others[0]).min())
        if divisor > 20:
            return Reading(
                "small_factor",
                f"div divides the gradient too: the divisor is {divisor:.3g}.",
                "Divide by less, or scale the loss up.",
            )
    return None


def _loss(gate: Gate) -> Reading:
    value = None if gate.out is None else float(np.max(np.abs(gate.out)))
    shown = "" if value is None else f" (its value is {value:.3g})"
    return Reading(
        "loss_at_minimum",
        f"{gate.node.name} is at its minimum here{shown}: prediction and target agree as well as the numbers can tell, "
        "so there is nothing left to correct.",
        "Nothing, if the fit is meant to be perfect; otherwise check that targets are not part of the inputs.",
    )


def _own(gate: Gate) -> Reading:
    backward = getattr(gate.node.op.owner, "backward", None)
    code = getattr(backward, "__code__", None)
    where = f" ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno})" if code is not None else ""
    return Reading(
        "own_function",
        f"{gate.node.name}.backward, which you wrote{where}, returned zeros although a gradient arrived.",
        "Check its rule with bl.autograd.gradcheck.",
    )


def _mean(gate: Gate) -> Reading | None:
    x = gate.x
    if x is None or gate.out is None or x.size < 20 * np.size(gate.out):
        return None
    return Reading(
        "averaged",
        f"{gate.node.name} shares the gradient out among {x.size // max(np.size(gate.out), 1)} entries.",
        "Expect this of a mean; use a sum, or a larger learning rate.",
    )


def _sum(gate: Gate) -> Reading | None:
    """An operation that sums what arrives, over rows or over a broadcast input: the terms can cancel."""
    upstream = getattr(gate.upstream, "_data", gate.upstream)
    if not isinstance(upstream, np.ndarray) or not upstream.size or not (upstream.min() < 0 < upstream.max()):
        return None
    net, gross = (_largest(gate, g) for g in (upstream, np.abs(upstream)))
    if gross < CANCELLED * net or not gross:
        return None
    return Reading(
        "cancelled",
        f"{gate.node.name} adds up what its entries ask for, and the terms cancel: the sum is {net:.3g} at most where "
        f"the sum of the magnitudes is {gross:.3g}.",
        "Expect this where the loss does not depend on the common part (a bias in front of softmax or batch norm).",
    )


def _largest(gate: Gate, upstream: np.ndarray) -> float:
    """The largest entry of what the rule hands on."""
    with no_grad(), quiet():
        part = gate.node.op.pull(gate.node, upstream, False)[gate.position]
    part = part.total() if isinstance(part, Deferred) else part
    return 0.0 if part is None else float(np.abs(np.asarray(getattr(part, "_data", part))).max(initial=0))


def _flat(gate: Gate) -> Reading:
    x = gate.x
    shown = "" if x is None or not x.size else f" (its input goes from {x.min():.4g} to {x.max():.4g})"
    return Reading(
        "flat_point",
        f"the slope of {gate.node.name} is 0, or next to 0, at these values{shown}.",
        "Start from other values; at a flat point no gradient tells where to go.",
    )


Rule = Callable[[Gate], Reading | None]
_RULES: dict[str, Rule] = {}
for _names, _rule in (
    ("relu", _relu),
    ("clamp hardsigmoid hardswish", _clamp),
    ("where dropout tril triu", _mask),
    ("max min amax amin maximum minimum max_pool max_pick extreme pick median kthvalue topk sort", _selected),
    ("gather slice index embedding", _looked_up),
    ("scaled_dot_product_attention", _attention),
    ("floor ceil round trunc sign floor_divide", _step),
    ("sigmoid tanh erf logsigmoid silu gelu gelu_tanh mish softplus atan", _saturated),
    ("mul matmul linear dot contract convolution", _product),
    ("softmax log_softmax", _softmax),
    ("batch_norm layer_norm group_norm standardize", _unchanged),
    ("div", _division),
    ("mean avg_pool", _mean),
    (
        "mse_loss l1_loss huber_loss smooth_l1_loss cross_entropy nll_loss kl_div binary_cross_entropy "
        "binary_cross_entropy_with_logits hinge_loss hinge_embedding_loss multi_margin_loss",
        _loss,
    ),
):
    _RULES.update(dict.fromkeys(_names.split(), _rule))
