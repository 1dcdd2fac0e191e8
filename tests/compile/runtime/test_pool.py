"""The thread pool: every part is done once, by anybody, and nobody ever hangs."""

import ctypes
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from llvmlite import ir

from backlit import threads
from backlit.compile.codegen.engine import load
from backlit.compile.codegen.target import host_target
from backlit.compile.runtime import pool
from backlit.compile.runtime.pool_code import BODY_TYPE, BYTES, I64, emit_parallel
from backlit.threads import set_num_threads


def counting_step(parts, regions):
    """A native function (control, counts) that runs some regions; each part counts itself up by its number plus one."""
    module = ir.Module("test")
    module.triple = host_target().triple
    body = ir.Function(module, BODY_TYPE, "body")
    body.linkage = "internal"
    b = ir.IRBuilder(body.append_basic_block())
    argument, part, _ = body.args
    place = b.gep(b.bitcast(argument, I64.as_pointer()), [part])
    b.store(b.add(b.load(place), b.add(part, I64(1))), place)
    b.ret_void()
    step = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64.as_pointer(), BYTES]), "step")
    b = ir.IRBuilder(step.append_basic_block())
    for _ in range(regions):
        emit_parallel(b, step.args[0], body, step.args[1], parts)
    b.ret_void()
    code = load(module, ["step"])
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(code["step"])
    function.code = code
    return function


@pytest.fixture(autouse=True)
def quiet_pool():
    before, blas = threads._chosen, threads.get_num_threads()
    yield
    pool.close()
    set_num_threads(blas)
    threads._chosen = before


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("parts", [1, 2, 3, 64, 1000])
def test_every_part_is_done_once_a_region(size, parts):
    set_num_threads(size)
    step = counting_step(parts, 7)
    counts = np.zeros(parts, np.int64)
    for _ in range(50):
        with pool.threads() as control:
            step(control, counts.ctypes.data)
    np.testing.assert_array_equal(counts, 350 * np.arange(1, parts + 1))


def test_workers_take_part_and_go_to_sleep():
    set_num_threads(2)
    step = counting_step(64, 1)
    counts = np.zeros(64, np.int64)
    with pool.threads() as control:
        step(control, counts.ctypes.data)
    (worker,) = pool._the_pool()._workers
    deadline = time.monotonic() + 10
    while not worker.asleep and time.monotonic() < deadline:
        time.sleep(0.01)
    assert worker.asleep
    with pool.threads() as control:
        assert not worker.asleep
        step(control, counts.ctypes.data)
    assert counts[0] == 2


def test_another_thread_gets_a_block_of_its_own():
    set_num_threads(2)
    addresses = []
    with pool.threads() as control:

        def other():
            with pool.threads() as own:
                addresses.append(own)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert addresses != [control]


def test_two_python_threads_at_once():
    set_num_threads(2)
    step = counting_step(16, 20)
    all_counts = [np.zeros(16, np.int64) for _ in range(2)]

    def many(counts):
        for _ in range(200):
            with pool.threads() as control:
                step(control, counts.ctypes.data)

    runners = [threading.Thread(target=many, args=(counts,)) for counts in all_counts]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(60)
    for counts in all_counts:
        np.testing.assert_array_equal(counts, 4000 * np.arange(1, 17))


def test_the_size_can_change():
    step = counting_step(8, 3)
    counts = np.zeros(8, np.int64)
    for size in (2, 4, 1, 3):
        set_num_threads(size)
        with pool.threads() as control:
            step(control, counts.ctypes.data)
    assert counts[0] == 12


def test_too_many_parts_are_refused():
    with pytest.raises(ValueError, match="parts"):
        emit_parallel(ir.IRBuilder(), None, None, None, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_has_threads_of_its_own():
    program = """
import os, sys, numpy as np
sys.path.insert(0, {folder!r})
from test_pool import counting_step, pool, set_num_threads
set_num_threads(2)
step = counting_step(8, 5)
counts = np.zeros(8, np.int64)
def go():
    with pool.threads() as control:
        step(control, counts.ctypes.data)
go()
child = os.fork()
go()
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert counts[0] == 10
else:
    sys.exit(int(counts[0] != 10))
"""
    run = [sys.executable, "-W", "ignore", "-c", program.format(folder=os.path.dirname(__file__))]
    subprocess.run(run, check=True, timeout=60)


def test_the_interpreter_exits_while_workers_spin():
    program = """
import sys, numpy as np
sys.path.insert(0, {folder!r})
from test_pool import counting_step, pool, set_num_threads
set_num_threads(3)
step = counting_step(8, 5)
counts = np.zeros(8, np.int64)
with pool.threads() as control:
    step(control, counts.ctypes.data)
print("done")
"""
    run = [sys.executable, "-c", program.format(folder=os.path.dirname(__file__))]
    done = subprocess.run(run, check=True, timeout=60, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
