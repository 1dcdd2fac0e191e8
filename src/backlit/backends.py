"""What PyTorch programs ask of, or tell, the libraries behind it. None of them is behind Backlit.

``backends.cudnn.benchmark = False`` and ``backends.cudnn.deterministic = True`` may be said: they are so.
"""

from __future__ import annotations

from types import SimpleNamespace


def _absent() -> bool:
    """False: this is not behind Backlit."""
    return False


mps = SimpleNamespace(is_available=_absent, is_built=_absent)
cuda = SimpleNamespace(is_built=_absent, matmul=SimpleNamespace(allow_tf32=False))
cudnn = SimpleNamespace(is_available=_absent, enabled=False, benchmark=False, deterministic=True, allow_tf32=False)
