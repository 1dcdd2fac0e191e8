"""Matrix products of small networks run in one thread, also on machines with many; large ones are left alone."""

import os

import numpy as np
import pytest

import backlit as bl
from backlit import nn, threads
from backlit.errors import OperationError
from backlit.train import Callback, fit

needs_openblas = pytest.mark.skipif(not threads._libraries(), reason="this NumPy brings no OpenBLAS")


@pytest.fixture(autouse=True)
def two_threads():
    before = bl.get_num_threads()
    bl.set_num_threads(2)
    yield
    bl.set_num_threads(before)


class Count(Callback):
    """Notes how many threads are used while training."""

    def on_batch_end(self, trainer):
        self.threads = bl.get_num_threads()


def threads_in_fit(model, x, batch_size=8):
    count = Count()
    y = np.zeros(len(x), np.int64)
    fit(model, (x, y), epochs=1, batch_size=batch_size, callbacks=[count], progress=False)
    return count.threads


@needs_openblas
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_small_networks_use_one_thread_and_give_the_others_back():
    assert threads_in_fit(nn.Linear(4, 3), np.zeros((16, 4), np.float32)) == 1
    assert bl.get_num_threads() == 2


@needs_openblas
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_large_products_are_left_alone():
    wide = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 2))
    assert threads_in_fit(wide, np.zeros((128, 512), np.float32), batch_size=128) == 2
    images = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2))
    assert threads_in_fit(images, np.zeros((4, 1, 8, 8), np.float32)) == 2


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "two"])
def test_senseless_counts_are_refused(count):
    with pytest.raises(OperationError, match="at least 1"):
        bl.set_num_threads(count)
