"""The native half of the thread pool: sharing out the parts of a region, and the loop that a worker waits in.

A *region* is a function called once for each of its parts. Threads claim parts one by one from a single word that
holds the region's number, the first part not yet claimed and the end of those not yet claimed; even threads take from
the front, odd ones from the back, so that two threads meet in the middle and each finds its own part of the data in its
own cache, region after region. Whoever has nothing left to claim helps no more; only the caller waits, until every part
is done. No thread waits for another to wake up: a worker that the system has put aside costs at most the part it holds,
and that is what keeps a step usable beside a busy neighbour. Which thread computes a part makes no difference to its
bits.

Everything is reached through a *control block*, a row of 64-bit words on separate cache lines.
"""

from __future__ import annotations

from llvmlite import ir

WORD, DONE, BODY, ARGUMENT, PARTS, RUN, YIELD, STOP = 0, 16, 32, 33, 34, 48, 49, 64
"""Positions in the control block, in words of 64 bits; 16 are two cache lines, which processors fetch together."""
SIZE = 80
MOST_PARTS = 1 << 15

_SPINS_OF_CALLER = 4096
I64, I32 = ir.IntType(64), ir.IntType(32)
BYTES = ir.IntType(8).as_pointer()
BODY_TYPE = ir.FunctionType(ir.VoidType(), [BYTES, I64, I64])
RUN_TYPE = ir.FunctionType(ir.VoidType(), [I64.as_pointer(), BODY_TYPE.as_pointer(), BYTES, I64])
_YIELD_TYPE = ir.FunctionType(I32, [])


def emit_parallel(b: ir.IRBuilder, control: ir.Value, body: ir.Value, argument: ir.Value, parts: int) -> None:
    """Call ``body(argument, part, parts)`` for every part, shared with the pool's threads; returns when all are done.

    Args:
        b: where to emit.
        control: an ``i64*``, the control block.
        body: a function of :data:`BODY_TYPE`.
        argument: an ``i8*`` for it.
        parts: from 1 to :data:`MOST_PARTS`.

    Raises:
        ValueError: ``parts`` is outside that.
    """
    if not 1 <= parts <= MOST_PARTS:
        raise ValueError(f"a region has 1 to {MOST_PARTS} parts, not {parts}")
    run = b.inttoptr(b.load(_slot(b, control, RUN)), RUN_TYPE.as_pointer())
    b.call(run, [control, body, argument, I64(parts)])


def pool_module(triple: str) -> ir.Module:
    """``run``, which opens a region and works on it, and ``work``, the loop of a worker."""
    module = ir.Module("backlit.pool")
    module.triple = triple
    claim = _claim(module)
    pause = _pause(module, triple)
    _run(module, claim, pause)
    _work(module, claim, pause)
    return module


def _slot(b: ir.IRBuilder, control: ir.Value, position: int) -> ir.Value:
    return b.gep(control, [I64(position)])


def _pause(module: ir.Module, triple: str) -> ir.Function:
    """Tell the processor that this thread only waits."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "pause")
    function.linkage = "internal"
    b = ir.IRBuilder(function.append_basic_block())
    if triple.startswith(("x86_64", "i686")):
        b.call(ir.Function(module, function.function_type, "llvm.x86.sse2.pause"), [])
    elif triple.startswith(("aarch64", "arm64")):
        hint = ir.Function(module, ir.FunctionType(ir.VoidType(), [I32]), "llvm.aarch64.hint")
        b.call(hint, [I32(1)])
    b.ret_void()
    return function


def _claim(module: ir.Module) -> ir.Function:
    """``claim(control, odd)``: the number of a part to work on, or −1 where none is left."""
    function = ir.Function(module, ir.FunctionType(I64, [I64.as_pointer(), I64]), "claim")
    function.linkage = "internal"
    control, odd = function.args
    entry, look, attempt, won, nothing = (function.append_basic_block(n) for n in ("", "look", "try", "won", "none"))
    b = ir.IRBuilder(entry)
    word = _slot(b, control, WORD)
    b.branch(look)

    b.position_at_end(look)
    seen = b.load_atomic(word, "acquire", 8)
    front = b.and_(b.lshr(seen, I64(16)), I64(0xFFFF))
    back = b.and_(seen, I64(0xFFFF))
    b.cbranch(b.icmp_unsigned("<", front, back), attempt, nothing)

    b.position_at_end(attempt)
    from_back = b.icmp_unsigned("!=", odd, I64(0))
    taken = b.select(from_back, b.sub(seen, I64(1)), b.add(seen, I64(1 << 16)))
    exchanged = b.cmpxchg(word, seen, taken, "acq_rel", "acquire")
    b.cbranch(b.extract_value(exchanged, 1), won, look)

    b.position_at_end(won)
    b.ret(b.select(from_back, b.sub(back, I64(1)), front))
    b.position_at_end(nothing)
    b.ret(I64(-1))
    return function


def _do_part(b: ir.IRBuilder, control: ir.Value, part: ir.Value) -> None:
    """Call the region's body for a claimed part, and count it as done."""
    body = b.inttoptr(b.load(_slot(b, control, BODY)), BODY_TYPE.as_pointer())
    argument = b.inttoptr(b.load(_slot(b, control, ARGUMENT)), BYTES)
    b.call(body, [argument, part, b.load(_slot(b, control, PARTS))])
    b.atomic_rmw("add", _slot(b, control, DONE), I64(1), "acq_rel")


def _run(module: ir.Module, claim: ir.Function, pause: ir.Function) -> None:
    function = ir.Function(module, RUN_TYPE, "run")
    control, body, argument, parts = function.args
    names = ("", "next", "do", "wait", "spin", "idle", "yield", "end")
    entry, following, do, wait, spin, idle, give_way, end = (function.append_basic_block(n) for n in names)
    b = ir.IRBuilder(entry)
    b.store(b.ptrtoint(body, I64), _slot(b, control, BODY))
    b.store(b.ptrtoint(argument, I64), _slot(b, control, ARGUMENT))
    b.store(parts, _slot(b, control, PARTS))
    b.store_atomic(I64(0), _slot(b, control, DONE), "monotonic", 8)
    word = _slot(b, control, WORD)
    number = b.add(b.lshr(b.load_atomic(word, "monotonic", 8), I64(32)), I64(1))
    b.store_atomic(b.or_(b.shl(number, I64(32)), parts), word, "release", 8)
    b.branch(following)

    b.position_at_end(following)
    part = b.call(claim, [control, I64(0)])
    b.cbranch(b.icmp_signed("<", part, I64(0)), wait, do)
    b.position_at_end(do)
    _do_part(b, control, part)
    b.branch(following)

    b.position_at_end(wait)
    b.branch(spin)
    b.position_at_end(spin)
    count = b.phi(I64)
    done = b.load_atomic(_slot(b, control, DONE), "acquire", 8)
    b.cbranch(b.icmp_unsigned("==", done, parts), end, idle)
    b.position_at_end(idle)
    b.call(pause, [])
    more = b.add(count, I64(1))
    b.cbranch(b.icmp_unsigned(">", more, I64(_SPINS_OF_CALLER)), give_way, spin)
    b.position_at_end(give_way)
    _yield(b, control)
    b.branch(spin)
    count.add_incoming(I64(0), wait)
    count.add_incoming(more, idle)
    count.add_incoming(more, give_way)
    b.position_at_end(end)
    b.ret_void()


def _yield(b: ir.IRBuilder, control: ir.Value) -> None:
    b.call(b.inttoptr(b.load(_slot(b, control, YIELD)), _YIELD_TYPE.as_pointer()), [])


def _work(module: ir.Module, claim: ir.Function, pause: ir.Function) -> None:
    """``work(control, index, spins, patience)``: claim and do parts; returns after ``patience`` looks in vain, of which
    those after the first ``spins`` let other threads run, or when the pool is to stop."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64, I64, I64]), "work")
    control, index, spins, patience = function.args
    names = ("", "look", "do", "vain", "wait", "spin", "yield", "end")
    entry, look, do, vain, wait, spin, give_way, end = (function.append_basic_block(n) for n in names)
    b = ir.IRBuilder(entry)
    odd = b.and_(index, I64(1))
    b.branch(look)

    b.position_at_end(look)
    count = b.phi(I64)
    part = b.call(claim, [control, odd])
    b.cbranch(b.icmp_signed("<", part, I64(0)), vain, do)
    b.position_at_end(do)
    _do_part(b, control, part)
    b.branch(look)

    b.position_at_end(vain)
    more = b.add(count, I64(1))
    stop = b.icmp_unsigned("!=", b.load_atomic(_slot(b, control, STOP), "monotonic", 8), I64(0))
    tired = b.or_(stop, b.icmp_unsigned(">", more, patience))
    b.cbranch(tired, end, wait)
    b.position_at_end(wait)
    b.cbranch(b.icmp_unsigned(">", more, spins), give_way, spin)
    b.position_at_end(spin)
    b.call(pause, [])
    b.branch(look)
    b.position_at_end(give_way)
    _yield(b, control)
    b.branch(look)
    count.add_incoming(I64(0), entry)
    count.add_incoming(I64(0), do)
    count.add_incoming(more, spin)
    count.add_incoming(more, give_way)
    b.position_at_end(end)
    b.ret_void()
