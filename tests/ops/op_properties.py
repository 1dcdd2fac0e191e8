"""What every operation must satisfy, as checks that raise AssertionError.

Each check takes an :class:`~backlit.ops.definition.Operation` and one of its samples. The float64 arrays among the
sample's arguments (also inside lists, as for ``cat``) are the *leaves*: what the checks differentiate, re-lay in
memory, narrow to float32 or fill with NaN.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import backlit as bl
from backlit import autograd, func
from backlit.graph import WalkObserver, mode
from backlit.ops.definition import Operation, Sample, Tensor, constant

Array = np.ndarray
ENTRIES = 40
"""At most so many entries of a leaf are differentiated numerically."""


# -- an operation as a function of its leaves ---------------------------------------------------------------------


def is_leaf(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float64


def arrays(value: Any) -> Iterator[Array]:
    """Every array in nested arguments, in order."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from arrays(part)
    elif isinstance(value, dict):
        yield from arrays(list(value.values()))


def rebuilt(value: Any, change: Callable[[Array], Any]) -> Any:
    """Nested arguments with every array replaced by ``change(array)``."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)([rebuilt(part, change) for part in value])
    if isinstance(value, dict):
        return {key: rebuilt(part, change) for key, part in value.items()}
    return value


def flattened(result: Any) -> Iterator[Any]:
    """The tensors, arrays and numbers in a result, in order; None left out."""
    if isinstance(result, (tuple, list)):
        for part in result:
            yield from flattened(part)
    elif result is not None:
        yield result


def is_float(out: Any) -> bool:
    return hasattr(out, "dtype") and out.dtype.kind == "f"


class Call:
    """An operation at one sample, as a function of its leaves that gives its floating-point results as a list."""

    def __init__(self, operation: Operation, sample: Sample) -> None:
        self.operation = operation
        self.sample = sample
        self.leaves = [a for a in arrays([sample.args, sample.kwargs]) if is_leaf(a)]
        self.rng = np.random.default_rng(zlib.crc32(operation.name.encode()))

    def __str__(self) -> str:
        return f"{self.operation.name}{self.sample!r}"

    def everything(self, leaves: list[Any], other: Callable[[Array], Any] = lambda a: a) -> list[Any]:
        """All results, those without gradients included. Random operations draw the same numbers every time."""
        queue = iter(leaves)
        args, kwargs = rebuilt(
            [self.sample.args, self.sample.kwargs], lambda a: next(queue) if is_leaf(a) else other(a)
        )
        bl.manual_seed(0)
        with np.errstate(all="ignore"):
            return list(flattened(self.operation.function(*args, **kwargs)))

    def __call__(self, leaves: list[Any]) -> list[Any]:
        """The floating-point results."""
        other = constant if any(isinstance(x, Tensor) for x in leaves) else lambda a: a
        return [out for out in self.everything(leaves, other) if is_float(out)]

    def cotangents(self) -> list[Array]:
        """A random upstream gradient for each floating-point result."""
        return [self.rng.normal(size=out.shape) for out in self(self.leaves)]

    def tangents(self) -> list[Array]:
        """A random direction for the leaves."""
        return [self.rng.normal(size=leaf.shape) for leaf in self.leaves]


def tensors(leaves: list[Array], requires_grad: bool = True) -> list[Tensor]:
    return [constant(leaf).requires_grad_(requires_grad) for leaf in leaves]


def pullback(call: Call, leaves: list[Array], cotangents: list[Array]) -> list[Array]:
    """Jᵀu by the fast reverse walk, one array a leaf; zeros where the results do not depend on a leaf."""
    return [g._data for g in recorded_pullback(call, tensors(leaves), tensors(cotangents, False), create_graph=False)]


def recorded_pullback(call: Call, xs: list[Any], us: list[Any], create_graph: bool = True) -> tuple[Any, ...]:
    outs = call(xs)
    assert all(out.requires_grad for out in outs), f"{call}: a floating-point result is cut off from its inputs"
    return autograd.grad(outs, xs, us, create_graph=create_graph, materialize_grads=True)


def inner(xs: list[Array], ys: list[Array]) -> float:
    return float(sum(np.vdot(x, y) for x, y in zip(xs, ys, strict=True)))


# -- differences --------------------------------------------------------------------------------------------------


def differences(f: Callable[[float], Any], scale: float) -> tuple[Any, Any]:
    """The derivative of ``f`` (number or array) at 0 by central differences with one Richardson step, and its error.

    D(h) errs by h²f‴/6, so R = (4 D(h/2) − D(h))/3 cancels that term and |R − D(h/2)| bounds the error of R from
    above. Steps are powers of two, so that the distance between the two points is exact. A function that changes
    quickly gets smaller steps.
    """
    h = 2.0 ** (-9 + np.ceil(np.log2(scale)))
    for _ in range(4):
        wide = (f(h) - f(-h)) / (2 * h)
        narrow = (f(h / 2) - f(-h / 2)) / h
        best = (4 * narrow - wide) / 3
        error = np.abs(best - narrow)
        if np.all(error <= 1e-3 * np.maximum(1.0, np.abs(best))):
            return best, error
        h /= 8
    raise AssertionError(
        f"central differences do not settle (last ±{np.max(error):.1e}): the sample lies at a kink, a jump or the edge "
        "of the domain; take the sample elsewhere"
    )


def agree(what: str, ours: Any, best: Any, error: Any) -> None:
    """``ours`` equals the difference quotient within its estimated error (a bound, so a tenth of it) and rounding."""
    ours, best, error = np.broadcast_arrays(ours, best, error)
    off = np.abs(ours - best)
    allowed = 0.1 * error + 2e-9 * np.maximum(1.0, np.abs(best).max(initial=0.0))
    if not np.all(off <= allowed):
        where = np.unravel_index(np.nanargmax(np.where(np.isnan(off), np.inf, off - allowed)), off.shape)
        raise AssertionError(
            f"{what}: the rule gives {ours[where]:.10g}, central differences give {best[where]:.10g} "
            f"(±{error[where]:.1e}) at entry {tuple(map(int, where))} of shape {off.shape}"
        )


def check_gradient(operation: Operation, sample: Sample) -> None:
    """The gradient of ⟨u, f(x)⟩ equals central differences, entry by entry."""
    call = Call(operation, sample)
    us = call.cotangents()
    gradients = pullback(call, call.leaves, us)
    for i, (leaf, gradient) in enumerate(zip(call.leaves, gradients, strict=True)):
        places = list(np.ndindex(leaf.shape))
        if len(places) > ENTRIES:
            places = [places[k] for k in call.rng.choice(len(places), ENTRIES, replace=False)]
        for place in places:
            shifted = [a.copy() for a in call.leaves]

            def along(t: float, shifted: Any = shifted, i: int = i, place: Any = place) -> float:
                shifted[i][place] = call.leaves[i][place] + t
                return inner(us, call(shifted))

            what = f"{call}: gradient of leaf {i} at {place}"
            agree(what, gradient[place], *_settled(what, along, max(1.0, abs(float(leaf[place])))))


def check_second_order(operation: Operation, sample: Sample) -> None:
    """The recorded gradient equals the fast one, and its own gradient (in x and in u) equals its differences."""
    call = Call(operation, sample)
    us, vs = call.cotangents(), call.tangents()
    first = pullback(call, call.leaves, us)
    xs, seeds = tensors(call.leaves), tensors(us)
    recorded = recorded_pullback(call, xs, seeds)
    for i, (fast, slow) in enumerate(zip(first, recorded, strict=True)):
        np.testing.assert_allclose(
            slow._data, fast, rtol=1e-10, atol=1e-10, err_msg=f"{call}: recorded and fast gradient of leaf {i} differ"
        )
    if not any(g.requires_grad for g in recorded):
        raise AssertionError(f"{call}: the recorded gradient does not depend on the upstream gradient")
    used = [(g, v) for g, v in zip(recorded, vs, strict=True) if g.requires_grad]
    second = autograd.grad([g for g, _ in used], [*xs, *seeds], [constant(v) for _, v in used], materialize_grads=True)

    def moved(t: float) -> list[Array]:
        return [np.asarray(x + t * v) for x, v in zip(call.leaves, vs, strict=True)]

    for i in range(len(xs)):
        what = f"{call}: second derivative, leaf {i}"
        agree(what, second[i]._data, *_settled(what, lambda t, i=i: pullback(call, moved(t), us)[i], 1.0))
    for k in range(len(us)):
        what = f"{call}: gradient of the gradient in the upstream gradient, result {k}"
        agree(what, second[len(xs) + k]._data, *_settled(what, lambda t, k=k: call(moved(t))[k], 1.0))


def _settled(what: str, f: Callable[[float], Any], scale: float) -> tuple[Any, Any]:
    try:
        return differences(f, scale)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from None


# -- forward mode -------------------------------------------------------------------------------------------------


def check_adjoint(operation: Operation, sample: Sample) -> None:
    """⟨u, Jv⟩ by the forward-mode rules equals ⟨Jᵀu, v⟩ by the reverse rules."""
    call = Call(operation, sample)
    us, vs = call.cotangents(), call.tangents()
    pulled = pullback(call, call.leaves, us)
    _, pushed = func.jvp(
        lambda *xs: tuple(call(list(xs))), tuple(tensors(call.leaves, False)), tuple(tensors(vs, False))
    )
    for k, (tangent, u) in enumerate(zip(pushed, us, strict=True)):
        assert tangent.shape == u.shape, f"{call}: tangent {k} has shape {tangent.shape}, the result {u.shape}"
    forward, reverse = inner(us, [t._data for t in pushed]), inner(pulled, vs)
    size = sum(np.abs(p * v).sum() for p, v in zip(pulled, vs, strict=True))
    assert abs(forward - reverse) <= 1e-10 * max(1.0, size), (
        f"{call}: ⟨u, Jv⟩ = {forward:.12g} by forward mode, ⟨Jᵀu, v⟩ = {reverse:.12g} by reverse mode"
    )


# -- shapes, memory, dtypes, values -------------------------------------------------------------------------------


def check_shapes(operation: Operation, sample: Sample) -> None:
    """A gradient has its leaf's shape and dtype, whatever was broadcast; 0-d and empty leaves included.

    It is the same when the upstream gradient was itself computed: NumPy makes 0-d results scalars, not arrays.
    """
    call = Call(operation, sample)
    xs, us = tensors(call.leaves), tensors(call.cotangents(), False)
    gradients = recorded_pullback(call, xs, us, False)
    for x, g in zip(xs, gradients, strict=True):
        assert g.shape == x.shape, f"{call}: an input of shape {x.shape} gets a gradient of shape {g.shape}"
        assert g.dtype == x.dtype, f"{call}: a {x.dtype.name} input gets a {g.dtype.name} gradient"
    computed = autograd.grad([out * 1.0 for out in call(xs)], xs, us, materialize_grads=True)
    for direct, through in zip(gradients, computed, strict=True):
        _same(f"{call}: gradient for an upstream gradient that was computed", through._data, direct._data)


def transposed(a: Array) -> Array:
    return np.asfortranarray(a) if a.ndim else a


def stepped(a: Array) -> Array:
    """Every second element of memory twice as long, with NaN between (the lowest number for other dtypes)."""
    if a.ndim == 0:
        return a
    filler = np.nan if a.dtype.kind == "f" else 0
    room = np.full((*a.shape[:-1], 2 * a.shape[-1]), filler, a.dtype)
    room[..., ::2] = a
    return room[..., ::2]


def reversed_(a: Array) -> Array:
    """Negative strides along every dimension."""
    turn = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[turn])[turn] if a.ndim else a


LAYOUTS = (transposed, stepped, reversed_)


def check_layouts(operation: Operation, sample: Sample) -> None:
    """Where an array lies in memory changes nothing: results and gradients are those of contiguous copies."""
    call = Call(operation, sample)
    wanted = [np.array(getattr(out, "_data", out)) for out in call.everything(tensors(call.leaves, False), constant)]
    for layout in LAYOUTS:
        got = call.everything([constant(layout(a)) for a in call.leaves], lambda a, m=layout: constant(m(a)))
        for ours, contiguous in zip(got, wanted, strict=True):
            _same(f"{call}: result of {layout.__name__} inputs", getattr(ours, "_data", ours), contiguous)
    if not operation.differentiable or not call.leaves:
        return
    us = call.cotangents()
    gradients = pullback(call, call.leaves, us)
    for layout in LAYOUTS:
        again = pullback(call, [layout(a) for a in call.leaves], [layout(u) for u in us])
        for ours, contiguous in zip(again, gradients, strict=True):
            _same(f"{call}: gradient with {layout.__name__} inputs and upstream gradient", ours, contiguous)
    ones = pullback(call, call.leaves, [np.ones(u.shape) for u in us])
    stretched = pullback(call, call.leaves, [np.broadcast_to(np.ones(()), u.shape) for u in us])
    for ours, contiguous in zip(stretched, ones, strict=True):
        _same(f"{call}: gradient for an upstream gradient with zero strides", ours, contiguous)


def _same(what: str, ours: Any, wanted: Any) -> None:
    np.testing.assert_allclose(ours, wanted, rtol=1e-11, atol=1e-12, equal_nan=True, err_msg=what)


class _Dtypes(WalkObserver):
    """Notes contributions of another dtype than the upstream gradient's."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def leave(self, node: Any, upstream: Any, downstream: Any) -> None:
        for name, part in zip((*node.op.inputs, *node.op.inputs[-1:] * 99), downstream, strict=False):
            if part is not None and part.dtype != upstream.dtype:
                self.wrong.append(f"{node.name} hands {part.dtype.name} down to '{name}' from {upstream.dtype.name}")


def check_dtype(operation: Operation, sample: Sample, dtype: Any = np.float32) -> None:
    """Narrow floats in, narrow floats out, and narrow gradients at every step of the way down."""
    call = Call(operation, sample)
    xs = tensors([leaf.astype(dtype) for leaf in call.leaves], operation.differentiable)
    outs = call(xs)
    for out in outs:
        assert out.dtype == dtype, f"{call}: {np.dtype(dtype).name} in, {out.dtype.name} out"
    if not operation.differentiable:
        return
    us = [constant(u.astype(dtype)) for u in call.cotangents()]
    observer = _Dtypes()
    before = mode.walkers
    mode.walkers = (*before, observer)
    try:
        gradients = autograd.grad(outs, xs, us, materialize_grads=True)
    finally:
        mode.walkers = before
    assert not observer.wrong, f"{call}: {'; '.join(observer.wrong)}"
    for g in gradients:
        assert g.dtype == dtype, f"{call}: a {np.dtype(dtype).name} input gets a {g.dtype.name} gradient"


def check_nan(operation: Operation, sample: Sample, everywhere: bool) -> None:
    """A leaf full of NaN gives NaN: in every result entry (``everywhere``), or in one at least."""
    call = Call(operation, sample)
    for i, leaf in enumerate(call.leaves):
        leaves = list(call.leaves)
        leaves[i] = np.full_like(leaf, np.nan)
        outs = [np.isnan(out._data) for out in call(tensors(leaves, False)) if out._data.size]
        enough = all(out.all() for out in outs) if everywhere else any(out.any() for out in outs)
        assert enough or not outs or not leaf.size, f"{call}: NaN in leaf {i} does not reach the result"


def check_inputs_untouched(operation: Operation, sample: Sample) -> None:
    """Neither the forward rule nor the gradient rules write to what they are given."""
    call = Call(operation, sample)
    given = list(arrays([sample.args, sample.kwargs]))
    before = [a.copy() for a in given]
    us = call.cotangents()
    if operation.differentiable and call.leaves:
        kept = [u.copy() for u in us]
        recorded_pullback(call, tensors(call.leaves), tensors(us))
        pullback(call, call.leaves, us)
        for u, copy in zip(us, kept, strict=True):
            np.testing.assert_array_equal(u, copy, err_msg=f"{call}: the upstream gradient was written to")
    for a, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(a, copy, err_msg=f"{call}: an input was written to")


def check_arrays(operation: Operation, sample: Sample) -> None:
    """Arrays in, arrays out, and the same numbers as with tensors."""
    call = Call(operation, sample)
    plain = call.everything(call.leaves)
    wrapped = call.everything(tensors(call.leaves, False), constant)
    assert len(plain) == len(wrapped)
    for ours, tensor in zip(plain, wrapped, strict=True):
        assert not isinstance(ours, Tensor), f"{call}: arrays in, but a tensor out"
        if isinstance(tensor, Tensor):
            assert ours.dtype == tensor.dtype, f"{call}: {ours.dtype} from arrays, {tensor.dtype} from tensors"
            assert ours.shape == tensor.shape, f"{call}: {ours.shape} from arrays, {tensor.shape} from tensors"
        np.testing.assert_array_equal(ours, getattr(tensor, "_data", tensor), err_msg=str(call))


class _Aliases(WalkObserver):
    """Notes gradients that share memory with a saved value, or with each other beyond the upstream gradient."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def leave(self, node: Any, upstream: Any, downstream: Any) -> None:
        parts = [(i, part) for i, part in enumerate(downstream) if part is not None and part.size]
        saved = [getattr(value, "_data", value) for value in node.saved or ()]
        saved += [*arrays(node.extra), *arrays(node.params)]
        for i, part in parts:
            if np.may_share_memory(part, upstream):
                continue
            if any(isinstance(value, np.ndarray) and np.may_share_memory(part, value) for value in saved):
                self.found.append(f"{node.name}: gradient {i} is memory of a saved value")
            if any(j < i and np.may_share_memory(part, other) for j, other in parts):
                self.found.append(f"{node.name}: gradient {i} shares memory with another one")


def check_fresh(operation: Operation, sample: Sample) -> None:
    """Rules hand down new memory or the upstream gradient's, and every leaf ends up with memory of its own."""
    call = Call(operation, sample)
    us, xs = call.cotangents(), tensors(call.leaves)
    observer = _Aliases()
    before = mode.walkers
    mode.walkers = (*before, observer)
    try:
        autograd.backward(call(xs), tensors(us, False))
    finally:
        mode.walkers = before
    assert not observer.found, f"{call}: {'; '.join(observer.found)}"
    owned = [(f"leaf {i}'s .grad", x.grad._data) for i, x in enumerate(xs) if x.grad is not None]
    others = [*[("an upstream gradient", u) for u in us], *[("an input", leaf) for leaf in call.leaves]]
    for i, (name, gradient) in enumerate(owned):
        assert gradient.flags.writeable, f"{call}: {name} is read-only"
        for other, array in [*owned[:i], *others]:
            assert not np.shares_memory(gradient, array), f"{call}: {name} shares memory with {other}"


def check_forward(operation: Operation, sample: Sample) -> None:
    """An operation without gradients makes no node."""
    call = Call(operation, sample)
    for out in call.everything(tensors(call.leaves), constant):
        assert not getattr(out, "requires_grad", False), f"{call}: registered as not differentiable, but recorded"
