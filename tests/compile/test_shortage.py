"""Where memory or threads run out: a clear error or a warning, nothing half done, and the next call works."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from test_trainings import count  # noqa: F401  (a fixture)

import backlit as bl
from backlit import threads
from backlit.compile import TraceError, forms
from backlit.compile.runtime import pool

PROGRAM = """
import gc, resource, sys
import backlit as bl

large_result = sys.argv[1] == "result"
w = bl.ones(3072, requires_grad=True)
optimizer = bl.optim.SGD([w], lr=0.5, momentum=0.9)


@bl.compile
def step(x):
    optimizer.zero_grad()
    table = bl.tanh(x @ (x.T * w))  # 36 MB, more than freed memory is kept for, that two products take
    loss = (table.T @ (table @ x)).square().mean()
    loss.backward()
    optimizer.step()
    return table.detach() if large_result else loss.detach()


def held():
    state = optimizer.state[w]
    return w.tolist(), {name: t.tolist() for name, t in state.items()}, w._version


bl.set_num_threads(1)
x = bl.full((3072, 4), 1e-3)
other = bl.compile(step.function)  # from here on the code is on disk
for call in (other, other, step, *[step] * large_result):
    call(x)
del other, call
gc.collect()
before = held()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (24 << 20), hard))
try:
    step(x)
    print("no error")
except MemoryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
assert held() == before, "something was written"
for _ in range(2):
    step(x)
assert held() != before
print("went on", len(step._forms.all()), step.reason)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="limits of memory are Linux'")
@pytest.mark.parametrize(("what", "told"), [("arena", "bytes of memory to compute in"), ("result", "allocate")])
def test_memory_runs_out(what: str, told: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    environment["BACKLIT_CACHE"] = str(tmp_path / "code")
    command = [sys.executable, "-c", PROGRAM, what]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    error, after = run.stdout.splitlines()
    assert told in error
    assert after == "went on 1 None"


def test_threads_that_cannot_be_started(count: int) -> None:  # noqa: F811
    """All parts of a region are then one thread's, with the same results."""
    compiled, x = bl.compile(lambda x: (x @ x.T).exp().sum(0)), bl.randn(64, 64) * 0.1
    wanted = (x @ x.T).exp().sum(0)
    compiled(x)
    pool.close()
    running = threading.active_count()
    threads._chosen = 4
    start = threading.Thread.start

    def refuses(self: Any) -> None:
        if self.name == "backlit-3":
            raise RuntimeError("can't start new thread")
        start(self)

    compiled(x)
    with mock.patch.object(threading.Thread, "start", refuses), pytest.warns(UserWarning, match="4 threads could not"):
        found = compiled(x)
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-5)
    assert threading.active_count() == running, "threads were left behind"
    assert compiled(x).tolist() == found.tolist()
    threads._chosen = 2
    for _ in range(3):
        assert compiled(x).tolist() == pytest.approx(wanted.tolist(), rel=1e-5)


def test_code_that_cannot_be_made() -> None:
    def function(x: Any) -> Any:
        return x * 2

    strict, lenient, x = bl.compile(function), bl.compile(function, fallback=True), bl.ones(2)
    strict(x), lenient(x)
    with mock.patch.object(forms, "bound", side_effect=RuntimeError("no such instruction")):
        with pytest.raises(TraceError, match=r"no code could be made \(RuntimeError: no such instruction\)"):
            strict(x)
        assert lenient(x).tolist() == [2.0, 2.0]
    assert "no such instruction" in str(lenient.reason)
    assert strict(x).tolist() == lenient(x).tolist() == [2.0, 2.0]
