"""Installed libraries that a compiled function names: what it takes from them counts, their own code does not."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import backlit as bl
from backlit.compile.trace.surroundings import Surroundings

BUSY = """
factor = 2.0
calls = 0
settings = {"scale": 1.0}
history = list(range(200))

class Hostile:
    def __getattr__(self, name):
        raise RuntimeError("not to be asked for " + name)

hostile = Hostile()

def log(value):
    global calls
    calls += 1
    history.append(value)
    history.pop(0)
    hostile.log

class Meter:
    def update(self):
        log(0)
        self.seen = getattr(self, "seen", 0) + 1
"""

USES_US = """
from backlit import Tensor
shift = 1.0

def shifted(x):
    return x + shift
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: Any) -> Any:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def installed(name: str, source: str) -> ModuleType:
        (folder / f"{name}.py").write_text(source)
        return importlib.import_module(name)

    return installed


def test_a_librarys_own_variables_may_change(install: Any) -> None:
    library = install("busy_library", BUSY)
    meter = library.Meter()

    def step(x: Any) -> Any:
        try:
            library.log(1)
        except RuntimeError:
            library.hostile.__class__  # noqa: B018
        assert meter.update is not None
        return x * library.factor

    compiled, x = bl.compile(step), bl.ones(2)
    assert [compiled(x).tolist() for _ in range(4)] == [[2.0, 2.0]] * 4
    assert library.calls == 1, "traced once, and its own counter did not matter"
    library.factor = 5.0
    assert [compiled(x).tolist() for _ in range(3)] == [[5.0, 5.0]] * 3
    assert library.calls == 2


def test_data_of_a_library_that_the_program_names_counts(install: Any) -> None:
    library = install("library_with_settings", BUSY)
    compiled, x = bl.compile(lambda x: x * library.settings["scale"]), bl.ones(2)
    assert [compiled(x).tolist() for _ in range(2)] == [[1.0, 1.0]] * 2
    library.settings["scale"] = 3.0
    assert compiled(x).tolist() == [3.0, 3.0]


def test_an_installed_library_that_uses_us_is_looked_through(install: Any) -> None:
    library = install("library_that_uses_us", USES_US)
    compiled, x = bl.compile(lambda x: library.shifted(x)), bl.ones(2)
    assert [compiled(x).tolist() for _ in range(2)] == [[2.0, 2.0]] * 2
    library.shift = 4.0
    assert compiled(x).tolist() == [5.0, 5.0]


def test_large_libraries_add_nothing_to_compare() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")

    def step(x: Any) -> Any:
        if x is None:
            plt.plot(plt.rcParams, plt.gcf().axes)
        return x * 2.0

    found = Surroundings(step, [("x", bl.ones(2))])
    assert len(found.guards) < 20, [guard.key for guard in found.guards]
