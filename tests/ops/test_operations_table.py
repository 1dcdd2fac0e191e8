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
        assert row.replace("\\|", "").count("|") == len(tool.COLUMNS) + 1


def test_a_stale_file_is_noticed(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = tmp_path / "operations.md"
    stale.write_text(tool.table().replace("`matmul`", "`product`"), encoding="utf-8")
    monkeypatch.setattr(tool, "TARGET", stale)
    assert tool.main(["--check"]) == 1
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0


def test_what_differentiates_is_proved_to_the_second_order_and_forward(tool: ModuleType) -> None:
    for name, operation in REGISTRY.items():
        expected = ("2", "yes") if operation.differentiable else ("–", "–")
        assert tool.proof(name)[1:] == expected, name
        assert tool.proof(name).dtypes != "–", f"{name} works for no dtype"
    assert set(tool.GAPS) <= set(REGISTRY)


def test_a_rule_that_is_broken_shows(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    definition = REGISTRY["atan2"].definition
    assert definition is not None
    right = definition.pull
    monkeypatch.setattr(definition, "pull", lambda *args: [None if p is None else -p for p in right(*args)])
    tool.proof.cache_clear()
    found = tool.proof("atan2")
    tool.proof.cache_clear()
    assert (found.order, found.forward) == ("0", "no")


def test_the_column_on_compiling_follows_the_compiler(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tool.compiled("tanh") == ("native", "native")
    assert tool.compiled("nonzero") == ("no", "–")
    tool.compiled.cache_clear()
    monkeypatch.setattr("backlit.compile.trace.tracer.lowering_of", lambda op: None)
    found = tool.compiled("tanh")
    tool.compiled.cache_clear()
    assert found[0] == "NumPy"
