"""docs/operations.md says what the registry says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from backlit.ops.definition import REGISTRY

SCRIPT = Path(__file__).parents[2] / "tools" / "operations_table.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("operations_table", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_up_to_date(tool: ModuleType) -> None:
    assert tool.main(["--check"]) == 0, "docs/operations.md is out of date: run python tools/operations_table.py"


def test_every_operation_has_one_well_formed_row(tool: ModuleType) -> None:
    rows = [line for line in tool.table().splitlines() if line.startswith("| `")]
    assert sorted(row.split("`")[1] for row in rows) == sorted(REGISTRY)
    for row in rows:
        assert row.replace("\\|", "").count("|") == 6


def test_a_stale_file_is_noticed(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = tmp_path / "operations.md"
    stale.write_text(tool.table().replace("`matmul`", "`product`"), encoding="utf-8")
    monkeypatch.setattr(tool, "TARGET", stale)
    assert tool.main(["--check"]) == 1
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0
