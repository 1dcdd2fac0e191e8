"""The machine that code is generated for: its name, its features, and what kernels choose their tiles by."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import DTypeLike

# x86 features that let LLVM pick 64-byte vectors; dropped for a narrower target.
_WIDE = re.compile(r"\+(avx512\w*|avx10[.\w-]*)")
_AVX = re.compile(r"\+(avx\w*|fma4?|f16c|vaes|vpclmulqdq|xop)\b")


@dataclass(frozen=True)
class Target:
    """What a kernel may count on.

    ``vector_bytes`` is the width of a register (64 with AVX-512, 32 with AVX2, 16 with NEON and SSE), ``registers`` how
    many there are, and ``fma`` says whether multiply-add is one instruction.

    >>> host_target().lanes("float32") == host_target().vector_bytes // 4
    True
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fma: bool

    def lanes(self, dtype: DTypeLike) -> int:
        """Elements of ``dtype`` in one vector register."""
        return max(self.vector_bytes // np.dtype(dtype).itemsize, 1)

    def narrowed(self, vector_bytes: int) -> Target:
        """The same machine kept to narrower vectors, so that every path can be run on one machine.

        Raises ValueError where it is not narrower than this target, or narrower than 16 bytes.
        """
        if not 16 <= vector_bytes <= self.vector_bytes:
            raise ValueError(f"narrowed: {vector_bytes} bytes is not between 16 and {self.vector_bytes}")
        if vector_bytes == self.vector_bytes:
            return self
        features = _WIDE.sub(r"-\1", self.features)
        if vector_bytes == 16 and "+avx" in features:
            features = _AVX.sub(r"-\1", features)
        return _described(self.triple, self.cpu, features)


def _described(triple: str, cpu: str, features: str) -> Target:
    """Read width and registers off the features."""
    have = {name[1:] for name in features.split(",") if name.startswith("+")}
    arm = triple.startswith(("aarch64", "arm64"))
    if {"avx512f", "avx512vl", "avx512dq", "avx512bw"} <= have:
        return Target(triple, cpu, features, 64, 32, True)
    if "avx2" in have and "fma" in have:
        return Target(triple, cpu, features, 32, 16, True)
    return Target(triple, cpu, features, 16, 32 if arm else 16, arm or "fma" in have)


@functools.cache
def host_target() -> Target:
    """The machine this process runs on."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return _described(llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())


__all__ = ["Target", "host_target"]
