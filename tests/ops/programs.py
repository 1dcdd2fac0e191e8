"""Random tensor programs that mean the same to PyTorch and to Backlit.

A program is drawn step by step: each step is an instruction applied to earlier results, and runs in both libraries at
once on float64. An instruction is written once, in the vocabulary the two share, as ``function(lib, draw, *tensors)``.

Where an instruction decides by comparing numbers (a maximum, a sort, a gate at 0), results that differ in the last bit
could decide differently; such an instruction also says what it compares, and a step whose comparisons come out
differently is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

Draw = Callable[[Any], Any]
LARGE = 50.0
"""Results with larger entries are squashed, so that rounding errors stay small."""


@dataclass
class Instruction:
    """One kind of step: how many tensors it takes, what it does, when it applies, what it decides by comparing."""

    name: str
    inputs: int
    function: Callable[..., Any]
    applies: Callable[..., bool] = lambda *shapes: True
    decides: Callable[..., Any] | None = None


INSTRUCTIONS: list[Instruction] = []


def instruction(inputs: int = 1, applies: Any = None, decides: Any = None) -> Callable[[Any], Any]:
    """Register a function as an instruction."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        condition = applies or (lambda *shapes: True)
        INSTRUCTIONS.append(Instruction(function.__name__, inputs, function, condition, decides))
        return function

    return register


def has_dims(least: int) -> Callable[[tuple[int, ...]], bool]:
    return lambda shape: len(shape) >= least


def filled(shape: tuple[int, ...]) -> bool:
    return len(shape) > 0 and 0 not in shape


def broadcastable(*shapes: tuple[int, ...]) -> bool:
    try:
        return np.prod(np.broadcast_shapes(*shapes)) <= 200
    except ValueError:
        return False


def dim(draw: Draw, x: Any) -> int:
    return draw(st.integers(-x.ndim, x.ndim - 1))


def one_of(draw: Draw, *actions: Callable[[], Any]) -> Any:
    """Do one of several things. The number is drawn, not the action, which belongs to one library."""
    return actions[draw(st.integers(0, len(actions) - 1))]()


def array(x: Any) -> np.ndarray:
    return x.detach().numpy()


# -- elementwise --------------------------------------------------------------------------------------------------

SMOOTH = [
    *["tanh", "sin", "cos", "sigmoid", "atan", "asinh", "erf", "neg", "square"],
    *["softplus", "silu", "gelu", "mish", "logsigmoid"],
]
KINKED = ["relu", "abs", "leaky_relu", "elu", "hardtanh", "hardswish", "sign"]


@instruction()
def smooth(lib: Any, draw: Draw, x: Any) -> Any:
    name = draw(st.sampled_from(SMOOTH))
    return getattr(lib, name, None)(x) if hasattr(lib, name) else getattr(lib.nn.functional, name)(x)


@instruction(decides=lambda lib, x: [x > c for c in (-3.0, -1.0, 0.0, 1.0, 3.0)] + [x == 0.0])
def kinked(lib: Any, draw: Draw, x: Any) -> Any:
    name = draw(st.sampled_from(KINKED))
    return getattr(lib, name)(x) if name in ("abs", "sign") else getattr(lib.nn.functional, name)(x)


@instruction()
def positive(lib: Any, draw: Draw, x: Any) -> Any:
    name = draw(st.sampled_from(["log", "sqrt", "rsqrt", "reciprocal", "log1p"]))
    return getattr(lib, name)(x * x + 0.5)


@instruction(decides=lambda lib, x: [x > -0.5, x > 0.75, x == -0.5, x == 0.75])
def clamp(lib: Any, draw: Draw, x: Any) -> Any:
    return lib.clamp(x, draw(st.sampled_from([None, -0.5])), 0.75)


@instruction()
def with_number(lib: Any, draw: Draw, x: Any) -> Any:
    c = draw(st.sampled_from([-2.0, 0.5, 3]))
    return one_of(draw, lambda: x + c, lambda: c - x, lambda: x * c, lambda: x / c, lambda: c / (x * x + 1))


@instruction(2, broadcastable)
def arithmetic(lib: Any, draw: Draw, x: Any, y: Any) -> Any:
    return one_of(
        draw,
        lambda: x + y,
        lambda: x - y,
        lambda: x * y,
        lambda: x / (y * y + 1.0),
        lambda: lib.atan2(x, y * y + 1.0),
        lambda: lib.pow(x * x + 0.5, lib.tanh(y)),
        lambda: lib.lerp(x, y, 0.3),
    )


@instruction(2, broadcastable, decides=lambda lib, x, y: [x > y, x == y])
def choose(lib: Any, draw: Draw, x: Any, y: Any) -> Any:
    return one_of(draw, lambda: lib.maximum(x, y), lambda: lib.minimum(x, y), lambda: lib.where(x > y, x * 2.0, y))


# -- products -----------------------------------------------------------------------------------------------------


@instruction(2, lambda a, b: len(a) >= 1 and len(b) >= 1 and a[-1] == b[max(0, len(b) - 2)] and len(a) <= 2 >= len(b))
def matmul(lib: Any, draw: Draw, x: Any, y: Any) -> Any:
    return x @ y


@instruction(1, has_dims(2))
def gram(lib: Any, draw: Draw, x: Any) -> Any:
    return one_of(draw, lambda: x @ x.mT, lambda: x.mT @ x, lambda: lib.einsum("...ij,...kj->...ik", x, x))


# -- shapes and views ---------------------------------------------------------------------------------------------


@instruction(1, has_dims(2))
def reorder(lib: Any, draw: Draw, x: Any) -> Any:
    order = draw(st.permutations(range(x.ndim)))
    return one_of(draw, lambda: x.permute(*order), lambda: x.mT, lambda: x.transpose(0, -1))


@instruction()
def reshaped(lib: Any, draw: Draw, x: Any) -> Any:
    return one_of(
        draw,
        lambda: x.reshape(-1),
        lambda: x.flatten(),
        lambda: x.unsqueeze(draw(st.integers(0, x.ndim))),
        lambda: x.squeeze(),
        lambda: x[None],
    )


@instruction(1, lambda shape: len(shape) < 3 and np.prod(shape) <= 40)
def stretched(lib: Any, draw: Draw, x: Any) -> Any:
    return one_of(
        draw,
        lambda: x.expand(2, *x.shape),
        lambda: x.repeat(2, *[1] * x.ndim),
        lambda: lib.tile(x, (2,)),
        lambda: lib.stack([x, x * 0.5], 0),
    )


@instruction(1, has_dims(1))
def sliced(lib: Any, draw: Draw, x: Any) -> Any:
    keys = [slice(None, None, 2), slice(1, None), slice(None, -1), 0, -1, Ellipsis, None, [0, 0], slice(0, 2)]
    key = keys[draw(st.integers(0, len(keys) - 1))]
    if draw(st.booleans()):
        return x[..., key] if key is not Ellipsis else x[key]
    return x[key]


@instruction(1, has_dims(1))
def moved(lib: Any, draw: Draw, x: Any) -> Any:
    d = dim(draw, x)
    return one_of(
        draw,
        lambda: lib.flip(x, (d,)),
        lambda: lib.roll(x, 1, d),
        lambda: lib.nn.functional.pad(x, (1, 1)),
        lambda: lib.cumsum(x, d),
    )


@instruction(1, has_dims(2))
def triangle(lib: Any, draw: Draw, x: Any) -> Any:
    return getattr(lib, draw(st.sampled_from(["tril", "triu"])))(x)


@instruction(1, lambda shape: filled(shape) and shape[0] >= 2)
def parted(lib: Any, draw: Draw, x: Any) -> Any:
    parts = one_of(draw, lambda: lib.chunk(x, 2), lambda: lib.split(x, 1), lambda: lib.unbind(x))
    # Not a part itself: PyTorch refuses to write to one of several views, Backlit does not.
    return parts[0] * 2.0 + parts[1] if parts[0].shape == parts[1].shape else parts[1] * 2.0


@instruction(2, lambda a, b: len(a) == len(b) > 0 and a[1:] == b[1:])
def joined(lib: Any, draw: Draw, x: Any, y: Any) -> Any:
    return lib.cat([x, y, x], 0)


# -- reductions ---------------------------------------------------------------------------------------------------


@instruction(1, filled)
def reduced(lib: Any, draw: Draw, x: Any) -> Any:
    d, keep = dim(draw, x), draw(st.booleans())
    return one_of(
        draw,
        lambda: lib.sum(x, d, keep),
        lambda: lib.mean(x, d, keep),
        lambda: lib.logsumexp(x, d, keep),
        lambda: lib.var(x, d, unbiased=False, keepdim=keep),
        lambda: lib.prod(lib.tanh(x), d, keep),
        lambda: lib.sum(x),
        lambda: x.mean(),
        lambda: lib.sum(x, tuple(range(x.ndim))),
    )


@instruction(1, filled)
def normalised(lib: Any, draw: Draw, x: Any) -> Any:
    d = dim(draw, x)
    return one_of(
        draw,
        lambda: lib.softmax(x, d),
        lambda: lib.log_softmax(x, d),
        lambda: lib.nn.functional.layer_norm(x, x.shape[-1:]),
        lambda: x / (lib.norm(x, dim=d, keepdim=True) + 1.0) if (array(x) != 0).all() else x,
    )


def order(lib: Any, x: Any) -> Any:
    """Everything a sort or an extreme along any dimension can decide by: all pairwise comparisons."""
    flat = x.reshape(-1)
    return [flat[:, None] > flat[None, :], flat[:, None] == flat[None, :]]


@instruction(1, filled, decides=order)
def ordered(lib: Any, draw: Draw, x: Any) -> Any:
    d = dim(draw, x)
    return one_of(
        draw,
        lambda: lib.amax(x, d),
        lambda: lib.amin(x, d, True),
        lambda: lib.sort(x, dim=d, stable=True)[0],
        lambda: lib.sort(x, dim=d, descending=True, stable=True)[0],
        lambda: x.max(),
        lambda: lib.cumprod(lib.tanh(x), d),
    )


# -- indexing by values -------------------------------------------------------------------------------------------


@instruction(1, filled, decides=lambda lib, x: [x > 0.0])
def masked(lib: Any, draw: Draw, x: Any) -> Any:
    return one_of(
        draw, lambda: x[x > 0.0], lambda: lib.masked_fill(x, x > 0.0, 0.25), lambda: lib.masked_select(x, x > 0.0)
    )


@instruction(1, filled)
def gathered(lib: Any, draw: Draw, x: Any) -> Any:
    index = lib.tensor([draw(st.integers(0, x.shape[0] - 1)) for _ in range(3)])
    return one_of(
        draw,
        lambda: x[index],
        lambda: lib.index_select(x, 0, index),
        lambda: lib.zeros_like(x).index_add(0, index, x[index]) if x.ndim else x,
    )


# -- writing in place ---------------------------------------------------------------------------------------------


@instruction(2, lambda a, b: broadcastable(a, b) and np.broadcast_shapes(a, b) == a)
def write_into_copy(lib: Any, draw: Draw, x: Any, y: Any) -> Any:
    z = x.clone()
    kind = draw(st.integers(0, 4))
    if kind == 0:
        z.add_(y)
    elif kind == 1:
        z.mul_(y)
    elif kind == 2:
        z += y * 0.5
    elif kind == 3:
        z.copy_(y)
    else:
        z[...] = y
    return z


@instruction(1, filled)
def write_part_of_copy(lib: Any, draw: Draw, x: Any) -> Any:
    z = x * 1.0
    kind = draw(st.integers(0, 4))
    if kind == 0:
        z[0] = 0.5
    elif kind == 1:
        z[..., -1] = z[..., 0] * 2.0
    elif kind == 2:
        z[::2].mul_(3.0)
    elif kind == 3:
        view = z[0]
        view.add_(1.0)
        z = z + view.sum()
    else:
        z = z.contiguous()  # whether reshape gives a view of other layouts is up to the library
        view = z.reshape(-1)
        view[0] = 0.0
        z = z * 2.0
    return z


def overlap(x: Any, y: Any) -> bool:
    return x is not y and bool(np.may_share_memory(array(x), array(y)))


@instruction(
    2,
    lambda a, b: 0 not in a and broadcastable(a, b) and np.broadcast_shapes(a, b) == a,
    decides=lambda lib, x, y: [lib.tensor([x.is_leaf, overlap(x, y)])],  # PyTorch's flatten() may give x itself
)
def write(lib: Any, draw: Draw, x: Any, y: Any) -> Any:
    """Write to an earlier result itself. The backward pass may need what was overwritten; then both must refuse."""
    if x.is_leaf or not x.requires_grad:
        return x * y
    repeats = any(step == 0 and n > 1 for step, n in zip(array(x).strides, x.shape, strict=True))
    if repeats or overlap(x, y):  # PyTorch and Backlit refuse different ones of these writes
        return x.mul_(0.5)
    return one_of(draw, lambda: x.mul_(0.5), lambda: x.add_(y), lambda: x.zero_() + y)


# -- control flow and grad modes ----------------------------------------------------------------------------------


@instruction(1, decides=lambda lib, x: [x.sum() > 0.0])
def branch(lib: Any, draw: Draw, x: Any) -> Any:
    return x * 2.0 if x.sum() > 0.0 else lib.sin(x)


@instruction()
def loop(lib: Any, draw: Draw, x: Any) -> Any:
    for i in range(draw(st.integers(1, 4))):
        x = lib.tanh(x + 0.1 * i) * x
    return x


@instruction()
def cut(lib: Any, draw: Draw, x: Any) -> Any:
    if draw(st.booleans()):
        return x * x.detach()
    with lib.no_grad():
        constant = lib.cos(x)
    return x + constant


# -- running both -------------------------------------------------------------------------------------------------


Record = dict[str, Any]
"""A program as plain data: the ``seed`` of its values, the shapes of its ``leaves``, and its ``steps``, each the name
of an instruction, the numbers of the results it takes, and what it drew."""


class Disagreement(AssertionError):
    """The two libraries gave different results; the message is the program, ``record`` what replays it."""

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record


@dataclass
class Pair:
    """The same program in two libraries: the results so far in each, and what was done, for messages and replays."""

    libraries: tuple[Any, Any]
    instructions: list[Instruction] = field(default_factory=lambda: INSTRUCTIONS)
    pool: list[tuple[Any, Any]] = field(default_factory=list)
    leaves: list[tuple[Any, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    record: Record = field(default_factory=dict)
    fates: list[str] = field(default_factory=list)
    """What became of each step's result: ``kept``, ``squashed`` (and kept) or ``dropped``."""
    refused: bool = False
    """Whether PyTorch refused the backward pass."""

    def start(self, seed: int, shapes: list[Any]) -> None:
        """Make the leaves."""
        self.record = {"seed": seed, "leaves": [list(shape) for shape in shapes], "steps": []}
        for values in leaf_values(self.record):
            made = tuple(lib.tensor(values, requires_grad=True) for lib in self.libraries)
            self.lines.append(f"t{len(self.pool)} = leaf {values.shape}")
            self.pool.append(made)
            self.leaves.append(made)

    def step(self, draw: Draw) -> None:
        """Draw an instruction and inputs that fit it, run it in both libraries, compare."""
        kind = draw(st.sampled_from(self.instructions))
        choices = [draw(st.integers(0, len(self.pool) - 1)) for _ in range(kind.inputs)]
        if kind.applies(*[tuple(self.pool[i][0].shape) for i in choices]):
            self.run(kind, choices, Tape(draw))

    def run(self, kind: Instruction, choices: list[int], drawn: Tape) -> None:
        """Run an instruction in both libraries and compare; nothing, where they would decide differently."""
        sides = [[self.pool[i][side] for i in choices] for side in (0, 1)]
        if kind.decides is not None and not self._decide_alike(kind, sides):
            return
        made, failures = [], []
        self.record["steps"].append([kind.name, choices, drawn.values])
        self.fates.append("dropped")
        for lib, inputs in zip(self.libraries, sides, strict=True):
            try:
                made.append(kind.function(lib, drawn.rewound(), *inputs))
            except (RuntimeError, IndexError, ValueError) as error:
                failures.append(error)
        self.lines.append(f"t{len(self.pool)} = {kind.name}({', '.join(f't{i}' for i in choices)}) {drawn.values}")
        if failures:
            if len(failures) == 1:
                raise self.disagree(f"only one library refuses: {failures[0]}") from failures[0]
            return
        self._keep(made)

    def _decide_alike(self, kind: Instruction, sides: list[list[Any]]) -> bool:
        theirs, ours = (kind.decides(lib, *inputs) for lib, inputs in zip(self.libraries, sides, strict=True))
        return all(np.array_equal(array(a), array(b)) for a, b in zip(theirs, ours, strict=True))

    def _keep(self, made: list[Any]) -> None:
        theirs, ours = made
        self.same("value", ours, theirs)
        if theirs.numel() and float(abs(array(theirs)).max()) > LARGE:
            made = [squashed(lib, x) for lib, x in zip(self.libraries, made, strict=True)]
            self.fates[-1] = "squashed"
        else:
            self.fates[-1] = "kept"
        if theirs.numel() <= 400 and theirs.ndim <= 4:
            self.pool.append((made[0], made[1]))
        else:
            self.fates[-1] = "dropped"

    def same(self, what: str, ours: Any, theirs: Any) -> None:
        """Equal shape and requires_grad, values within 1e-10 of the largest."""
        if (ours is None) != (theirs is None):
            raise self.disagree(f"{what}: {ours} instead of {theirs}")
        if theirs is None:
            return
        if tuple(ours.shape) != tuple(theirs.shape) or ours.requires_grad != theirs.requires_grad:
            raise self.disagree(
                f"{what}: shape {tuple(ours.shape)}, requires_grad {ours.requires_grad} "
                f"instead of {tuple(theirs.shape)}, {theirs.requires_grad}"
            )
        a, b = array(ours), array(theirs)
        if not np.allclose(a, b, rtol=1e-10, atol=1e-10 * max(1.0, float(np.abs(b).max(initial=0.0))), equal_nan=True):
            raise self.disagree(f"{what}: {a} instead of {b}")

    def backward(self) -> None:
        """Differentiate a weighted sum of all results; the leaves' gradients agree, or PyTorch refuses.

        It refuses where a value that it saved was overwritten; Backlit saves fewer (no input of masked_select).
        """
        failures: list[Exception | None] = []
        for side in (0, 1):
            try:
                results = [pair[side] for pair in self.pool]
                loss = sum((t * weight(i)).sum() for i, t in enumerate(results))
                loss.backward()
                failures.append(None)
            except RuntimeError as error:
                failures.append(error)
        theirs, ours = failures
        self.refused = theirs is not None
        if self.refused:
            return
        if ours is not None:
            raise self.disagree(f"backward: PyTorch succeeds; Backlit {ours}") from ours
        for i, (a, b) in enumerate(self.leaves):
            self.same(f"gradient of leaf {i}", b.grad, a.grad)

    def disagree(self, why: str) -> Disagreement:
        return Disagreement("\n".join([why, *self.lines]), self.record)


def leaf_values(record: Record) -> list[np.ndarray]:
    """The values of a program's leaves."""
    rng = np.random.default_rng(record["seed"])
    return [np.asarray(rng.normal(size=tuple(shape))) for shape in record["leaves"]]


def squashed(lib: Any, x: Any) -> Any:
    return lib.tanh(x * 0.01)


def weight(i: int) -> float:
    """How much result ``i`` counts in the loss."""
    return 0.3 + 0.1 * i


def keep(file: Path, record: Record) -> None:
    """Add a record to those of a file that are replayed every time."""
    line = json.dumps(record)
    if line not in file.read_text(encoding="utf-8").splitlines():
        with file.open("a", encoding="utf-8") as end:
            end.write(line + "\n")


def kept(file: Path) -> list[Record]:
    """The records of a file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def replay(record: Record, libraries: tuple[Any, Any]) -> Pair:
    """Run a recorded program again and compare, backward pass included."""
    named = {kind.name: kind for kind in INSTRUCTIONS}
    pair = Pair(libraries)
    pair.start(record["seed"], record["leaves"])
    for name, choices, values in record["steps"]:
        pair.run(named[name], choices, Tape.of(values))
    pair.backward()
    return pair


class Tape:
    """Draws once, and repeats what it drew for the second library."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.values: list[Any] = []

    @classmethod
    def of(cls, values: list[Any]) -> Tape:
        """What was drawn before."""

        def nothing_more(strategy: Any) -> Any:
            raise LookupError(f"a recorded step draws more than it did when it was recorded: {strategy}")

        tape = cls(nothing_more)
        tape.values = list(values)
        return tape

    def rewound(self) -> Draw:
        place = iter(range(1000))

        def again(strategy: Any) -> Any:
            i = next(place)
            if i == len(self.values):
                self.values.append(self.draw(strategy))
            return self.values[i]

        return again
