"""Settings for the whole suite."""

from hypothesis import settings

# Machines that run tests are shared: how long one example takes says nothing about it.
settings.register_profile("shared", deadline=None, print_blob=True)
settings.load_profile("shared")

# Several folders have a conftest.py: taken for test modules (in search of doctests) they would clash by their name.
collect_ignore_glob = ["*conftest.py"]
