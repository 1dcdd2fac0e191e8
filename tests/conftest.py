"""Settings for the whole suite."""

import gc

from hypothesis import settings

# Machines that run tests are shared: how long one example takes says nothing about it.
settings.register_profile("shared", deadline=None, print_blob=True)
settings.load_profile("shared")


def pytest_collection_modifyitems(items):
    """The longest first, so that no worker is left with one of them when the others are done."""

    def seconds(item):
        marker = item.get_closest_marker("slow")
        return marker.kwargs.get("seconds", 0) if marker else 0

    items.sort(key=seconds, reverse=True)


def pytest_collection_finish():
    """What was imported and collected stays until the end: searching it for garbage again and again takes a while."""
    gc.collect()
    gc.freeze()


# Several folders have a conftest.py: taken for test modules (in search of doctests) they would clash by their name.
collect_ignore_glob = ["*conftest.py"]
