"""Between forward and backward, Backlit keeps no more bytes alive for the graph than PyTorch does."""

import numpy as np
import pytest

import backlit as bl
from backlit.graph import reachable

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers


def arrays_in(value):
    """Every array inside a saved value or an operation's extra."""
    if isinstance(value, np.ndarray):
        yield value
    elif hasattr(value, "_data"):
        yield value._data
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from arrays_in(part)


def own_bytes(loss, parameters):
    """Bytes of the distinct buffers held by the nodes of a graph, parameters left out."""
    buffers = {}
    for node in reachable([loss.grad_fn]):
        for array in arrays_in([*(node.saved or ()), node.extra]):
            while isinstance(array.base, np.ndarray):
                array = array.base
            buffers[array.ctypes.data] = array.nbytes
    for p in parameters:
        buffers.pop(p._data.ctypes.data, None)
    return sum(buffers.values())


def torch_bytes(run, parameters):
    """The same, by PyTorch's own hooks on what it saves."""
    buffers = {}

    def pack(tensor):
        buffers[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = run()
    kept = loss  # keeps the graph alive while the buffers are counted
    for p in parameters:
        buffers.pop(p.untyped_storage().data_ptr(), None)
    del kept
    return sum(buffers.values())


def perceptron(lib):
    nn = lib.nn
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10))
    return model, (32, 64)


def convolutional(lib):
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16),
        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10),
    ), (8, 1, 16, 16)  # fmt: skip


def transformer(lib):
    nn = lib.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.qkv, self.out = nn.LayerNorm(32), nn.Linear(32, 96), nn.Linear(32, 32)
            self.up, self.down, self.norm2 = nn.Linear(32, 128), nn.Linear(128, 32), nn.LayerNorm(32)
            self.head = nn.Linear(32, 10)

        def forward(self, x):
            n, t, _ = x.shape
            parts = self.qkv(self.norm(x)).reshape(n, t, 3, 4, 8).permute(2, 0, 3, 1, 4)
            q, k, v = parts[0], parts[1], parts[2]
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.permute(0, 2, 1, 3).reshape(n, t, 32))
            x = x + self.down(nn.functional.gelu(self.up(self.norm2(x))))
            return self.head(x).mean(1)

    return Block(), (4, 16, 32)


@pytest.mark.parametrize("architecture", [perceptron, convolutional, transformer])
def test_saved_bytes(architecture):
    rng = np.random.default_rng(0)
    sizes = {}
    for lib in (bl, torch):
        model, shape = architecture(lib)
        x = lib.tensor(rng.normal(size=shape).astype(np.float32))
        y = lib.tensor(rng.integers(0, 10, size=shape[0]))
        criterion = lib.nn.CrossEntropyLoss()
        parameters = list(model.parameters())
        if lib is bl:
            sizes["backlit"] = own_bytes(criterion(model(x), y), parameters)
        else:
            sizes["torch"] = torch_bytes(lambda m=model, c=criterion, x=x, y=y: c(m(x), y), parameters)
    assert sizes["backlit"] <= sizes["torch"], sizes
