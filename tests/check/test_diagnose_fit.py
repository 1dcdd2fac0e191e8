"""What diagnose says where model, loss and data do not fit together, and of rates far below what is usual."""

import pytest

import backlit as bl
from backlit import check, nn

SQUARES = {
    "broadcast": lambda output, target: ((output - target) ** 2).mean(),
    "squeezed": lambda output, target: ((output.squeeze(1) - target) ** 2).mean(),
}


@pytest.fixture
def rows():
    bl.manual_seed(0)
    x = bl.randn(200, 4)
    return x, x[:, 0] * 2 - x[:, 1]


def test_a_model_that_does_not_take_the_rows_is_not_called_healthy(rows):
    found = check.diagnose(nn.Linear(3, 2), (rows[0], (rows[1] > 0).long()), "cross_entropy")
    assert found.kinds == ["does_not_run"]
    assert "(200, 4)" in found[0].evidence and "Reshape the input" in found[0].evidence


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyError, RuntimeError])
def test_any_error_of_a_loss_is_a_finding(rows, error):
    def loss(output, target):
        raise error("of the loss")

    found = check.diagnose(nn.Linear(4, 1), rows, loss)
    assert found.kinds == ["does_not_run"]
    assert error.__name__ in found[0].evidence and "of the loss" in found[0].evidence


def test_labels_that_are_no_integers_are_not_called_logits(rows):
    found = check.diagnose(nn.Linear(4, 2), (rows[0], (rows[1] > 0).float()), "cross_entropy")
    assert found.kinds == ["does_not_run"] and ".long()" in found[0].evidence


def test_labels_from_one_are_named_and_not_the_error_they_raise(rows):
    labels = (rows[1] > 0).long() + 1
    assert check.diagnose(nn.Linear(4, 2), (rows[0], labels), "cross_entropy").kinds == ["label_offset"]


@pytest.mark.parametrize(("loss", "kinds"), [("broadcast", ["broadcast_target"]), ("squeezed", [])])
def test_a_column_of_outputs_against_a_row_of_targets(rows, loss, kinds):
    found = check.diagnose(nn.Linear(4, 1), rows, SQUARES[loss])
    assert found.kinds == kinds
    matched = check.diagnose(nn.Linear(4, 1), (rows[0], rows[1].unsqueeze(1)), SQUARES["broadcast"])
    assert matched.kinds == []


def test_a_rate_five_powers_of_ten_too_low(rows):
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = bl.optim.SGD(model.parameters(), lr=1e-6)
    history = {"loss": [0.7] * 10}
    found = check.diagnose(model, (rows[0], (rows[1] > 0).long()), "cross_entropy", optimizer, history)
    assert found.kinds == ["learning_rate_too_low"]
