"""The optimizer step alone against PyTorch's implementations, one thread. Needs the `peers` extra.

Run it: python benchmarks/optimizers.py
"""

from __future__ import annotations

from harness import interleaved, one_thread, report

one_thread()

import numpy as np
import torch

import backlit as bl

NETWORKS = {
    "16-32-32-1": [(32, 16), (32,), (32, 32), (32,), (1, 32), (1,)],
    "784-256-10": [(256, 784), (256,), (10, 256), (10,)],
}
RULES = {
    "SGD": {"lr": 0.01},
    "SGD with momentum": {"lr": 0.01, "momentum": 0.9},
    "Adam": {},
    "RMSprop": {},
    "Adagrad": {},
    "Adadelta": {},
}


def stepper(library, shapes, rule, **options):
    """The step of an optimizer whose parameters have gradients."""
    rng = np.random.default_rng(0)
    params = []
    for shape in shapes:
        param = library.tensor(rng.normal(size=shape).astype(np.float32), requires_grad=True)
        param.grad = library.tensor(0.1 * rng.normal(size=shape).astype(np.float32))
        params.append(param)
    return getattr(library.optim, rule.split()[0])(params, **options).step


def main():
    torch.set_num_threads(1)
    for network, shapes in NETWORKS.items():
        for rule, options in RULES.items():
            contestants = {
                "Backlit": stepper(bl, shapes, rule, **options),
                "PyTorch": stepper(torch, shapes, rule, **options),
                "PyTorch, foreach": stepper(torch, shapes, rule, foreach=True, **options),
            }
            if rule.split()[0] in ("SGD", "Adam", "Adagrad"):
                contestants["PyTorch, fused"] = stepper(torch, shapes, rule, fused=True, **options)
            report(f"{rule}, parameters of {network}", interleaved(contestants, rounds=100), "PyTorch")


if __name__ == "__main__":
    main()
