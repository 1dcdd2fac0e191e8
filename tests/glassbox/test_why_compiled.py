"""Compiled steps in the glass box: a record watches them run eagerly; ``why`` tells of gradients used up inside."""

import inspect

import numpy as np
import pytest

import backlit as bl
from backlit import nn

pytest.importorskip("llvmlite")


def training(gradients=False, cut=False, dropout=0.0):
    """A network, data, and a compiled step that trains it."""
    bl.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout(dropout), nn.Linear(5, 3))
    optimizer = bl.optim.SGD(net.parameters(), lr=0.1)
    x, y = bl.randn(8, 6), bl.tensor([0, 1, 2, 0, 1, 2, 0, 1])

    def step(x, y):
        optimizer.zero_grad()
        hidden = net[0](x).detach() if cut else net[0](x)
        loss = nn.functional.cross_entropy(net[3](net[2](net[1](hidden))), y)
        loss.backward()
        optimizer.step()
        return loss

    return net, x, y, bl.compile(step, gradients=gradients), step


def test_a_gradient_used_up_inside_is_explained():
    net, x, y, step, _ = training()
    step(x, y)
    loss = step(x, y)
    here = inspect.currentframe().f_lineno - 1
    for verdict in (bl.why(net[0].weight), bl.why(net[0].weight, loss)):
        assert verdict.cause == "compiled" and verdict.gradient == "not kept"
        assert verdict.source.file == __file__ and verdict.source.line == here
        assert "gradients=True" in verdict.remedy and "bl.record()" in verdict.remedy


def test_another_loss_is_asked_past_what_was_used_up():
    net, x, y, step, _ = training()
    step(x, y)
    step(x, y)
    weight = net[0].weight
    cut = nn.functional.cross_entropy(net(x).detach() * net[3].bias, y)
    assert bl.why(weight, cut).cause == "detach"
    saturated = (bl.sigmoid(net(x) + 100.0)).sum()
    verdict = bl.why(weight, saturated)
    assert verdict.cause == "saturated"
    assert any("compiled step" in fact for fact in verdict.evidence)
    assert bl.why(weight, net(x).sum()).cause == "compiled"
    with pytest.raises(bl.errors.GradientError, match=r"zero_grad\(\)"):
        net(x).sum().backward()


def test_kept_gradients_and_cuts_inside_compiled_steps():
    net, x, y, step, _ = training(gradients=True, cut=True)
    for _ in range(3):
        step(x, y)
    assert bl.why(net[0].weight).cause == "detach"
    assert bl.why(net[3].weight).gradient.startswith("ordinary")


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_record_of_a_compiled_step(dropout):
    net, x, y, step, eager = training(dropout=dropout)
    for _ in range(2):
        step(x, y)
    weights = {name: p.detach().clone() for name, p in net.named_parameters()}
    bl.manual_seed(7)
    with bl.record() as rec:
        step(x, y)
    bl.manual_seed(7)
    after = {name: p.detach().clone() for name, p in net.named_parameters()}
    for name, parameter in net.named_parameters():
        parameter.data = weights[name]
    eager(x, y)
    for name, parameter in net.named_parameters():
        assert np.array_equal(rec.node(parameter).upstream, parameter.grad.numpy())
        assert bl.equal(after[name], parameter.detach())
    again = rec.rerun()
    assert all(np.array_equal(a.upstream, b.upstream) for a, b in zip(rec.walked, again.walked, strict=True))
    for _ in range(2):
        step(x, y)  # compiled again once nobody watches
    assert bl.why(net[0].weight).cause == "compiled"
