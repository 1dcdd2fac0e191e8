"""The step in Keras: a compiled model's ``train_on_batch``, on the backend that Keras is set to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .problems import Problem, weights


def supports(problem: Problem) -> bool:
    """Whether the network is one that Keras's layers state as they are (the GPT is not)."""
    return problem.kind != "gpt"


def step_of(problem: Problem) -> Callable[[], Any]:
    """A training step on the problem's batch; it returns the loss."""
    import keras

    model = keras.Sequential(_layers(keras.layers, problem))
    inputs, targets = problem.data()
    if problem.kind == "cnn":
        inputs = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))
    loss = "mse" if problem.kind == "tanh" else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-3, epsilon=1e-8), loss=loss)
    model.build(inputs.shape)
    _take(model, problem)
    return lambda: model.train_on_batch(inputs, targets)


def _layers(layers: Any, problem: Problem) -> list[Any]:
    if problem.kind == "cnn":
        *_, first, second, dense = problem.sizes
        return [
            layers.Conv2D(first, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(second, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Permute((3, 1, 2)),
            layers.Flatten(),
            layers.Dense(dense, activation="relu"),
            layers.Dense(10),
        ]
    activation = "tanh" if problem.kind == "tanh" else "relu"
    hidden = [layers.Dense(size, activation=activation) for size in problem.sizes[1:-1]]
    return [*hidden, layers.Dense(problem.sizes[-1])]


def _take(model: Any, problem: Problem) -> None:
    """Start from the weights that all engines start from."""
    given = []
    for array in weights(problem).values():
        kernel = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        given.append(kernel)
    model.set_weights(given)
