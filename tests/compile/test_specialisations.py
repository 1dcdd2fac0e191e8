"""Many shapes and settings: each has a program up to a limit, none is compiled again and again, memory is shared."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import forms as policy


def doubled(x: Any) -> Any:
    return (x * 2.0 + 1.0).sum(0) + x.sum()


def eager(length: int) -> Any:
    return doubled(bl.ones(length, 3)).numpy()


@pytest.fixture
def built(monkeypatch: Any) -> list[Any]:
    """The programs that were built, in order."""
    found: list[Any] = []
    bound = policy.bound
    monkeypatch.setattr(policy, "bound", lambda seen, **options: found.append(seen) or bound(seen, **options))
    return found


def test_lengths_that_take_turns_are_compiled_once(built: list[Any]) -> None:
    compiled = bl.compile(doubled)
    for _ in range(3):
        for length in range(1, 21):
            np.testing.assert_allclose(compiled(bl.ones(length, 3)).numpy(), eager(length), rtol=1e-6)
    assert len(built) == 20


def test_more_lengths_than_there_is_room_for(built: list[Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(policy, "FORMS", 4)
    compiled = bl.compile(doubled)
    with pytest.warns(UserWarning, match="more than 4 combinations") as seen:
        for _ in range(4):
            for length in range(1, 11):
                np.testing.assert_allclose(compiled(bl.ones(length, 3)).numpy(), eager(length), rtol=1e-6)
    assert len(seen) == 1
    assert len(built) == 4
    assert sum(map(len, compiled._forms.values())) == 4


def test_what_was_not_used_for_long_makes_room(built: list[Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(policy, "FORMS", 3)
    monkeypatch.setattr(policy, "PATIENCE", 5)
    compiled = bl.compile(doubled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for length in range(1, 12):
            for _ in range(4):
                np.testing.assert_allclose(compiled(bl.ones(length, 3)).numpy(), eager(length), rtol=1e-6)
    assert sum(map(len, compiled._forms.values())) == 3
    assert len(built) > 6


def test_programs_of_one_function_share_their_memory() -> None:
    def widened(x: Any) -> Any:
        y = bl.exp(x).sum(0, keepdim=True) * bl.ones(200, 1)
        return (y @ x.T).sum()

    compiled = bl.compile(widened)
    for _ in range(3):
        for length in (300, 10, 50, 200):
            x = bl.ones(length, 3)
            np.testing.assert_allclose(float(compiled(x)), float(widened(x)), rtol=1e-4)
    forms = compiled._forms.all()
    assert len(forms) == 4 and all(form.built for form in forms)
    sizes = [form.binding.executable.built.arena.size for form in forms]
    assert compiled._forms.scratch.block.size == max(sizes) < sum(sizes)


def test_a_ragged_last_batch_has_a_program_of_its_own(built: list[Any]) -> None:
    data = bl.ones(10, 3)
    compiled = bl.compile(doubled)
    for _ in range(3):
        for start in range(0, 10, 4):
            part = data[start : start + 4]
            np.testing.assert_allclose(compiled(part).numpy(), doubled(part).numpy(), rtol=1e-6)
    assert len(built) == 2
