"""``bl.why``: why a gradient is None, zero, tiny, huge, not finite, or what it is, with the line that made it so."""

from .answer import why
from .verdict import Link, Verdict

__all__ = ["Link", "Verdict", "why"]
