"""Checks are silent about sound networks, fresh and trained."""

import pytest
import sound_networks

from backlit import check
from backlit.optim import Adam
from backlit.train import fit

NAMES = list(sound_networks.sound())


@pytest.fixture(params=NAMES)
def network(request):
    return sound_networks.sound()[request.param]


def test_there_are_ten_and_more():
    assert len(NAMES) >= 10


def test_fresh(network):
    model, batch, loss = network
    optimizer = Adam(model.parameters(), lr=2e-3)
    assert check.flow(model, batch, loss, optimizer=optimizer).findings.kinds == []
    assert check.initial_loss(model, batch, loss).findings.kinds == []
    assert check.data(batch).kinds == []


def test_a_handful_is_learned(network):
    model, batch, loss = network
    found = check.overfit(model, batch, loss)
    assert found.learned and found.findings.kinds == []


def test_while_and_after_training(network):
    model, batch, loss = network
    flow = check.Flow()
    fit(
        model, batch, loss=loss, epochs=12, lr=3e-3, batch_size=32, metrics=[], callbacks=[flow], seed=0, progress=False
    )
    assert flow.findings.kinds == []
    assert check.flow(model, batch, loss).findings.kinds == []
    assert all(len(history) == 12 for history in flow.output_std.values())


def test_a_rate_is_found(network):
    model, batch, loss = network
    found = check.lr_range(model, batch, loss)
    assert found.findings.kinds == [] and 1e-4 < found.suggestion < 0.5
