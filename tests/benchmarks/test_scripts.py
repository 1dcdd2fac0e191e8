"""The benchmark scripts run, and the workloads are the same in every engine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agreement import disagreement, first_losses
from workloads import PROBLEMS, contestants

ROOT = Path(__file__).parents[2]

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


@pytest.mark.peers
@pytest.mark.parametrize("name", PROBLEMS)
def test_engines_compute_the_same(name):
    pytest.importorskip("torch")
    pytest.importorskip("optax")
    losses, _ = first_losses(contestants(name, ["Backlit", "PyTorch", "JAX"]))
    assert len(losses) == 3 and not disagreement(losses)


@pytest.mark.slow(seconds=120)
@pytest.mark.skipif(CORES < 2 or sys.platform != "linux", reason="two cores, and memory as Linux tells it")
def test_one_command_measures_everything_and_fills_the_pages(tmp_path):
    pages = [shutil.copy(ROOT / "docs" / "benchmarks.md", tmp_path), shutil.copy(ROOT / "README.md", tmp_path)]
    command = [sys.executable, str(ROOT / "benchmarks" / "report.py"), "--quick"]
    done = subprocess.run(
        [*command, "--docs", str(tmp_path), "--readme", pages[1]], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = Path(pages[0]).read_text(encoding="utf-8")
    for part in ("training_step_1", "training_step_2", "sweeps", "compile_time", "memory", "busy_neighbour"):
        text = written.split(f"<!-- begin {part} -->")[1].split(f"<!-- end {part} -->")[0]
        assert "| 2-16-16-1" in text or "| 784-256-10" in text or "| width 8" in text, part
    assert "compiled, a whole training step" in Path(pages[1]).read_text(encoding="utf-8")
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        f"sweep-{s}.svg" for s in ("width", "depth", "batch")
    }
