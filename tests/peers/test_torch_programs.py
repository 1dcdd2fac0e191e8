"""A PyTorch program runs after changing its import line: the same functions, given PyTorch and given Backlit."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import programs_agents
import programs_by_hand
import programs_generative
import programs_language
import programs_vision
import pytest

import backlit as bl
import backlit.nn as backlit_nn
from backlit.nn import functional as backlit_functional

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:Full backward hook:UserWarning")]

MODULES = (programs_agents, programs_by_hand, programs_generative, programs_language, programs_vision)
PROGRAMS = [
    function
    for module in MODULES
    for name, function in vars(module).items()
    if inspect.isfunction(function) and function.__module__ == module.__name__
]
CLOSE = {"float64": {"rtol": 1e-9, "atol": 1e-12}, "float32": {"rtol": 0.1, "atol": 0.1}}
"""Adam divides by the size of gradients, also of those that are zero but for rounding: in float32 steps may differ."""


def run(program: Any, library: Any, nn: Any, F: Any, dtype: str) -> Any:
    """A program's results under one library, with one default dtype."""
    before = library.get_default_dtype()
    library.set_default_dtype(getattr(library, dtype))
    try:
        return program(library, nn, F)
    finally:
        library.set_default_dtype(before)


def compare(mine: Any, theirs: Any, tolerance: dict[str, float], where: str = "result") -> None:
    """Equal in structure, kind and dtype, and close in value."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(mine, bl.Tensor), f"{where}: a {type(mine).__name__} instead of a tensor"
        assert mine.requires_grad == theirs.requires_grad, f"{where}: requires_grad"
        mine, theirs = mine.detach().numpy(), theirs.detach().numpy()
    if isinstance(theirs, np.ndarray):
        assert mine.dtype == theirs.dtype, f"{where}: {mine.dtype} instead of {theirs.dtype}"
        assert mine.shape == theirs.shape, f"{where}: {mine.shape} instead of {theirs.shape}"
        if theirs.dtype.kind == "f":
            np.testing.assert_allclose(mine, theirs, err_msg=where, **tolerance)
        else:
            np.testing.assert_array_equal(mine, theirs, err_msg=where)
    elif isinstance(theirs, (list, tuple)):
        assert isinstance(mine, (list, tuple)), f"{where}: a {type(mine).__name__} instead of a sequence"
        assert len(mine) == len(theirs), f"{where}: {len(mine)} parts instead of {len(theirs)}"
        for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            compare(a, b, tolerance, f"{where}[{i}]")
    elif isinstance(theirs, float):
        assert isinstance(mine, float), f"{where}: a {type(mine).__name__} instead of a float"
        np.testing.assert_allclose(mine, theirs, err_msg=where, **tolerance)
    else:
        assert type(mine) is type(theirs), f"{where}: {type(mine).__name__} instead of {type(theirs).__name__}"
        assert mine == theirs, f"{where}: {mine!r} instead of {theirs!r}"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_the_same_program_gives_the_same_numbers(program: Any, dtype: str) -> None:
    theirs = run(program, torch, torch.nn, torch.nn.functional, dtype)
    mine = run(program, bl, backlit_nn, backlit_functional, dtype)
    compare(mine, theirs, CLOSE[dtype])


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (bl.tensor([1.0]), torch.tensor([1.1])),
        (bl.tensor([1.0]), torch.tensor([[1.0]])),
        (bl.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (bl.tensor([1.0]), torch.tensor([1.0], requires_grad=True)),
        ([1.0], [1.0, 2.0]),
        (1, 1.0),
        (True, 1),
        ("a", "b"),
        (None, torch.tensor(1.0)),
    ],
)
def test_the_comparison_notices(mine: Any, theirs: Any) -> None:
    with pytest.raises(AssertionError):
        compare(mine, theirs, CLOSE["float64"])
