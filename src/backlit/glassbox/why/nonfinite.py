"""Why a gradient is NaN or infinite: the first culprit, found by the detector of :mod:`backlit.check.first_culprit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import AnomalyError
from ...numerics import quiet
from ...tensor import Tensor
from .flow import flow_of
from .question import Question
from .twin import Twin
from .verdict import Verdict

if TYPE_CHECKING:
    from ...check.first_culprit.anomaly import Anomaly
    from ...check.first_culprit.culprit import Watch


def explain_nonfinite(question: Question, twin: Twin) -> Verdict | None:
    """The verdict on a gradient that is not finite; None where the values that would tell are gone."""
    from ...check.first_culprit.culprit import Watch  # all of check, which few who import the glass box need

    watch = Watch()
    _tell_again(twin, watch)
    flow = flow_of(question, twin, (watch,))
    if not isinstance(flow.failure, AnomalyError):
        return None
    return _told(question, flow.failure.anomaly)


def _tell_again(twin: Twin, watch: Watch) -> None:
    """Show the detector the forward pass, from the oldest operation to the newest."""
    tensors: dict[int, Tensor] = {}
    with quiet():
        for step in twin.steps:
            node = twin.nodes[step.node.id]
            if step.value is None:
                continue
            result = Tensor(step.value)
            result._node, result._requires_grad = node, True
            tensors[node.id] = result
            inputs = tuple(
                tensors.get(edge.id) if getattr(edge, "id", None) in twin.nodes else value if edge is None else edge
                for edge, value in zip(node.edges, step.constants, strict=True)
            )
            if any(edge is not None and x is None for edge, x in zip(node.edges, inputs, strict=True)):
                continue
            watch.applied(node.op, inputs, node.params, step.extra, result)
            event = watch.event_of(result)
            if event is not None and event.op is node.op:
                event.mark, event.scope = node.mark, node.scope


def _told(question: Question, anomaly: Anomaly) -> Verdict:
    facts: list[Any] = [*anomaly.operands, anomaly.upstream, anomaly.result]
    passed = f"it then went through {' → '.join(anomaly.passed)}" if anomaly.passed else ""
    return Verdict(
        question.name,
        "not finite",
        "poisoned",
        f"{anomaly.cause}: {anomaly.diagnosis}",
        anomaly.fix,
        anomaly.source,
        (),
        tuple(str(fact) for fact in facts if fact is not None),
    ).also(passed)
