"""DataLoader: a data set as batches, in an order that can be repeated and taken up again."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ...errors import CheckpointError, OperationError, UnsupportedError
from ...random import Generator
from .collate import default_collate, default_convert
from .dataset import IterableDataset, fetch_batch, fetch_samples
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, grouped
from .seeds import batch_rng, draw_seed


class DataLoader:
    """Iterates over a data set in batches.

    Args:
        dataset: anything with ``dataset[i]`` and ``len``, or an :class:`IterableDataset`. A :class:`TensorDataset`
            makes each batch by one index operation.
        batch_size: samples a batch; None gives single samples, not batched.
        shuffle: a new random order each pass. Samplers of your own replace it.
        sampler: an iterable of indices.
        batch_sampler: an iterable of lists of indices; replaces batch_size, shuffle, sampler and drop_last.
        num_workers: how many threads make batches ahead of time; 0 makes each batch when it is asked for. Threads pay
            where samples are read from files or changed by NumPy code; batches and their order stay the same. A data
            set that draws from the default generator in ``__getitem__`` is not reproducible with threads; use
            :class:`TransformedDataset` for random changes.
        collate_fn: makes a batch of a list of samples (default: :func:`default_collate`).
        pin_memory, persistent_workers: accepted and without effect: there is no device to copy to, and threads start
            fast.
        drop_last: leave out a last batch that is smaller.
        generator: where orders are drawn from; by default the generator that ``manual_seed`` sets. Each pass draws one
            seed, from which its order and all random changes of its samples follow. A sampler with a generator of its
            own draws it there.
        prefetch_factor: how many batches each thread makes ahead (default 2).

    Raises:
        OperationError: options that exclude each other, or values out of range.
        UnsupportedError: worker processes and what belongs to them (timeout, worker_init_fn, multiprocessing_context).
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ) -> None:
        if timeout or worker_init_fn is not None or multiprocessing_context is not None:
            raise UnsupportedError(
                "DataLoader: timeout, worker_init_fn and multiprocessing_context belong to worker processes; "
                "num_workers counts threads here, which need none of them."
            )
        self._streams = isinstance(dataset, IterableDataset)
        _check_options(batch_size, shuffle, sampler, batch_sampler, drop_last, num_workers, self._streams)
        self.dataset = dataset
        self.batch_size = batch_size if batch_sampler is None else None
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor or 2
        self.collate_fn = collate_fn
        self.generator = generator
        self.pin_memory = pin_memory
        self.persistent_workers = persistent_workers
        if sampler is None and not self._streams:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        self.sampler: Any = sampler
        if batch_sampler is None and batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_sampler: Any = batch_sampler
        self._pass = _Pass()
        self._resume: _Pass | None = None

    def __len__(self) -> int:
        if self._streams:
            count = len(self.dataset)
            if self.batch_size is None:
                return count
            return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
        return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)

    def __iter__(self) -> Iterator[Any]:
        resumed, self._resume = self._resume, None
        now = self._pass = _Pass(True, self._draw_seed()) if resumed is None else resumed
        return self._batches(now)

    # -- position -----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: the pass under way (its seed, and how many batches it gave) and its generators' states.

        Taken between two batches it belongs to the batches given so far, prefetched ones not counted.
        """
        now = self._resume or self._pass
        generators = [g.get_state() for g in self._generators()]
        place = {name: getattr(now, name) for name in ("running", "seed", "batches", "order")}
        return {**place, "generators": generators}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position: the next iteration gives the rest of the pass that was running.

        Raises:
            CheckpointError: the state is not of a loader like this one.
        """
        generators = list(self._generators())
        try:
            found = _Pass(bool(state["running"]), int(state["seed"]), int(state["batches"]), int(state["order"]))
            states = list(state["generators"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("DataLoader: this is not the state of a data loader.") from error
        if len(states) != len(generators):
            raise CheckpointError(
                f"DataLoader: the state has {len(states)} generators and this loader {len(generators)}; "
                "make the loader with the options it had when it was saved."
            )
        for generator, saved in zip(generators, states, strict=True):
            generator.set_state(saved)
        self._resume = found if found.running else None
        self._pass = _Pass()

    def _generators(self) -> Iterator[Generator]:
        """The generators that belong to this loader, each once."""
        inner = getattr(self.batch_sampler, "sampler", None)
        holders = (self, self.sampler, self.batch_sampler, inner)
        found = [getattr(holder, "generator", None) for holder in holders]
        return iter({id(g): g for g in found if isinstance(g, Generator)}.values())

    def _draw_seed(self) -> int:
        """The number that stands for the next pass; 0, drawing nothing, where nothing is random."""
        inner = getattr(self.batch_sampler, "sampler", self.sampler)
        if not hasattr(inner, "generator") and not getattr(self.dataset, "random", False):
            return 0
        return draw_seed(getattr(inner, "generator", None) or self.generator)

    # -- batches ------------------------------------------------------------------------------------------------

    def _batches(self, now: _Pass) -> Iterator[Any]:
        made = self._streamed(now) if self._streams else self._made(now)
        for batch in made:
            now.give()
            yield batch
        now.running = False

    def _streamed(self, now: _Pass) -> Iterator[Any]:
        if self.batch_size is None:
            convert = self.collate_fn or default_convert
            return map(convert, islice(self.dataset, now.batches, None))
        groups = grouped(self.dataset, self.batch_size, self.drop_last)
        return map(self.collate_fn or default_collate, islice(groups, now.batches, None))

    def _made(self, now: _Pass) -> Iterator[Any]:
        places = self._places(now)
        numbered = enumerate(places, now.batches)
        if self.num_workers:
            return self._prefetched(numbered, now.seed)
        if self._takes_plainly():
            return map(self.dataset.take, places)
        return (self._fetch(indices, now.seed, number) for number, indices in numbered)

    def _takes_plainly(self) -> bool:
        """Whether a batch is nothing but the data set's ``take``, which then is called without a detour."""
        plain = self.collate_fn is None or self.collate_fn is default_collate
        dataset = self.dataset
        return (
            plain
            and self.batch_sampler is not None
            and getattr(dataset, "takes_batches", False)
            and not getattr(dataset, "random", False)
        )

    def _places(self, now: _Pass) -> Iterator[Any]:
        """The indices of each batch, from the pass's position on."""
        batches = self.batch_sampler
        if batches is None:
            return islice(_order(self.sampler, now.seed), now.batches, None)
        if type(batches) is BatchSampler and hasattr(batches.sampler, "indices"):
            return _slices(batches.sampler.indices(now.seed), batches.batch_size, batches.drop_last, now.batches)
        return now.followed(_order(batches, now.seed))

    def _fetch(self, indices: Any, seed: int, number: int) -> Any:
        rng = batch_rng(seed, number) if getattr(self.dataset, "random", False) else None
        if self.batch_sampler is None:
            return (self.collate_fn or default_convert)(fetch_samples(self.dataset, [indices], rng)[0])
        if self.collate_fn is None or self.collate_fn is default_collate:
            return fetch_batch(self.dataset, indices, rng)
        return self.collate_fn(fetch_samples(self.dataset, indices, rng))

    def _prefetched(self, numbered: Iterator[tuple[int, Any]], seed: int) -> Iterator[Any]:
        from concurrent.futures import ThreadPoolExecutor

        ahead = self.num_workers * self.prefetch_factor
        pool = ThreadPoolExecutor(self.num_workers, "backlit-loader")
        pending: deque[Any] = deque()
        try:
            for number, indices in numbered:
                pending.append(pool.submit(self._fetch, indices, seed, number))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Pass:
    """One pass over the data: whether it is under way, its seed, how many batches it has given, and a check sum of the
    order that a foreign sampler gave.

    ``ahead`` holds the check sums of batches that threads have begun and that were not given yet.
    """

    __slots__ = ("ahead", "batches", "order", "running", "seed")

    def __init__(self, running: bool = False, seed: int = 0, batches: int = 0, order: int = 0) -> None:
        self.running = running
        self.seed = seed
        self.batches = batches
        self.order = order
        self.ahead: deque[int] = deque()

    def give(self) -> None:
        """Count a batch that is handed out."""
        self.batches += 1
        if self.ahead:
            self.order = self.ahead.popleft()

    def followed(self, places: Iterable[Any]) -> Iterator[Any]:
        """Skip what the pass has given already, making sure that the sampler repeats it, and keep checking."""
        start, expected = self.batches, self.order
        order = 0
        for number, indices in enumerate(places):
            order = zlib.crc32(repr(_plain(indices)).encode(), order)
            if number >= start:
                self.ahead.append(order)
                yield indices
            elif number == start - 1 and order != expected:
                raise CheckpointError(
                    "DataLoader: the sampler gives another order than when the position was saved, so the pass cannot "
                    "be continued; give the sampler a method indices(seed) that repeats an order."
                )


def _plain(indices: Any) -> Any:
    return indices.tolist() if hasattr(indices, "tolist") else indices


def _order(sampler: Any, seed: int) -> Iterable[Any]:
    """What a sampler visits in the pass of a seed; one without ``indices`` is asked by iterating."""
    return sampler.indices(seed).tolist() if isinstance(sampler, Sampler) and hasattr(sampler, "indices") else sampler


def _slices(order: np.ndarray, size: int, drop_last: bool, start: int) -> Iterator[np.ndarray]:
    end = len(order) - len(order) % size if drop_last else len(order)
    return (order[i : i + size] for i in range(start * size, end, size))


def _check_options(
    batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool, workers: Any, streams: bool
) -> None:
    """Refuse options that exclude each other, naming them."""
    if batch_size is not None and (isinstance(batch_size, bool) or int(batch_size) != batch_size or batch_size < 1):
        raise OperationError(f"DataLoader: batch_size must be a positive whole number or None, got {batch_size!r}.")
    if isinstance(workers, bool) or int(workers) != workers or workers < 0:
        raise OperationError(f"DataLoader: num_workers must be a whole number of at least 0, got {workers!r}.")
    if streams and (shuffle or sampler is not None or batch_sampler is not None):
        raise OperationError("DataLoader: an IterableDataset comes in its own order; leave out shuffle and samplers.")
    if streams and workers:
        raise UnsupportedError("DataLoader: an IterableDataset is read by one thread; use num_workers=0.")
    if sampler is not None and shuffle:
        raise OperationError("DataLoader: sampler and shuffle exclude each other; the sampler decides the order.")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise OperationError("DataLoader: batch_sampler replaces batch_size, shuffle, sampler and drop_last.")
    if batch_size is None and drop_last:
        raise OperationError("DataLoader: batch_size=None gives single samples, so drop_last means nothing.")
