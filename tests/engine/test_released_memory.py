"""The backward pass lets go of what was saved as it passes, so that memory falls while it walks."""

import gc
import tracemalloc

import numpy as np
import pytest

import backlit as bl

LAYERS, SIZE = 200, 1 << 14
BUFFER = SIZE * 4


def chain(x):
    """Every second result is needed by a rule, and all are held by the graph alone."""
    for _ in range(LAYERS // 2):
        x = bl.tanh(x * 1.01)
    return x.sum()


def peaks(run, loss_of):
    """Bytes held after forward, the peak during ``run(loss)``, and bytes held after it, all relative to before."""
    x = bl.tensor(np.full(SIZE, 0.5, np.float32), requires_grad=True)
    loss_of(x)  # whatever is made once only is made now
    gc.collect()
    tracemalloc.start()
    try:
        loss = loss_of(x)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        run(loss)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return held, peak, after


def test_memory_never_exceeds_what_forward_left_but_for_a_few_buffers():
    held, peak, after = peaks(lambda loss: loss.backward(), chain)
    assert held >= LAYERS // 2 * BUFFER
    assert peak <= held + 6 * BUFFER
    assert after <= held - (LAYERS // 2 - 4) * BUFFER


def test_a_retained_graph_keeps_its_values():
    held, _, after = peaks(lambda loss: loss.backward(retain_graph=True), chain)
    assert after >= held


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_values_are_released_while_the_walk_passes(share):
    """Seen from a hook on the way: what lies behind the walk is gone already."""
    seen = []

    def watched(x):
        for i in range(LAYERS // 2):
            x = bl.tanh(x * 1.01)
            if i == int(LAYERS // 2 * (1 - share)):
                x.register_hook(lambda g: seen.append(tracemalloc.get_traced_memory()[0]))
        return x.sum()

    held, _, _ = peaks(lambda loss: loss.backward(), watched)
    assert seen[-1] <= held - (share * LAYERS // 2 - 6) * BUFFER
