"""Second derivatives at the samples of PyTorch's database: the gradient of a random combination of gradients."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch_opinfo import (
    Comparison,
    Explained,
    LeftOut,
    Name,
    Random,
    _differ,
    converted,
    database,
    describe,
    leaves_of,
    ours,
    results,
)

from backlit import autograd
from backlit.ops.definition import constant


def applies(name: Name) -> bool:
    """Whether PyTorch has second derivatives for an entry."""
    entry = database()[name]
    return entry.supports_autograd and entry.supports_gradgrad and entry.supports_dtype(torch.float64, "cpu")


def compare_second(
    name: Name,
    explained: Explained = lambda name, sample: None,
    random: Random = lambda name, sample: False,
    tolerance: float = 1e-9,
) -> Comparison:
    """Run an entry's samples through both and compare ∇⟨v, ∇⟨u, f(x)⟩⟩ with respect to x and u, for random u and v."""
    outcome = Comparison(name)
    torch.manual_seed(0)
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):  # the fused attention has no second derivative
        warnings.simplefilter("ignore")
        for sample in database()[name].sample_inputs("cpu", torch.float64, requires_grad=True):
            try:
                reason = "drawn from a generator" if random(name, sample) else explained(name, sample)
                if reason is not None:
                    raise LeftOut(reason)
                difference = _difference(name, sample, tolerance)
            except LeftOut as reason:
                outcome.left_out[str(reason)] += 1
                continue
            except Exception as error:
                difference = f"raises {type(error).__name__}: {error}"
            outcome.samples += 1
            outcome.compared += 1
            if difference is not None:
                outcome.differences.append(f"{describe(sample)}: {difference}")
    return outcome


def _difference(name: Name, sample: Any, rtol: float) -> str | None:
    given = [sample.input, sample.args, sample.kwargs]
    leaves: list[Any] = []
    x, args, kwargs = converted(given, leaves)
    wanted = list(leaves_of(given))
    theirs = results(database()[name](sample.input, *sample.args, **sample.kwargs))
    keep = [i for i, out in enumerate(theirs) if isinstance(out, torch.Tensor) and out.requires_grad]
    if not keep:
        raise LeftOut("no result depends on a differentiable input")
    mine = results(ours(database()[name])(x, *args, **kwargs))
    us = [torch.randn_like(theirs[i], requires_grad=True) for i in keep]
    vs = [torch.randn_like(leaf) for leaf in wanted]
    our_us = [constant(u.detach().numpy().copy()).requires_grad_() for u in us]
    our_vs = [constant(v.numpy().copy()) for v in vs]
    right = _second(torch.autograd, [theirs[i] for i in keep], wanted, us, vs)
    found = _second(autograd, [mine[i] for i in keep], leaves, our_us, our_vs)
    for i, (at, a, b) in enumerate(zip([*wanted, *us], found, right, strict=True)):
        zeros = torch.zeros_like(at).detach()
        difference = _differ(constant(zeros.numpy()) if a is None else a, zeros if b is None else b, rtol)
        if difference is not None:
            place = f"leaf {i}" if i < len(wanted) else f"upstream gradient {i - len(wanted)}"
            return f"second derivative with respect to {place}: {difference}"
    return None


def _second(library: Any, outs: list[Any], leaves: list[Any], us: list[Any], vs: list[Any]) -> list[Any]:
    """The gradient of ⟨v, Jᵀu⟩ in the leaves and in u, None where it is zero for lack of a path."""
    first = library.grad(outs, leaves, us, create_graph=True, allow_unused=True)
    pairs = [(g, v) for g, v in zip(first, vs, strict=True) if g is not None and g.requires_grad]
    if not pairs:
        return [None] * (len(leaves) + len(us))
    return list(library.grad([g for g, _ in pairs], [*leaves, *us], [v for _, v in pairs], allow_unused=True))
