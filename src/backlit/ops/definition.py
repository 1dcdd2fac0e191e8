"""What an operation is, and how one is applied.

An operation is a subclass of :class:`Op`, written once, in one place. It states

- ``forward(*inputs, **params)`` on NumPy arrays;
- its gradient rules, one an input: ``vjp_<input>(ctx, g, ...)``, or one for all inputs: ``vjp(ctx, g, ...)``. After
  ``ctx`` and the upstream gradient ``g`` a rule names the values it needs, inputs by their names in ``forward`` and the
  output as ``out``; exactly those are saved, and only while the input concerned needs a gradient. An operation on any
  number of inputs ends its positional inputs with ``*rest``, and so do the rules that need those;
- its forward-mode rules, ``jvp_<input>(ctx, t, ...)`` likewise, with ``t`` the input's tangent. An operation that is
  linear in each input needs none: the forward rule is applied to the tangent;
- for people: ``formula``, ``gate`` (what it does to gradients), ``domain`` (where it is defined and differentiable);
- for the tests: ``samples(rng)``, inputs that show what it can do.

Rules are written with operators, methods and functions that NumPy arrays and tensors both understand. On arrays they
run at NumPy speed; on tensors they are recorded, which gives gradients of gradients.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple
from weakref import ref

import numpy as np

from ..breadcrumbs import Cut, unrecorded
from ..errors import BacklitError, OperationError, OutOfRangeError, OverwrittenError
from ..graph import Node, freed, mode
from ..numerics import hush, unhush
from ..source import describe, mark
from ..tensor import Tensor, constant
from .registry import REGISTRY, Operation, Sample, describe_value, operation

Array = np.ndarray
NOTHING: dict[str, Any] = {}


class Context:
    """What a rule may ask besides values: ``params``, input ``shapes``, which inputs need gradients, ``extra``."""

    __slots__ = ("dtype", "edges", "extra", "params", "shape", "shapes")

    dtype: Any
    edges: tuple[Any, ...]
    extra: Any
    params: dict[str, Any]
    shape: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]


class Op:
    """Base of all operation definitions; see the module's description. Subclasses are never instantiated."""

    name: ClassVar[str]
    formula: ClassVar[str] = ""
    gate: ClassVar[str] = ""
    domain: ClassVar[str] = "all real inputs"
    gradients: ClassVar[dict[str, str]] = {}
    """For people: what each input receives, by its name, such as ``{"a": "g bᵀ"}``, in the notation of
    ``glassbox/words/notation.py``. The tests evaluate it. Elementwise operations need none: their slopes say it."""
    inputs: ClassVar[tuple[str, ...]] = ()
    variadic: ClassVar[bool] = False
    """Any number of inputs may follow under the last name; one joint rule gives their gradients."""
    differentiable: ClassVar[bool] = True
    has_extra: ClassVar[bool] = False
    """``forward`` returns ``(out, extra)``; ``extra`` is kept for the rules. What in it depends on inputs smoothly is
    made again where rules are recorded, or declared in ``intermediates``."""
    is_view: ClassVar[bool] = False
    """The output may share memory with the first input."""
    fresh: ClassVar[bool] = True
    """Rules return new arrays, the upstream gradient itself, or views of it; never saved or foreign arrays."""
    keeps_shapes: ClassVar[bool] = True
    _plans: ClassVar[dict[int, Plan]]
    _needs: ClassVar[dict[Any, tuple[int, ...]]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in cls.__dict__ and not cls.inputs:
            cls.inputs = _positional(cls.forward)
            kinds = [p.kind for p in inspect.signature(cls.forward).parameters.values()]
            cls.variadic = inspect.Parameter.VAR_POSITIONAL in kinds
        cls._plans = {}
        cls._needs = {}
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()

    forward: ClassVar[Callable[..., Any]]

    @classmethod
    def again(cls, extra: Any, *arrays: Any, **params: Any) -> Any:
        """``forward`` once more, for a recording that is replayed; what was drawn at random is taken from ``extra``.

        Raises:
            LookupError: something was drawn, and ``extra`` is None.
        """
        return cls.forward(*arrays, **params)

    @classmethod
    def gradient_form(cls, name: str, ctx: Any) -> str:
        """What the input ``name`` receives, as in ``gradients``, where settings or shapes decide it; may be empty."""
        return cls.gradients.get(name, "")

    @classmethod
    def rule(cls, kind: str, name: str) -> Any:
        """The ``kind`` ("vjp" or "jvp") rule of an input, or None."""
        return getattr(cls, f"{kind}_{name}", None)

    @classmethod
    def wants(cls, rule: Callable[..., Any], count: int) -> tuple[int, ...]:
        """Positions (inputs in order, then the output) of the values that a rule names, with ``count`` inputs given."""
        found = cls._needs.get((rule, count))
        if found is None:
            last = len(cls.inputs) - 1
            slots: dict[str, tuple[int, ...]] = {name: (i,) for i, name in enumerate(cls.inputs)}
            if cls.variadic:
                slots[cls.inputs[last]] = tuple(range(last, count))
            slots["out"] = (max(count, last + 1),)
            names = getattr(rule, "names", None)
            names = _positional(rule)[2:] if names is None else names
            found = cls._needs[rule, count] = tuple(slot for name in names for slot in slots[name])
        return found

    @classmethod
    def intermediates(cls, params: dict[str, Any], extra: Any) -> Iterable[Intermediate]:
        """Smooth values that ``forward`` made on the way and keeps in ``extra`` instead of an input; see `restored`."""
        return ()

    @classmethod
    def plan(cls, needs: int, count: int) -> Plan:
        """What to save and which rules to run when the inputs in the bit mask ``needs`` want gradients."""
        key = needs << 20 | count
        plan = cls._plans.get(key)
        if plan is None:
            plan = cls._plans[key] = Plan(cls, needs, count)
        return plan

    @classmethod
    def pull(cls, node: Node, g: Any, create_graph: bool) -> Any:
        """Run the gradient rules of a node: the downstream gradients, one an input."""
        values = _unpack(node, create_graph)
        plan = node.plan
        if plan.joint is not None:
            return plan.joint(node, g, *[values[j] for j in plan.slots])
        downstream: list[Any] = [None] * len(node.edges)
        for i, rule, slots in plan.rules:
            downstream[i] = rule(node, g, *[values[j] for j in slots])
        return downstream

    @classmethod
    def push(cls, ctx: Any, inputs: tuple[Any, ...], out: Any, tangents: list[Any]) -> Any:
        """The forward-mode rule: the output's tangent from the inputs' tangents (None where zero)."""
        values = (*inputs, *[None] * (len(cls.inputs) - len(inputs)), out)
        joint = getattr(cls, "jvp", None)
        if joint is not None:
            return joint(ctx, tangents, *[values[j] for j in cls.wants(joint, len(inputs))])
        total = None
        for i, tangent in enumerate(tangents):
            if tangent is None:
                continue
            name = cls.inputs[min(i, len(cls.inputs) - 1)]
            rule = cls.rule("jvp", name)
            if rule is None:
                part = apply(cls, (*inputs[:i], tangent, *inputs[i + 1 :]), ctx.params)
            else:
                part = rule(ctx, tangent, *[values[j] for j in cls.wants(rule, len(inputs))])
            total = part if total is None else total + part
        return total


class Intermediate(NamedTuple):
    """An array in an operation's ``extra`` that is the output of an operation ``op`` on its input at ``position``.

    ``op`` has one input, and rules that need no more than its output.
    """

    position: int
    op: type[Op]
    params: dict[str, Any]
    array: Array


def restored(ctx: Any, kept: Intermediate) -> Tensor:
    """An intermediate as a tensor with its history, made by its operation from the input; for recorded rules."""
    result = Tensor(kept.array)
    edge = ctx.edges[kept.position]
    if edge is not None:
        source = edge
        if edge.__class__ is Node:
            source = Tensor(kept.array)  # only its history is used
            source._node = edge
        record(kept.op, (source,), [kept.array], kept.params, 1, result, None)
    return result


class Plan:
    """What a node must save and do, worked out once for each combination of inputs that need gradients.

    ``kept`` lists what is saved: positions of inputs, and ``OUTPUT``. ``joint`` or ``rules`` say which rules to run on
    which of the saved values.
    """

    __slots__ = ("joint", "kept", "rules", "slots")

    def __init__(self, op: type[Op], needs: int, count: int) -> None:
        self.joint = getattr(op, "vjp", None)
        wanted = () if self.joint is None else op.wants(self.joint, count)
        rules = () if self.joint is not None else tuple(_rules(op, needs, count))
        every = sorted({*wanted, *(slot for _, _, own in rules for slot in own)})
        at = {slot: i for i, slot in enumerate(every)}
        self.slots = tuple(at[slot] for slot in wanted)
        self.rules = tuple((i, rule, tuple(at[slot] for slot in own)) for i, rule, own in rules)
        out = max(count, len(op.inputs))
        self.kept = tuple(OUTPUT if slot == out else slot if slot < count else ABSENT for slot in every)

    def role(self, op: type[Op], position: int) -> str:
        """What a saved value is called in the operation's definition: the name of an input, or ``out``."""
        slot = self.kept[position]
        return "out" if slot == OUTPUT else op.inputs[min(slot, len(op.inputs) - 1)]

    def name(self, op: type[Op], position: int) -> str:
        """What a saved value is to its operation, for messages."""
        role = self.role(op, position)
        return "the output" if self.kept[position] == OUTPUT else f"its input '{role}'"


OUTPUT, ABSENT = -1, -2


def _rules(op: type[Op], needs: int, count: int) -> Iterable[tuple[int, Any, tuple[int, ...]]]:
    for i in range(count):
        if needs >> i & 1:
            name = op.inputs[min(i, len(op.inputs) - 1)]
            rule = op.rule("vjp", name)
            if rule is None:
                raise OperationError(f"{op.name}: not differentiable with respect to its input '{name}'.")
            yield i, rule, op.wants(rule, count)


class _Output:
    """A saved output: its array and storage, without the tensor (a node that held its own output would be a cycle)."""

    __slots__ = ("_data", "_storage")

    def __init__(self, tensor: Tensor) -> None:
        self._data = tensor._data
        self._storage = tensor.storage()

    def restore(self, node: Node) -> Tensor:
        """The output as a tensor again, made by ``node``."""
        out = Tensor(self._data)
        out._storage = self._storage
        out._node = node
        out._requires_grad = True
        return out


saved_output = _Output


def _positional(function: Callable[..., Any]) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD))


def apply(op: type[Op], inputs: tuple[Any, ...], params: dict[str, Any] = NOTHING) -> Any:
    """Apply an operation to tensors, arrays and numbers.

    Without a tensor among the inputs this is ``op.forward``, arrays in and array out. With one, the result is a
    tensor; it is recorded when an input requires gradients and recording is on.
    """
    if mode.applying is not None:
        return mode.applying(op, inputs, params)
    arrays = []
    needs = 0
    any_tensor = False
    bit = 1
    for x in inputs:
        if isinstance(x, Tensor):
            any_tensor = True
            if x._view is not None:
                x.refresh()
            arrays.append(x._data)
            if x._requires_grad:
                needs |= bit
        else:
            arrays.append(x)
        bit <<= 1
    extra = None
    if not any_tensor:
        out = op.forward(*arrays, **params)
        return out[0] if op.has_extra else out
    token = hush()
    try:
        out = op.forward(*arrays, **params)
    except BacklitError:
        raise
    except (ValueError, TypeError, IndexError, FloatingPointError) as error:
        raise explain_failure(op, arrays, params, error) from error
    finally:
        unhush(token)
    if op.has_extra:
        out, extra = out
    if type(out) is not Array:
        out = np.asarray(out)
    result = Tensor(out)
    if op.is_view and out.base is not None:
        _share(result, inputs[0], op, params)
    if needs and op.differentiable and mode.recording and out.dtype.kind == "f":
        record(op, inputs, arrays, params, needs, result, extra)
    else:
        unrecorded(result, op, inputs, needs)
    for observer in mode.observers:
        observer.applied(op, inputs, params, extra, result)
    return result


def record(
    op: type[Op], inputs: Any, arrays: list[Any], params: dict[str, Any], needs: int, result: Tensor, extra: Any
) -> None:
    """Give a result its node: edges, exactly the values that its rules name, and the user's line."""
    plan = op._plans.get(needs << 20 | len(inputs)) or op.plan(needs, len(inputs))
    bit = 1
    edges = []
    for x in inputs:
        edges.append((x._node or x) if needs & bit else None)
        bit <<= 1
    shapes = tuple([getattr(a, "shape", ()) for a in arrays]) if op.keeps_shapes else None
    saved: list[Any] = []
    written = False
    for slot in plan.kept:
        value = inputs[slot] if slot >= 0 else _Output(result) if slot == OUTPUT else None
        if value.__class__ is Array:
            value = Tensor(value)
            value.storage().expose(mark(), saved=False)
        storage = getattr(value, "_storage", None)
        if storage is not None:
            if storage.exposed_at is not False:
                storage.sync()
            if storage.version:
                written = True
        saved.append(value)
    node = Node(op, params, tuple(edges), result._data, shapes, mark(), saved, plan, extra)
    if written:
        node.versions = [getattr(getattr(v, "_storage", None), "version", 0) for v in saved]
    if needs + 1 != bit:
        node.constants = tuple([remembered(x) if edge is None else None for x, edge in zip(inputs, edges, strict=True)])
    result._node = node
    result._requires_grad = True


_SMALL = 512


def remembered(x: Any) -> Any:
    """What a node remembers of a constant: larger arrays weakly, so that no memory is held; small ones, often made in
    passing, and numbers as they are."""
    if isinstance(x, Tensor):
        array, cut = x._data, x._cut
    elif isinstance(x, Array):
        array, cut = x, None
    else:
        return x
    if array.nbytes <= _SMALL and array.base is None:
        return x
    if cut is None:
        return ref(x)
    held = _CutOff(x)
    held._cut = cut
    return held


class _CutOff(ref[Any]):
    """A constant remembered weakly, with the cut that made it one."""

    __slots__ = ("_cut",)
    _cut: Cut


def _unpack(node: Node, create_graph: bool) -> list[Any]:
    """The saved values, as arrays, or as tensors when the walk is recorded; raises when one was overwritten."""
    saved = node.saved
    if saved is None:
        raise freed(node)
    values: list[Any] = []
    for value in saved:
        storage = getattr(value, "_storage", None)
        if storage is not None and (storage.version or storage.exposed_at is not False):
            check_version(node, len(values), storage)
        if create_graph:
            value = value.restore(node) if value.__class__ is _Output else value
        else:
            value = getattr(value, "_data", value)
        values.append(value)
    return values


def check_version(node: Node, position: int, storage: Any) -> None:
    """Raise when the memory of a saved value was written to since it was saved."""
    if storage.exposed_at is not False:
        storage.sync()
    if storage.version != (0 if node.versions is None else node.versions[position]):
        raise OverwrittenError(_overwritten(node, position, storage))


def _overwritten(node: Node, position: int, storage: Any) -> str:
    if storage.writer == "outside":
        writer = f"through a NumPy array that shares its memory (shared at {describe(storage.exposed_at)})"
    else:
        writer = f"in place at {describe(storage.writer)}"
    which = "a tensor given to save_for_backward" if node.plan is None else node.plan.name(node.op, position)
    return (
        f"{node.name}: the backward pass needs {which}, saved at {describe(node.mark)}, "
        f"but it was overwritten {writer}. Write to a copy (x = x.clone()), use the out-of-place form, "
        "or call backward() before the write."
    )


def _share(result: Tensor, source: Any, op: type[Op], params: dict[str, Any]) -> None:
    """Make a result that shares its input's memory a view of it."""
    if isinstance(source, Tensor) and np.may_share_memory(result._data, source._data):
        result._storage = source.storage()
        result._view = View(source, op, params, result._storage.history)


def look(x: Any, chain: Iterable[tuple[type[Op], dict[str, Any]]]) -> Any:
    """The region of ``x`` that a chain of view operations shows."""
    for op, params in chain:
        x = apply(op, (x,), params)
    return x


class View:
    """How a view was made from its base: enough to look at the base again after either was written to in place.

    A view made while nothing was recorded is ``frozen``: it shares memory but never follows its base's history.
    """

    __slots__ = ("base", "chain", "frozen", "history")

    def __init__(self, source: Tensor, op: type[Op], params: dict[str, Any], history: int) -> None:
        outer = source._view
        self.base: Tensor = source if outer is None else outer.base
        before = () if outer is None else outer.chain
        self.chain: tuple[tuple[type[Op], dict[str, Any]], ...] = (*before, (op, params))
        self.frozen = not mode.recording or (outer is not None and outer.frozen)
        self.history = history

    def replay(self, tensor: Tensor) -> None:
        """Give a view the history its base has now."""
        self.history = tensor.storage().history
        if self.frozen:
            return
        outside, mode.recording = mode.recording, True  # the view was recorded, whoever looks at it first afterwards
        try:
            again = look(self.base, self.chain)
        finally:
            mode.recording = outside
        tensor._node = again._node
        tensor._requires_grad = again._requires_grad
        for observer in mode.observers:
            observer.wrote(tensor, again)


def explain_failure(op: type[Op], arrays: list[Any], params: dict[str, Any], error: Exception) -> OperationError:
    """NumPy's complaint, with the operation, the shapes and the user's line in front of it."""
    shapes = ", ".join(f"{name} {describe_value(a)}" for name, a in zip(op.inputs, arrays, strict=False))
    settings = f" with {', '.join(f'{k}={v!r}' for k, v in params.items())}" if params else ""
    kind = OutOfRangeError if isinstance(error, IndexError) else OperationError
    return kind(f"{op.name}({shapes}){settings} at {describe(mark())}: {error}")


__all__ = [
    "NOTHING",
    "REGISTRY",
    "Array",
    "Intermediate",
    "Op",
    "Operation",
    "Sample",
    "Tensor",
    "View",
    "apply",
    "check_version",
    "constant",
    "look",
    "operation",
    "record",
    "remembered",
    "restored",
    "saved_output",
]
