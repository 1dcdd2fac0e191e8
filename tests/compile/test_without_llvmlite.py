"""Where llvmlite is missing, or does not know the machine, everything runs eagerly, with one warning."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import sys, warnings
{missing}
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as caught:
    import backlit as bl

    data = bl.randn(99, 2), bl.randint(3, (99,))
    history = bl.train.fit(bl.nn.Linear(2, 3), data, epochs=2, batch_size=1, progress=False)
    assert not caught and len(history["loss"]) == 2
    try:
        bl.train.fit(bl.nn.Linear(2, 3), data, compile=True)
    except bl.errors.OperationError as error:
        assert "llvmlite" in str(error)
    else:
        raise AssertionError("fit must not go on")

    @bl.compile
    def double(x):
        return x * 2

    @bl.compile(fallback=True)
    def half(x):
        return x / 2

    class Shift:
        @bl.compile
        def up(self, x):
            return x + 1

    net = bl.compile(bl.nn.Linear(2, 1))
    x = bl.tensor([1.0, 2.0])
    for _ in range(3):
        assert double(x).tolist() == [2.0, 4.0] and half(x).tolist() == [0.5, 1.0]
        assert Shift().up(x).tolist() == [2.0, 3.0]
        net(x).sum().backward()
    assert net.weight.grad.tolist() == [[3.0, 6.0]]
print([str(w.message) for w in caught], caught[0].filename, caught[0].lineno)
"""

NOT_INSTALLED = "sys.modules['llvmlite'] = None"
NO_TARGET = """
import llvmlite.binding
def unknown(): raise RuntimeError("no target")
llvmlite.binding.initialize_native_target = unknown
"""


@pytest.mark.parametrize("missing", [NOT_INSTALLED, NO_TARGET], ids=["not installed", "unknown machine"])
def test_runs_eagerly_with_one_warning(missing: str, tmp_path: Any) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(missing=missing))
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    assert done.stdout.count("runs eagerly") == 1
    assert f"{path} " in done.stdout
