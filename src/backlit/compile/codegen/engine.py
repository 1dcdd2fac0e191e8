"""From a module of LLVM IR to native code: optimise, emit an object file, load it, ask for addresses.

Code always goes through an object file in memory, whether it was made now or read from a cache, so that both are the
same bytes. Objects refer to no addresses of this process, only to symbols of the C library, and may be kept on disk.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Iterable
from typing import Any

import llvmlite.binding as llvm

from .target import Target, host_target

_NAMES = itertools.count()


def compile_object(module: Any, target: Target | None = None, speed: int = 0) -> bytes:
    """The object file of a module (an ``llvmlite.ir.Module`` or its text) as bytes.

    LLVM's own vectorisers and its unrolling stay off: kernels come with their vectors and unrolled loops written out.
    Raises RuntimeError with LLVM's message where the IR is not well formed.
    """
    target = target or host_target()
    machine = _machine(target)
    parsed = llvm.parse_assembly(str(module))
    parsed.triple = target.triple
    parsed.data_layout = str(machine.target_data)
    parsed.verify()
    _optimise(parsed, machine, speed)
    return machine.emit_object(parsed)


def assembly(module: Any, target: Target | None = None, speed: int = 0) -> str:
    """The machine code of a module as text, for people who want to see what became of a kernel."""
    machine = _machine(target or host_target())
    parsed = llvm.parse_assembly(str(module))
    parsed.data_layout = str(machine.target_data)
    _optimise(parsed, machine, speed)
    return machine.emit_assembly(parsed)


class NativeCode:
    """A loaded object file: ``code["name"]`` is the address of that function while this object lives.

    >>> text = "define i64 @twice(i64 %x) { %y = add i64 %x, %x ret i64 %y }"
    >>> code = NativeCode(compile_object(text), ["twice"])
    >>> import ctypes
    >>> ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(code["twice"])(21)
    42
    """

    def __init__(self, object_code: bytes, names: Iterable[str]) -> None:
        """Link ``object_code`` and look up ``names``; raises RuntimeError where it is damaged or lacks a name."""
        builder = llvm.JITLibraryBuilder().add_object_img(object_code).add_current_process()
        names = list(names)
        for name in names:
            builder.export_symbol(name)
        self._library = builder.link(_jit(), f"backlit.{next(_NAMES)}")
        self._addresses = {name: self._library[name] for name in names}

    def __getitem__(self, name: str) -> int:
        return self._addresses[name]


def load(module: Any, names: Iterable[str], target: Target | None = None) -> NativeCode:
    """Compile a module and load it at once."""
    return NativeCode(compile_object(module, target), names)


def _new_machine(target: Target) -> Any:
    host_target()  # LLVM's native target must be initialised
    chosen = llvm.Target.from_triple(target.triple)
    return chosen.create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small", jit=True
    )


_machine = functools.cache(_new_machine)


@functools.cache
def _jit() -> Any:
    # JITLink puts the sections of an object side by side. The older linker takes memory for each where it finds some,
    # and ends the process where code and constants come to lie too far apart, as beside PyTorch and JAX.
    near = sys.platform != "win32"
    return llvm.create_lljit_compiler(_new_machine(host_target()), use_jit_link=near)  # which keeps the machine


def _optimise(parsed: Any, machine: Any, speed: int) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=speed)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_interleaving = False
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(parsed, builder)


__all__ = ["NativeCode", "assembly", "compile_object", "load"]
