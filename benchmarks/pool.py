"""What the thread pool costs: an empty region, a step of regions on one and two threads, and beside a busy neighbour.

    python benchmarks/pool.py

The step is ten regions of 64 parts that compute for about 100 µs on one thread. The neighbour is another process that
keeps one core busy, as in a shared machine.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import time

import numpy as np
from llvmlite import ir

from backlit.compile.codegen.engine import load
from backlit.compile.codegen.target import host_target
from backlit.compile.runtime import pool
from backlit.threads import set_num_threads
from backlit.compile.runtime.pool_code import BODY_TYPE, BYTES, I64, emit_parallel

REGIONS, PARTS = 10, 64


def step_of(regions: int, parts: int, rounds: int) -> object:
    """A native step: in each part, ``rounds`` dependent multiplications."""
    module = ir.Module("benchmark")
    module.triple = host_target().triple
    body = ir.Function(module, BODY_TYPE, "body")
    body.linkage = "internal"
    entry = body.append_basic_block()
    b = ir.IRBuilder(entry)
    place = b.gep(b.bitcast(body.args[0], I64.as_pointer()), [body.args[1]])
    value = b.load(place)
    loop, end = body.append_basic_block("loop"), body.append_basic_block("end")
    b.cbranch(b.icmp_signed("==", I64(rounds), I64(0)), end, loop)
    b.position_at_end(loop)
    i, x = b.phi(I64), b.phi(I64)
    product = b.add(b.mul(x, I64(6364136223846793005)), I64(1442695040888963407))
    following = b.add(i, I64(1))
    i.add_incoming(I64(0), entry)
    i.add_incoming(following, loop)
    x.add_incoming(value, entry)
    x.add_incoming(product, loop)
    b.store(product, place)
    b.cbranch(b.icmp_signed("<", following, I64(rounds)), loop, end)
    b.position_at_end(end)
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


def timed(step: object, threads: int, seconds: float = 1.0) -> np.ndarray:
    """Times of single steps in µs."""
    set_num_threads(threads)
    memory = np.zeros(PARTS, np.int64)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter_ns()
        with pool.threads() as control:
            step(control, memory.ctypes.data)
        times.append((time.perf_counter_ns() - start) / 1000)
    return np.array(times[len(times) // 10 :])


def show(what: str, times: np.ndarray) -> float:
    median, low, high = np.percentile(times, [50, 10, 90])
    print(f"{what:48} median {median:8.1f} µs   10th {low:8.1f}   90th {high:8.1f}   mean {times.mean():8.1f}")
    return float(times.mean())


def neighbour() -> None:
    while True:
        pass


def main() -> None:
    empty = step_of(100, 2, 0)
    for threads in (1, 2):
        show(f"100 empty regions of 2 parts, {threads} thread(s)", timed(empty, threads))
    rounds = 400
    step = step_of(REGIONS, PARTS, rounds)
    alone = show("10 regions of about 100 µs, 1 thread", timed(step, 1))
    quiet = show("the same, 2 threads", timed(step, 2, 3.0))
    process = multiprocessing.get_context("spawn").Process(target=neighbour, daemon=True)
    process.start()
    time.sleep(1.0)
    busy = show("the same beside a busy neighbour", timed(step, 2, 5.0))
    process.terminate()
    print(f"two threads / one: {quiet / alone:.2f}; busy / quiet (means): {busy / quiet:.2f}")


if __name__ == "__main__":
    main()
