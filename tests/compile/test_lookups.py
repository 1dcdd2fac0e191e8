"""Look-ups by position inside a compiled step: native, and as strict about positions as eager mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operation_cases import native_calls_only

import backlit as bl
from backlit.compile.assemble.build import externs


class Language:
    """Embedded positions, some rows picked, and a linear map that shares the table."""

    def __init__(self) -> None:
        bl.manual_seed(0)
        self.tokens, self.places = bl.nn.Embedding(7, 5, padding_idx=2), bl.nn.Embedding(9, 5)
        self.optimizer = bl.optim.SGD([*self.tokens.parameters(), *self.places.parameters()], lr=0.5)

    def step(self, text: Any, picked: Any) -> Any:
        x = self.tokens(text) + self.places.weight[1 : 1 + text.shape[1]]
        scores = x[:, picked] @ self.tokens.weight.T
        loss = (scores.gather(2, text[:, :2, None]) ** 2).mean() + x[1, :, 1::2].sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


def test_a_step_with_look_ups_is_native_and_equals_eager() -> None:
    eager, compiled, rng = Language(), Language(), np.random.default_rng(0)
    step = bl.compile(compiled.step)
    for _ in range(4):
        text, picked = bl.tensor(rng.integers(0, 7, (3, 4))), bl.tensor(rng.integers(-3, 3, 2))
        np.testing.assert_allclose(float(step(text, picked)), float(eager.step(text, picked)), rtol=1e-5)
    assert not externs(step._latest().executable.built)
    np.testing.assert_allclose(compiled.tokens.weight.numpy(force=True), eager.tokens.weight.numpy(force=True), 1e-4)


@pytest.mark.parametrize("wrong", [-1, 7])
def test_a_position_outside_raises_and_changes_nothing(wrong: int) -> None:
    language = Language()
    step, text, picked = bl.compile(language.step), bl.tensor(np.ones((3, 4), np.int64)), bl.tensor(np.array([0, 1]))
    for _ in range(3):
        step(text, picked)
    before = language.tokens.weight.numpy(force=True).copy()
    text[1, 2] = wrong
    with pytest.raises(bl.errors.OutOfRangeError, match=str(wrong)):
        step(text, picked)
    np.testing.assert_array_equal(language.tokens.weight.numpy(force=True), before)


MASKED: dict[str, tuple[Any, tuple[int, ...]]] = {
    "a number": (lambda m: m, ()),
    "a row": (lambda m: m, (3,)),
    "a row for all": (lambda m: m, (1, 3)),
    "rows behind a dimension": (lambda m: (slice(None), m[0]), (4, 1, 3)),
    "inside a row": (lambda m: (2, m[0]), (3,)),
    "in every other row": (lambda m: (slice(1, 4, 2), m[0]), (3,)),
    "with a new dimension": (lambda m: (None, m), (3,)),
}


@pytest.mark.parametrize("name", MASKED)
def test_what_is_put_under_a_mask_needs_no_numpy(name: str) -> None:
    """As many values as the mask is true are another matter: how many that are depends on values."""
    key, shape = MASKED[name]
    rng = np.random.default_rng(0)
    x, values = (bl.tensor(rng.normal(size=s), requires_grad=True) for s in ((4, 5, 3), shape))
    mask = bl.tensor(rng.random((4, 5)) < 0.5)

    def put(x: Any, values: Any, mask: Any) -> Any:
        y = x * 2.0
        y[key(mask)] = values
        return y, *bl.autograd.grad((y * y).sum(), [x, values])

    compiled = bl.compile(put)
    for _ in range(3):
        for a, b in zip(compiled(x, values, mask), put(x, values, mask), strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12)
        mask._data[...] = np.roll(mask._data, 1)
    assert native_calls_only(put, [x, values, mask])


def test_negative_numbers_are_replaced_by_their_own_mask_in_an_argument() -> None:
    def rectify(x: Any) -> None:
        x[x < 0] = 0.0

    compiled = bl.compile(rectify)
    for seed in range(3):
        array = np.random.default_rng(seed).normal(size=(4, 5))
        x = bl.tensor(array.copy())
        compiled(x)
        np.testing.assert_array_equal(x.numpy(), np.where(array < 0, 0.0, array))
    assert compiled.reason is None
