"""Sequential: a stack of layers with ``compile``, ``fit``, ``evaluate``, ``predict`` and ``summary``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from .. import nn, serialization, train
from ..errors import OperationError
from ..tensor import Tensor
from ..train.choices import Loss as TrainLoss
from .callbacks import Callback as KerasCallback
from .callbacks import Carrier, ReduceLROnPlateau
from .layers import Input, Layer, Shape
from .losses import resolve_loss
from .metrics import resolve_metrics
from .optimizers import resolve_optimizer

_PROGRESS: dict[int | str, str | bool] = {"auto": "auto", 0: False, 1: "bar", 2: "lines"}
_WAITING = "the model has no weights yet: give its first layer input_shape=, start with keras.Input(shape), or fit it."


class Sequential:
    """A stack of layers. Its modules are made when the shape of the inputs is known.

    >>> import backlit as bl
    >>> keras = bl.keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    >>> model(bl.zeros(2, 4)).tolist()[0] == model(bl.zeros(2, 4)).tolist()[1]
    True
    >>> model.count_params()
    15
    """

    def __init__(self, layers: Iterable[Layer | nn.Module] = (), name: str = "sequential") -> None:
        self.name = name
        self.layers: list[Layer] = []
        self.network: nn.Sequential | None = None
        self.stop_training = False
        self._rows: list[tuple[str, str, Shape, list[nn.Module]]] = []
        self._compiled: Any = None
        self._native: str | bool = "auto"
        for layer in layers:
            self._append(layer)
        self._build_if_known()

    def add(self, layer: Layer | nn.Module) -> None:
        """Put another layer on top; a model that is built already is built anew."""
        self._append(layer)
        self.network = None
        self._build_if_known()

    def _append(self, layer: Layer | nn.Module) -> None:
        if isinstance(layer, nn.Module):
            layer = _Wrapped(layer)
        if not isinstance(layer, Layer):
            raise OperationError(f"Sequential: {layer!r} is no layer; use keras.layers or an nn.Module.")
        self.layers.append(layer)

    def _build_if_known(self) -> None:
        if self.layers and self.layers[0].input_shape is not None:
            self.build(self.layers[0].input_shape)

    def build(self, input_shape: Shape) -> None:
        """Make the modules for inputs of a shape; a leading None for the batch is left out."""
        shape = tuple(n for i, n in enumerate(input_shape) if not (i == 0 and n is None))
        modules: list[nn.Module] = []
        self._rows = []
        for i, layer in enumerate(self.layers):
            own, shape = layer.build(shape)
            modules += own
            if not isinstance(layer, Input):
                self._rows.append((layer.name or f"{layer.kind.lower()}_{i}", layer.kind, shape, own))
        self.network = nn.Sequential(*modules)
        self.output_shape = (None, *shape)

    def __call__(self, x: Any, training: bool = False) -> Tensor:
        """The outputs for a batch of inputs."""
        x = _floats(x)
        network = self._network(x)
        network.train(training)
        return network(x)

    def _network(self, x: Any = None) -> nn.Sequential:
        if self.network is None:
            if x is None or not self.layers:
                raise OperationError(f"{self.name}: {_WAITING}")
            self.build(tuple(x.shape[1:]))
        assert self.network is not None
        return self.network

    # -- training -----------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Sequence[Any] = (),
        run_eagerly: bool = False,
        jit_compile: str | bool = "auto",
    ) -> None:
        """Choose the optimizer, the loss and the metrics, by name or as objects of :mod:`backlit.keras`.

        ``jit_compile`` is whether batches run as native code: ``"auto"``, where that pays and is possible; True,
        always; False or ``run_eagerly=True``, never. See ``compile`` of :func:`backlit.train.fit`.
        """
        if run_eagerly and jit_compile is True:
            raise OperationError("compile: run_eagerly=True and jit_compile=True exclude each other.")
        if jit_compile not in (True, False, "auto"):
            raise OperationError(f"compile: jit_compile must be 'auto', True or False, got {jit_compile!r}.")
        self._native = False if run_eagerly else jit_compile
        if loss is None:
            raise OperationError("compile: needs a loss, such as 'sparse_categorical_crossentropy' or 'mse'.")
        self.optimizer = resolve_optimizer(optimizer)
        self.loss = resolve_loss(loss)
        self._metrics = list(metrics)
        self._compiled = True

    def fit(
        self,
        x: Any,
        y: Any,
        batch_size: int = 32,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Any] = (),
        validation_split: float = 0.0,
        validation_data: tuple[Any, Any] | None = None,
        shuffle: bool = True,
    ) -> train.History:
        """Train; returns the history, whose ``.history`` is a dict of lists.

        ``validation_split`` keeps back the last share of the data, before shuffling, as Keras does. ``verbose=0`` is
        silent, 1 shows a bar, 2 one line an epoch.
        """
        x, y = _floats(x), np.asarray(y)
        body, loss, metrics = self._trained(x)
        if validation_split:
            keep = len(x) - int(len(x) * validation_split)
            validation_data, x, y = (x[keep:], y[keep:]), x[:keep], y[:keep]
        optimizer = self.optimizer.for_parameters([p for p in self._network().parameters() if p.requires_grad])
        self.stop_training = False
        return train.fit(
            body,
            (x, y),
            loss=loss,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            validation=None
            if validation_data is None
            else (_floats(validation_data[0]), np.asarray(validation_data[1])),
            metrics=metrics,
            callbacks=[self._carried(callback, optimizer) for callback in callbacks],
            progress=_PROGRESS[verbose],
            compile=self._native,
        )

    def _carried(self, callback: Any, optimizer: Any) -> train.Callback:
        if isinstance(callback, ReduceLROnPlateau):
            return callback.for_optimizer(optimizer)
        return Carrier(callback, self) if isinstance(callback, KerasCallback) else callback

    def _trained(self, x: Any) -> tuple[nn.Module, TrainLoss, list[Any]]:
        """What the loop trains: the network, up to its logits where the loss can take them, and how it is judged."""
        if not self._compiled:
            raise OperationError("call compile(optimizer=…, loss=…, metrics=[…]) first.")
        network = self._network(x)
        last = type(network[-1]).__name__ if len(network) else ""
        on_logits = self.loss.on_logits is not None and last == self.loss.activation
        function = self.loss.on_logits if on_logits else self.loss.function
        assert function is not None
        penalties = [penalty for layer in self.layers for penalty in layer.penalties]

        def value(output: Any, target: Any) -> Any:
            total = function(target, output)
            for penalty in penalties:
                total = total + penalty()
            return total

        binary = last == "Sigmoid" or self.loss.name == "binary_crossentropy"
        threshold = None if not binary else 0.0 if on_logits or last != "Sigmoid" else 0.5
        loss = TrainLoss(self.loss.name, value, threshold)
        return (network[:-1] if on_logits else network), loss, resolve_metrics(self._metrics)

    def evaluate(
        self, x: Any, y: Any, batch_size: int = 32, verbose: int | str = "auto", return_dict: bool = False
    ) -> Any:
        """The loss, and the metrics after it: one number, a list, or with ``return_dict`` a dict."""
        del verbose  # evaluation is quick and prints nothing
        body, loss, metrics = self._trained(_floats(x))
        data = (_floats(x), np.asarray(y))
        found = train.evaluate(body, data, loss=loss, metrics=metrics, batch_size=batch_size, compile=self._native)
        if return_dict:
            return found
        values = list(found.values())
        return values if len(values) > 1 else values[0]

    def predict(self, x: Any, batch_size: int = 32, verbose: int | str = "auto") -> np.ndarray:
        """The outputs for many inputs, batch by batch, as a NumPy array."""
        del verbose
        x = _floats(x)
        return train.predict(self._network(x), x, batch_size=batch_size, compile=self._native).numpy()

    # -- weights and looks --------------------------------------------------------------------------------------

    def count_params(self) -> int:
        """How many numbers are trained or kept as weights."""
        return sum(p.numel() for p in self._network().parameters())

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights, in the order of the layers; kernels in the library's layout, (outputs, inputs, …)."""
        return [p.detach().numpy().copy() for p in self._network().state_dict().values()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Put back what :meth:`get_weights` gave."""
        network = self._network()
        names = list(network.state_dict())
        if len(names) != len(weights):
            raise OperationError(f"set_weights: the model has {len(names)} weights, {len(weights)} were given.")
        network.load_state_dict({n: Tensor(np.array(w)) for n, w in zip(names, weights, strict=True)})

    def save_weights(self, path: Any) -> None:
        """Write the weights as safetensors; loading them runs no code."""
        serialization.save(dict(self._network().state_dict()), path)

    def load_weights(self, path: Any) -> None:
        """Read what :meth:`save_weights` wrote; nothing changes if it does not fit."""
        self._network().load_state_dict(serialization.load(path))

    def summary(self) -> None:
        """Print the layers, their output shapes and how many parameters each has."""
        self._network()
        table = Table("Layer (type)", "Output Shape", "Param #", title=f'Model: "{self.name}"')
        for name, kind, shape, modules in self._rows:
            count = sum(p.numel() for module in modules for p in module.parameters())
            table.add_row(f"{name} ({kind})", str((None, *shape)), f"{count:,}")
        console = Console()
        console.print(table)
        console.print(f"Total params: {self.count_params():,}")


class _Wrapped(Layer):
    """Any module as a layer. What shape it gives is found by showing it one sample of zeros."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    @property
    def kind(self) -> str:
        return type(self.module).__name__

    def build(self, shape: Shape) -> tuple[list[nn.Module], Shape]:
        with train.evaluation.evaluating(self.module):
            out = self.module(Tensor(np.zeros((1, *shape), np.float32)))
        return [self.module], tuple(out.shape[1:])


def _floats(x: Any) -> Any:
    """Inputs as arrays or tensors; floats in float32, whole numbers as they are unless a layer needs floats."""
    x = x if isinstance(x, Tensor) else np.asarray(x)
    if x.dtype.kind == "f" and x.dtype != np.float32:
        return x.astype(np.float32)
    return x.astype(np.float32) if x.dtype == np.uint8 else x
