"""What networks are made of runs natively when it is compiled: no call of NumPy is left in their programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_operations import Case, samples

import backlit as bl
from backlit.compile.assemble.build import externs
from backlit.compile.passes.pipeline import optimised
from backlit.compile.trace.capture import Capture, capture
from backlit.ops.definition import REGISTRY

NATIVE = (
    "amax", "amin", "argmax", "argmin", "batch_norm", "cat", "chunk", "clamp", "embedding", "flip", "gather", "gelu",
    "getitem", "group_norm", "glu", "huber_loss", "index_add", "index_copy", "index_put", "index_select",
    "instance_norm", "isfinite", "isinf", "layer_norm", "linear", "log_softmax", "logsumexp", "max_pool1d",
    "max_pool2d", "mean", "mse_loss", "nll_loss", "pad", "pow", "relu", "rms_norm", "roll", "scatter", "scatter_add",
    "select", "silu", "softmax", "split", "stack", "std", "sum", "take", "tril", "triu", "unbind", "var", "where",
    "all", "any", "inner", "tensordot",
)  # fmt: skip
"""Operations that are native at all samples that have elements and name no masks as indices."""


def calls(name: str, sample: Any) -> list[str]:
    """The NumPy calls of a compiled sample, forwards and backwards."""
    case = Case(REGISTRY[name], sample, np.float32)
    _, seen = capture(case, tuple(case.tensors), {}, False, True)
    if not isinstance(seen, Capture):
        return []
    return [i.params["call"].__name__ for i in optimised(seen.program).body if i.opcode == "extern"]


def is_special(sample: Any) -> bool:
    """Whether it has no elements somewhere, or a boolean mask."""
    arrays = [
        x for part in (*sample.args, *sample.kwargs.values()) for x in (part if isinstance(part, tuple) else [part])
    ]
    return any(isinstance(x, np.ndarray) and (x.size == 0 or x.dtype == bool) for x in arrays)


@pytest.mark.parametrize("name", NATIVE)
def test_runs_natively(name: str) -> None:
    found = {repr(s): calls(name, s) for s in samples(name) if not is_special(s)}
    assert not {sample: names for sample, names in found.items() if names}


def test_a_residual_network_with_batch_norm_and_pooling_is_native_and_equals_eager() -> None:
    class Net(bl.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = bl.nn.Conv2d(1, 4, 3, padding=1), bl.nn.Conv2d(4, 4, 3, padding=1)
            self.norm, self.head = bl.nn.BatchNorm2d(4), bl.nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            x = bl.nn.functional.max_pool2d(bl.nn.functional.relu(self.norm(self.first(x))), 3, 2, 1)
            x = x + bl.nn.functional.silu(self.second(x))
            return self.head(bl.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))

    losses = []
    for compiled in (False, True):
        bl.manual_seed(0)
        net = Net()
        optimizer = bl.optim.AdamW(net.parameters(), lr=0.01)

        def step(x: Any, y: Any, net: Any = net, optimizer: Any = optimizer) -> Any:
            loss = bl.nn.functional.cross_entropy(net(x), y, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run, rng = bl.compile(step) if compiled else step, np.random.default_rng(0)
        losses.append([])
        for _ in range(5):
            x, y = rng.normal(size=(6, 1, 9, 9)).astype(np.float32), rng.integers(0, 3, 6)
            losses[-1].append(float(run(bl.tensor(x), bl.tensor(y))))
        if compiled:
            assert not externs(run._latest().executable.built)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
