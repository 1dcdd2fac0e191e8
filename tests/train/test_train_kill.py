"""Killed at any moment and resumed, a run ends as if nothing had happened: weights, history and random state alike."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backlit.serialization import load
from backlit.train import latest_checkpoint

SCRIPT = Path(__file__).with_name("killed_run.py")
ONE_THREAD = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def start(folder, epochs, wait):
    command = [sys.executable, str(SCRIPT), str(folder), str(epochs), str(wait)]
    return subprocess.Popen(command, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def complete(folder, epochs, wait):
    process = start(folder, epochs, wait)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return (folder / "final").read_bytes()


def kill_at_random(folder, epochs, wait, kills, seed):
    """Kill runs, each a random while after it wrote its first checkpoint; gives the steps at which they were."""
    rng = random.Random(seed)
    steps = []
    for _ in range(kills):
        before = latest_checkpoint(folder)
        process = start(folder, epochs, wait)
        while latest_checkpoint(folder) == before and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.15))
        process.kill()
        process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        steps.append(latest_checkpoint(folder).name)
    return steps


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize(
    "epochs, wait, kills", [(4, 0.004, 3), pytest.param(12, 0.01, 25, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_killed_and_resumed_equals_uninterrupted(tmp_path, epochs, wait, kills):
    expected = complete(tmp_path / "whole", epochs, 0.0)
    folder = tmp_path / "killed"
    folder.mkdir()
    steps = kill_at_random(folder, epochs, wait, kills, seed=time.time_ns())
    assert len(set(steps)) >= 2, f"the runs were over too soon to be killed: {steps}"
    assert complete(folder, epochs, 0.0) == expected
    assert load(folder / "final")["columns"]["loss"][-1] < 2.3
    assert [file.name for file in folder.iterdir() if file.name.endswith(".tmp")] == []
