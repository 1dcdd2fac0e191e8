"""Which modules are libraries that know nothing of this one: what their code holds is not followed.

A name of the program leads into them (``plt``, ``tqdm``, ``torch``), and from their functions to tens of thousands of
variables more. None of them can hold a tensor of ours, as long as the library was installed and does not import us.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

FIXED = sys.stdlib_module_names | {"backlit", "numpy"}
"""Modules whose contents nobody changes."""

_PLACES = {"site-packages", "dist-packages"}
"""Folders that installers put libraries in."""


class Libraries:
    """Answers for one trace, remembered: whether a library imports us is found out by looking through it."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def foreign(self, module: Any) -> bool:
        """Whether a module of this name belongs to a library that was installed and does not use us."""
        if not isinstance(module, str):
            return False
        top = module.partition(".")[0]
        known = self._known.get(top)
        if known is None:
            known = self._known[top] = top in FIXED or (_installed(top) and not _uses_us(top))
        return known

    def programs(self, module: Any) -> bool:
        """Whether a module of this name is the program's, or a library's that uses us."""
        return isinstance(module, str) and module.partition(".")[0] not in FIXED and not self.foreign(module)


def own_attributes(x: Any) -> dict[str, Any]:
    """The ``__dict__`` of an object, without asking methods that may answer anything (``__getattr__``)."""
    try:
        found = object.__getattribute__(x, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else dict(found)


def _installed(top: str) -> bool:
    module = sys.modules.get(top)
    if module is None:
        return False
    places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
    return any(_PLACES & set(Path(place).parts) for place in places if isinstance(place, str))


def _uses_us(top: str) -> bool:
    """Whether a module of the library names something of ours."""
    modules = [m for name, m in list(sys.modules.items()) if name == top or name.startswith(top + ".")]
    return any(_ours(held) for module in modules for held in list(own_attributes(module).values()))


def _ours(held: Any) -> bool:
    kind = type(held)  # not isinstance: it asks objects for their class, and some answer with a warning or an error
    if issubclass(kind, ModuleType):
        name = own_attributes(held).get("__name__")
    elif issubclass(kind, FunctionType):
        name = held.__module__
    else:
        name = type.__getattribute__(held, "__module__") if issubclass(kind, type) else None
    return isinstance(name, str) and name.partition(".")[0] == "backlit"


__all__ = ["FIXED", "Libraries", "own_attributes"]
