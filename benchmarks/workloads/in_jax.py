"""The step in JAX with optax: one jitted function, its weights and optimizer state donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .problems import CONTEXT, Problem, weights

Weights = dict[str, Any]
HEADS, LAYERS = 4, 4


def step_of(problem: Problem) -> Callable[[], Any]:
    """A training step on the problem's batch; it returns the loss when the step is done."""
    forward = {"cnn": _cnn, "gpt": _gpt}.get(problem.kind, _perceptron)
    optimizer = optax.adam(1e-3)

    def loss_of(w: Weights, inputs: Any, targets: Any) -> Any:
        outputs = forward(problem, w, inputs)
        if problem.kind == "tanh":
            return jnp.mean((outputs - targets) ** 2)
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets).mean()

    def step(w: Weights, state: Any, inputs: Any, targets: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(w, inputs, targets)
        updates, state = optimizer.update(gradients, state, w)
        return optax.apply_updates(w, updates), state, loss

    jitted = jax.jit(step, donate_argnums=(0, 1))
    held: list[Any] = [{name: jnp.asarray(array) for name, array in weights(problem).items()}]
    held.append(optimizer.init(held[0]))
    inputs, targets = problem.data()
    if problem.kind == "cnn":
        inputs = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))  # channels last: XLA is quickest so
    batch = jnp.asarray(inputs), jnp.asarray(targets)

    def run() -> Any:
        held[0], held[1], loss = jitted(*held, *batch)
        return loss.block_until_ready()

    return run


def _linear(w: Weights, name: str, x: Any) -> Any:
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def _perceptron(problem: Problem, w: Weights, x: Any) -> Any:
    activation = jnp.tanh if problem.kind == "tanh" else jax.nn.relu
    names = [f"{2 * i}" for i in range(len(problem.sizes) - 1)]
    for name in names[:-1]:
        x = activation(_linear(w, name, x))
    return _linear(w, names[-1], x)


def _cnn(problem: Problem, w: Weights, x: Any) -> Any:
    for name in ("0", "3"):
        kernel = w[f"{name}.weight"].transpose(2, 3, 1, 0)
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + w[f"{name}.bias"])
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)  # the order in which the dense layer's weights count
    return _linear(w, "9", jax.nn.relu(_linear(w, "7", x)))


def _norm(w: Weights, name: str, x: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    centred = x - mean
    scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def _attention(w: Weights, name: str, x: Any) -> Any:
    rows, length, width = x.shape
    q, k, v = (
        part.reshape(rows, length, HEADS, width // HEADS).transpose(0, 2, 1, 3)
        for part in jnp.split(_linear(w, f"{name}.qkv", x), 3, axis=-1)
    )
    scores = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(width // HEADS))
    scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
    mixed = jax.nn.softmax(scores) @ v
    return _linear(w, f"{name}.out", mixed.transpose(0, 2, 1, 3).reshape(rows, length, width))


def _gpt(problem: Problem, w: Weights, text: Any) -> Any:
    x = w["tokens.weight"][text] + w["places.weight"][:CONTEXT]
    for i in range(LAYERS):
        block = f"blocks.{i}"
        x = x + _attention(w, f"{block}.attention", _norm(w, f"{block}.norm1", x))
        wide = jax.nn.gelu(_linear(w, f"{block}.wide", _norm(w, f"{block}.norm2", x)), approximate=False)
        x = x + _linear(w, f"{block}.narrow", wide)
    return _norm(w, "norm", x) @ w["tokens.weight"].T
