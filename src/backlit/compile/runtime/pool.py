"""The library's one pool of threads, which compiled steps share their regions with.

A worker is a Python thread that sits in native code (:mod:`.pool_code`) without the interpreter's lock. It spins for a
moment, then lets other threads run between looks, and after some milliseconds without work goes to sleep on a lock; the
next step that wants the pool wakes it. A step never waits for a worker to wake up, so sleeping is always safe.

With one thread nothing is started, and regions are loops.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from ...memory import address
from ...threads import chosen_threads
from ..codegen.engine import NativeCode, load
from ..codegen.target import host_target
from .pool_code import RUN, SIZE, STOP, YIELD, pool_module

_SPINS = 2000
_PATIENCE = 6000
"""Looks in vain until a worker lets others run between them, and until it goes to sleep: about 50 µs and 2 ms."""


class Control:
    """A control block; see :mod:`.pool_code`. ``address`` is what a compiled step is given."""

    def __init__(self) -> None:
        memory = np.zeros(SIZE + 16, np.int64)
        skip = -(address(memory) // 8) % 16
        self.words = memory[skip : skip + SIZE]
        self.address: int = address(self.words)
        self.words[RUN] = _code()["run"]
        self.words[YIELD] = _yield_address()


@cache
def _code() -> NativeCode:
    return load(pool_module(host_target().triple), ["run", "work"])


@cache
def _work() -> Any:
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    return kind(_code()["work"])


@cache
def _yield_address() -> int:
    """The system's call that lets another thread run."""
    if sys.platform == "win32":
        function = ctypes.windll.kernel32.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0


class Worker:
    """One thread of the pool."""

    def __init__(self, control: Control, index: int) -> None:
        self.control = control
        self.index = index
        self.asleep = False
        self._bell = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._live, name=f"backlit-{index}", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        work, words = _work(), self.control.words
        while not words[STOP]:
            work(self.control.address, self.index, _SPINS, _PATIENCE)
            self.asleep = True
            self._bell.acquire()
            self.asleep = False

    def wake(self) -> None:
        """Get the thread back to looking for work."""
        self.asleep = False
        self._bell.release()

    def join(self) -> None:
        """Wait, a second at most, until a thread that was told to stop is gone."""
        self._bell.release()
        self._thread.join(1.0)


class Pool:
    """``size`` threads, the caller's own among them."""

    def __init__(self, size: int) -> None:
        """Raises RuntimeError where the system starts no more threads; then none is left behind."""
        self.size = size
        self.control = Control()
        self._workers: list[Worker] = []
        try:
            for index in range(1, size):
                self._workers.append(Worker(self.control, index))
        except RuntimeError:
            self.close()
            raise

    def wake(self) -> None:
        """Called before a step that wants the pool; costs next to nothing while the workers are awake."""
        for worker in self._workers:
            if worker.asleep:
                worker.wake()

    def close(self) -> None:
        """Stop the threads."""
        self.control.words[STOP] = 1
        for worker in self._workers:
            worker.join()
        self._workers = []


class _State:
    """The pool of this process, and who uses it now."""

    def __init__(self) -> None:
        self.pool: Pool | None = None
        self.refused = 1
        """The number of threads that the system would not start."""
        self.used = threading.Lock()
        self.own = threading.local()


_state = _State()


def pool_size() -> int:
    """How many threads compiled steps use; with 1 there is no pool.

    What ``set_num_threads`` was given, else ``BACKLIT_NUM_THREADS``, else the number of cores this process may use.
    """
    chosen = chosen_threads()
    if chosen is not None:
        return chosen
    given = os.environ.get("BACKLIT_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads() -> Iterator[int]:
    """The address of a control block for one step.

    It is the pool's, unless another thread's step has that: then a block of this thread's own, on which it does all
    parts itself, with the same results.
    """
    if pool_size() in (1, _state.refused) or not _state.used.acquire(blocking=False):
        yield _own_control().address
        return
    try:
        pool = _the_pool()
        if pool is not None:
            pool.wake()
        yield (_own_control() if pool is None else pool.control).address
    finally:
        _state.used.release()


def _the_pool() -> Pool | None:
    """The pool, started if need be; None where the system starts no more threads."""
    size, pool = pool_size(), _state.pool
    if pool is not None and pool.size == size:
        return pool
    close()
    try:
        _state.pool = Pool(size)
    except RuntimeError as error:
        _state.refused = size
        warnings.warn(
            f"backlit: {size} threads could not be started ({error}); compiled steps run on one until "
            "set_num_threads() asks for another number.",
            stacklevel=2,
        )
    return _state.pool


def _own_control() -> Control:
    control: Control | None = getattr(_state.own, "control", None)
    if control is None:
        control = _state.own.control = Control()
    return control


def close() -> None:
    """Stop the pool's threads; the next step that wants them starts new ones."""
    pool, _state.pool, _state.refused = _state.pool, None, 1
    if pool is not None:
        pool.close()


def _forget() -> None:
    """In a forked child there are no workers, and nobody uses the pool."""
    global _state
    _state = _State()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
