"""Words, formulas and tables for every operation of the registry and for random graphs: nothing fails, all is set."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_program

import backlit as bl
from backlit.errors import RecordError
from backlit.ops.registry import REGISTRY


def written(rec):
    """Everything that words can be made of, checked for balance."""
    assert str(rec)
    for node in rec.nodes:
        assert rec.explain(node).endswith((".", ". "))
        if node.op is not None or node.upstream_kept is None:
            continue
        text = rec.derivation(node, full=True)
        assert text.startswith(("∂", "δ"))
        assert not re.search(r"Symbol\(|Number\(|None", text)
        latex = rec.derivation(node, form="latex", full=True)
        plain = re.sub(r"\\[{}]", "", latex)
        assert plain.count("{") == plain.count("}"), latex
        assert latex.count(r"\left") == latex.count(r"\right"), latex


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**9))
def test_random_graphs(seed):
    written(bl.explain(random_program(seed)))


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_operation(name):
    entry = REGISTRY[name]
    if entry.samples is None:
        pytest.skip("the operation has no samples")
    for sample in list(entry.samples(np.random.default_rng(3)))[:1]:
        leaves = [_tensor(argument) for argument in sample.args]
        with bl.record() as rec:
            out = entry.function(*leaves, **sample.kwargs)
            parts = [part for part in (out if isinstance(out, (tuple, list)) else (out,)) if _floats(part)]
            total = sum(((part * 0.5).sum() for part in parts), bl.zeros(()))
            if total.requires_grad:
                total.backward()
        if rec.passes:
            written(rec)


def _floats(part):
    return isinstance(part, bl.Tensor) and part.dtype.kind == "f"


def _tensor(argument):
    if isinstance(argument, np.ndarray):
        return bl.tensor(argument, requires_grad=argument.dtype == np.float64)
    if isinstance(argument, (list, tuple)) and any(isinstance(part, np.ndarray) for part in argument):
        return type(argument)(_tensor(part) for part in argument)
    return argument


def test_statistics_alone_are_enough_for_layers_but_not_for_products():
    w = bl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = bl.relu(w @ w)
    rec = bl.explain(y.sum(), keep="stats")
    assert "relu′" in rec.derivation("w") and "2×2 numbers of norm" in rec.explain("y")
    assert "It was the first to be put into .grad." in rec.explain("w") and ".grad" in str(rec)
    assert "The backward pass starts here, with 1." in rec.explain("sum")
    with pytest.raises(RecordError, match="keep='all'"):
        rec.contributions("w")
    with pytest.raises(RecordError, match="keep='all'"):
        rec.jacobian("y", "w").push(np.ones((2, 2)))


def test_a_record_from_a_file_says_the_same(tmp_path):
    w, x = bl.tensor([[1.0, 2.0]], requires_grad=True), bl.tensor([[3.0, 1.0], [1.0, -1.0]])
    h = bl.tanh(x @ w.T)
    loss = (h**2).mean()
    rec = bl.explain(loss)
    rec.save(tmp_path / "a.record")
    again = bl.load_record(tmp_path / "a.record")
    assert str(again) == str(rec)
    for node in rec.nodes:
        assert again.explain(node.name) == rec.explain(node)
    assert again.derivation("w", full=True) == rec.derivation("w", full=True)
    assert str(again.contributions("w")) == str(rec.contributions("w"))
    assert again.jacobian("loss", "w").words == rec.jacobian("loss", "w").words


def test_an_own_function_is_said_to_be_one():
    class Cube(bl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x**2

    x = bl.tensor([1.0, 2.0], requires_grad=True)
    with bl.record() as rec:
        Cube.apply(x * 1.0).sum().backward()
    written(rec)
    with pytest.raises(RecordError, match="of your own"):
        rec.contributions("x")
