"""Write `src/backlit/_methods.pyi`: what type checkers see of the methods that `ops/methods.py` puts on Tensor.

Run it after adding a method: python tools/tensor_methods.py        (`--check` only compares, for the tests)
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import backlit  # noqa: F401  (attaches the methods)
from backlit.tensor import Tensor

TARGET = Path(__file__).parent.parent / "src" / "backlit" / "_methods.pyi"

HEAD = '''"""Methods that ops/methods.py attaches to Tensor, for type checkers. Made by tools/tensor_methods.py."""

from typing import Any

from .tensor import Tensor

_int = int
_bool = bool

class TensorMethods:
'''

# Methods that do not return a tensor.
RETURNS = {
    "size": "Any",
    "type": "Any",
    "stride": "Any",
    "numel": "_int",
    "nelement": "_int",
    "dim": "_int",
    "ndimension": "_int",
    "element_size": "_int",
    "data_ptr": "_int",
    "is_contiguous": "_bool",
    "is_floating_point": "_bool",
    "allclose": "_bool",
    "equal": "_bool",
    "__setitem__": "None",
    "backward": "None",
    "__iter__": "Any",
    "__array_ufunc__": "Any",
    "__array_function__": "Any",
}
SEVERAL = {"split", "chunk", "unbind", "topk", "sort", "max", "min", "nonzero", "kthvalue", "median", "tensor_split"}


def attached() -> dict[str, Any]:
    """Every attribute of Tensor that its own class body does not define."""
    own = {name for name, value in vars(Tensor).items() if _defined_in_tensor_py(value)}
    return {name: value for name, value in sorted(vars(Tensor).items()) if name not in own}


def _defined_in_tensor_py(value: Any) -> bool:
    function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    module = getattr(function, "__module__", None)
    return module in (None, "backlit.tensor", "builtins") or not (callable(function) or isinstance(value, property))


def line(name: str, value: Any) -> str:
    """One method or property as a stub."""
    if isinstance(value, property):
        kind = "_int" if name in ("itemsize", "nbytes") else "Tensor"
        return f"    @property\n    def {name}(self) -> {kind}: ...\n"
    returns = RETURNS.get(name, "Any" if name in SEVERAL else "Tensor")
    ignore = "  # type: ignore[override]" if name in ("__eq__", "__ne__") else ""
    return f"    def {name}({parameters(value)}) -> {returns}: ...{ignore}\n"


def parameters(function: Any) -> str:
    """A parameter list with defaults reduced to `...` and every annotation to Any."""
    parts = ["self"]
    keyword_only = False
    for i, p in enumerate(inspect.signature(function).parameters.values()):
        if i == 0 and p.kind is not p.VAR_POSITIONAL:
            continue
        if p.kind is p.KEYWORD_ONLY and not keyword_only:
            if not any(part.startswith("*") for part in parts):
                parts.append("*")
            keyword_only = True
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = "" if p.default is p.empty else " = ..."
        parts.append(f"{star}{p.name}: Any{default}")
    return ", ".join(parts)


def stub() -> str:
    """The whole file."""
    return HEAD + "".join(line(name, value) for name, value in attached().items())


def main() -> None:
    """Write the file, or compare it."""
    if "--check" in sys.argv:
        if TARGET.read_text(encoding="utf-8") != stub():
            raise SystemExit(f"{TARGET.name} is stale; run python tools/tensor_methods.py")
        return
    TARGET.write_text(stub(), encoding="utf-8")


if __name__ == "__main__":
    main()
