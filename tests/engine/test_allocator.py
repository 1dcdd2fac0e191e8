"""Memory of large arrays that are gone serves those that follow."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
import backlit as bl

bl.optim.SGD([bl.zeros(1, requires_grad=True)], lr=0.1)

def rounds():
    arrays = [np.full(1 << 18, 1.0, np.float32) for _ in range(16)]

rounds()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    rounds()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have ways of their own")
def test_the_system_is_not_asked_for_pages_again_and_again():
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 1000  # of 40 960 pages that are written
