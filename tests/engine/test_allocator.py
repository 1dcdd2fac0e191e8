"""Memory of large arrays that are gone serves those that follow."""

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
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


HEAP = """
import re
import numpy as np
import backlit as bl

bl.optim.SGD([bl.zeros(1, requires_grad=True)], lr=0.1)
array = np.empty(1 << 20, np.uint8)
middle = array.__array_interface__["data"][0] + array.size // 2
for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", open("/proc/self/smaps").read(), flags=re.M)[1:]:
    low, high = (int(end, 16) for end in part.split(maxsplit=1)[0].split("-"))
    if low <= middle < high:
        print(high - middle, " hg" in part.rpartition("VmFlags:")[2])
"""

LIMITED = """
import resource
import numpy as np
import backlit as bl

pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (20 << 20),) * 2)
try:
    np.empty(31 << 20, np.uint8)
except MemoryError:
    print("refused")
w = bl.ones(1, requires_grad=True)
optimizer = bl.optim.SGD([w], lr=1.0)
w.sum().backward()
optimizer.step()
print(w.tolist())
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have ways of their own")


def middle_of_an_array(parameters):
    """In a process with an optimizer of so many parameters: how far memory of its kind goes on behind the middle of an
    array, and whether large pages were asked for there."""
    program = HEAP.replace("zeros(1,", f"zeros({parameters},")
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    left, asked = done.stdout.split()
    return int(left), asked == "True"


def asks_for_large_pages():
    """Whether NumPy does."""
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return setting.exists() and np._core.multiarray._get_madvise_hugepage()


@glibc
@pytest.mark.skipif(not asks_for_large_pages(), reason="the kernel has none, or NumPy does not ask for them")
def test_arrays_of_usual_size_lie_where_large_pages_were_asked_for():
    left, asked = middle_of_an_array(1 << 19)
    assert left > 50 << 20 and asked
    assert not middle_of_an_array(1 << 18)[1]


@glibc
def test_a_process_that_may_not_reserve_so_much_goes_on():
    done = subprocess.run([sys.executable, "-c", LIMITED], check=True, capture_output=True, text=True)
    assert done.stdout == "refused\n[0.0]\n"


@glibc
def test_the_system_is_not_asked_for_pages_again_and_again():
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 1000  # of 40 960 pages that are written
