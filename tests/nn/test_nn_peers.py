"""Layers against PyTorch's: the same weights give the same outputs, gradients, buffers, keys and representation."""

import numpy as np
import pytest

import backlit as bl
from backlit import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

rng = np.random.default_rng(1)


def normal(*shape):
    return rng.normal(size=shape)


def share(*shape):
    return rng.uniform(0.1, 0.9, size=shape)


def signs(*shape):
    return rng.integers(0, 2, size=shape) * 2 - 1


CLASSES = np.array([0, 2, 1, 1])
PLAIN = [
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "ELU",
    "SELU",
    "CELU",
    "SiLU",
    "Mish",
    "GELU",
    "Sigmoid",
    "LogSigmoid",
    "Tanh",
    "Softsign",
    "Tanhshrink",
    "Softshrink",
    "Hardshrink",
    "Softplus",
    "Hardtanh",
    "Hardsigmoid",
    "Hardswish",
    "GLU",
]

# (class, arguments, settings, inputs)
LAYERS = [
    ("Identity", (), {}, [normal(3)]),
    ("Linear", (3, 4), {}, [normal(5, 3)]),
    ("Linear", (3, 4), {"bias": False}, [normal(2, 5, 3)]),
    ("Bilinear", (3, 4, 5), {}, [normal(2, 6, 3), normal(2, 6, 4)]),
    ("Flatten", (), {}, [normal(2, 3, 4)]),
    ("Unflatten", (1, (2, 3)), {}, [normal(2, 6)]),
    *[(name, (), {}, [normal(3, 4) * 3]) for name in PLAIN],
    ("Threshold", (0.1, 20.0), {}, [normal(3, 4)]),
    ("GELU", (), {"approximate": "tanh"}, [normal(3, 4)]),
    ("LeakyReLU", (0.2,), {}, [normal(3, 4)]),
    ("CELU", (0.5,), {}, [normal(3, 4)]),
    ("Softplus", (2.0, 1.0), {}, [normal(3, 4)]),
    ("PReLU", (), {}, [normal(3, 4)]),
    ("PReLU", (4,), {}, [normal(3, 4, 2)]),
    ("Softmax", (1,), {}, [normal(3, 4)]),
    ("LogSoftmax", (-1,), {}, [normal(3, 4)]),
    ("Softmin", (0,), {}, [normal(3, 4)]),
    ("Softmax2d", (), {}, [normal(2, 3, 4, 4)]),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, [normal(2, 4, 9)]),
    ("Conv2d", (3, 4, 3), {"padding": "same"}, [normal(2, 3, 7, 6)]),
    ("Conv2d", (3, 4, 3), {"padding": "same", "padding_mode": "reflect", "bias": False}, [normal(2, 3, 9, 8)]),
    (
        "Conv2d",
        (3, 4, (3, 2)),
        {"padding": (1, 2), "padding_mode": "circular", "dilation": 2},
        [normal(2, 3, 9, 8)],
    ),
    ("Conv3d", (2, 3, 2), {}, [normal(1, 2, 3, 4, 4)]),
    (
        "ConvTranspose1d",
        (4, 6, 3),
        {"stride": 2, "padding": 1, "groups": 2, "output_padding": 1},
        [normal(2, 4, 9)],
    ),
    ("ConvTranspose2d", (3, 4, 3), {"stride": 2, "output_padding": 1}, [normal(2, 3, 5, 4)]),
    ("Embedding", (7, 3), {"padding_idx": 2}, [np.array([[1, 2, 2], [0, 6, 1]])]),
    ("BatchNorm1d", (4,), {}, [normal(5, 4)]),
    ("BatchNorm1d", (4,), {"momentum": None}, [normal(5, 4, 3)]),
    ("BatchNorm2d", (4,), {"affine": False}, [normal(5, 4, 3, 2)]),
    ("BatchNorm2d", (4,), {"track_running_stats": False, "bias": False}, [normal(5, 4, 3, 2)]),
    ("BatchNorm3d", (2,), {}, [normal(3, 2, 2, 2, 2)]),
    ("LayerNorm", (4,), {}, [normal(5, 4)]),
    ("LayerNorm", ((3, 4),), {"bias": False}, [normal(5, 3, 4)]),
    ("LayerNorm", (4,), {"elementwise_affine": False}, [normal(5, 4)]),
    ("RMSNorm", (4,), {}, [normal(5, 4)]),
    ("RMSNorm", ((3, 4),), {"eps": 1e-3}, [normal(2, 3, 4)]),
    ("GroupNorm", (2, 4), {}, [normal(5, 4, 3)]),
    ("InstanceNorm1d", (4,), {}, [normal(5, 4, 6)]),
    ("InstanceNorm2d", (4,), {"affine": True}, [normal(5, 4, 3, 2)]),
    ("InstanceNorm2d", (4,), {"track_running_stats": True}, [normal(5, 4, 3, 2)]),
    ("InstanceNorm3d", (2,), {"eps": 0.1}, [normal(2, 3, 2, 2)]),
    ("ConstantPad1d", (2, 1.5), {}, [normal(2, 3, 4)]),
    ("ConstantPad2d", ((1, 0, 2, 1), -1.0), {}, [normal(2, 3, 4, 5)]),
    ("ConstantPad3d", (1, 2.0), {}, [normal(1, 2, 2, 2, 2)]),
    *[
        (f"{kind}Pad{n}d", (2,), {}, [normal(1, 2, *(3, 4, 5)[:n])])
        for kind in ("Circular", "Reflection", "Replication", "Zero")
        for n in (1, 2, 3)
    ],
    ("ReflectionPad2d", ((1, 0, 2, 1),), {}, [normal(2, 3, 4, 5)]),
    ("Upsample", (), {"scale_factor": 2}, [normal(1, 2, 3, 4)]),
    ("Upsample", ((5, 7),), {"mode": "bilinear"}, [normal(1, 2, 3, 4)]),
    ("Upsample", (), {"scale_factor": (2, 3), "mode": "bilinear", "align_corners": True}, [normal(1, 2, 3, 4)]),
    ("UpsamplingNearest2d", (), {"scale_factor": 2}, [normal(1, 2, 3, 4)]),
    ("UpsamplingBilinear2d", (6,), {}, [normal(1, 2, 3, 4)]),
    ("PixelShuffle", (2,), {}, [normal(2, 8, 3, 2)]),
    ("PixelUnshuffle", (2,), {}, [normal(2, 3, 4, 6)]),
    ("CosineSimilarity", (), {}, [normal(4, 3), normal(4, 3)]),
    ("PairwiseDistance", (1.0,), {"keepdim": True}, [normal(4, 3), normal(4, 3)]),
    ("MaxPool1d", (2,), {}, [normal(2, 3, 8)]),
    ("MaxPool2d", (3, 2), {"padding": 1}, [normal(2, 3, 8, 7)]),
    ("MaxPool2d", (3,), {"dilation": 2, "ceil_mode": True}, [normal(2, 3, 8, 7)]),
    ("AvgPool1d", (2,), {}, [normal(2, 3, 8)]),
    ("AvgPool2d", (3, 2), {"padding": 1, "count_include_pad": False}, [normal(2, 3, 8, 7)]),
    ("AvgPool3d", (2,), {}, [normal(2, 3, 4, 4, 4)]),
    ("AdaptiveAvgPool1d", (3,), {}, [normal(2, 3, 8)]),
    ("AdaptiveAvgPool2d", ((3, 2),), {}, [normal(2, 3, 8, 7)]),
    ("Dropout", (0.0,), {}, [normal(3, 4)]),
    *[
        (name, (3, 4), settings, [normal(5, 2, 3)])
        for name in ("RNN", "LSTM", "GRU")
        for settings in ({}, {"num_layers": 2, "bidirectional": True}, {"bias": False}, {"batch_first": True})
    ],
    ("RNN", (3, 4), {"nonlinearity": "relu"}, [normal(5, 3)]),
    *[(name, (3, 4), {}, [normal(2, 3)]) for name in ("RNNCell", "LSTMCell", "GRUCell")],
    ("MultiheadAttention", (8, 2), {"batch_first": True}, [normal(3, 5, 8)] * 3),
    ("MultiheadAttention", (8, 2), {"bias": False}, [normal(3, 5, 8), normal(4, 5, 8), normal(4, 5, 8)]),
    (
        "MultiheadAttention",
        (8, 2),
        {"kdim": 3, "vdim": 4, "add_bias_kv": True, "add_zero_attn": True},
        [normal(3, 5, 8), normal(6, 5, 3), normal(6, 5, 4)],
    ),
    ("TransformerEncoderLayer", (8, 2, 16), {"dropout": 0.0}, [normal(3, 5, 8)]),
    (
        "TransformerEncoderLayer",
        (8, 2, 16),
        {"dropout": 0.0, "norm_first": True, "activation": "gelu", "batch_first": True, "bias": False},
        [normal(3, 5, 8)],
    ),
]

LOSSES = [
    *[
        (name, (), {"reduction": reduction}, [normal(4, 3), normal(4, 3)])
        for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
        for reduction in ("mean", "sum", "none")
    ],
    ("SmoothL1Loss", (), {"beta": 0.3}, [normal(4, 3), normal(4, 3)]),
    ("HuberLoss", (), {"delta": 0.3}, [normal(4, 3), normal(4, 3)]),
    ("CrossEntropyLoss", (), {}, [normal(4, 3), CLASSES]),
    ("CrossEntropyLoss", (), {}, [normal(4, 3), share(4, 3)]),
    (
        "CrossEntropyLoss",
        (),
        {"ignore_index": 1, "label_smoothing": 0.1, "reduction": "sum"},
        [normal(4, 3, 2), np.array([[0, 2], [1, 1], [2, 0], [0, 1]])],
    ),
    *[
        ("GaussianNLLLoss", (), {"full": full, "reduction": reduction}, [normal(3, 4), normal(3, 4), share(3, 4)])
        for full in (False, True)
        for reduction in ("mean", "sum", "none")
    ],
    ("PoissonNLLLoss", (), {}, [normal(3, 4), share(3, 4) * 5]),
    ("PoissonNLLLoss", (False, True), {"reduction": "none"}, [share(3, 4), share(3, 4) * 5]),
    ("SoftMarginLoss", (), {}, [normal(3, 4), signs(3, 4)]),
    ("TripletMarginLoss", (), {}, [normal(5, 3), normal(5, 3), normal(5, 3)]),
    ("TripletMarginLoss", (0.5, 1.0), {"swap": True, "reduction": "sum"}, [normal(5, 3), normal(5, 3), normal(5, 3)]),
    ("CosineEmbeddingLoss", (), {"margin": 0.3}, [normal(5, 3), normal(5, 3), signs(5)]),
    ("NLLLoss", (), {}, [normal(4, 3), CLASSES]),
    ("BCELoss", (), {}, [share(4, 3), share(4, 3)]),
    ("BCEWithLogitsLoss", (), {}, [normal(4, 3), share(4, 3)]),
    ("KLDivLoss", (), {"reduction": "batchmean"}, [normal(4, 3), share(4, 3)]),
    ("KLDivLoss", (), {"log_target": True, "reduction": "sum"}, [normal(4, 3), normal(4, 3)]),
    ("HingeEmbeddingLoss", (), {"margin": 0.7}, [normal(4, 3), signs(4, 3)]),
    ("MarginRankingLoss", (), {"margin": 0.3}, [normal(4), normal(4), signs(4)]),
    ("MultiMarginLoss", (), {"p": 2, "margin": 0.8}, [normal(4, 3), CLASSES]),
]


def flat(out):
    """All tensors in a layer's output."""
    return [t for part in out for t in flat(part)] if isinstance(out, tuple) else [] if out is None else [out]


def tensors(make, inputs):
    once = {id(x): make(x, requires_grad=x.dtype.kind == "f") for x in inputs}  # the same input stays the same tensor
    return [once[id(x)] for x in inputs]


def close(ours, theirs, what):
    # PyTorch rounds a few constants to float32 (hardsigmoid's 1/6), hence no tighter tolerance.
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-7, atol=1e-8, err_msg=what)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    ("name", "args", "settings", "inputs"),
    [*LAYERS, *LOSSES],
    ids=[f"{name}-{i}" for i, (name, *_) in enumerate([*LAYERS, *LOSSES])],
)
def test_layers_agree(name, args, settings, inputs, training):
    theirs = getattr(torch.nn, name)(*args, **settings).double().train(training)
    ours = getattr(nn, name)(*args, **settings).double().train(training)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizable", "")
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    their_inputs, our_inputs = tensors(torch.tensor, inputs), tensors(bl.tensor, inputs)
    their_outputs, our_outputs = flat(theirs(*their_inputs)), flat(ours(*our_inputs))
    for i, (a, b) in enumerate(zip(our_outputs, their_outputs, strict=True)):
        close(a, b, f"output {i}")
    cotangents = [np.random.default_rng(i).normal(size=tuple(t.shape)) for i, t in enumerate(their_outputs)]
    sum((t * torch.tensor(c)).sum() for t, c in zip(their_outputs, cotangents, strict=True)).backward()
    sum((t * bl.tensor(c)).sum() for t, c in zip(our_outputs, cotangents, strict=True)).backward()
    for i, (a, b) in enumerate(zip(our_inputs, their_inputs, strict=True)):
        if b.grad is not None:
            close(a.grad, b.grad, f"gradient of input {i}")
    for a, (key, b) in zip(ours.parameters(), theirs.named_parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), key
        if b.grad is not None:
            close(a.grad, b.grad, f"gradient of {key}")
    for a, (key, b) in zip(ours.buffers(), theirs.named_buffers(), strict=True):
        close(a, b, key)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", [bool, float])
@pytest.mark.parametrize("dims", [2, 3])
def test_attention_masks_agree(need_weights, kind, dims):
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True).double()
    ours = nn.MultiheadAttention(8, 2, batch_first=True).double()
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = normal(3, 5, 8)
    forbidden = np.triu(np.ones((5, 5), bool), 1)
    padding = np.zeros((3, 5), bool)
    padding[1, 3:] = True
    if kind is float:
        forbidden, padding = np.where(forbidden, -np.inf, 0.3), np.where(padding, -np.inf, 0.0)
    if dims == 3:
        forbidden = np.repeat(forbidden[None], 6, axis=0)
    results = []
    for module, make in ((theirs, torch.tensor), (ours, bl.tensor)):
        t = make(x)
        results.append(
            module(
                t, t, t, make(padding), need_weights=need_weights, attn_mask=make(forbidden), average_attn_weights=False
            )
        )
    close(results[1][0], results[0][0], "output")
    if need_weights:
        close(results[1][1], results[0][1], "weights")


def test_recurrent_initial_states_agree():
    x, h, c = normal(5, 2, 3), normal(2, 2, 4), normal(2, 2, 4)
    theirs = torch.nn.LSTM(3, 4, bidirectional=True).double()
    ours = nn.LSTM(3, 4, bidirectional=True).double()
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    a = flat(ours(bl.tensor(x), (bl.tensor(h), bl.tensor(c))))
    b = flat(theirs(torch.tensor(x), (torch.tensor(h), torch.tensor(c))))
    for i, (mine, other) in enumerate(zip(a, b, strict=True)):
        close(mine, other, str(i))


def test_output_size_of_transposed_convolution_agrees():
    theirs, ours = torch.nn.ConvTranspose2d(2, 3, 3, 2).double(), nn.ConvTranspose2d(2, 3, 3, 2).double()
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = normal(1, 2, 4, 5)
    close(ours(bl.tensor(x), output_size=(10, 12)), theirs(torch.tensor(x), output_size=(10, 12)), "output")


@pytest.mark.parametrize("name", ["normalize", "cosine_similarity", "pairwise_distance"])
def test_functions_agree(name):
    inputs = [normal(3, 4)] if name == "normalize" else [normal(3, 4), normal(3, 4)]
    theirs = getattr(torch.nn.functional, name)(*map(torch.tensor, inputs))
    close(getattr(nn.functional, name)(*map(bl.tensor, inputs)), theirs, name)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
def test_clipping_agrees(norm_type):
    gradients = [normal(3, 4), normal(5)]
    ours = [nn.Parameter(bl.zeros(*g.shape, dtype=bl.float64)) for g in gradients]
    theirs = [torch.nn.Parameter(torch.zeros(*g.shape, dtype=torch.float64)) for g in gradients]
    for p, q, g in zip(ours, theirs, gradients, strict=True):
        p.grad, q.grad = bl.tensor(g), torch.tensor(g)
    a = nn.utils.clip_grad_norm_(ours, 0.5, norm_type)
    b = torch.nn.utils.clip_grad_norm_(theirs, 0.5, norm_type)
    close(a, b, "norm")
    for p, q in zip(ours, theirs, strict=True):
        close(p.grad, q.grad, "gradient")


def test_backward_hooks_agree():
    def run(lib, layers, make):
        seen = []
        net = layers.Sequential(layers.Linear(3, 4), layers.Tanh(), layers.Linear(4, 2)).double()
        values = np.random.default_rng(3)
        net.load_state_dict({k: make(values.normal(size=tuple(v.shape))) for k, v in net.state_dict().items()})
        for module in net:
            module.register_full_backward_hook(
                lambda m, gin, gout: seen.append([None if g is None else g.numpy() for g in (*gin, *gout)])
            )
        net(make(values.normal(size=(5, 3))).requires_grad_()).sum().backward()
        return seen

    for a, b in zip(run(bl, nn, bl.tensor), run(torch, torch.nn, torch.tensor), strict=True):
        assert [x is None for x in a] == [x is None for x in b]
        for x, y in zip(a, b, strict=True):
            if x is not None:
                np.testing.assert_allclose(x, y, rtol=1e-9)
