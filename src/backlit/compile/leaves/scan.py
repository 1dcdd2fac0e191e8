"""Running sums and products."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..codegen.scan import Scan, emit_scan
from ..codegen.target import Target
from .leaf import Leaf, Split


@dataclass(frozen=True)
class RunningFold(Leaf):
    """``x → out``, both ``outer × length × inner``."""

    spec: Scan

    def emit(self, module: Any, name: str, target: Target) -> Any:
        return emit_scan(module, name, self.spec, target)

    def split(self) -> Split:
        def share(count: int) -> Leaf:
            return RunningFold(replace(self.spec, outer=count))

        return Split(self.spec.outer, (True,), ("slice",), share)
