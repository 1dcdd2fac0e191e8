"""The gradient of one leaf against differences: entry by entry, or along random directions where it is large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .methods import EPS, Bend, Estimate, Sweep, bend, richardson, sweep
from .subject import Direction, Subject

Index = tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """How closely two values must agree, and how many entries and random directions are looked at."""

    rtol: float = 1e-5
    atol: float | None = None
    eps: float = EPS
    entries: int = 64
    whole: int = 500
    """Leaves of at most so many entries are checked completely."""
    directions: int = 6
    seed: int = 0


@dataclass(frozen=True)
class Kink:
    """An entry where the function bends or jumps; the analytic value lies between the slopes on both sides."""

    index: Index
    kind: str
    left: float
    right: float
    analytic: float


@dataclass(frozen=True)
class Entry:
    """One entry: the gradient by backpropagation, by differences (within ``error``), and how far they are apart."""

    index: Index
    analytic: float
    numeric: float
    error: float
    relative: float
    agrees: bool


@dataclass
class LeafResult:
    """Everything found out about one leaf."""

    entries: list[Entry] = field(default_factory=list)
    kinks: list[Kink] = field(default_factory=list)
    unsettled: int = 0
    undefined: int = 0
    """Entries where the function has no finite difference, such as sqrt at 0: nothing can be said about them."""
    directions: int = 0
    bad_directions: int = 0
    worst_direction: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every entry and every direction agrees."""
        return all(entry.agrees for entry in self.entries) and not self.bad_directions

    @property
    def worst(self) -> Entry | None:
        """The entry that is furthest off, relatively."""
        return max(self.entries, key=lambda entry: (not entry.agrees, entry.relative), default=None)

    @property
    def relative(self) -> float:
        """The largest relative error of an entry or a direction."""
        return max([entry.relative for entry in self.entries] + [self.worst_direction], default=0.0)

    def numeric(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The gradient by differences, NaN where it was not computed or bends."""
        out = np.full(shape, np.nan)
        for entry in self.entries:
            out[entry.index] = entry.numeric
        return out


class LeafCheck:
    """Compares one leaf's gradient ``analytic`` (of the leaf's shape) with differences.

    ``largest`` is the largest gradient of all leaves; what is tiny beside it is measured by it.
    """

    def __init__(
        self, subject: Subject, k: int, analytic: NDArray[Any], settings: Settings, largest: float = 0.0
    ) -> None:
        self.subject = subject
        self.k = k
        self.analytic = np.asarray(analytic, np.float64)
        self.settings = settings
        self.array = subject.leaves[k]._data
        size = float(np.abs(self.analytic[np.isfinite(self.analytic)]).max(initial=0.0))
        self.floor = max(1e-5 * size, 1e-7 * largest, 1e4 * subject.noise, 1e-300)
        self.atol = 1e-2 * self.floor if settings.atol is None else settings.atol
        self.rng = np.random.default_rng([settings.seed, k])
        self.result = LeafResult()

    def run(self) -> LeafResult:
        """Check all entries of a small leaf, a choice of entries and random directions of a large one."""
        size = self.array.size
        if size <= max(self.settings.whole, self.settings.entries):
            self.check_entries(np.ndindex(self.array.shape))
        else:
            self.check_entries(self._chosen())
            self.check_directions(self.settings.directions)
            if self.result.bad_directions and all(entry.agrees for entry in self.result.entries):
                self._search()
        return self.result

    def sweep(self) -> Sweep | None:
        """Error against step size at the worst entry."""
        worst = self.result.worst
        if worst is None:
            return None
        along = self.subject.along(self.k, worst.index)
        scale = max(1.0, abs(float(self.array[worst.index])))
        return sweep(along, self.subject.u, worst.analytic, scale, max(self.floor, self.atol))

    def check_entries(self, indices: Any) -> None:
        """Compare entries one after the other."""
        for index in indices:
            self._entry(index)

    def _entry(self, index: Index) -> None:
        analytic = float(self.analytic[index])
        scale = max(1.0, abs(float(self.array[index])))
        estimate, agrees, found = self.compare(index, analytic, scale)
        value = abs(float(self.array[index]))
        if (
            not np.isfinite(estimate.value) and 0 < value < 1
        ):  # the edge of the domain, as of log, is nearer than the step
            estimate, agrees, found = self.compare(index, analytic, 2.0 ** np.floor(np.log2(value)))
        if not np.isfinite(estimate.value):
            self.result.undefined += 1
            return
        if found is not None:
            self.result.kinks.append(Kink(index, found.kind, found.left, found.right, analytic))
            return
        self.result.unsettled += agrees and not self.settled(estimate, analytic)
        error = self._relative(analytic, estimate)
        self.result.entries.append(Entry(index, analytic, estimate.value, estimate.error, error, agrees))

    def compare(self, direction: Direction, analytic: float, scale: float) -> tuple[Estimate, bool, Bend | None]:
        """A difference along a direction, whether it agrees, and the kink that explains it if it does not."""
        s, subject = self.settings, self.subject
        along = subject.along(self.k, direction)
        allowed = self.atol + s.rtol * abs(analytic)
        eps = s.eps * max(1.0, (subject.precision / 2.2e-16) ** 0.3)
        estimate = richardson(along, subject.u, subject.noise, scale=scale, eps=eps, analytic=analytic, allowed=allowed)
        off = abs(estimate.value - analytic)
        if off <= allowed:
            return estimate, True, None
        found = bend(along, subject.u, subject.here, subject.noise, analytic, scale, eps)
        agrees = bool(off <= allowed + s.rtol * abs(estimate.value) + estimate.error)
        return estimate, agrees, None if agrees and found is None else found

    def settled(self, estimate: Estimate, analytic: float) -> bool:
        """Whether a difference is certain enough to tell a wrong value from a right one."""
        return estimate.error <= 0.01 * max(abs(analytic), abs(estimate.value)) + self.atol + self.floor

    def check_directions(self, count: int) -> None:
        """Compare the inner product of the gradient with random directions of length one."""
        for _ in range(count):
            direction = self.rng.normal(size=self.array.shape)
            direction /= np.linalg.norm(direction) or 1.0
            wanted = float((self.analytic * direction).sum())
            estimate, agrees, found = self.compare(direction, wanted, 1.0)
            if not np.isfinite(estimate.value):
                continue
            self.result.directions += 1
            if found is None:
                self.result.bad_directions += not agrees
                off = 0.0 if agrees else self._relative(wanted, estimate)
                self.result.worst_direction = max(self.result.worst_direction, off)

    def _relative(self, analytic: float, estimate: Estimate) -> float:
        off = abs(estimate.value - analytic)
        if not np.isfinite(off):
            return np.inf
        return off / max(abs(analytic), abs(estimate.value), self.floor, self.atol)

    def _chosen(self) -> Iterator[Index]:
        """The entries with the largest gradients, and random ones."""
        flat = np.abs(self.analytic).reshape(-1)
        largest = np.argpartition(flat, -8)[-8:]
        drawn = self.rng.choice(flat.size, self.settings.entries - len(largest), replace=False)
        for i in sorted({*largest.tolist(), *drawn.tolist()}):
            yield tuple(int(j) for j in np.unravel_index(i, self.array.shape))

    def _search(self) -> None:
        """Find an entry that is wrong by halving: the half that is further off holds one."""
        low, high = 0, self.array.size
        signs = self.rng.choice([-1.0, 1.0], self.array.size)
        while high - low > 1:
            middle = (low + high) // 2
            left, right = self._off(low, middle, signs), self._off(middle, high, signs)
            low, high = (low, middle) if left >= right else (middle, high)
        self._entry(tuple(int(j) for j in np.unravel_index(low, self.array.shape)))

    def _off(self, low: int, high: int, signs: NDArray[Any]) -> float:
        direction = np.zeros(self.array.size)
        direction[low:high] = signs[low:high]
        length = np.linalg.norm(direction)
        direction = direction.reshape(self.array.shape) / length
        wanted = float((self.analytic * direction).sum())
        estimate, _, _ = self.compare(direction, wanted, 1.0)
        return float(abs(estimate.value - wanted) * length) if np.isfinite(estimate.value) else np.inf
