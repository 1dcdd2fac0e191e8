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
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "all", "amax", "amin", "any", "argmax",
    "argmin", "avg_pool1d", "avg_pool2d", "avg_pool3d", "batch_norm", "cat", "cdist", "chunk", "clamp", "conv1d",
    "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "corrcoef", "cross_entropy",
    "cumprod", "cumsum", "diag", "diag_embed", "diagonal", "dist", "einsum", "embedding", "flip", "floor_divide",
    "fmod", "gather", "gelu", "getitem", "glu", "group_norm", "hinge_embedding_loss", "huber_loss", "index_add",
    "index_copy", "index_put", "index_select", "inner", "instance_norm", "isfinite", "isinf", "layer_norm",
    "linear", "log_softmax", "logcumsumexp", "logsumexp", "max", "max_pool1d", "max_pool2d", "mean", "min",
    "mse_loss", "multi_margin_loss", "nan_to_num", "nll_loss", "norm", "pad", "pow", "prod", "relu", "remainder",
    "repeat", "rms_norm", "roll", "scaled_dot_product_attention", "scatter", "scatter_add", "select", "silu",
    "softmax", "split", "stack", "std", "sum", "take", "tensordot", "trace", "tril", "triplet_margin_loss", "triu",
    "unbind", "var", "vector_norm", "where",
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


@pytest.mark.parametrize(("length", "width"), [(1, 2), (1, 4), (2, 4), (5, 4)])
def test_a_short_line_with_more_padding_behind_it_is_convolved_natively(length: int, width: int) -> None:
    rng = np.random.default_rng(0)
    x, w = (bl.tensor(rng.normal(size=s), requires_grad=True) for s in ((2, 3, length), (4, 3, width)))

    def convolved(x: Any, w: Any) -> Any:
        loss = (bl.conv1d(x, w, padding="same") ** 2).sum()
        return loss, *bl.autograd.grad(loss, [x, w])

    compiled = bl.compile(convolved)
    for _ in range(2):
        for a, b in zip(compiled(x, w), convolved(x, w), strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10)
    assert not externs(compiled._latest().executable.built)


@pytest.mark.parametrize("lead", [(2, 4), (3,), (2, 1, 2), ()])
@pytest.mark.parametrize("shared", ["by all", "by heads", "by batches", "by none", "by rows"])
@pytest.mark.parametrize("kind", ["truth values", "numbers", "numbers with gradients"])
def test_attention_with_a_mask_of_its_own_is_native_and_equals_eager(
    lead: tuple[int, ...], shared: str, kind: str
) -> None:
    """Also where a query may look at no key: its result and gradients are zero."""
    rng = np.random.default_rng(0)
    own = {"by all": (), "by heads": (*lead[:-1], *[1] * len(lead[-1:])), "by batches": lead[-1:]}.get(shared, lead)
    seen = rng.random((*own, 1 if shared == "by rows" else 5, 6)) < 0.6
    seen[..., 0, :] = False
    mask = bl.tensor(seen if kind == "truth values" else np.where(seen, rng.normal(size=seen.shape), -np.inf))
    leaves = [bl.tensor(rng.normal(size=(*lead, n, 3)), requires_grad=True) for n in (5, 6, 6)]
    if kind == "numbers with gradients":
        leaves.append(mask.requires_grad_())

    def attended(q: Any, k: Any, v: Any, *_: Any) -> Any:
        out = bl.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return out, *bl.autograd.grad((out * out).sum(), leaves)

    compiled = bl.compile(attended)
    for _ in range(2):
        for a, b in zip(compiled(*leaves), attended(*leaves), strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)
    assert not externs(compiled._latest().executable.built)


def test_attention_with_a_mask_is_shared_out_among_threads(number_of_threads: Any) -> None:
    rng = np.random.default_rng(0)
    leaves = [bl.tensor(rng.normal(size=(4, 2, 40, 32)).astype(np.float32), requires_grad=True) for _ in range(3)]
    mask = bl.tensor(rng.random((4, 1, 1, 40)) < 0.7)

    def attended(q: Any, k: Any, v: Any) -> Any:
        out = bl.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return out, *bl.autograd.grad((out * out).sum(), [q, k, v])

    number_of_threads(2)
    compiled = bl.compile(attended)
    for _ in range(2):
        for a, b in zip(compiled(*leaves), attended(*leaves), strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-4, atol=2e-5)
    assert any(region.parts > 1 for region in compiled._latest().executable.built.regions)


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_whole_numbers_are_divided_as_eagerly_also_by_zero_and_where_the_quotient_is_too_large(
    name: str, dtype: Any
) -> None:
    limits = np.iinfo(dtype)
    numbers = np.array([0, 1, -1, 7, -7, 5, -5, limits.max, limits.min], dtype)
    x, y = (bl.tensor(a.ravel()) for a in np.meshgrid(numbers, numbers))
    divide = getattr(bl, name)
    compiled = bl.compile(lambda x, y: divide(x, y))
    with np.errstate(all="ignore"):
        for _ in range(2):
            np.testing.assert_array_equal(compiled(x, y).numpy(), divide(x, y).numpy())
    assert not externs(compiled._latest().executable.built)
