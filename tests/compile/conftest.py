"""What tests of the compiler share."""

from unittest import mock

import pytest

from backlit import threads


@pytest.fixture(autouse=True)
def _repeated_from_the_second_call_on():
    """What compares a call with the last one is written at once: tests make few calls, and each shows it a change."""
    from backlit.compile import forms

    with mock.patch.object(forms, "REPEATED", 1):
        yield


@pytest.fixture(scope="module")
def planned_anew():
    """For tests that change how the compiler decides: steps are neither found on disk nor kept there."""
    pytest.importorskip("llvmlite")
    from backlit.compile.assemble import stored

    with mock.patch.object(stored, "kept", lambda *_: None), mock.patch.object(stored, "keep", lambda *_: None):
        yield


@pytest.fixture
def number_of_threads():
    """``number_of_threads(2)``: from here to the end of the test."""
    from sharing import threads_as_before

    with threads_as_before():
        yield threads.set_num_threads


@pytest.fixture
def one_thread(number_of_threads):
    """A test that begins on one thread."""
    number_of_threads(1)
