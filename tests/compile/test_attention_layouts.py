"""Attention in a compiled step reads queries, keys and values where they lie, and writes where its results are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from guarded import guards
from hypothesis import given, settings
from hypothesis import strategies as st
from sharing import shared_out

import backlit as bl

pytestmark = pytest.mark.usefixtures("planned_anew")

attention = bl.nn.functional.scaled_dot_product_attention

B, L, H, W = 3, 10, 4, 8
"""Sizes of a batch, a text, the heads and one head."""


@pytest.fixture(params=[1, 2])
def thread_count(request: pytest.FixtureRequest) -> Iterator[int]:
    with shared_out(request.param):
        yield request.param


def numbers(*shape: int, seed: int = 0) -> Any:
    return bl.tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def opcodes(compiled: Any) -> list[str]:
    return [member.opcode for group in groups(compiled) for member in group.members]


def groups(compiled: Any) -> list[Any]:
    return [group for region in compiled._latest().executable.built.regions for group in region.groups]


# -- a block of a language model ------------------------------------------------------------------------------------


class Block(bl.nn.Module):
    """Causal attention as it is usually written, by one of several customs."""

    def __init__(self, custom: str) -> None:
        super().__init__()
        bl.manual_seed(0)
        self.custom, width = custom, H * W
        self.qkv, self.out = bl.nn.Linear(width, 3 * width), bl.nn.Linear(width, width)
        self.three = bl.nn.ModuleList([bl.nn.Linear(width, width) for _ in range(3)])

    def heads(self, x: Any) -> list[Any]:
        batch, length, width = x.shape
        if self.custom == "split":
            parts = self.qkv(x).split(width, dim=2)
        elif self.custom == "unbound":
            return list(self.qkv(x).reshape(batch, length, 3, H, W).permute(2, 0, 3, 1, 4).unbind(0))
        else:
            parts = [layer(x) for layer in self.three]
        return [part.view(batch, length, H, W).transpose(1, 2) for part in parts]

    def forward(self, x: Any) -> Any:
        mixed = attention(*self.heads(x), is_causal=True)
        return x + self.out(mixed.transpose(1, 2).reshape(*x.shape))


CUSTOMS = ["split", "unbound", "three layers"]


@pytest.mark.parametrize("custom", CUSTOMS)
def test_a_block_copies_nothing_around_attention(custom: str, thread_count: int) -> None:
    eager, twin = Block(custom), Block(custom)

    def step_of(net: Block) -> Callable[[Any], Any]:
        optimizer = bl.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

        def step(x: Any) -> Any:
            loss = (net(x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    one, two = step_of(eager), bl.compile(step_of(twin))
    for seed in range(4):
        x = numbers(B, L, H * W, seed=seed)
        np.testing.assert_allclose(float(two(x)), float(one(x)), rtol=1e-5)
    for p, q in zip(eager.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-3, atol=1e-5)
    assert not {"copy", "cat"} & {*opcodes(two)}
    assert max(r.parts for r in two.plan().regions) == thread_count


def test_a_batch_goes_through_attention_without_waiting() -> None:
    """Each thread's share of the rows of the product is what its share of attention reads and writes."""
    net = Block("split")
    with shared_out(2), bl.no_grad():
        compiled = bl.compile(lambda x: net(x))
        for _ in range(2):
            compiled(numbers(64, L, H * W))
        built = compiled._latest().executable.built
    assert [(r.parts, len(r.groups)) for r in built.regions] == [(2, 3)]


def test_what_is_told_of_it() -> None:
    """The loops name the views that are read, and the plan counts no copies."""
    net = Block("split")

    @bl.compile
    def step(x: Any) -> Any:
        loss = (net(x) ** 2).sum()
        return (loss, *bl.autograd.grad(loss, list(net.qkv.parameters())))

    for _ in range(2):
        step(numbers(B, L, H * W))
    text, size = step.explain(), H * W
    assert f"[:, :, {size}:{2 * size}].reshape({B}, {L}, {H}, {W}).permute(0, 2, 1, 3)" in text
    assert "3 arrays" in text
    (forward,) = [r for r in step.plan().regions if r.what == "Attend"]
    read, written, kept = 3 * B * L * size, B * L * size, B * H * L * 16
    assert forward.bytes == 4 * (read + written + kept)


# -- every way in which operands may lie ----------------------------------------------------------------------------


def split(x: Any) -> list[Any]:
    return [part.reshape(B, L, H, W).transpose(1, 2) for part in x.reshape(B, L, 3 * H * W).split(H * W, dim=2)]


def in_steps(x: Any) -> list[Any]:
    """Every second row, of which no two heads are neighbours."""
    parts = x.reshape(B, 3, H, L, W)[:, :, :, ::2]
    return [parts[:, i] for i in range(3)]


def backwards(x: Any) -> list[Any]:
    return [part.flip(1) for part in split(x)]


def columns_apart(x: Any) -> list[Any]:
    """Rows have gaps between their elements, which nobody reads so."""
    parts = x.reshape(3, B, H, W, L)
    return [parts[i].transpose(2, 3) for i in range(3)]


def one_for_all(x: Any) -> list[Any]:
    q, k, v = x.reshape(3, B, L, H, W).transpose(2, 3).unbind(0)
    return [q, k[:, :1], v[:, :1].expand(B, H, L, W)]


def all_the_same(x: Any) -> list[Any]:
    return [split(x)[0]] * 3


def one_row_for_all(x: Any) -> list[Any]:
    q, k, v = split(x)
    return [q, k[:, :, :1].expand(B, H, L, W), v]


def without_heads(x: Any) -> list[Any]:
    return [part.reshape(B, L, H * W) for part in x.reshape(B, L, 3 * H * W).split(H * W, dim=2)]


def without_batch(x: Any) -> list[Any]:
    return [part.reshape(B * L, H, W).transpose(0, 1) for part in x.reshape(B * L, 3 * H * W).split(H * W, dim=1)]


def one_matrix(x: Any) -> list[Any]:
    return list(x.reshape(B * L, 3 * H * W).split(H * W, dim=1))


def of_one_batch(x: Any) -> list[Any]:
    return [part.reshape(1, B * L, H, W).transpose(1, 2) for part in x.reshape(B * L, 3 * H * W).split(H * W, dim=1)]


def five_dimensions(x: Any) -> list[Any]:
    parts = x.reshape(B, 2, L // 2, 3, H, W).permute(3, 0, 1, 4, 2, 5)
    return [parts[i] for i in range(3)]


def outer_dimensions_turned(x: Any) -> list[Any]:
    parts = x.reshape(B, 2, L // 2, 3, H, W).permute(3, 1, 0, 4, 2, 5)
    return [parts[i] for i in range(3)]


def narrow(x: Any) -> list[Any]:
    parts = x.reshape(B, L * W, 3, H).permute(2, 0, 3, 1)
    return [parts[i][..., None] for i in range(3)]


WAYS = [
    split,
    in_steps,
    backwards,
    columns_apart,
    one_for_all,
    all_the_same,
    one_row_for_all,
    without_heads,
    without_batch,
    one_matrix,
    of_one_batch,
    five_dimensions,
    outer_dimensions_turned,
    narrow,
]


def turned(out: Any) -> Any:
    """As a layer goes on: heads side by side."""
    if out.ndim < 3:
        return out
    return out.transpose(-3, -2).reshape(*out.shape[:-3], out.shape[-2], -1)


FINISHES = {
    "turned": turned,
    "as it is": lambda out: out * 1,
    "both": lambda out: turned(out) * 2 + (out * out).reshape(turned(out).shape),
    "turned the other way": lambda out: out.transpose(0, 1).reshape(-1) + out.transpose(0, 1).reshape(-1).flip(0),
}

MASKS: dict[str, Callable[[Any], Any]] = {
    "none": lambda q: None,
    "causal": lambda q: None,
    "bool": lambda q: bl.tensor(np.tri(q.shape[-2], dtype=bool)),
    "added": lambda q: numbers(q.shape[-2]),
    "by batch": lambda q: numbers(*q.shape[:-2][:1], *[1] * (q.ndim - 3), q.shape[-2], q.shape[-2], seed=3),
    "by head": lambda q: numbers(*q.shape[:-2][-1:], q.shape[-2], q.shape[-2], seed=3),
}


def function_of(way: Any, finish: Any, mask: Any, causal: bool, wanted: str) -> Callable[[Any], Any]:
    """What is computed of ``x``: averages and the gradients that ``wanted`` names."""

    def f(x: Any) -> Any:
        x = (x * 1).requires_grad_()
        q, k, v = way(x)
        m = mask
        if "m" in wanted:
            m = (mask * 1).requires_grad_()
        out = attention(q, k, v, attn_mask=m, is_causal=causal)
        y = finish(out)
        loss = (y * y * y).sum()
        named = {"x": x, "q": q, "k": k, "v": v, "o": out, "m": m}
        return (y.detach(), *bl.autograd.grad(loss, [named[name] for name in wanted]))

    return f


def held(f: Callable[[Any], Any], watched: bool) -> Any:
    """Compiled against eager, at two values."""
    compiled = bl.compile(f)
    with guards() if watched else nullcontext():
        for seed in range(3):
            x = numbers(3 * B * L * H * W, seed=seed)
            for a, b in zip(f(x), compiled(x), strict=True):
                np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=2e-4, atol=2e-4)
    assert len(compiled._forms.all()) == 1
    return compiled


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_operands_that_lie_in_any_way(way: Any, thread_count: int) -> None:
    held(function_of(way, turned, None, True, "x"), watched=True)


@settings(max_examples=40)
@given(
    st.sampled_from(WAYS),
    st.sampled_from(list(FINISHES)),
    st.sampled_from(list(MASKS)),
    st.sampled_from(["x", "q", "k", "qv", "xqkvo", "o", "ox", "xk", "xm"]),
    st.integers(1, 2),
    st.booleans(),
)
def test_any_way_with_any_mask_and_any_gradients(
    way: Any, finish: str, mask: str, wanted: str, count: int, watched: bool
) -> None:
    q = way(numbers(3 * B * L * H * W))[0]
    m = MASKS[mask](q)
    if m is None or m.dtype == bl.bool:
        wanted = wanted.replace("m", "")
    with shared_out(count):
        held(function_of(way, FINISHES[finish], m, mask == "causal", wanted), watched)


@pytest.mark.parametrize(
    "way", [split, in_steps, one_for_all, without_batch, five_dimensions], ids=lambda w: w.__name__
)
def test_views_that_the_kernel_can_read_are_not_copied(way: Any) -> None:
    compiled = bl.compile(lambda x: attention(*way(x)))
    for _ in range(2):
        compiled(numbers(3 * B * L * H * W))
    made = opcodes(compiled)
    assert made.count("leaf") == 1 and made.count("copy") <= 1  # the result is asked for row after row


def test_arguments_are_read_as_they_lie() -> None:
    """Inputs of the program that are not row-major, as the caller's own views."""
    compiled = bl.compile(lambda q, k, v: attention(q, k, v).transpose(1, 2))
    for seed in range(2):
        parts = [part.detach() for part in split(numbers(3 * B * L * H * W, seed=seed))]
        np.testing.assert_allclose(
            compiled(*parts).numpy(), attention(*parts).transpose(1, 2).numpy(), rtol=1e-5, atol=1e-6
        )
    assert opcodes(compiled) == ["leaf"]


def test_what_is_read_through_views_is_overwritten_afterwards(thread_count: int) -> None:
    """The state that attention reads a part of is set anew in the same step."""
    held_keys = [numbers(B, L, 2 * H * W, seed=2) for _ in range(2)]

    def step_of(state: Any) -> Callable[[Any], Any]:
        def step(q: Any) -> Any:
            k, v = (part.reshape(B, L, H, W).transpose(1, 2) for part in state.split(H * W, dim=2))
            out = turned(attention(q, k, v))
            state.copy_(state * 0.5 + out.repeat(1, 1, 2))
            return out

        return step

    one, two = step_of(held_keys[0]), bl.compile(step_of(held_keys[1]))
    for seed in range(4):
        q = numbers(B, H, L, W, seed=seed)
        np.testing.assert_allclose(two(q).numpy(), one(q).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(held_keys[1].numpy(), held_keys[0].numpy(), rtol=1e-4, atol=1e-5)


def test_retained_gradients(thread_count: int) -> None:
    """Of the parts and of the averages, while the packed gradient goes on to the layer's weight."""
    nets = [Block("split") for _ in range(2)]

    def step_of(net: Block) -> Callable[[Any], Any]:
        def step(x: Any) -> Any:
            q, k, v = net.heads(x)
            out = attention(q, k, v, is_causal=True)
            for part in (q, k, v, out):
                part.retain_grad()
            loss = (net.out(turned(out)) ** 2).sum()
            net.zero_grad()
            loss.backward()
            return loss.detach(), out.detach(), q.grad, k.grad, v.grad, out.grad, net.qkv.weight.grad

        return step

    one, two = step_of(nets[0]), bl.compile(step_of(nets[1]))
    for seed in range(3):
        x = numbers(B, L, H * W, seed=seed)
        for a, b in zip(one(x), two(x), strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-3, atol=1e-4)
