"""compare: the first difference is the true one. landscape: the surface is the loss, the path is the path."""

import numpy as np
import pytest

import backlit as bl
from backlit import check, nn
from backlit.errors import OperationError


def net(activation=None, eps=1e-5):
    return nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8, eps=eps), activation or nn.Tanh(), nn.Linear(8, 4))


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 3)).astype(np.float32), np.arange(6) % 4


def pair(first, second):
    second.load_state_dict(first.state_dict())
    return first, second


def test_equal_ones(batch):
    found = check.compare(*pair(net(), net()), batch, "cross_entropy")
    assert not found and found.first is None and not found.only_a and not found.only_b
    names = [entry.name for entry in found.entries]
    assert {"0", "output", "2.grad", "0.weight.grad", "0.weight (weight)"} <= set(names)


def test_the_first_activation_that_differs(batch):
    found = check.compare(*pair(net(), net(eps=0.1)), batch, "cross_entropy")
    assert found.findings.kinds == ["different_activations"] and found.findings[0].where == "1"
    assert [e.agrees for e in found.entries if e.name in ("0", "1", "2")] == [True, False, False]


def test_weights_come_first(batch):
    bl.manual_seed(0)
    found = check.compare(net(), net(), batch)
    assert found.findings.kinds == ["different_weights"] and found.findings[0].where == "0.weight"


def test_gradients_alone(batch):
    def by_hand(x, y):
        model.zero_grad()
        hidden = model[1](model[0](bl.tensor(x)))
        out = model[3](bl.tanh(hidden))
        nn.functional.cross_entropy(out, bl.tensor(y)).backward()
        doubled = 2 * model[0].weight.grad
        return {"output": out.detach(), "0.weight.grad": doubled, "3.weight.grad": model[3].weight.grad}

    model = net()
    found = check.compare(model, by_hand, batch, "cross_entropy")
    assert found.findings.kinds == ["different_gradients"] and found.first.name == "0.weight.grad"
    assert found.first.hint == "2 times as large in b"


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda out: -out, "the sign is turned"),
        (lambda out: out + 0.5, "0.5 more everywhere in b"),
        (lambda out: out * 3, "3 times as large in b"),
        (lambda out: out.T, "transposed"),
        (lambda out: out[:2], "other shape"),
        (lambda out: out * np.nan, "not finite in one of the two"),
    ],
)
def test_hints(batch, change, hint):
    model = net()
    found = check.compare(model, lambda x: change(model(bl.tensor(x)).detach()._data), batch)
    assert found.first.name == "output" and found.first.hint == hint


def test_nothing_in_common(batch):
    with pytest.raises(OperationError, match="no name in common"):
        check.compare(net(), lambda x: {"z": x}, batch)


def test_dropout_draws_the_same_for_both(batch):
    assert not check.compare(*pair(net(nn.Dropout(0.5)), net(nn.Dropout(0.5))), batch)


@pytest.mark.peers
def test_a_module_of_pytorch_as_it_is(batch):
    torch = pytest.importorskip("torch")
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    other = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    other.load_state_dict({name: torch.tensor(t._data) for name, t in model.state_dict().items()})
    before = {name: t.clone() for name, t in other.state_dict().items()}
    found = check.compare(model, other, batch, "cross_entropy")
    assert not found and {"1", "1.grad", "0.weight.grad", "output"} <= {entry.name for entry in found.entries}
    assert all(torch.equal(t, before[name]) for name, t in other.state_dict().items())
    assert all(p.grad is None for p in other.parameters())
    other[2] = torch.nn.GELU()
    assert check.compare(model, other, batch, "cross_entropy").first.name == "2"
    assert check.compare(other, model, batch[:1]).first.name == "2"


@pytest.mark.peers
def test_against_pytorch(batch):
    torch = pytest.importorskip("torch")
    model = net(nn.GELU())

    def peer(approximate):
        other = torch.nn.Sequential(
            torch.nn.Linear(3, 8), torch.nn.LayerNorm(8), torch.nn.GELU(approximate), torch.nn.Linear(8, 4)
        )
        other.load_state_dict({name: torch.tensor(t._data) for name, t in model.state_dict().items()})

        def run(x, y):
            kept = {}
            for name, module in other.named_modules():
                module.register_forward_hook(lambda m, i, out, name=name: kept.update({name or "output": out}))
            out = other(torch.as_tensor(x))
            torch.nn.functional.cross_entropy(out, torch.as_tensor(y)).backward()
            return kept | {f"{name}.grad": p.grad for name, p in other.named_parameters()}

        return run

    assert not check.compare(model, peer("none"), batch, "cross_entropy", rtol=1e-5)
    found = check.compare(model, peer("tanh"), batch, "cross_entropy", rtol=1e-5)
    assert found.first.name == "2" and found.findings.kinds == ["different_activations"]


# -- landscape ------------------------------------------------------------------------------------------------------


def loss_at(model, batch):
    return float(nn.functional.cross_entropy(model(bl.tensor(batch[0])), bl.tensor(batch[1])))


def test_the_middle_is_the_model(batch):
    model = net()
    before = [p._data.copy() for p in model.parameters()]
    found = check.landscape(model, batch, size=5, span=0.5)
    assert found.losses.shape == (5, 5) and found.a.tolist() == [-0.5, -0.25, 0.0, 0.25, 0.5]
    assert found.losses[2, 2] == pytest.approx(loss_at(model, batch), rel=1e-5)
    assert all((p._data == b).all() for p, b in zip(model.parameters(), before, strict=True))
    assert np.array_equal(check.landscape(model, batch, size=5, span=0.5).losses, found.losses)


def test_directions_are_normalised_filter_by_filter(batch):
    """Scaling a layer up and the next one down changes neither a ReLU network nor its picture."""
    model = nn.Sequential(nn.Linear(3, 8, bias=False), nn.ReLU(), nn.Linear(8, 4, bias=False))
    first = check.landscape(model, batch, size=5)
    with bl.no_grad():
        model[0].weight.mul_(8)
        model[2].weight.div_(8)
    assert np.allclose(check.landscape(model, batch, size=5).losses, first.losses, rtol=1e-4)


def test_the_trajectory_lies_where_its_losses_are(batch):
    model = net()
    start = {name: t._data.copy() for name, t in model.state_dict().items()}
    states = [start]
    optimizer = bl.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(6):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(bl.tensor(batch[0])), bl.tensor(batch[1])).backward()
        optimizer.step()
        states.append({name: t._data.copy() for name, t in model.state_dict().items()})
    found = check.landscape(model, batch, states=states, size=41)
    assert found.explained > 0.9 and found.trajectory.shape == (7, 2)
    assert np.allclose(found.trajectory[-1], 0, atol=1e-5)
    i, j = np.abs(found.a - found.trajectory[0, 0]).argmin(), np.abs(found.b - found.trajectory[0, 1]).argmin()
    model.load_state_dict(start)
    assert found.losses[j, i] == pytest.approx(loss_at(model, batch), rel=0.1)
    assert found.losses.min() < found.losses[j, i]


def test_landscape_refuses_and_draws(batch, tmp_path):
    model = net()
    with pytest.raises(OperationError, match="at least two states"):
        check.landscape(model, batch, directions="pca")
    with pytest.raises(OperationError, match=r"no entry '0\.weight'"):
        check.landscape(model, batch, states=[{}] * 3)
    pytest.importorskip("matplotlib")
    surface = check.landscape(model, batch, size=7)
    surface.plot().savefig(tmp_path / "surface.png")
    assert repr(surface).startswith("<Landscape: 7×7 losses along the first direction and the second direction, from ")
    assert (tmp_path / "surface.png").stat().st_size > 5000


def test_an_approximation_is_no_equal(batch):
    found = check.compare(*pair(net(nn.GELU()), net(nn.GELU(approximate="tanh"))), batch, "cross_entropy")
    assert found.findings.kinds == ["different_activations"] and found.findings[0].where == "2"


def test_what_is_no_model(batch):
    with pytest.raises(OperationError, match="int is neither a module nor a function"):
        check.compare(net(), 3, batch)
