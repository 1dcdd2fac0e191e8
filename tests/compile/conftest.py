"""What tests of the compiler share."""

from unittest import mock

import pytest


@pytest.fixture(scope="module")
def planned_anew():
    """For tests that change how the compiler decides: steps are neither found on disk nor kept there."""
    pytest.importorskip("llvmlite")
    from backlit.compile.assemble import stored

    with mock.patch.object(stored, "kept", lambda *_: None), mock.patch.object(stored, "keep", lambda *_: None):
        yield
