"""PyTorch's own operation database as a judge: its sample inputs, run through PyTorch and through Backlit.

``python tests/ops/torch_opinfo.py`` prints the summary: operations and samples compared, samples left out by reason,
differences.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import backlit as bl
from backlit import autograd
from backlit.ops.definition import Tensor, constant

Name = tuple[str, str]
"""An entry's name in PyTorch's database and its variant, such as ``("div", "floor_rounding")``."""


DTYPES = (torch.float64, torch.int64, torch.bool)
"""What samples are asked for: the first of these that an entry supports."""


class LeftOut(Exception):
    """A sample that is not compared; the message is the reason."""


@functools.cache
def database() -> dict[Name, Any]:
    """PyTorch's differentiable and other operations, every entry with its samples. Importing it takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {(op.name, op.variant_test_name): op for op in op_db}


# -- which of ours is theirs --------------------------------------------------------------------------------------


def _reflected(name: str) -> Callable[..., Any]:
    return lambda x, y: getattr(Tensor, name)(x, y)


def _in_place(name: str) -> Callable[..., Any]:
    return lambda x, *args, **kwargs: getattr(x.clone(), name)(*args, **kwargs)


ALIASES: dict[str | Name, Callable[..., Any]] = {
    "where": lambda x, condition, y: bl.where(condition, x, y),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "__getitem__": lambda x, index: x[index],
    "fill": _in_place("fill_"),
    "zero_": _in_place("zero_"),
    "einsum": lambda tensors, equation: bl.einsum(equation, *tensors),
    "nn.functional.embedding": lambda table, index, **options: bl.nn.functional.embedding(index, table, **options),
    ("normal", "in_place"): _in_place("normal_"),
}
"""Entries (or one variant) whose function in the database is not simply the one of that name."""


def named(name: str) -> Callable[..., Any] | None:
    """Backlit's function of a dotted name, or else the tensor method of that name, or None."""
    place: Any = bl
    for part in name.removeprefix("special.").split("."):
        place = getattr(place, part, None)
    return place if inspect.isroutine(place) else method(name)


def method(name: str) -> Callable[..., Any] | None:
    """The tensor method of a name, or None."""
    found = getattr(Tensor, name, None)
    return found if inspect.isroutine(found) else None


def ours(entry: Any) -> Callable[..., Any] | None:
    """Backlit's counterpart of an entry, or None where it has none."""
    if not any(entry.supports_dtype(dtype, "cpu") for dtype in DTYPES):
        return None
    return ALIASES.get((entry.name, entry.variant_test_name)) or ALIASES.get(entry.name) or named(entry.name)


Pair = tuple[str, Callable[..., Any], Callable[..., Any]]


def variants(entry: Any) -> Iterator[Pair]:
    """What to compare, as (label, ours, theirs): the function, the method, the in-place method, aliases."""
    function = ours(entry)
    yield "", function, entry
    if function is not named(entry.name):
        return
    as_method, in_place = method(entry.name), method(f"{entry.name}_")
    if entry.method_variant is not None and as_method not in (None, function):
        yield "as a method", as_method, entry.method_variant
    if entry.inplace_variant is not None and in_place is not None:
        write = entry.inplace_variant
        yield "in place", _in_place(f"{entry.name}_"), lambda x, *args, **kwargs: write(x.clone(), *args, **kwargs)
    for alias in entry.aliases:
        also = named(alias.name)
        if also not in (None, function, as_method):
            yield f"as {alias.name}", also, entry


def shared() -> list[Name]:
    """The entries of the database for which Backlit has a function of that name."""
    return [name for name, entry in database().items() if ours(entry) is not None]


# -- samples in both worlds ---------------------------------------------------------------------------------------


def converted(value: Any, leaves: list[Tensor]) -> Any:
    """PyTorch's arguments as ours; tensors that require gradients are added to ``leaves`` in order."""
    if isinstance(value, torch.Tensor):
        return _tensor(value, leaves)
    if isinstance(value, torch.dtype):
        return _dtype(value)
    if isinstance(value, complex):
        raise LeftOut("complex numbers")
    if isinstance(value, torch.memory_format):
        raise LeftOut("memory formats")
    if isinstance(value, torch.layout) and value is not torch.strided:
        raise LeftOut("sparse layouts")
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, (list, tuple)):
        return type(value)(converted(part, leaves) for part in value)
    if isinstance(value, dict):
        return {key: converted(part, leaves) for key, part in value.items() if key not in ("device", "layout")}
    if isinstance(value, slice):
        return slice(*(converted(part, leaves) for part in (value.start, value.stop, value.step)))
    return value


def _tensor(value: torch.Tensor, leaves: list[Tensor]) -> Tensor:
    _dtype(value.dtype)
    if value.layout is not torch.strided:
        raise LeftOut("sparse layouts")
    mine = constant(np.array(value.detach().numpy(), order="K"))
    if value.requires_grad:
        mine.requires_grad_()
        leaves.append(mine)
    return mine


def _dtype(dtype: torch.dtype) -> np.dtype[Any]:
    name = str(dtype).removeprefix("torch.")
    if dtype.is_complex:
        raise LeftOut("complex numbers")
    if name not in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"):
        raise LeftOut(f"the dtype {name}")
    return np.dtype(name)


def leaves_of(value: Any) -> Iterator[torch.Tensor]:
    """PyTorch's tensors that require gradients, in the order of :func:`converted`."""
    if isinstance(value, torch.Tensor):
        if value.requires_grad:
            yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from leaves_of(part)
    elif isinstance(value, dict):
        yield from leaves_of(list(value.values()))


def results(out: Any) -> list[Any]:
    """The results of a call as a flat list."""
    if isinstance(out, (list, tuple)):
        return [leaf for part in out for leaf in results(part)]
    return [out]


# -- comparing ----------------------------------------------------------------------------------------------------


class Comparison:
    """What came of an entry's samples; ``compared`` counts calls, each with its gradient."""

    def __init__(self, name: Name) -> None:
        self.name = name
        self.samples = 0
        self.compared = 0
        self.left_out: Counter[str] = Counter()
        self.differences: list[str] = []


Explained = Callable[[Name, Any], "str | None"]
Random = Callable[[Name, Any], bool]


def compare(
    name: Name,
    explained: Explained = lambda name, sample: None,
    random: Random = lambda name, sample: False,
    tolerance: float = 1e-9,
) -> Comparison:
    """Run every float64 sample of an entry through both.

    ``explained(name, sample)`` may give a reason to leave a sample out; where ``random(name, sample)`` says that the
    numbers come from a generator, shapes and dtypes are compared, values are not.
    """
    entry, outcome = database()[name], Comparison(name)
    dtype = next(dtype for dtype in DTYPES if entry.supports_dtype(dtype, "cpu"))
    gradients = dtype is torch.float64 and entry.supports_autograd
    pairs = list(variants(entry))
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in entry.sample_inputs("cpu", dtype, requires_grad=gradients):
            rtol = None if random(name, sample) else tolerance
            try:
                reason = explained(name, sample)
                if reason is not None:
                    raise LeftOut(reason)
                for pair in pairs:
                    _compare(outcome, pair, sample, rtol)
            except LeftOut as reason:
                outcome.left_out[str(reason)] += 1
            else:
                outcome.samples += 1
    return outcome


def _compare(outcome: Comparison, pair: Pair, sample: Any, rtol: float | None) -> None:
    """Compare one call, without values where ``rtol`` is None.

    What PyTorch refuses in place (a result of another dtype or a larger shape) is not compared.
    """
    label, function, reference = pair
    given = [sample.input, sample.args, sample.kwargs]
    try:
        theirs = results(reference(sample.input, *sample.args, **sample.kwargs))
    except (RuntimeError, TypeError):
        if label == "in place":
            return
        raise
    leaves: list[Tensor] = []
    x, args, kwargs = converted(given, leaves)
    outcome.compared += 1
    try:
        mine = results(function(x, *args, **kwargs))
        difference = _differ_all(mine, theirs, rtol)
        if difference is None and rtol is not None:
            difference = _compare_gradients(mine, theirs, leaves, list(leaves_of(given)), rtol)
    except Exception as error:
        difference = f"raises {type(error).__name__}: {error}"
    if difference is not None:
        outcome.differences.append(f"{describe(sample)}{f' {label}' if label else ''}: {difference}")


def _differ_all(mine: list[Any], theirs: list[Any], rtol: float | None) -> str | None:
    if len(mine) != len(theirs):
        return f"{len(mine)} results instead of {len(theirs)}"
    for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        difference = _differ(a, b, rtol)
        if difference is not None:
            return f"result {i}: {difference}"
    return None


def _compare_gradients(
    mine: list[Any], theirs: list[Any], leaves: list[Tensor], wanted: list[Any], rtol: float
) -> str | None:
    pairs = [(a, b) for a, b in zip(mine, theirs, strict=True) if isinstance(b, torch.Tensor)]
    for i, (a, b) in enumerate(pairs):
        if bool(getattr(a, "requires_grad", False)) != b.requires_grad:
            return f"result {i}: requires_grad is {not b.requires_grad} instead of {b.requires_grad}"
    pairs = [(a, b) for a, b in pairs if b.requires_grad]
    if not pairs:
        return None
    seeds = [torch.randn_like(b) for _, b in pairs]
    try:
        right = torch.autograd.grad([b for _, b in pairs], wanted, seeds, allow_unused=True)
    except NotImplementedError:  # PyTorch has no gradient for a few in-place forms
        return None
    found = autograd.grad(
        [a for a, _ in pairs], leaves, [constant(s.detach().numpy().copy()) for s in seeds], allow_unused=True
    )
    for i, (leaf, a, b) in enumerate(zip(wanted, found, right, strict=True)):
        zeros = torch.zeros_like(leaf)
        difference = _differ(constant(zeros.numpy()) if a is None else a, zeros if b is None else b, rtol)
        if difference is not None:
            return f"gradient {i}: {difference}"
    return None


def _differ(mine: Any, theirs: Any, rtol: float | None) -> str | None:
    """How two results differ in kind, dtype, shape or value, or None."""
    if not isinstance(theirs, torch.Tensor):
        return None if mine == theirs or rtol is None else f"{mine!r} instead of {theirs!r}"
    if not isinstance(mine, Tensor):
        return f"a {type(mine).__name__} instead of a tensor"
    a, b = mine._data, theirs.detach().resolve_neg().numpy(force=True)
    if a.dtype != b.dtype:
        return f"dtype {a.dtype} instead of {b.dtype}"
    if a.shape != b.shape:
        return f"shape {a.shape} instead of {b.shape}"
    if rtol is None or a.size == 0:
        return None
    apart = ~np.isclose(a, b, rtol=rtol, atol=rtol / 100, equal_nan=True)
    if not apart.any():
        return None
    place = np.unravel_index(np.argmax(apart), a.shape)
    return f"{a[place]!r} instead of {b[place]!r} at {tuple(map(int, place))} of shape {a.shape}"


# -- what may be written to afterwards ----------------------------------------------------------------------------


def compare_saved(name: Name, left_out: Random = lambda name, sample: False) -> Iterator[str]:
    """Values that can be overwritten between forward and backward in PyTorch, but not in Backlit.

    For the first samples of an entry, each input (as a computed tensor) and each result in turn is written to in
    place after the call, with its own values. PyTorch's backward then refuses exactly where the value was saved.
    """
    entry = database()[name]
    if not (entry.supports_autograd and entry.supports_dtype(torch.float64, "cpu")):
        return
    function = ours(entry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in itertools.islice(entry.sample_inputs("cpu", torch.float64, requires_grad=True), 4):
            if left_out(name, sample):
                continue
            given = [sample.input, sample.args, sample.kwargs]
            leaves: list[Tensor] = []
            try:
                mirrored = converted(given, leaves)
            except LeftOut:
                continue
            wanted = list(leaves_of(given))
            places = [("input", i) for i in range(len(wanted))]
            places += [("result", i) for i in range(len(results(entry(sample.input, *sample.args, **sample.kwargs))))]
            for place in places:
                if _survives(entry, given, wanted, place, torch) and not _survives(
                    function, mirrored, leaves, place, bl
                ):
                    yield f"{describe(sample)}: PyTorch allows to write to {place[0]} {place[1]} before backward"


def _survives(function: Any, given: Any, leaves: list[Any], place: tuple[str, int], library: Any) -> bool:
    """Whether backward works after an input or a result was written to in place."""
    copies = [leaf * 1.0 for leaf in leaves]
    queue = iter(copies)
    x, args, kwargs = _replaced(given, lambda leaf: next(queue))
    outs = [out for out in results(function(x, *args, **kwargs)) if getattr(out, "requires_grad", False)]
    kind, i = place
    try:
        with library.no_grad():
            (copies if kind == "input" else outs)[i].mul_(1.0)
        library.autograd.grad([out.sum() for out in outs], leaves, allow_unused=True)
    except (RuntimeError, IndexError, ValueError):
        return False
    return True


def _replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """Nested arguments with every tensor that requires gradients changed."""
    if isinstance(value, (torch.Tensor, Tensor)):
        return change(value) if value.requires_grad else value
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(_replaced(part, change) for part in value)
    if isinstance(value, dict):
        return {key: _replaced(part, change) for key, part in value.items()}
    return value


def compare_errors(name: Name) -> Iterator[tuple[Any, str]]:
    """Calls that PyTorch refuses and Backlit answers: the sample and PyTorch's reason."""
    entry = database()[name]
    if entry.error_inputs_func is None:
        return
    function = ours(entry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for error in entry.error_inputs("cpu"):
            sample = error.sample_input
            try:
                x, args, kwargs = converted([sample.input, sample.args, sample.kwargs], [])
            except (LeftOut, TypeError, ValueError):  # ValueError: more dimensions than NumPy has
                continue
            try:
                function(x, *args, **kwargs)
            except Exception:
                continue
            yield sample, str(error.error_regex)


def describe(sample: Any) -> str:
    """A sample in one line: shapes of tensors, other arguments as they are."""
    parts = [_brief(sample.input), *map(_brief, sample.args), *(f"{k}={_brief(v)}" for k, v in sample.kwargs.items())]
    return f"({', '.join(parts)})"


def _brief(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{dtype}{list(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(_brief, value))})"
    return repr(value)


def summary(outcomes: list[Comparison]) -> str:
    """Operations, samples and calls compared, what was left out and why, and every difference."""
    left_out = sum((outcome.left_out for outcome in outcomes), Counter())
    differences = [f"  {'/'.join(o.name)}{line}" for o in outcomes for line in o.differences]
    return "\n".join(
        [
            f"entries in PyTorch's database: {len(database())}, shared with Backlit: {len(outcomes)}",
            f"samples compared: {sum(o.samples for o in outcomes)} (in {sum(o.compared for o in outcomes)} calls), "
            f"left out: {sum(left_out.values())}, different: {len(differences)}",
            *(f"  left out: {reason}: {n}" for reason, n in left_out.most_common()),
            *differences,
        ]
    )
