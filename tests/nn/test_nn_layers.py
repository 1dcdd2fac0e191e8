"""What layers do beyond their functions: settings, modes, errors, and a training loop as written for PyTorch."""

import numpy as np
import pytest

import backlit as bl
from backlit import nn
from backlit.errors import GradientError, OperationError, UnsupportedError
from backlit.nn import functional as F


@pytest.fixture(autouse=True)
def _seed():
    bl.manual_seed(0)


def test_a_pytorch_loop_learns():
    torch = bl
    x = torch.randn(64, 2)
    y = (x[:, 0] * x[:, 1] > 0).to(torch.int64)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    criterion = nn.CrossEntropyLoss()
    for _ in range(200):
        loss = criterion(model(x), y)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.5 * p.grad
    assert loss.item() < 0.3
    assert loss.grad_fn.module == "criterion"


@pytest.mark.parametrize(
    "layer",
    [
        nn.ReLU,
        nn.ReLU6,
        nn.LeakyReLU,
        nn.ELU,
        nn.SELU,
        nn.CELU,
        nn.SiLU,
        nn.Mish,
        nn.Hardtanh,
        nn.Hardsigmoid,
        nn.Hardswish,
        lambda **k: nn.Threshold(0.0, 1.0, **k),
    ],
)
def test_inplace_changes_the_input_and_keeps_the_gradient(layer):
    start = bl.randn(3, 4, dtype=bl.float64)
    results = []
    for inplace in (False, True):
        x = start.clone().requires_grad_()
        hidden = x * 2
        out = layer(inplace=inplace)(hidden)
        assert (out is hidden) == inplace
        (out * out).sum().backward()
        results.append((out.detach().numpy(), x.grad.numpy()))
    for a, b in zip(*results, strict=True):
        assert np.allclose(a, b)
    with pytest.raises(GradientError, match="leaf"):
        layer(inplace=True)(start.clone().requires_grad_())


def test_activations_pass_nan():
    x = bl.tensor([float("nan")])
    for name in ("hardshrink", "softshrink", "tanhshrink", "softsign", "celu"):
        assert np.isnan(getattr(F, name)(x).numpy()).all(), name
    assert np.isnan(F.threshold(x, 0.0, 1.0).numpy()).all()


def test_dropout_follows_the_mode():
    drop = nn.Dropout(0.25)
    x = bl.ones(200, 200)
    kept = drop(x).numpy()
    assert set(np.unique(kept)) == {0.0, np.float32(1 / 0.75)}
    assert abs((kept == 0).mean() - 0.25) < 0.01
    assert np.array_equal(drop.eval()(x).numpy(), x.numpy())
    channels = nn.Dropout2d(0.5)(bl.ones(20, 10, 4, 4)).numpy()
    assert ((channels == 0).all(axis=(2, 3)) | (channels != 0).all(axis=(2, 3))).all()
    assert (channels == 0).any()
    with pytest.raises(OperationError, match=r"between 0 and 1; got 1.5"):
        nn.Dropout(1.5)


def test_batch_norm_counts_and_averages():
    norm = nn.BatchNorm1d(2, momentum=None)
    batches = [bl.randn(8, 2) * 3 + 1 for _ in range(3)]
    for batch in batches:
        norm(batch)
    assert norm.num_batches_tracked.item() == 3
    means = np.mean([b.numpy().mean(axis=0) for b in batches], axis=0)
    assert np.allclose(norm.running_mean.numpy(), means, atol=1e-6)
    frozen = norm.running_mean.numpy().copy()
    norm.eval()(batches[0])
    assert np.array_equal(norm.running_mean.numpy(), frozen)
    norm.reset_running_stats()
    assert norm.num_batches_tracked.item() == 0
    assert norm.running_var.tolist() == [1.0, 1.0]
    assert norm.num_batches_tracked.dtype == np.int64


def test_normalisation_errors():
    with pytest.raises(OperationError, match=r"BatchNorm2d at test_nn_layers.py.*4 dimensions"):
        nn.BatchNorm2d(3)(bl.ones(2, 3))
    with pytest.raises(OperationError, match="7 channels cannot be split into 2"):
        nn.GroupNorm(2, 7)


def test_embedding_settings():
    table = bl.rand(4, 2)
    layer = nn.Embedding.from_pretrained(table)
    assert not layer.weight.requires_grad
    assert layer(bl.tensor([[3]])).tolist() == [[table[3].tolist()]]
    assert nn.Embedding(4, 2, padding_idx=-1).padding_idx == 3
    with pytest.raises(OperationError, match="outside a table of 4 rows"):
        nn.Embedding(4, 2, padding_idx=4)
    with pytest.raises(UnsupportedError, match="max_norm"):
        nn.Embedding(4, 2, max_norm=1.0)
    with pytest.raises(OperationError, match="must be a matrix"):
        nn.Embedding.from_pretrained(bl.ones(3))


def test_convolution_errors():
    with pytest.raises(OperationError, match=r"Conv2d at test_nn_layers.py.*groups=2 must divide"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(OperationError, match="'valid' or 'same'"):
        nn.Conv2d(3, 4, 3, padding="Same")
    with pytest.raises(OperationError, match="padding_mode"):
        nn.Conv1d(3, 4, 3, padding_mode="mirror")
    with pytest.raises(OperationError, match="expected 2 sizes"):
        nn.Conv2d(3, 4, (3, 3, 3))
    with pytest.raises(UnsupportedError, match="filled with zeros"):
        nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect")
    with pytest.raises(OperationError, match="9 to 10 can"):
        nn.ConvTranspose2d(2, 3, 3, 2)(bl.ones(1, 2, 4, 4), output_size=(12, 12))


def test_attention_details():
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x = bl.rand(3, 5, 8)
    out, weights = layer(x, x, x)
    assert out.shape == (3, 5, 8)
    assert np.allclose(weights.detach().numpy().sum(-1), 1.0)
    single, own = layer(x[0], x[0], x[0])
    assert np.allclose(single.detach().numpy(), out[0].detach().numpy(), atol=1e-6)
    assert own.shape == (5, 5)
    _, causal = layer(x, x, x, is_causal=True)
    assert not np.triu(causal.detach().numpy(), 1).any()
    with pytest.raises(OperationError, match="cannot be shared equally"):
        nn.MultiheadAttention(8, 3)
    with pytest.raises(OperationError, match="last sizes must be 8, 8 and 8"):
        layer(x, x[:, :, :4], x)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, nn.LayerNorm(8))
    assert encoder(x, is_causal=True).shape == x.shape
    assert len({id(p) for p in encoder.parameters()}) == 26
    with pytest.raises(OperationError, match="'relu', 'gelu' or a function"):
        nn.TransformerEncoderLayer(8, 2, activation="swish")


def test_recurrent_errors_and_modes():
    with pytest.raises(OperationError, match=r"expected \(length, batch, 3\)"):
        nn.LSTM(3, 4)(bl.ones(5, 2, 4))
    with pytest.raises(OperationError, match=r"1 tensor\(s\) of shape \(1, 2, 4\)"):
        nn.GRU(3, 4)(bl.ones(5, 2, 3), bl.ones(1, 3, 4))
    with pytest.raises(OperationError, match="'tanh' or 'relu'"):
        nn.RNN(3, 4, nonlinearity="sigmoid")
    with pytest.raises(UnsupportedError, match="proj_size"):
        nn.LSTM(3, 4, proj_size=2)
    net = nn.LSTM(3, 4, num_layers=2, dropout=0.9)
    x = bl.ones(5, 2, 3)
    assert not np.array_equal(net(x)[0].detach().numpy(), net(x)[0].detach().numpy())
    net.eval()
    assert np.array_equal(net(x)[0].detach().numpy(), net(x)[0].detach().numpy())


def test_losses_keep_their_settings():
    weight = bl.tensor([1.0, 2.0])
    loss = nn.CrossEntropyLoss(weight=weight)
    assert list(loss.state_dict()) == ["weight"]
    scores = bl.tensor([2.0, -0.5, 0.0])
    targets = bl.tensor([1.0, 1.0, -1.0])
    assert nn.HingeLoss("none")(scores, targets).tolist() == [0.0, 1.5, 1.0]
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none', got 'avg'"):
        nn.MSELoss(reduction="avg")
    with pytest.raises(UnsupportedError, match="obsolete"):
        nn.MSELoss(size_average=True)


def test_wrong_settings_of_activations():
    with pytest.raises(ValueError, match="must be below"):
        nn.Hardtanh(1.0, -1.0)
    with pytest.raises(OperationError, match="cannot be halved"):
        nn.GLU()(bl.ones(3))
    with pytest.raises(OperationError, match="one a channel"):
        nn.PReLU(3)(bl.ones(2, 4))


def test_functional_offers_what_it_lists():
    for name in F.__all__:
        assert callable(getattr(F, name)), name
